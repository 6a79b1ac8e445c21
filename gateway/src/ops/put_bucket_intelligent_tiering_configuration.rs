//! PutBucketIntelligentTieringConfiguration: kept and given back; nothing follows from it.

use std::sync::Arc;

use s3s::dto::{
    PutBucketIntelligentTieringConfigurationInput, PutBucketIntelligentTieringConfigurationOutput,
};
use s3s::{S3Request, S3Response, S3Result};

use super::{access, checked};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::BucketConfig;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutBucketIntelligentTieringConfigurationInput>,
) -> S3Result<S3Response<PutBucketIntelligentTieringConfigurationOutput>> {
    let input = request.input;
    let bucket = access::bucket(
        gateway,
        caller,
        &input.bucket,
        None,
        Action::PutIntelligentTieringConfiguration,
    )
    .await?;
    let kept = input.intelligent_tiering_configuration;
    checked::id(&input.id, &kept.id)?;
    let change = move |config: &mut BucketConfig| {
        checked::room(
            config.intelligent_tiering.len(),
            config.intelligent_tiering.contains_key(&input.id),
        )?;
        config.intelligent_tiering.insert(input.id, kept);
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    Ok(S3Response::new(PutBucketIntelligentTieringConfigurationOutput::default()))
}
