//! GetBucketInventoryConfiguration: what was put.

use std::sync::Arc;

use s3s::dto::{GetBucketInventoryConfigurationInput, GetBucketInventoryConfigurationOutput};
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
    request: S3Request<GetBucketInventoryConfigurationInput>,
) -> S3Result<S3Response<GetBucketInventoryConfigurationOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetInventoryConfiguration)
            .await?;
    let kept = bucket.config.inventory.get(&input.id).cloned();
    let missing = || not_set("NoSuchConfiguration", "The specified configuration does not exist.");
    Ok(S3Response::new(GetBucketInventoryConfigurationOutput {
        inventory_configuration: Some(kept.ok_or_else(missing)?),
    }))
}
