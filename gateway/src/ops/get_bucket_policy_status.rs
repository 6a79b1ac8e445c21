//! GetBucketPolicyStatus: whether a bucket is public.

use std::sync::Arc;

use s3s::dto::{GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, PolicyStatus};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::auth::policy::Policy;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetBucketPolicyStatusInput>,
) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetBucketPolicyStatus)
            .await?;
    // The policy or the ACL: either makes it public.
    let by_policy =
        bucket.config.parsed_policy(&bucket.name).is_some_and(|policy| Policy::is_public(policy));
    let counts = access::ownership(&bucket).acls_count()
        && !access::public_access(&bucket).ignore_public_acls;
    let by_acl = counts && bucket.config.acl.as_ref().is_some_and(|acl| acl.is_public());
    let status = PolicyStatus { is_public: Some(by_policy || by_acl) };
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status: Some(status) }))
}
