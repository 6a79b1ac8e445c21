//! The one place where our errors become S3 errors.
//!
//! What went wrong inside is logged once, here, and never shown: a client sees
//! a code, a status and a sentence.

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode};

use crate::auth::identity::Denied;
use crate::gateway::Overloaded;
use crate::http::guard::BodyFault;
use crate::meta::MetaError;
use crate::object::cipher::OpenError;
use crate::object::download::ReadError;
use crate::object::keyring::KeyRingError;
use crate::object::upload::UploadError;

/// An S3 error with a sentence.
pub fn refuse(code: S3ErrorCode, message: impl Into<String>) -> S3Error {
    S3Error::with_message(code, message.into())
}

/// A feature that is not there (yet): never a wrong success.
pub fn not_implemented(what: &str) -> S3Error {
    refuse(S3ErrorCode::NotImplemented, format!("{what} is not implemented"))
}

/// Our fault: logged with its cause, shown without.
fn internal(error: &dyn std::error::Error) -> S3Error {
    tracing::error!(%error, "request failed");
    refuse(S3ErrorCode::InternalError, "We encountered an internal error. Please try again.")
}

/// A code of S3 that `s3s` does not name, and so has no status for.
pub fn custom(code: &'static str, status: StatusCode, message: impl Into<String>) -> S3Error {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).expect("a code is text");
    let mut error = refuse(code, message);
    error.set_status_code(status);
    error
}

/// Something that was never set, or was removed.
pub fn not_set(code: &'static str, message: &'static str) -> S3Error {
    custom(code, StatusCode::NOT_FOUND, message)
}

/// Others are at the same thing: the client should come back.
pub fn busy() -> S3Error {
    refuse(S3ErrorCode::SlowDown, "Please reduce your request rate.")
}

/// Not now: the client should come back.
fn slow_down(error: &dyn std::error::Error) -> S3Error {
    tracing::warn!(%error, "request told to slow down");
    busy()
}

impl From<MetaError> for S3Error {
    fn from(error: MetaError) -> Self {
        use S3ErrorCode as Code;
        let code = match &error {
            MetaError::NoSuchBucket => Code::NoSuchBucket,
            MetaError::BucketExists { own: true } => Code::BucketAlreadyOwnedByYou,
            MetaError::BucketExists { own: false } => Code::BucketAlreadyExists,
            MetaError::BucketNotEmpty => Code::BucketNotEmpty,
            MetaError::NoSuchKey => Code::NoSuchKey,
            MetaError::NoSuchUpload => Code::NoSuchUpload,
            MetaError::InvalidPart(_) => Code::InvalidPart,
            MetaError::InvalidPartOrder => Code::InvalidPartOrder,
            MetaError::PartTooSmall { .. } => Code::EntityTooSmall,
            MetaError::BadComplete(_) => Code::InvalidRequest,
            MetaError::BadDigest(_) => Code::BadDigest,
            MetaError::PreconditionFailed => Code::PreconditionFailed,
            MetaError::SourceGone => Code::NoSuchKey,
            MetaError::Locked => {
                return refuse(
                    Code::AccessDenied,
                    "Access Denied because object protected by object lock.",
                );
            }
            MetaError::LockNeedsVersioning => Code::InvalidBucketState,
            MetaError::NoSuchVersion => Code::NoSuchVersion,
            MetaError::DeleteMarker => Code::MethodNotAllowed,
            MetaError::Refused(code, _) => code.clone(),
            MetaError::TooManyUploads => Code::InvalidRequest,
            // The upload outlived its lease, or nodes were wiped under it: all
            // or nothing, and it was nothing.
            MetaError::NotOpen | MetaError::Quorum => return slow_down(&error),
            // All of it or none, and the client may ask again.
            MetaError::Stopped | MetaError::CommitUnknown => return slow_down(&error),
            MetaError::Database(database) if is_for_now(database) => return slow_down(&error),
            MetaError::Exists(_)
            | MetaError::Missing(_)
            | MetaError::Corrupt(_)
            | MetaError::Database(_) => return internal(&error),
        };
        refuse(code, sentence(&error))
    }
}

/// Whether the machine has too little of something just now: connections, disk,
/// memory, file descriptors.
fn is_for_now(error: &sqlx::Error) -> bool {
    // Primary result codes of SQLite: NOMEM, IOERR, FULL, CANTOPEN.
    const FOR_NOW: [u32; 4] = [7, 10, 13, 14];
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) => true,
        sqlx::Error::Database(error) => {
            let code = error.code().and_then(|code| code.parse::<u32>().ok());
            code.is_some_and(|code| FOR_NOW.contains(&(code & 0xff)))
        }
        _ => false,
    }
}

