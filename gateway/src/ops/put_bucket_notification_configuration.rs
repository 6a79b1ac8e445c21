//! PutBucketNotificationConfiguration: which webhooks are told of what happens.
//! Each of them is sent a test event.

use std::sync::Arc;

use s3s::dto::{PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::events::check::check;
use crate::events::{targets, test_record};
use crate::gateway::{Gateway, now_ms};
use crate::meta::{BucketConfig, Queue};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let action = Action::PutBucketNotification;
    let bucket = access::bucket(gateway, caller, &input.bucket, owner, action).await?;
    let mut kept = input.notification_configuration;
    check(&mut kept, &gateway.settings.upkeep.webhooks)?;
    let targets = targets(&kept);
    // An empty one turns notifications off.
    let kept = (!targets.is_empty()).then_some(kept);
    let change = move |config: &mut BucketConfig| {
        config.notification = kept;
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    if input.skip_destination_validation != Some(true) {
        for target in targets {
            let queue = Queue { bucket: bucket.id, target };
            gateway.meta.tell(queue, test_record(&bucket.name, now_ms())).await?;
        }
    }
    Ok(S3Response::new(PutBucketNotificationConfigurationOutput::default()))
}
