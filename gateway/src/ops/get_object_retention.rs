//! GetObjectRetention: until when a version is locked.

use std::sync::Arc;

use s3s::dto::{GetObjectRetentionInput, GetObjectRetentionOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::lock;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::not_set;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetObjectRetentionInput>,
) -> S3Result<S3Response<GetObjectRetentionOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, owner).await?;
    let id = input.version_id.as_deref();
    let action = Action::GetObjectRetention;
    let ask = Ask::object(caller, &bucket, action, &input.key);
    let version = access::version(gateway, ask, id).await?;
    if bucket.config.object_lock.is_none() {
        return Err(lock::not_configured());
    }
    let missing = || {
        not_set(
            "NoSuchObjectLockConfiguration",
            "The specified object does not have a ObjectLock configuration",
        )
    };
    let retention = lock::to_retention(&version.lock).ok_or_else(missing)?;
    Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(retention) }))
}
