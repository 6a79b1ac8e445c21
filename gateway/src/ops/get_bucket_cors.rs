//! GetBucketCors: the CORS rules of a bucket.

use std::sync::Arc;

use s3s::dto::{GetBucketCorsInput, GetBucketCorsOutput};
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
    request: S3Request<GetBucketCorsInput>,
) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetBucketCors).await?;
    let kept = bucket.config.cors.clone();
    let kept = kept.ok_or_else(|| {
        not_set("NoSuchCORSConfiguration", "The CORS configuration does not exist")
    })?;
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(kept.cors_rules) }))
}
