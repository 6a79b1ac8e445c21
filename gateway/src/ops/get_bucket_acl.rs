//! GetBucketAcl: who may do what with a bucket.

use std::sync::Arc;

use s3s::dto::{GetBucketAclInput, GetBucketAclOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::{access, acls};
use crate::auth::acl::Acl;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::canonical_id;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetBucketAclInput>,
) -> S3Result<S3Response<GetBucketAclOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetBucketAcl).await?;
    let private = Acl::private(&canonical_id(bucket.account));
    let acl = bucket.config.acl.as_ref().unwrap_or(&private);
    let (owner, grants) = acls::document(gateway, acl).await?;
    Ok(S3Response::new(GetBucketAclOutput { owner: Some(owner), grants: Some(grants) }))
}
