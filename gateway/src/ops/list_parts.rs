//! ListParts: what has been uploaded of a multipart upload.

use std::sync::Arc;

use s3s::dto::{ListPartsInput, ListPartsOutput, Part, StorageClass};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::checksums::{Fields, kind, name};
use super::listing::limit;
use super::owners::{Owners, initiator};
use super::{etag, size, timestamp};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::UploadedPart;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let input = request.input;
    let expected_owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, expected_owner).await?;
    Ask::object(caller, &bucket, Action::ListMultipartUploadParts, &input.key).check()?;
    let max = limit(input.max_parts, "max-parts")?;
    let after = input.part_number_marker.unwrap_or(0);
    let found = gateway.meta.upload(bucket.id, input.key.as_bytes(), &input.upload_id).await?;
    let more = u32::try_from(max + 1).unwrap_or(u32::MAX);
    let mut parts = gateway.meta.uploaded_parts(&found.id, after, more).await?;
    // Who asked for none is not to ask on for ever.
    let is_truncated = max > 0 && parts.len() > max;
    parts.truncate(max);

    access::own_upload(caller, &bucket, &found)?;
    let owner = Owners::new(gateway).of(found.account).await?;
    let checksum = found.attributes.checksum;
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(found.id),
        part_number_marker: Some(after),
        next_part_number_marker: parts.last().filter(|_| is_truncated).map(|last| last.part.number),
        max_parts: i32::try_from(max).ok(),
        is_truncated: Some(is_truncated),
        parts: Some(parts.into_iter().map(line).collect()),
        initiator: Some(initiator(owner.clone())),
        owner: Some(owner),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm: checksum
            .as_ref()
            .map(|checksum| s3s::dto::ChecksumAlgorithm::from_static(name(checksum.algorithm))),
        checksum_type: checksum.map(|checksum| kind(checksum.kind)),
        ..ListPartsOutput::default()
    }))
}

fn line(uploaded: UploadedPart) -> Part {
    let checksum = Fields::new(uploaded.part.checksum.as_ref());
    Part {
        part_number: Some(uploaded.part.number),
        e_tag: Some(etag(&uploaded.part.etag)),
        size: Some(size(uploaded.part.size)),
        last_modified: Some(timestamp(uploaded.modified_ms)),
        checksum_crc32: checksum.crc32,
        checksum_crc32c: checksum.crc32c,
        checksum_crc64nvme: checksum.crc64nvme,
        checksum_sha1: checksum.sha1,
        checksum_sha256: checksum.sha256,
    }
}
