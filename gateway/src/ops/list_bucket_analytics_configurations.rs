//! ListBucketAnalyticsConfigurations: all that were put.

use std::sync::Arc;

use s3s::dto::{ListBucketAnalyticsConfigurationsInput, ListBucketAnalyticsConfigurationsOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<ListBucketAnalyticsConfigurationsInput>,
) -> S3Result<S3Response<ListBucketAnalyticsConfigurationsOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetAnalyticsConfiguration)
            .await?;
    let kept = bucket.config.analytics.values().cloned().collect();
    Ok(S3Response::new(ListBucketAnalyticsConfigurationsOutput {
        analytics_configuration_list: Some(kept),
        is_truncated: Some(false),
        ..ListBucketAnalyticsConfigurationsOutput::default()
    }))
}
