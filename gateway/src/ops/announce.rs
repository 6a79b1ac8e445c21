//! What an operation tells the targets of a bucket, if it comes to pass.

use crate::auth::identity::{AuthKind, Caller};
use crate::events::{self, Draft, Name, Origin};
use crate::gateway::Gateway;
use crate::meta::Bucket;

/// Drafts of those of `names` that somebody wants to hear of.
pub fn of(
    gateway: &Gateway,
    caller: &Caller,
    bucket: &Bucket,
    key: &str,
    names: &[Name],
) -> Vec<Draft> {
    if bucket.config.notification.is_none() {
        return Vec::new();
    }
    let (region, requester) = (&gateway.settings.region, &caller.identity.canonical_id);
    let origin = Origin::of_request(region, bucket, key.as_bytes(), requester, caller.peer);
    events::drafts(bucket, &origin, names)
}

/// Drafts for an object that is put: by a request, or by a form.
pub fn created(gateway: &Gateway, caller: &Caller, bucket: &Bucket, key: &str) -> Vec<Draft> {
    let name = if caller.auth == AuthKind::Form { Name::Post } else { Name::Put };
    of(gateway, caller, bucket, key, &[name])
}
