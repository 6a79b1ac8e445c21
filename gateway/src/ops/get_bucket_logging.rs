//! GetBucketLogging: where accesses to a bucket are logged.

use std::sync::Arc;

use s3s::dto::{GetBucketLoggingInput, GetBucketLoggingOutput, LoggingEnabled};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetBucketLoggingInput>,
) -> S3Result<S3Response<GetBucketLoggingOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetBucketLogging).await?;
    let logging_enabled = bucket.config.logging.as_ref().map(|kept| LoggingEnabled {
        target_bucket: kept.bucket.clone(),
        target_prefix: kept.prefix.clone(),
        target_grants: None,
        target_object_key_format: None,
    });
    Ok(S3Response::new(GetBucketLoggingOutput { logging_enabled }))
}
