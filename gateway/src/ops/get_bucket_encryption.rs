//! GetBucketEncryption: the default encryption of a bucket.

use std::sync::Arc;

use s3s::dto::{GetBucketEncryptionInput, GetBucketEncryptionOutput};
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
    request: S3Request<GetBucketEncryptionInput>,
) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetEncryptionConfiguration)
            .await?;
    let kept = bucket.config.encryption.clone();
    let kept = kept.ok_or_else(|| {
        not_set(
            "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found",
        )
    })?;
    Ok(S3Response::new(GetBucketEncryptionOutput {
        server_side_encryption_configuration: Some(kept),
    }))
}
