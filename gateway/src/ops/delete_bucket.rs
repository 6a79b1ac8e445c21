//! DeleteBucket: only when it holds no objects or versions. Uploads that are
//! open are aborted.

use std::sync::Arc;

use s3s::dto::{DeleteBucketInput, DeleteBucketOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let bucket = access::bucket(
        gateway,
        caller,
        &request.input.bucket,
        request.input.expected_bucket_owner.as_ref(),
        Action::DeleteBucket,
    )
    .await?;
    gateway.meta.delete_bucket(bucket.id, gateway.not_before()).await?;
    Ok(S3Response::with_status(DeleteBucketOutput::default(), http::StatusCode::NO_CONTENT))
}
