//! PutBucketPolicy: who may do what, by a document.

use std::sync::Arc;

use s3s::dto::{PutBucketPolicyInput, PutBucketPolicyOutput};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{self, public_access};
use crate::auth::authorize::Action;
use crate::auth::identity::{Caller, Denied};
use crate::auth::policy::Policy;
use crate::error::refuse;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutBucketPolicyInput>,
) -> S3Result<S3Response<PutBucketPolicyOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutBucketPolicy).await?;
    let policy = Policy::parse_bucket(&input.policy, &input.bucket);
    let policy = policy.map_err(|error| refuse(S3ErrorCode::MalformedPolicy, error.to_string()))?;
    if public_access(&bucket).refuses_policy(&policy) {
        return Err(Denied.into());
    }
    let change = move |config: &mut crate::meta::BucketConfig| {
        config.set_policy(Some(input.policy));
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    let output = PutBucketPolicyOutput::default();
    Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
}
