//! GetPublicAccessBlock: what is not public, whatever policies and ACLs say.

use std::sync::Arc;

use s3s::dto::{GetPublicAccessBlockInput, GetPublicAccessBlockOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::not_set;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetPublicAccessBlockInput>,
) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetBucketPublicAccessBlock)
            .await?;
    let kept = bucket.config.public_access_block.clone();
    let kept = kept.ok_or_else(|| {
        not_set(
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
        )
    })?;
    Ok(S3Response::new(GetPublicAccessBlockOutput {
        public_access_block_configuration: Some(kept),
    }))
}
