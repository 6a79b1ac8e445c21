//! DeleteBucketReplication: there is none.

use std::sync::Arc;

use s3s::dto::{DeleteBucketReplicationInput, DeleteBucketReplicationOutput};
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
    request: S3Request<DeleteBucketReplicationInput>,
) -> S3Result<S3Response<DeleteBucketReplicationOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutReplicationConfiguration)
            .await?;
    let change = |config: &mut BucketConfig| {
        config.replication = None;
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    let output = DeleteBucketReplicationOutput::default();
    Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
}
