//! PutBucketOwnershipControls: who owns what others write, and whether ACLs count.

use std::sync::Arc;

use s3s::dto::{PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::{access, checked};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::custom;
use crate::gateway::Gateway;
use crate::meta::BucketConfig;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutBucketOwnershipControlsInput>,
) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutBucketOwnershipControls)
            .await?;
    let kept = checked::ownership(&input.ownership_controls)?;
    if bucket.config.acl.as_ref().is_some_and(|acl| !kept.suits(acl)) {
        return Err(custom(
            "InvalidBucketAclWithObjectOwnership",
            http::StatusCode::BAD_REQUEST,
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        ));
    }
    let change = move |config: &mut BucketConfig| {
        config.ownership = Some(kept);
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
}
