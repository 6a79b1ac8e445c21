//! PutBucketLogging: where accesses to a bucket are logged.

use std::sync::Arc;

use s3s::dto::{PutBucketLoggingInput, PutBucketLoggingOutput};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::{access, checked};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::refuse;
use crate::gateway::Gateway;
use crate::meta::{BucketConfig, LogTarget};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutBucketLoggingInput>,
) -> S3Result<S3Response<PutBucketLoggingOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutBucketLogging).await?;
    let kept = match input.bucket_logging_status.logging_enabled {
        None => None,
        Some(asked) => {
            checked::logging(&asked)?;
            let target = gateway.meta.bucket(&asked.target_bucket).await.ok();
            if target.is_none_or(|target| target.account != bucket.account) {
                return Err(refuse(
                    S3ErrorCode::InvalidTargetBucketForLogging,
                    "The target bucket for logging does not exist or is not owned by you.",
                ));
            }
            Some(LogTarget { bucket: asked.target_bucket, prefix: asked.target_prefix })
        }
    };
    let change = move |config: &mut BucketConfig| {
        config.logging = kept;
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    Ok(S3Response::new(PutBucketLoggingOutput::default()))
}
