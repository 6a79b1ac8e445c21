//! GetBucketLocation: empty for us-east-1, as ever.

use std::sync::Arc;

use s3s::dto::{BucketLocationConstraint, GetBucketLocationInput, GetBucketLocationOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    access::bucket(
        gateway,
        caller,
        &request.input.bucket,
        request.input.expected_bucket_owner.as_ref(),
        Action::GetBucketLocation,
    )
    .await?;
    let region = gateway.settings.region.clone();
    let location_constraint =
        Some(region).filter(|region| region != "us-east-1").map(BucketLocationConstraint::from);
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}
