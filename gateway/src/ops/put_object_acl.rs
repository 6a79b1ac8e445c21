//! PutObjectAcl: replaces the ACL of an object.

use std::sync::Arc;

use s3s::dto::{PutObjectAclInput, PutObjectAclOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::acls;
use super::announce;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::events::Name;
use crate::gateway::{Gateway, now_ms};
use crate::meta::{Version, canonical_id};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutObjectAclInput>,
) -> S3Result<S3Response<PutObjectAclOutput>> {
    let S3Request { input, headers, .. } = request;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, owner).await?;
    let id = input.version_id.as_deref();
    let action = if id.is_some() { Action::PutObjectVersionAcl } else { Action::PutObjectAcl };
    let ask = Ask::object(caller, &bucket, action, &input.key);
    let version = access::version(gateway, ask, id).await?;
    let (owner, bucket_owner) = (access::owner_id(&bucket, &version), canonical_id(bucket.account));
    let document = input.access_control_policy.as_ref();
    let asked = acls::asked(gateway, &headers, document, &owner).await?;
    if !access::ownership(&bucket).takes(&asked, &bucket_owner) {
        return Err(acls::not_supported());
    }
    let acl = asked.for_object(&owner, &bucket_owner).map_err(acls::refusal)?;
    acls::check_public(&bucket, &acl)?;
    let change = move |version: &mut Version| {
        version.attributes.acl = Some(acl);
        Ok(())
    };
    let events = announce::of(gateway, caller, &bucket, &input.key, &[Name::AclPut]);
    let place = (bucket.id, input.key.into_bytes(), Some(version.version_id));
    gateway.meta.change_version_and_tell(place, events, now_ms(), change).await?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}
