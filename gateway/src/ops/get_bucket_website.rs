//! GetBucketWebsite: a bucket as a static website.

use std::sync::Arc;

use s3s::dto::{GetBucketWebsiteInput, GetBucketWebsiteOutput};
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
    request: S3Request<GetBucketWebsiteInput>,
) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetBucketWebsite).await?;
    let kept = bucket.config.website.clone();
    let kept = kept.ok_or_else(|| {
        not_set(
            "NoSuchWebsiteConfiguration",
            "The specified bucket does not have a website configuration",
        )
    })?;
    Ok(S3Response::new(GetBucketWebsiteOutput {
        error_document: kept.error_document,
        index_document: kept.index_document,
        redirect_all_requests_to: kept.redirect_all_requests_to,
        routing_rules: kept.routing_rules,
    }))
}
