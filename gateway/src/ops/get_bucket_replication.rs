//! GetBucketReplication: there is none: nothing replicates.

use std::sync::Arc;

use s3s::dto::{GetBucketReplicationInput, GetBucketReplicationOutput};
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
    request: S3Request<GetBucketReplicationInput>,
) -> S3Result<S3Response<GetBucketReplicationOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetReplicationConfiguration)
            .await?;
    let kept = bucket.config.replication.clone();
    let kept = kept.ok_or_else(|| {
        not_set(
            "ReplicationConfigurationNotFoundError",
            "The replication configuration was not found",
        )
    })?;
    Ok(S3Response::new(GetBucketReplicationOutput { replication_configuration: Some(kept) }))
}
