//! PutBucketWebsite: a bucket as a static website.

use std::sync::Arc;

use s3s::dto::{PutBucketWebsiteInput, PutBucketWebsiteOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use super::checked;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::BucketConfig;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutBucketWebsiteInput>,
) -> S3Result<S3Response<PutBucketWebsiteOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutBucketWebsite).await?;
    checked::website(&input.website_configuration)?;
    let kept = input.website_configuration;
    let change = move |config: &mut BucketConfig| {
        config.website = Some(kept);
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    Ok(S3Response::new(PutBucketWebsiteOutput::default()))
}
