//! UploadPartCopy: a part whose bytes come from an object. The whole of a
//! single-part object is shared; a range of one is read and written anew.

use std::ops::Range;
use std::sync::Arc;

use s3s::dto::{CopyPartResult, UploadPartCopyInput, UploadPartCopyOutput};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::checksums::Fields;
use super::conditions::ReadConditions;
use super::copy_object::{Source, share};
use super::encryption::{self, KeyOf};
use super::put_object::BODY_MAX;
use super::upload_part::check_number;
use super::{LOOKS, etag, timestamp};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::{busy, refuse};
use crate::gateway::{Gateway, now_ms};
use crate::meta::{Bucket, Encryption, MetaError, Millis, Part, PartCommit, Placed, Upload};
use crate::object::cipher::Key;
use crate::object::upload::{UploadRequest, upload};
use crate::object::{commit, download};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let S3Request { input, headers, .. } = request;
    let expected_owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, expected_owner).await?;
    Ask::object(caller, &bucket, Action::PutObject, &input.key).check()?;
    check_number(input.part_number)?;
    gateway.check_write(bucket.account)?;
    let found = gateway.meta.upload(bucket.id, input.key.as_bytes(), &input.upload_id).await?;
    access::own_upload(caller, &bucket, &found)?;
    let encryption = &found.attributes.encryption;
    let sealing =
        encryption::for_read(gateway, &bucket, encryption, &headers, KeyOf::Object).await?;
    for _ in 0..LOOKS {
        let source = Source::find(
            gateway,
            caller,
            &input.copy_source,
            &headers,
            input.expected_source_bucket_owner.as_ref(),
        )
        .await?;
        let told_source = source.told_version();
        let placed = copied(gateway, (&bucket, &sealing.key), &input, &found, source).await?;
        let (Placed::Written(_, part) | Placed::Shared(part)) = &placed;
        let (part, now_ms, grace_ms) = (part.clone(), now_ms(), gateway.grace_ms());
        let commit = PartCommit { upload: found.id.clone(), placed, now_ms, grace_ms };
        match commit::part(gateway, commit).await {
            // Replaced or deleted since it was looked up.
            Err(MetaError::SourceGone) => {}
            other => {
                other?;
                let mut answer = answer(&part, now_ms, &sealing.encryption);
                answer.output.copy_source_version_id = told_source;
                return Ok(answer);
            }
        }
    }
    Err(busy())
}

fn answer(
    part: &Part,
    modified_ms: Millis,
    encryption: &Encryption,
) -> S3Response<UploadPartCopyOutput> {
    let checksum = Fields::new(part.checksum.as_ref());
    let told = encryption::told(encryption);
    S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(CopyPartResult {
            e_tag: Some(etag(&part.etag)),
            last_modified: Some(timestamp(modified_ms)),
            checksum_crc32: checksum.crc32,
            checksum_crc32c: checksum.crc32c,
            checksum_crc64nvme: checksum.crc64nvme,
            checksum_sha1: checksum.sha1,
            checksum_sha256: checksum.sha256,
        }),
        server_side_encryption: told.kind,
        ssekms_key_id: told.kms_key_id,
        sse_customer_algorithm: told.customer_algorithm,
        sse_customer_key_md5: told.customer_key_md5,
        ..UploadPartCopyOutput::default()
    })
}

/// The part that `source` becomes, ready to be committed.
async fn copied(
    gateway: &Arc<Gateway>,
    (bucket, sealing): (&Bucket, &Key),
    input: &UploadPartCopyInput,
    upload_to: &Upload,
    source: Source,
) -> S3Result<Placed> {
    ReadConditions {
        matches: input.copy_source_if_match.as_ref(),
        none_match: input.copy_source_if_none_match.as_ref(),
        modified_since: input.copy_source_if_modified_since.as_ref(),
        unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
    }
    .check_source(&source.version)?;
    let whole = 0..source.version.size;
    let range = match &input.copy_source_range {
        None => whole.clone(),
        Some(text) => parse_range(text, whole.end)?,
    };
    if range.end - range.start > BODY_MAX {
        return Err(refuse(
            S3ErrorCode::InvalidRequest,
            "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
        ));
    }
    let promised = upload_to.attributes.checksum.as_ref().map(|checksum| checksum.algorithm);
    match <[Part; 1]>::try_from(source.parts) {
        Ok([part]) if range == whole && has(&part, promised) => {
            let part = Part { number: input.part_number, ..part };
            let shared =
                share(gateway, (&source.bucket, &source.sealing), (bucket, sealing), vec![part])?;
            Ok(shared.into_iter().next().ok_or(S3ErrorCode::InternalError)?)
        }
        other => {
            let parts = other.map_or_else(|parts| parts, Vec::from);
            let (len, account) = (range.end - range.start, bucket.account);
            let body =
                download::read(gateway, &source.bucket, &source.sealing, parts, range).await?;
            let wanted = UploadRequest { account, checksum: promised, size_hint: Some(len) };
            let uploaded = upload(gateway, wanted, Box::pin(body)).await?;
            Ok(commit::place(gateway, bucket, sealing, input.part_number, uploaded))
        }
    }
}

/// Whether a part has the checksum that the upload promised.
fn has(part: &Part, promised: Option<crate::meta::ChecksumAlgorithm>) -> bool {
    promised.is_none() || part.checksum.as_ref().map(|checksum| checksum.algorithm) == promised
}

/// `bytes=first-last`, both given and inside the source. Pure.
fn parse_range(text: &str, len: u64) -> S3Result<Range<u64>> {
    let invalid = || -> S3Error {
        refuse(
            S3ErrorCode::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first \
             and last are the zero-based offsets of the first and last bytes to copy",
        )
    };
    let (first, last) =
        text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(invalid)?;
    let first: u64 = first.parse().map_err(|_| invalid())?;
    let last: u64 = last.parse().map_err(|_| invalid())?;
    if first > last {
        return Err(invalid());
    }
    if last >= len {
        let message = format!("Range specified is not valid for source object of size: {len}");
        return Err(refuse(S3ErrorCode::InvalidRange, message));
    }
    Ok(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_copies() {
        let parse = |text| parse_range(text, 10).map_err(|error| error.code().as_str().to_owned());
        assert_eq!(parse("bytes=0-9"), Ok(0..10));
        assert_eq!(parse("bytes=3-3"), Ok(3..4));
        for bad in ["0-9", "bytes=-5", "bytes=5-", "bytes=5-4", "bytes=a-b", "bytes=0-1,3-4"] {
            assert_eq!(parse(bad), Err("InvalidArgument".to_owned()), "{bad}");
        }
        assert_eq!(parse("bytes=0-10"), Err("InvalidRange".to_owned()));
        assert_eq!(parse("bytes=0-18446744073709551615"), Err("InvalidRange".to_owned()));
    }
}
