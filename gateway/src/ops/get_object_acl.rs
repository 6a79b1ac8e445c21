//! GetObjectAcl: who may do what with an object.

use std::sync::Arc;

use s3s::dto::{GetObjectAclInput, GetObjectAclOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::acls;
use crate::auth::acl::Acl;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetObjectAclInput>,
) -> S3Result<S3Response<GetObjectAclOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, owner).await?;
    let id = input.version_id.as_deref();
    let action = if id.is_some() { Action::GetObjectVersionAcl } else { Action::GetObjectAcl };
    let ask = Ask::object(caller, &bucket, action, &input.key);
    let version = access::version(gateway, ask, id).await?;
    let private = Acl::private(&access::owner_id(&bucket, &version));
    let acl = version.attributes.acl.as_ref().unwrap_or(&private);
    let (owner, grants) = acls::document(gateway, acl).await?;
    Ok(S3Response::new(GetObjectAclOutput {
        owner: Some(owner),
        grants: Some(grants),
        ..GetObjectAclOutput::default()
    }))
}
