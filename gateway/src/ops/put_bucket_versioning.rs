//! PutBucketVersioning: whether objects of a bucket have versions.

use std::sync::Arc;

use s3s::dto::{
    BucketVersioningStatus, MFADelete, PutBucketVersioningInput, PutBucketVersioningOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::{custom, not_implemented, refuse};
use crate::gateway::Gateway;
use crate::meta::Versioning;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutBucketVersioning).await?;
    let asked = input.versioning_configuration;
    if asked.mfa_delete.is_some_and(|mfa| mfa.as_str() == MFADelete::ENABLED) {
        return Err(not_implemented("MFA delete"));
    }
    let state = match asked.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        None => {
            return Err(custom(
                "IllegalVersioningConfigurationException",
                http::StatusCode::BAD_REQUEST,
                "The Versioning element must be specified",
            ));
        }
        Some(_) => {
            return Err(refuse(
                S3ErrorCode::MalformedXML,
                "The status of versioning is Enabled or Suspended",
            ));
        }
    };
    gateway.meta.set_versioning(bucket.id, state).await?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}
