//! PutBucketLifecycleConfiguration: what expires when.

use std::sync::Arc;

use s3s::dto::{PutBucketLifecycleConfigurationInput, PutBucketLifecycleConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::BucketConfig;
use crate::upkeep::lifecycle::check::check;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutLifecycleConfiguration)
            .await?;
    let mut kept = input.lifecycle_configuration.unwrap_or_default();
    check(&mut kept)?;
    let change = move |config: &mut BucketConfig| {
        config.lifecycle = Some(kept);
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
}
