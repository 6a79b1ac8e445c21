//! HeadObject: what is known of an object, without its bytes.

use std::sync::Arc;

use s3s::dto::{HeadObjectInput, HeadObjectOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::conditions::ReadConditions;
use super::encryption::{self, KeyOf};
use super::get_object::{Selection, add_expires, checksum_fields, numbered, parts_count, select};
use super::{attributes, etag, lock, size, timestamp};
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::upkeep::lifecycle;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = &request.input;
    let expected_owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, expected_owner).await?;
    let version_id = input.version_id.as_deref();
    let ask = Ask::object(caller, &bucket, access::read_action(version_id), &input.key);
    let (version, parts) = if input.part_number.is_some() {
        super::version_with_parts(gateway, ask, version_id).await?
    } else {
        (access::version(gateway, ask, version_id).await?, Vec::new())
    };
    let (kept, headers) = (&version.attributes, &request.headers);
    encryption::refuse_on_read(headers)?;
    encryption::for_read(gateway, &bucket, &kept.encryption, headers, KeyOf::Object).await?;
    ReadConditions {
        matches: input.if_match.as_ref(),
        none_match: input.if_none_match.as_ref(),
        modified_since: input.if_modified_since.as_ref(),
        unmodified_since: input.if_unmodified_since.as_ref(),
    }
    .check(&version)?;
    let Selection { range, content_range, part } =
        select(&version, &parts, input.range.as_ref(), input.part_number)?;

    let checksum = checksum_fields(
        &version,
        numbered(&parts, part).as_ref(),
        input.checksum_mode.as_ref(),
        content_range.is_some(),
    );
    let told = encryption::told(&kept.encryption);
    let (object_lock_mode, object_lock_retain_until_date, object_lock_legal_hold_status) =
        lock::told(&version.lock, &bucket);
    let mut response = S3Response::new(HeadObjectOutput {
        content_length: Some(size(range.end - range.start)),
        content_range,
        parts_count: parts_count(&version, &parts, part),
        accept_ranges: Some("bytes".to_owned()),
        e_tag: Some(etag(&version.etag)),
        expiration: lifecycle::expiration(&bucket, &input.key, &version),
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
        server_side_encryption: told.kind,
        ssekms_key_id: told.kms_key_id,
        sse_customer_algorithm: told.customer_algorithm,
        sse_customer_key_md5: told.customer_key_md5,
        version_id: super::version_id(&bucket, &version),
        storage_class: super::storage_class(kept),
        object_lock_mode,
        object_lock_retain_until_date,
        object_lock_legal_hold_status,
        ..HeadObjectOutput::default()
    });
    add_expires(&mut response.headers, &version);
    // The S3 layer has no field for it.
    if let Some(count) = super::tag_count(&version.attributes) {
        response.headers.insert("x-amz-tagging-count", count.into());
    }
    Ok(response)
}
