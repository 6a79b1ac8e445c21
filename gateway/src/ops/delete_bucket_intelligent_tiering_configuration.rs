//! DeleteBucketIntelligentTieringConfiguration: forgets it.

use std::sync::Arc;

use s3s::dto::{
    DeleteBucketIntelligentTieringConfigurationInput,
    DeleteBucketIntelligentTieringConfigurationOutput,
};
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
    request: S3Request<DeleteBucketIntelligentTieringConfigurationInput>,
) -> S3Result<S3Response<DeleteBucketIntelligentTieringConfigurationOutput>> {
    let input = request.input;
    let bucket = access::bucket(
        gateway,
        caller,
        &input.bucket,
        None,
        Action::PutIntelligentTieringConfiguration,
    )
    .await?;
    let change = move |config: &mut BucketConfig| {
        config.intelligent_tiering.remove(&input.id);
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    let output = DeleteBucketIntelligentTieringConfigurationOutput::default();
    Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
}
