//! S3 operations, one file each. `run` tells the operation in order.
//!
//! What several of them need stands beside: [`attributes`] (headers kept with
//! an object), [`checksums`] (what a client declares about a body),
//! [`conditions`] (conditional requests), [`listing`] (what listings share),
//! [`supported`] (what is refused until it exists).

pub mod abort_multipart_upload;
pub mod complete_multipart_upload;
pub mod copy_object;
pub mod create_bucket;
pub mod create_multipart_upload;
pub mod delete_bucket;
pub mod delete_object;
pub mod delete_objects;
pub mod get_bucket_location;
pub mod get_object;
pub mod head_bucket;
pub mod head_object;
pub mod list_buckets;
pub mod list_multipart_uploads;
pub mod list_object_versions;
pub mod list_objects;
pub mod list_objects_v2;
pub mod list_parts;
pub mod put_object;
pub mod upload_part;
pub mod upload_part_copy;

pub mod attributes;
pub mod checksums;
pub mod conditions;
pub mod listing;
pub mod supported;

use s3s::S3Result;

use protocol::AccountId;

use crate::auth::identity::{Caller, Denied};
use crate::error::busy;
use crate::gateway::Gateway;
use crate::meta::{Bucket, Millis, Part, Version, canonical_id};

/// The bucket of this name, if `caller` may do `action` with it and it is whose
/// the request expects (`x-amz-expected-bucket-owner`).
async fn bucket(
    gateway: &Gateway,
    caller: &Caller,
    name: &str,
    expected_owner: Option<&String>,
) -> S3Result<Bucket> {
    let bucket = gateway.meta.bucket(name).await?;
    if caller.identity.account != Some(bucket.account) {
        return Err(Denied.into());
    }
    if expected_owner.is_some_and(|expected| *expected != canonical_id(bucket.account)) {
        return Err(Denied.into());
    }
    Ok(bucket)
}

/// The account of the caller, who must have signed.
fn account(caller: &Caller) -> S3Result<AccountId> {
    Ok(caller.identity.account.ok_or(Denied)?)
}

/// The latest version of a key that is not deleted.
async fn object(gateway: &Gateway, bucket: &Bucket, key: &str) -> S3Result<Version> {
    let found = gateway.meta.latest(bucket.id, key.as_bytes()).await?;
    let found = found.filter(|version| !version.delete_marker);
    Ok(found.ok_or(crate::meta::MetaError::NoSuchKey)?)
}

/// How often an object is looked up anew because it was replaced meanwhile.
const LOOKS: usize = 4;

/// The latest version of a key that is not deleted, and its parts: at least one,
/// of an empty object, too.
async fn object_with_parts(
    gateway: &Gateway,
    bucket: &Bucket,
    key: &str,
) -> S3Result<(Version, Vec<Part>)> {
    for _ in 0..LOOKS {
        let version = object(gateway, bucket, key).await?;
        let parts = gateway.meta.parts(version.id).await?;
        if !parts.is_empty() {
            return Ok((version, parts));
        }
        // Replaced or deleted between the two look-ups.
    }
    Err(busy())
}

/// Whether an object came out of a multipart upload: its entity tag counts the
/// parts.
fn is_multipart(version: &Version) -> bool {
    version.etag.contains('-')
}

/// A time as S3 types have it.
fn timestamp(millis: Millis) -> s3s::dto::Timestamp {
    let nanos = i128::from(millis) * 1_000_000;
    // Metadata holds times of this era; anything else is shown as its start.
    time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
        .into()
}

/// An entity tag as S3 types have it.
fn etag(value: &str) -> s3s::dto::ETag {
    s3s::dto::ETag::Strong(value.to_owned())
}

/// How everything is encrypted here, whether it was asked for or not.
fn encryption() -> s3s::dto::ServerSideEncryption {
    use s3s::dto::ServerSideEncryption;
    ServerSideEncryption::from_static(ServerSideEncryption::AES256)
}

/// A size as S3 types have it.
fn size(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
