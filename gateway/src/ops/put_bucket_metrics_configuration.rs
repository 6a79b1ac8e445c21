//! PutBucketMetricsConfiguration: kept and given back; nothing follows from it.

use std::sync::Arc;

use s3s::dto::{PutBucketMetricsConfigurationInput, PutBucketMetricsConfigurationOutput};
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
    request: S3Request<PutBucketMetricsConfigurationInput>,
) -> S3Result<S3Response<PutBucketMetricsConfigurationOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutMetricsConfiguration)
            .await?;
    let kept = input.metrics_configuration;
    checked::id(&input.id, &kept.id)?;
    let change = move |config: &mut BucketConfig| {
        checked::room(config.metrics.len(), config.metrics.contains_key(&input.id))?;
        config.metrics.insert(input.id, kept);
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    Ok(S3Response::new(PutBucketMetricsConfigurationOutput::default()))
}
