//! GetObjectAttributes: what is known of an object and its parts.

use std::sync::Arc;

use s3s::dto::{
    Checksum, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    ObjectAttributes, ObjectPart, StorageClass,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::checksums::Fields;
use super::encryption::{self, KeyOf};
use super::{etag, size, timestamp};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::refuse;
use crate::gateway::Gateway;
use crate::meta::{Part, Version};

/// Parts on one page.
const PARTS_MAX: i32 = 1000;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let S3Request { input, headers, .. } = request;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, owner).await?;
    let id = input.version_id.as_deref();
    let ask = Ask::object(caller, &bucket, access::read_action(id), &input.key);
    let (version, parts) = super::version_with_parts(gateway, ask, id).await?;
    let action = match id {
        Some(_) => Action::GetObjectVersionAttributes,
        None => Action::GetObjectAttributes,
    };
    Ask::object(caller, &bucket, action, &input.key).version(&version).check()?;
    let kept = &version.attributes;
    encryption::for_read(gateway, &bucket, &kept.encryption, &headers, KeyOf::Object).await?;
    // Some clients send one header for each, some one for all.
    let wants = |name: &str| {
        let mut asked = input.object_attributes.iter().flat_map(|asked| asked.as_str().split(','));
        asked.any(|asked| asked.trim() == name)
    };
    if input.object_attributes.is_empty() {
        return Err(refuse(S3ErrorCode::InvalidArgument, "No attributes are asked for."));
    }
    let class = super::storage_class(kept);
    let class = class.unwrap_or(StorageClass::from_static(StorageClass::STANDARD));
    let pages = wants(ObjectAttributes::OBJECT_PARTS)
        .then(|| page(&input, &version, &parts))
        .transpose()?
        .flatten();
    Ok(S3Response::new(GetObjectAttributesOutput {
        checksum: checksum(&version).filter(|_| wants(ObjectAttributes::CHECKSUM)),
        e_tag: wants(ObjectAttributes::ETAG).then(|| etag(&version.etag)),
        last_modified: Some(timestamp(version.modified_ms)),
        object_parts: pages,
        object_size: wants(ObjectAttributes::OBJECT_SIZE).then(|| size(version.size)),
        storage_class: wants(ObjectAttributes::STORAGE_CLASS).then_some(class),
        version_id: super::version_id(&bucket, &version),
        ..GetObjectAttributesOutput::default()
    }))
}

fn checksum(version: &Version) -> Option<Checksum> {
    let fields = Fields::new(Some(version.attributes.checksum.as_ref()?));
    Some(Checksum {
        checksum_crc32: fields.crc32,
        checksum_crc32c: fields.crc32c,
        checksum_crc64nvme: fields.crc64nvme,
        checksum_sha1: fields.sha1,
        checksum_sha256: fields.sha256,
        checksum_type: fields.kind,
    })
}

/// The parts of a multipart object, page by page; a single put has none. Only
/// with checksums each part is shown.
fn page(
    input: &GetObjectAttributesInput,
    version: &Version,
    parts: &[Part],
) -> S3Result<Option<GetObjectAttributesParts>> {
    if !super::is_multipart(version) {
        return Ok(None);
    }
    let invalid = |message: &'static str| refuse(S3ErrorCode::InvalidArgument, message);
    let max = input.max_parts.unwrap_or(PARTS_MAX).min(PARTS_MAX);
    let max = usize::try_from(max).map_err(|_| invalid("max-parts must not be negative"))?;
    let after = input.part_number_marker.unwrap_or(0);
    let behind: Vec<(i32, &Part)> = (1..).zip(parts).filter(|(at, _)| *at > after).collect();
    let shown = &behind[..behind.len().min(max)];
    let is_truncated = shown.len() < behind.len();
    let lines = shown.iter().map(|(at, part)| {
        let fields = Fields::new(part.checksum.as_ref());
        ObjectPart {
            part_number: Some(*at),
            size: Some(size(part.size)),
            checksum_crc32: fields.crc32,
            checksum_crc32c: fields.crc32c,
            checksum_crc64nvme: fields.crc64nvme,
            checksum_sha1: fields.sha1,
            checksum_sha256: fields.sha256,
        }
    });
    Ok(Some(GetObjectAttributesParts {
        is_truncated: Some(is_truncated),
        max_parts: i32::try_from(max).ok(),
        next_part_number_marker: Some(shown.last().map_or(0, |(at, _)| *at)),
        part_number_marker: Some(after),
        parts: Some(lines.collect()),
        total_parts_count: i32::try_from(parts.len()).ok(),
    }))
}
