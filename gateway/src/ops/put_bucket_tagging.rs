//! PutBucketTagging: replaces the tags of a bucket.

use std::sync::Arc;

use s3s::dto::{PutBucketTaggingInput, PutBucketTaggingOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::{access, tags};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::BucketConfig;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutBucketTagging).await?;
    let kept = tags::from_document(input.tagging, tags::BUCKET_TAGS_MAX)?;
    let change = move |config: &mut BucketConfig| {
        config.tags = kept;
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    Ok(S3Response::new(PutBucketTaggingOutput::default()))
}
