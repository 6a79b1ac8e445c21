//! PutBucketAccelerateConfiguration: kept and given back; there is nothing to accelerate.

use std::sync::Arc;

use s3s::dto::{PutBucketAccelerateConfigurationInput, PutBucketAccelerateConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::{access, checked};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::BucketConfig;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutBucketAccelerateConfigurationInput>,
) -> S3Result<S3Response<PutBucketAccelerateConfigurationOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutAccelerateConfiguration)
            .await?;
    let kept = input.accelerate_configuration;
    checked::accelerate(&kept)?;
    let change = move |config: &mut BucketConfig| {
        config.accelerate = Some(kept);
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    Ok(S3Response::new(PutBucketAccelerateConfigurationOutput::default()))
}
