//! HeadBucket.

use std::sync::Arc;

use s3s::dto::{HeadBucketInput, HeadBucketOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    access::bucket(
        gateway,
        caller,
        &request.input.bucket,
        request.input.expected_bucket_owner.as_ref(),
        Action::ListBucket,
    )
    .await?;
    let bucket_region = Some(gateway.settings.region.clone());
    Ok(S3Response::new(HeadBucketOutput { bucket_region, ..HeadBucketOutput::default() }))
}