/// Our sentences begin small, those of S3 do not.
fn sentence(error: &MetaError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => text,
    }
}

impl From<Denied> for S3Error {
    fn from(_: Denied) -> Self {
        refuse(S3ErrorCode::AccessDenied, "Access Denied")
    }
}

impl From<Overloaded> for S3Error {
    fn from(error: Overloaded) -> Self {
        slow_down(&error)
    }
}

impl From<OpenError> for S3Error {
    fn from(error: OpenError) -> Self {
        internal(&error)
    }
}

impl From<KeyRingError> for S3Error {
    fn from(error: KeyRingError) -> Self {
        match error {
            KeyRingError::Unknown(_) => {
                custom("KMS.NotFoundException", StatusCode::BAD_REQUEST, error.to_string())
            }
            KeyRingError::Open(error) => error.into(),
            KeyRingError::Meta(error) => error.into(),
        }
    }
}

impl From<UploadError> for S3Error {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Body(source) => body_error(source.as_ref()),
            UploadError::TooFewNodes { .. } => slow_down(&error),
            UploadError::Domains(unmet) => {
                custom("ServiceUnavailable", StatusCode::SERVICE_UNAVAILABLE, unmet.to_string())
            }
            UploadError::Overloaded(error) => error.into(),
            UploadError::Meta(error) => error.into(),
            UploadError::Worker(error) => internal(&error),
        }
    }
}

impl From<ReadError> for S3Error {
    fn from(error: ReadError) -> Self {
        match error {
            // The bytes are known and may come back with their nodes.
            ReadError::TooFewShards { .. } | ReadError::Stuck => slow_down(&error),
            ReadError::Overloaded(error) => error.into(),
            ReadError::Meta(error) => error.into(),
            ReadError::Open(_) | ReadError::Decode(_) | ReadError::Worker(_) => internal(&error),
        }
    }
}

/// What was wrong with a body.
fn body_error(error: &(dyn std::error::Error + 'static)) -> S3Error {
    // Whatever does not come from the guard broke off on the way.
    let fault = error.downcast_ref().copied().unwrap_or(BodyFault::Cut);
    let refusal = fault.refusal();
    custom(refusal.code.as_str(), refusal.status, refusal.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::guard::ChunkError;

    #[test]
    fn what_the_machine_lacks_for_now_is_told_as_slow_down() {
        let lacks = [
            MetaError::CommitUnknown,
            MetaError::Stopped,
            MetaError::Database(sqlx::Error::PoolTimedOut),
            MetaError::Database(sqlx::Error::Io(std::io::ErrorKind::StorageFull.into())),
        ];
        for error in lacks {
            let told = S3Error::from(error);
            assert_eq!(told.code().as_str(), "SlowDown");
            assert_eq!(told.status_code().unwrap(), 503);
        }
        let broken = S3Error::from(MetaError::Database(sqlx::Error::RowNotFound));
        assert_eq!(broken.code().as_str(), "InternalError");
    }

    #[test]
    fn a_code_that_s3s_does_not_name_has_its_status() {
        let error = custom("InvalidPartNumber", StatusCode::RANGE_NOT_SATISFIABLE, "no");
        let answer = error.to_http_response().unwrap();
        assert_eq!(answer.status(), 416);
        let body = answer.body().bytes().unwrap();
        assert!(body.windows(17).any(|part| part == b"InvalidPartNumber"));
    }

    #[test]
    fn a_body_that_is_not_what_was_signed_is_the_fault_of_the_client() {
        for (fault, code, status) in [
            (BodyFault::Hash, "XAmzContentSHA256Mismatch", 400),
            (BodyFault::Chunks(ChunkError::Signature), "SignatureDoesNotMatch", 403),
            (BodyFault::Chunks(ChunkError::Malformed), "InvalidRequest", 400),
            (BodyFault::Chunks(ChunkError::Unfinished), "IncompleteBody", 400),
            (BodyFault::TooSlow, "RequestTimeout", 400),
        ] {
            let error: s3s::StdError = Box::new(fault);
            let error = S3Error::from(UploadError::Body(error));
            assert_eq!(error.code().as_str(), code);
            assert_eq!(error.status_code().unwrap(), status, "{code}");
        }
        let other = body_error(&std::io::Error::other("x"));
        assert_eq!(other.code().as_str(), "IncompleteBody");
    }
}
