//! PutBucketAcl: replaces the ACL of a bucket.

use std::sync::Arc;

use s3s::dto::{PutBucketAclInput, PutBucketAclOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::{access, acls};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::{BucketConfig, canonical_id};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutBucketAclInput>,
) -> S3Result<S3Response<PutBucketAclOutput>> {
    let S3Request { input, headers, .. } = request;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutBucketAcl).await?;
    let owner = canonical_id(bucket.account);
    let document = input.access_control_policy.as_ref();
    let asked = acls::asked(gateway, &headers, document, &owner).await?;
    if !access::ownership(&bucket).takes(&asked, &owner) {
        return Err(acls::not_supported());
    }
    let acl = asked.for_bucket(&owner).map_err(acls::refusal)?;
    acls::check_public(&bucket, &acl)?;
    let change = move |config: &mut BucketConfig| {
        config.acl = Some(acl);
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}
