//! PutBucketEncryption: how new objects are encrypted unless they say.

use std::sync::Arc;

use s3s::dto::{PutBucketEncryptionInput, PutBucketEncryptionOutput};
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
    request: S3Request<PutBucketEncryptionInput>,
) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutEncryptionConfiguration)
            .await?;
    checked::encryption(&input.server_side_encryption_configuration)?;
    let kept = input.server_side_encryption_configuration;
    let change = move |config: &mut BucketConfig| {
        config.encryption = Some(kept);
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    Ok(S3Response::new(PutBucketEncryptionOutput::default()))
}
