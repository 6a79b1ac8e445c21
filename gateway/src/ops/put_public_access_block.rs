//! PutPublicAccessBlock: what is not public, whatever policies and ACLs say.

use std::sync::Arc;

use s3s::dto::{PutPublicAccessBlockInput, PutPublicAccessBlockOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::BucketConfig;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutPublicAccessBlockInput>,
) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutBucketPublicAccessBlock)
            .await?;
    let kept = input.public_access_block_configuration;
    let change = move |config: &mut BucketConfig| {
        config.public_access_block = Some(kept);
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
}
