//! ACLs as requests bring them.

use http::HeaderMap;
use s3s::S3Result;

use crate::auth::acl::Acl;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::Bucket;

/// Whether the headers ask for an ACL.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name == "x-amz-acl" || name.as_str().starts_with("x-amz-grant-"))
}

/// The ACL of a new object.
pub async fn of_new_object(
    _gateway: &Gateway,
    _caller: &Caller,
    _bucket: &Bucket,
    _headers: &HeaderMap,
) -> S3Result<Option<Acl>> {
    Ok(None)
}
