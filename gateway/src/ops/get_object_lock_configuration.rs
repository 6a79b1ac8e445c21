//! GetObjectLockConfiguration: object lock of a bucket.

use std::sync::Arc;

use s3s::dto::{GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::not_set;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetObjectLockConfigurationInput>,
) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::bucket(
        gateway,
        caller,
        &input.bucket,
        owner,
        Action::GetBucketObjectLockConfiguration,
    )
    .await?;
    let kept = bucket.config.object_lock.clone();
    let kept = kept.ok_or_else(|| {
        not_set(
            "ObjectLockConfigurationNotFoundError",
            "Object Lock configuration does not exist for this bucket",
        )
    })?;
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration: Some(kept) }))
}
