//! GetBucketAccelerateConfiguration: what was put.

use std::sync::Arc;

use s3s::dto::{GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetBucketAccelerateConfigurationInput>,
) -> S3Result<S3Response<GetBucketAccelerateConfigurationOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetAccelerateConfiguration)
            .await?;
    let status = bucket.config.accelerate.as_ref().and_then(|kept| kept.status.clone());
    Ok(S3Response::new(GetBucketAccelerateConfigurationOutput {
        status,
        ..GetBucketAccelerateConfigurationOutput::default()
    }))
}
