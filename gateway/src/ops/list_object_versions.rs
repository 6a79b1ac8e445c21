//! ListObjectVersions: in an unversioned bucket every object is its own
//! version `null`.

use std::sync::Arc;

use s3s::dto::{
    ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion, ObjectVersionStorageClass,
    Owner,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::listing::{Encoding, limit, prefixes};
use super::{etag, size, timestamp};
use crate::auth::identity::Caller;
use crate::error::refuse;
use crate::gateway::Gateway;
use crate::meta::{ListPage, ListQuery, Listed, canonical_id};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = request.input;
    let bucket =
        super::bucket(gateway, caller, &input.bucket, input.expected_bucket_owner.as_ref()).await?;
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let max = limit(input.max_keys, "max-keys")?;
    if input.version_id_marker.is_some() && input.key_marker.is_none() {
        return Err(refuse(
            S3ErrorCode::InvalidArgument,
            "A version-id marker cannot be specified without a key marker.",
        ));
    }
    let query = ListQuery {
        bucket: bucket.id,
        prefix: input.prefix.clone().unwrap_or_default().into_bytes(),
        delimiter: input.delimiter.clone().unwrap_or_default().into_bytes(),
        // The only version of the marker's key is on the page before.
        after: input.key_marker.clone().unwrap_or_default().into_bytes(),
        limit: max,
    };
    let ListPage { items, prefixes: common, next } = gateway.meta.list(&query).await?;
    let account = gateway.meta.account(bucket.account).await?;
    let owner =
        Owner { id: Some(canonical_id(bucket.account)), display_name: Some(account.display_name) };
    let show = |text: &String| encoding.show(text.as_bytes());
    let ends_with_item = next.is_some() && next == items.last().map(|item| item.key.clone());
    Ok(S3Response::new(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(show(&input.prefix.unwrap_or_default())),
        key_marker: Some(show(&input.key_marker.unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        delimiter: input.delimiter.filter(|delimiter| !delimiter.is_empty()).as_ref().map(show),
        max_keys: i32::try_from(max).ok(),
        is_truncated: Some(next.is_some()),
        next_key_marker: next.map(|next| encoding.show(&next)),
        next_version_id_marker: ends_with_item.then(|| "null".to_owned()),
        encoding_type: input.encoding_type,
        versions: Some(items.iter().map(|item| line(item, encoding, &owner)).collect()),
        common_prefixes: Some(prefixes(&common, encoding)),
        ..ListObjectVersionsOutput::default()
    }))
}

fn line(item: &Listed, encoding: Encoding, owner: &Owner) -> ObjectVersion {
    ObjectVersion {
        key: Some(encoding.show(&item.key)),
        version_id: Some(item.version.version_id.clone()),
        is_latest: Some(true),
        e_tag: Some(etag(&item.version.etag)),
        size: Some(size(item.version.size)),
        last_modified: Some(timestamp(item.version.modified_ms)),
        storage_class: Some(ObjectVersionStorageClass::from_static(
            ObjectVersionStorageClass::STANDARD,
        )),
        owner: Some(owner.clone()),
        ..ObjectVersion::default()
    }
}
