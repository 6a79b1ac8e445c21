//! ListBucketIntelligentTieringConfigurations: all that were put.

use std::sync::Arc;

use s3s::dto::{
    ListBucketIntelligentTieringConfigurationsInput,
    ListBucketIntelligentTieringConfigurationsOutput,
};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<ListBucketIntelligentTieringConfigurationsInput>,
) -> S3Result<S3Response<ListBucketIntelligentTieringConfigurationsOutput>> {
    let input = request.input;
    let bucket = access::bucket(
        gateway,
        caller,
        &input.bucket,
        None,
        Action::GetIntelligentTieringConfiguration,
    )
    .await?;
    let kept = bucket.config.intelligent_tiering.values().cloned().collect();
    Ok(S3Response::new(ListBucketIntelligentTieringConfigurationsOutput {
        intelligent_tiering_configuration_list: Some(kept),
        is_truncated: Some(false),
        ..ListBucketIntelligentTieringConfigurationsOutput::default()
    }))
}
