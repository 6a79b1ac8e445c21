//! ListObjectVersions: versions and delete markers, those of a key from the
//! latest back. In an unversioned bucket every object is its own version
//! `null`.

use std::sync::Arc;

use s3s::dto::{
    DeleteMarkerEntry, ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion,
    ObjectVersionStorageClass, Owner,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access;
use super::checksums::{kind, name};
use super::listing::{Encoding, limit, prefixes};
use super::owners::Owners;
use super::{etag, size, timestamp};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::refuse;
use crate::gateway::Gateway;
use crate::meta::{ListQuery, Listed, VersionsPage, VersionsQuery};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = request.input;
    let bucket = access::bucket(
        gateway,
        caller,
        &input.bucket,
        input.expected_bucket_owner.as_ref(),
        Action::ListBucketVersions,
    )
    .await?;
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let max = limit(input.max_keys, "max-keys")?;
    if input.version_id_marker.is_some() && input.key_marker.is_none() {
        return Err(refuse(
            S3ErrorCode::InvalidArgument,
            "A version-id marker cannot be specified without a key marker.",
        ));
    }
    let list = ListQuery {
        bucket: bucket.id,
        prefix: input.prefix.clone().unwrap_or_default().into_bytes(),
        delimiter: input.delimiter.clone().unwrap_or_default().into_bytes(),
        after: input.key_marker.clone().unwrap_or_default().into_bytes(),
        limit: max,
    };
    let query = VersionsQuery { list, after_version: input.version_id_marker.clone() };
    let page = gateway.meta.list_versions(&query).await?;
    let VersionsPage { items, prefixes: common, next } = page;
    let mut owners = Owners::new(gateway);
    let (mut versions, mut markers) = (Vec::new(), Vec::new());
    for item in &items {
        let owner = owners.of(item.version.owner).await?;
        if item.version.delete_marker {
            markers.push(marker(item, encoding, owner));
        } else {
            versions.push(line(item, encoding, owner));
        }
    }
    let show = |text: &String| encoding.show(text.as_bytes());
    let is_truncated = next.is_some();
    let (next_key, next_version) = next.unzip();
    Ok(S3Response::new(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(show(&input.prefix.unwrap_or_default())),
        key_marker: Some(show(&input.key_marker.unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        delimiter: input.delimiter.filter(|delimiter| !delimiter.is_empty()).as_ref().map(show),
        max_keys: i32::try_from(max).ok(),
        is_truncated: Some(is_truncated),
        next_key_marker: next_key.map(|key| encoding.show(&key)),
        next_version_id_marker: next_version.filter(|id| !id.is_empty()),
        encoding_type: input.encoding_type,
        versions: Some(versions),
        delete_markers: Some(markers),
        common_prefixes: Some(prefixes(&common, encoding)),
        ..ListObjectVersionsOutput::default()
    }))
}

fn line(item: &Listed, encoding: Encoding, owner: Owner) -> ObjectVersion {
    let class = item.version.attributes.storage_class.clone();
    let class = class.unwrap_or_else(|| ObjectVersionStorageClass::STANDARD.to_owned());
    let checksum = item.version.attributes.checksum.as_ref();
    ObjectVersion {
        key: Some(encoding.show(&item.key)),
        version_id: Some(item.version.version_id.clone()),
        is_latest: Some(item.version.latest),
        checksum_algorithm: checksum.map(|checksum| {
            vec![s3s::dto::ChecksumAlgorithm::from_static(name(checksum.algorithm))]
        }),
        checksum_type: checksum.map(|checksum| kind(checksum.kind)),
        e_tag: Some(etag(&item.version.etag)),
        size: Some(size(item.version.size)),
        last_modified: Some(timestamp(item.version.modified_ms)),
        storage_class: Some(ObjectVersionStorageClass::from(class)),
        owner: Some(owner),
        ..ObjectVersion::default()
    }
}

fn marker(item: &Listed, encoding: Encoding, owner: Owner) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        key: Some(encoding.show(&item.key)),
        version_id: Some(item.version.version_id.clone()),
        is_latest: Some(item.version.latest),
        last_modified: Some(timestamp(item.version.modified_ms)),
        owner: Some(owner),
    }
}
