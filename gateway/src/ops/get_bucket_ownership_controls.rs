//! GetBucketOwnershipControls: who owns what others write.

use std::sync::Arc;

use s3s::dto::{GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::{access, checked};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::not_set;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetBucketOwnershipControlsInput>,
) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetBucketOwnershipControls)
            .await?;
    let kept = bucket.config.ownership;
    let kept = kept.ok_or_else(|| {
        not_set("OwnershipControlsNotFoundError", "The bucket ownership controls were not found")
    })?;
    Ok(S3Response::new(GetBucketOwnershipControlsOutput {
        ownership_controls: Some(checked::ownership_document(kept)),
    }))
}
