//! The one place where our errors become S3 errors.
//!
//! What went wrong inside is logged once, here, and never shown: a client sees
//! a code, a status and a sentence.

use s3s::{S3Error, S3ErrorCode};

use crate::auth::identity::Denied;
use crate::gateway::Overloaded;
use crate::meta::MetaError;
use crate::object::cipher::OpenError;
use crate::object::download::ReadError;
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

/// Not now: the client should come back.
fn slow_down(error: &dyn std::error::Error) -> S3Error {
    tracing::warn!(%error, "request told to slow down");
    refuse(S3ErrorCode::SlowDown, "Please reduce your request rate.")
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
            MetaError::PreconditionFailed => Code::PreconditionFailed,
            MetaError::SourceGone => Code::NoSuchKey,
            MetaError::TooManyUploads => Code::InvalidRequest,
            // The upload outlived its lease, or nodes were wiped under it: all
            // or nothing, and it was nothing.
            MetaError::NotOpen | MetaError::Quorum => return slow_down(&error),
            MetaError::Stopped | MetaError::CommitUnknown => {
                tracing::warn!(%error, "request not finished");
                return refuse(Code::ServiceUnavailable, "Please try again.");
            }
            MetaError::Database(sqlx::Error::PoolTimedOut) => return slow_down(&error),
            MetaError::Exists(_)
            | MetaError::Missing(_)
            | MetaError::Corrupt(_)
            | MetaError::Database(_) => return internal(&error),
        };
        refuse(code, sentence(&error))
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

impl From<UploadError> for S3Error {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Body(source) => body_error(source.as_ref()),
            UploadError::TooFewNodes { .. } => slow_down(&error),
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

/// What was wrong with a body. The types of `s3s` for this are private, their
/// texts are all that can be told apart.
fn body_error(error: &(dyn std::error::Error + 'static)) -> S3Error {
    use S3ErrorCode as Code;
    let text = error.to_string();
    tracing::debug!(error = %text, "body refused");
    if text.contains("Sha256Mismatch") {
        return refuse(
            Code::from_bytes(b"XAmzContentSHA256Mismatch").unwrap_or(Code::BadDigest),
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
        .with_status(http::StatusCode::BAD_REQUEST);
    }
    if text.contains("SignatureMismatch") {
        return refuse(
            Code::SignatureDoesNotMatch,
            "The request signature we calculated does not match the signature you provided.",
        );
    }
    if text.contains("FormatError") || text.contains("TooLarge") || text.contains("TooMany") {
        return refuse(Code::InvalidRequest, "The body is not well-formed aws-chunked encoding.");
    }
    if text.contains("too slow") {
        return refuse(Code::RequestTimeout, "The body did not arrive in time.");
    }
    refuse(
        Code::IncompleteBody,
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    )
}

/// Sets the status where `s3s` does not know it.
trait WithStatus {
    fn with_status(self, status: http::StatusCode) -> Self;
}

impl WithStatus for S3Error {
    fn with_status(mut self, status: http::StatusCode) -> Self {
        self.set_status_code(status);
        self
    }
}
