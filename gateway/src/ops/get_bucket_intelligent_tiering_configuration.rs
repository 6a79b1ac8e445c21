//! GetBucketIntelligentTieringConfiguration: what was put.

use std::sync::Arc;

use s3s::dto::{
    GetBucketIntelligentTieringConfigurationInput, GetBucketIntelligentTieringConfigurationOutput,
};
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
    request: S3Request<GetBucketIntelligentTieringConfigurationInput>,
) -> S3Result<S3Response<GetBucketIntelligentTieringConfigurationOutput>> {
    let input = request.input;
    let bucket = access::bucket(
        gateway,
        caller,
        &input.bucket,
        None,
        Action::GetIntelligentTieringConfiguration,
    )
    .await?;
    let kept = bucket.config.intelligent_tiering.get(&input.id).cloned();
    let missing = || not_set("NoSuchConfiguration", "The specified configuration does not exist.");
    Ok(S3Response::new(GetBucketIntelligentTieringConfigurationOutput {
        intelligent_tiering_configuration: Some(kept.ok_or_else(missing)?),
    }))
}
