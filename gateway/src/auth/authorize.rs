//! The decision: may this caller do that?
//!
//! One function looks at everything that has a say. Nothing is allowed by
//! default, and what one policy denies no other allows:
//!
//! 1. Each policy of the key and session must allow it, if there are any.
//! 2. The bucket policy must not deny it. Only the owner's way to repair that
//!    policy is left open.
//! 3. Somebody whose it is must want it: the caller owns it, the bucket policy
//!    allows it, or an ACL does.
//!
//! Pure. Not here: what a request is called and which facts come with it
//! (`ops::access`, `auth::request_context`).

pub use super::action::Action;

use super::acl::{Acl, Asker, Permission};
use super::action::AclRule;
use super::identity::{Denied, Identity};
use super::policy::{Context, Decision, Policy, Principal, Request};
use super::public_access::{Ownership, PublicAccessBlock};

/// Something that a caller wants to do, and everything that has a say in it.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Who.
    pub who: &'a Identity,
    /// What.
    pub action: Action,
    /// With what: the ARN of the bucket or, with the full key, of the object.
    pub resource: &'a str,
    /// Canonical user id of the bucket's owner. Where there is no bucket yet, it
    /// would be the caller's.
    pub bucket_owner: &'a str,
    /// The bucket's ACL; none is private.
    pub bucket_acl: Option<&'a Acl>,
    /// The object, if it is about one that exists.
    pub object: Option<ObjectAccess<'a>>,
    /// The bucket policy.
    pub policy: Option<&'a Policy>,
    /// Whether ACLs count.
    pub ownership: Ownership,
    /// What is not public in spite of policies and ACLs.
    pub public_access: PublicAccessBlock,
    /// What conditions may ask.
    pub context: &'a Context,
}

/// What an object has to say.
#[derive(Clone, Copy, Debug)]
pub struct ObjectAccess<'a> {
    /// Canonical user id of its owner.
    pub owner: &'a str,
    /// Its ACL; none is private.
    pub acl: Option<&'a Acl>,
}

/// What allowed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// It is the caller's.
    Owner,
    /// The bucket policy.
    Policy,
    /// An ACL, and nothing else.
    Acl,
}

/// The ARN of a bucket.
pub fn bucket_arn(bucket: &str) -> String {
    format!("arn:aws:s3:::{bucket}")
}

/// The ARN of an object: its full key, as it is.
pub fn object_arn(bucket: &str, key: &str) -> String {
    format!("arn:aws:s3:::{bucket}/{key}")
}

/// Whether it may be done.
pub fn authorize(access: &Access<'_>) -> Result<(), Denied> {
    decide(access).map(|_| ())
}

/// Whether it may be done, and why.
pub fn decide(access: &Access<'_>) -> Result<Basis, Denied> {
    let request = access.request();
    let allows = |policy: &Policy| policy.evaluate(&request) == Decision::Allow;
    if !access.who.policies.iter().all(|policy| allows(policy)) {
        return Err(Denied);
    }
    let owns_bucket = access.is_caller(access.bucket_owner);
    let vote = access.policy.map_or(Decision::NoMatch, |policy| policy.evaluate(&request));
    if vote == Decision::Deny && !(owns_bucket && access.action.repairs_policy()) {
        return Err(Denied);
    }
    if !owns_bucket && access.public_access.restricts(access.policy) {
        return Err(Denied);
    }
    let owner = access.owner();
    if access.is_caller(owner) {
        Ok(Basis::Owner)
    } else if vote == Decision::Allow && owner == access.bucket_owner {
        // The bucket policy speaks for the bucket's owner: it cannot give away
        // what is another's.
        Ok(Basis::Policy)
    } else if access.acl_allows() {
        Ok(Basis::Acl)
    } else {
        Err(Denied)
    }
}

impl<'a> Access<'a> {
    fn request(&self) -> Request<'a> {
        let principal = if self.who.is_anonymous() {
            Principal::Anonymous
        } else {
            Principal::Account {
                canonical_id: &self.who.canonical_id,
                name: &self.who.account_name,
            }
        };
        Request {
            action: self.action.name(),
            resource: self.resource,
            principal,
            context: self.context,
        }
    }

    /// Whether the caller is the account with this canonical user id.
    fn is_caller(&self, id: &str) -> bool {
        !self.who.is_anonymous() && !id.is_empty() && self.who.canonical_id == id
    }

    /// Whose it is to allow the action.
    fn owner(&self) -> &'a str {
        match self.object {
            Some(object) if self.ownership.acls_count() && self.action.is_of_object_owner() => {
                object.owner
            }
            _ => self.bucket_owner,
        }
    }

    fn acl_allows(&self) -> bool {
        if !self.ownership.acls_count() {
            return false;
        }
        let (acl, permission): (Option<&Acl>, Permission) = match self.action.acl_rule() {
            Some(AclRule::Bucket(permission)) => (self.bucket_acl, permission),
            Some(AclRule::Object(permission)) => {
                (self.object.and_then(|object| object.acl), permission)
            }
            None => return false,
        };
        let asker = if self.who.is_anonymous() {
            Asker::Anonymous
        } else {
            Asker::Account(&self.who.canonical_id)
        };
        let ignore_public = self.public_access.ignore_public_acls;
        acl.is_some_and(|acl| acl.allows(asker, permission, ignore_public))
    }
}

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
