//! ListMultipartUploads: the uploads of a bucket that are under way.

use std::sync::Arc;

use s3s::dto::{
    ListMultipartUploadsInput, ListMultipartUploadsOutput, MultipartUpload, Owner, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use super::checksums::{kind, name};
use super::listing::{Encoding, limit, prefixes};
use super::owners::{Owners, initiator};
use super::timestamp;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::{ListQuery, Upload, UploadsPage, UploadsQuery};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = request.input;
    let bucket = access::bucket(
        gateway,
        caller,
        &input.bucket,
        input.expected_bucket_owner.as_ref(),
        Action::ListBucketMultipartUploads,
    )
    .await?;
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let max = limit(input.max_uploads, "max-uploads")?;
    let query = UploadsQuery {
        list: ListQuery {
            bucket: bucket.id,
            prefix: input.prefix.clone().unwrap_or_default().into_bytes(),
            delimiter: input.delimiter.clone().unwrap_or_default().into_bytes(),
            after: input.key_marker.clone().unwrap_or_default().into_bytes(),
            limit: max,
        },
        // Without a key marker the id marker is ignored.
        after_id: input.key_marker.as_ref().and(input.upload_id_marker.clone()),
    };
    let UploadsPage { items, prefixes: common, next } = gateway.meta.list_uploads(&query).await?;
    let mut owners = Owners::new(gateway);
    let mut uploads = Vec::with_capacity(items.len());
    for item in items {
        let owner = owners.of(item.account).await?;
        uploads.push((item, owner));
    }
    let show = |text: &String| encoding.show(text.as_bytes());
    let line = |(upload, owner): (Upload, Owner)| {
        let checksum = upload.attributes.checksum;
        MultipartUpload {
            key: Some(encoding.show(&upload.key)),
            upload_id: Some(upload.id),
            initiated: Some(timestamp(upload.created_ms)),
            initiator: Some(initiator(owner.clone())),
            owner: Some(owner),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            checksum_algorithm: checksum
                .as_ref()
                .map(|checksum| s3s::dto::ChecksumAlgorithm::from_static(name(checksum.algorithm))),
            checksum_type: checksum.map(|checksum| kind(checksum.kind)),
        }
    };
    let is_truncated = next.is_some();
    let (next_key, next_id) = next.unzip();
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: Some(show(&input.prefix.unwrap_or_default())),
        delimiter: input.delimiter.filter(|delimiter| !delimiter.is_empty()).as_ref().map(show),
        key_marker: Some(show(&input.key_marker.unwrap_or_default())),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        next_key_marker: next_key.map(|key| encoding.show(&key)),
        next_upload_id_marker: next_id,
        max_uploads: i32::try_from(max).ok(),
        is_truncated: Some(is_truncated),
        encoding_type: input.encoding_type,
        uploads: Some(uploads.into_iter().map(line).collect()),
        common_prefixes: Some(prefixes(&common, encoding)),
        ..ListMultipartUploadsOutput::default()
    }))
}
