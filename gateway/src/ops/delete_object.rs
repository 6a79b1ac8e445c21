//! DeleteObject: the object is gone when this returns; its shards go later.

use std::sync::Arc;

use s3s::dto::{DeleteObjectInput, DeleteObjectOutput, ETagCondition, Timestamp};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::announce;
use super::wanted::check_key;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::not_implemented;
use crate::events::Name;
use crate::gateway::{Gateway, now_ms};
use crate::meta::{Bucket, DeleteCondition, DeleteRequest, Deleted};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    let expected_owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, expected_owner).await?;
    if input.mfa.is_some() {
        return Err(not_implemented("MFA delete"));
    }
    let condition = DeleteCondition {
        etag: input.if_match.map(|condition| match condition {
            ETagCondition::Any => "*".to_owned(),
            ETagCondition::ETag(etag) => etag.into_value(),
        }),
        size: input.if_match_size.and_then(|size| u64::try_from(size).ok()),
        modified_s: input.if_match_last_modified_time.map(|time| seconds(&time)),
    };
    let wanted = Wanted {
        key: input.key,
        version_id: input.version_id,
        condition,
        bypass: input.bypass_governance_retention.unwrap_or(false),
    };
    let deleted = delete(gateway, caller, &bucket, wanted).await?;
    let output = DeleteObjectOutput {
        delete_marker: deleted.delete_marker.then_some(true),
        version_id: deleted.version_id,
        ..DeleteObjectOutput::default()
    };
    Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
}

/// One object or version to delete.
pub(super) struct Wanted {
    /// Its key.
    pub key: String,
    /// Its version.
    pub version_id: Option<String>,
    /// What must hold.
    pub condition: DeleteCondition,
    /// Whether GOVERNANCE retention is to be bypassed.
    pub bypass: bool,
}

/// Deletes it, if the caller may.
pub(super) async fn delete(
    gateway: &Gateway,
    caller: &Caller,
    bucket: &Bucket,
    wanted: Wanted,
) -> S3Result<Deleted> {
    let Wanted { key, version_id, condition, bypass } = wanted;
    check_key(&key)?;
    let version_id = version_id.filter(|id| !id.is_empty());
    let action = match version_id {
        Some(_) => Action::DeleteObjectVersion,
        None => Action::DeleteObject,
    };
    Ask::object(caller, bucket, action, &key).check()?;
    if bypass {
        Ask::object(caller, bucket, Action::BypassGovernanceRetention, &key).check()?;
    }
    let names = [Name::Delete, Name::DeleteMarkerCreated];
    let request = DeleteRequest {
        bucket: bucket.id,
        decided: None,
        events: announce::of(gateway, caller, bucket, &key, &names),
        key: key.into_bytes(),
        version_id,
        condition,
        bypass_governance: bypass,
        owner: caller.identity.account,
        entropy: super::entropy(),
        now_ms: now_ms(),
        grace_ms: gateway.grace_ms(),
    };
    Ok(gateway.meta.delete(request).await?)
}

/// A time in whole seconds.
pub(super) fn seconds(time: &Timestamp) -> i64 {
    time::OffsetDateTime::from(time.clone()).unix_timestamp()
}
