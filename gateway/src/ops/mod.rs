//! S3 operations, one file each. `run` tells the operation in order.
//!
//! What several of them need stands beside: [`attributes`] (headers kept with
//! an object), [`checksums`] (what a client declares about a body),
//! [`conditions`] (conditional requests), [`listing`] (what listings share),
//! [`access`] (leave), [`wanted`] (what a write asks for), [`acls`], [`tags`],
//! [`lock`] and [`encryption`] (the parts of that), [`owners`] (who is shown),
//! [`checked`] (configurations of buckets), [`append`] (writes at an offset).

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
pub mod rename_object;
pub mod restore_object;
pub mod upload_part;
pub mod upload_part_copy;

pub mod delete_bucket_analytics_configuration;
pub mod delete_bucket_cors;
pub mod delete_bucket_encryption;
pub mod delete_bucket_intelligent_tiering_configuration;
pub mod delete_bucket_inventory_configuration;
pub mod delete_bucket_lifecycle;
pub mod delete_bucket_metrics_configuration;
pub mod delete_bucket_ownership_controls;
pub mod delete_bucket_policy;
pub mod delete_bucket_replication;
pub mod delete_bucket_tagging;
pub mod delete_bucket_website;
pub mod delete_object_tagging;
pub mod delete_public_access_block;
pub mod get_bucket_accelerate_configuration;
pub mod get_bucket_acl;
pub mod get_bucket_analytics_configuration;
pub mod get_bucket_cors;
pub mod get_bucket_encryption;
pub mod get_bucket_intelligent_tiering_configuration;
pub mod get_bucket_inventory_configuration;
pub mod get_bucket_lifecycle_configuration;
pub mod get_bucket_logging;
pub mod get_bucket_metrics_configuration;
pub mod get_bucket_notification_configuration;
pub mod get_bucket_ownership_controls;
pub mod get_bucket_policy;
pub mod get_bucket_policy_status;
pub mod get_bucket_replication;
pub mod get_bucket_request_payment;
pub mod get_bucket_tagging;
pub mod get_bucket_versioning;
pub mod get_bucket_website;
pub mod get_object_acl;
pub mod get_object_attributes;
pub mod get_object_legal_hold;
pub mod get_object_lock_configuration;
pub mod get_object_retention;
pub mod get_object_tagging;
pub mod get_public_access_block;
pub mod list_bucket_analytics_configurations;
pub mod list_bucket_intelligent_tiering_configurations;
pub mod list_bucket_inventory_configurations;
pub mod list_bucket_metrics_configurations;
pub mod put_bucket_accelerate_configuration;
pub mod put_bucket_acl;
pub mod put_bucket_analytics_configuration;
pub mod put_bucket_cors;
pub mod put_bucket_encryption;
pub mod put_bucket_intelligent_tiering_configuration;
pub mod put_bucket_inventory_configuration;
pub mod put_bucket_lifecycle_configuration;
pub mod put_bucket_logging;
pub mod put_bucket_metrics_configuration;
pub mod put_bucket_notification_configuration;
pub mod put_bucket_ownership_controls;
pub mod put_bucket_policy;
pub mod put_bucket_request_payment;
pub mod put_bucket_tagging;
pub mod put_bucket_versioning;
pub mod put_bucket_website;
pub mod put_object_acl;
pub mod put_object_legal_hold;
pub mod put_object_lock_configuration;
pub mod put_object_retention;
pub mod put_object_tagging;
pub mod put_public_access_block;

pub mod access;
pub mod acls;
pub mod announce;
pub mod append;
pub mod attributes;
pub mod checked;
pub mod checksums;
pub mod conditions;
pub mod encryption;
pub mod listing;
pub mod lock;
pub mod owners;
pub mod tags;
pub mod wanted;

use s3s::S3Result;

use access::Ask;

use crate::error::busy;
use crate::gateway::Gateway;
use crate::meta::{Attributes, Bucket, Millis, Part, Version, Versioning};

/// How often an object is looked up anew because it was replaced meanwhile.
const LOOKS: usize = 16;

/// A version that the caller may do something with, and its parts: at least one,
/// of an empty object, too.
async fn version_with_parts(
    gateway: &Gateway,
    ask: Ask<'_>,
    version_id: Option<&str>,
) -> S3Result<(Version, Vec<Part>)> {
    for _ in 0..LOOKS {
        let version = access::version(gateway, ask, version_id).await?;
        gateway.check_read(ask.payer())?;
        let parts = gateway.meta.parts(version.id).await?;
        if !parts.is_empty() {
            return Ok((version, parts));
        }
        // Replaced or deleted between the two look-ups.
    }
    Err(busy())
}

/// The end of a version id that is about to be made.
fn entropy() -> u64 {
    u64::from_le_bytes(protocol::keys::random())
}

/// The id of a version that was just written: only of buckets with versions.
fn new_version_id(bucket: &Bucket, version: &Version) -> Option<String> {
    (bucket.versioning == Versioning::Enabled).then(|| version.version_id.clone())
}

/// The id of a version as it is told: buckets that never had versions have none.
fn version_id(bucket: &Bucket, version: &Version) -> Option<String> {
    (bucket.versioning != Versioning::Off).then(|| version.version_id.clone())
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

/// The number of tags, if there are any.
fn tag_count(attributes: &Attributes) -> Option<i32> {
    i32::try_from(attributes.tags.len()).ok().filter(|&count| count > 0)
}

/// The storage class, if it is not the usual one.
fn storage_class(attributes: &Attributes) -> Option<s3s::dto::StorageClass> {
    attributes.storage_class.clone().map(s3s::dto::StorageClass::from)
}

/// A size as S3 types have it.
fn size(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
