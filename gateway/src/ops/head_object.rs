//! HeadObject: what is known of an object, without its bytes.

use std::sync::Arc;

use s3s::dto::{HeadObjectInput, HeadObjectOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::conditions::ReadConditions;
use super::get_object::{Selection, add_expires, checksum_fields, parts_count, select};
use super::supported::check_version_id;
use super::{attributes, etag, size, timestamp};
use crate::auth::identity::Caller;
use crate::error::not_implemented;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = &request.input;
    let bucket =
        super::bucket(gateway, caller, &input.bucket, input.expected_bucket_owner.as_ref()).await?;
    if input.sse_customer_algorithm.is_some() || input.sse_customer_key.is_some() {
        return Err(not_implemented("Encryption with customer keys"));
    }
    check_version_id(input.version_id.as_deref())?;
    let (version, parts) = if input.part_number.is_some() {
        super::object_with_parts(gateway, &bucket, &input.key).await?
    } else {
        (super::object(gateway, &bucket, &input.key).await?, Vec::new())
    };
    ReadConditions {
        matches: input.if_match.as_ref(),
        none_match: input.if_none_match.as_ref(),
        modified_since: input.if_modified_since.as_ref(),
        unmodified_since: input.if_unmodified_since.as_ref(),
    }
    .check(&version)?;
    let Selection { range, content_range, part } =
        select(&version, &parts, input.range.as_ref(), input.part_number)?;

    let checksum = checksum_fields(&version, input.checksum_mode.as_ref(), content_range.is_some());
    let kept = &version.attributes;
    let mut response = S3Response::new(HeadObjectOutput {
        content_length: Some(size(range.end - range.start)),
        content_range,
        parts_count: parts_count(&version, &parts, part),
        accept_ranges: Some("bytes".to_owned()),
        e_tag: Some(etag(&version.etag)),
        last_modified: Some(timestamp(version.modified_ms)),
        content_type: Some(attributes::content_type(kept)),
        cache_control: kept.cache_control.clone(),
        content_disposition: kept.content_disposition.clone(),
        content_encoding: kept.content_encoding.clone(),
        content_language: kept.content_language.clone(),
        website_redirect_location: kept.website_redirect_location.clone(),
        metadata: attributes::to_metadata(kept),
        checksum_crc32: checksum.crc32,
        checksum_crc32c: checksum.crc32c,
        checksum_crc64nvme: checksum.crc64nvme,
        checksum_sha1: checksum.sha1,
        checksum_sha256: checksum.sha256,
        checksum_type: checksum.kind,
        server_side_encryption: Some(super::encryption()),
        ..HeadObjectOutput::default()
    });
    add_expires(&mut response.headers, &version);
    Ok(response)
}
