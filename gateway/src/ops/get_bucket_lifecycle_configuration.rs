//! GetBucketLifecycleConfiguration: the lifecycle rules of a bucket.

use std::sync::Arc;

use s3s::dto::{GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput};
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
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetLifecycleConfiguration)
            .await?;
    let kept = bucket.config.lifecycle.clone();
    let kept = kept.ok_or_else(|| {
        not_set("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
    })?;
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
        rules: Some(kept.rules),
        ..GetBucketLifecycleConfigurationOutput::default()
    }))
}
