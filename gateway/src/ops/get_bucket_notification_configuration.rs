//! GetBucketNotificationConfiguration: which webhooks are told of what happens.

use std::sync::Arc;

use s3s::dto::{GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let action = Action::GetBucketNotification;
    let bucket = access::bucket(gateway, caller, &input.bucket, owner, action).await?;
    let kept = bucket.config.notification.clone().unwrap_or_default();
    Ok(S3Response::new(GetBucketNotificationConfigurationOutput {
        lambda_function_configurations: kept.lambda_function_configurations,
        queue_configurations: kept.queue_configurations,
        topic_configurations: kept.topic_configurations,
        ..GetBucketNotificationConfigurationOutput::default()
    }))
}
