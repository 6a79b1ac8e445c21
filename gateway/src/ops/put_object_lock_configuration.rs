//! PutObjectLockConfiguration: turns object lock on, and its default.

use std::sync::Arc;

use s3s::dto::{
    ObjectLockEnabled, PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::{access, lock};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::refuse;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutObjectLockConfigurationInput>,
) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::bucket(
        gateway,
        caller,
        &input.bucket,
        owner,
        Action::PutBucketObjectLockConfiguration,
    )
    .await?;
    let malformed = || {
        refuse(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    };
    let kept = input.object_lock_configuration.ok_or_else(malformed)?;
    if kept.object_lock_enabled.as_ref().is_none_or(|on| on.as_str() != ObjectLockEnabled::ENABLED)
    {
        return Err(malformed());
    }
    if let Some(rule) = &kept.rule {
        lock::check_default(rule.default_retention.as_ref().ok_or_else(malformed)?)?;
    }
    gateway.meta.set_object_lock(bucket.id, kept).await?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}
