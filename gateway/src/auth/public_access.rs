//! What owners of buckets switch off: public access, and ACLs as such.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html>
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html>

use s3s::dto;
use serde::{Deserialize, Serialize};

use super::acl::{Acl, AclRequest, CannedAcl, Grant, Grantee, Permission};
use super::policy::Policy;

/// Public access that a bucket refuses, whatever its policy and ACLs say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublicAccessBlock {
    /// Refuses requests that would make an ACL public.
    pub block_public_acls: bool,
    /// Grants to the public in ACLs do not count.
    pub ignore_public_acls: bool,
    /// Refuses a bucket policy that is public.
    pub block_public_policy: bool,
    /// While the bucket policy is public, only the owner has access.
    pub restrict_public_buckets: bool,
}

impl From<&dto::PublicAccessBlockConfiguration> for PublicAccessBlock {
    fn from(config: &dto::PublicAccessBlockConfiguration) -> Self {
        Self {
            block_public_acls: config.block_public_acls.unwrap_or_default(),
            ignore_public_acls: config.ignore_public_acls.unwrap_or_default(),
            block_public_policy: config.block_public_policy.unwrap_or_default(),
            restrict_public_buckets: config.restrict_public_buckets.unwrap_or_default(),
        }
    }
}

impl PublicAccessBlock {
    /// Whether this ACL may not be written (`AccessDenied`).
    pub fn refuses_acl(self, acl: &Acl) -> bool {
        self.block_public_acls && acl.is_public()
    }

    /// Whether this bucket policy may not be written (`AccessDenied`).
    pub fn refuses_policy(self, policy: &Policy) -> bool {
        self.block_public_policy && policy.is_public()
    }

    /// Whether nobody but the owner has access under this policy.
    pub fn restricts(self, policy: Option<&Policy>) -> bool {
        self.restrict_public_buckets && policy.is_some_and(Policy::is_public)
    }
}

/// Who owns what others write, and whether ACLs count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ownership {
    /// Who wrote it.
    #[default]
    ObjectWriter,
    /// The bucket's owner, if the writer says so.
    BucketOwnerPreferred,
    /// The bucket's owner; ACLs are off.
    BucketOwnerEnforced,
}

impl Ownership {
    /// Whether ACLs count.
    pub fn acls_count(self) -> bool {
        self != Self::BucketOwnerEnforced
    }

    /// Whether a request may say this about an ACL. If not, the answer is
    /// `AccessControlListNotSupported`. Full control for the bucket's owner may
    /// be said even where ACLs are off: it is what holds there anyway.
    pub fn takes(self, request: &AclRequest, bucket_owner: &str) -> bool {
        self.acls_count()
            || match request {
                AclRequest::None => true,
                AclRequest::Canned(canned) => *canned == CannedAcl::BucketOwnerFullControl,
                AclRequest::Grants(grants) => matches!(
                    grants.as_slice(),
                    [Grant { grantee: Grantee::Canonical(id), permission: Permission::FullControl }]
                        if id == bucket_owner
                ),
            }
    }

    /// Whether a bucket with this ACL may have this ownership. If not, the
    /// answer is `InvalidBucketAclWithObjectOwnership`.
    pub fn suits(self, bucket_acl: &Acl) -> bool {
        self.acls_count() || bucket_acl.is_private()
    }

    /// The canonical user id of who will own an object that `writer` writes.
    /// What nobody in particular writes ("") is the bucket owner's.
    pub fn owner<'a>(
        self,
        writer: &'a str,
        bucket_owner: &'a str,
        request: &AclRequest,
    ) -> &'a str {
        let offered = *request == AclRequest::Canned(CannedAcl::BucketOwnerFullControl);
        match self {
            _ if writer.is_empty() => bucket_owner,
            Self::ObjectWriter => writer,
            Self::BucketOwnerPreferred if offered => bucket_owner,
            Self::BucketOwnerPreferred => writer,
            Self::BucketOwnerEnforced => bucket_owner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*",
        "Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}}"#;

    fn canned(name: &str) -> AclRequest {
        AclRequest::Canned(CannedAcl::parse(name).unwrap())
    }

    #[test]
    fn z11_a_public_access_block_refuses_what_is_public_and_only_that() {
        let all = PublicAccessBlock {
            block_public_acls: true,
            ignore_public_acls: true,
            block_public_policy: true,
            restrict_public_buckets: true,
        };
        let none = PublicAccessBlock::default();
        let public = canned("public-read").for_bucket("ann").unwrap();
        let authenticated = canned("authenticated-read").for_bucket("ann").unwrap();
        assert!(all.refuses_acl(&public) && all.refuses_acl(&authenticated));
        assert!(!none.refuses_acl(&public));
        assert!(!all.refuses_acl(&Acl::private("ann")));

        let public = Policy::parse_bucket(PUBLIC, "b").unwrap();
        let private =
            PUBLIC.replace(r#""*""#, r#"{"AWS":"arn:aws:iam::bob:root"}"#).replace("b/*", "*");
        let private = Policy::parse_bucket(&private, "b").unwrap();
        assert!(all.refuses_policy(&public) && all.restricts(Some(&public)));
        assert!(!none.refuses_policy(&public) && !none.restricts(Some(&public)));
        assert!(!all.refuses_policy(&private) && !all.restricts(Some(&private)));
        assert!(!all.restricts(None));
    }

    #[test]
    fn where_acls_are_off_only_full_control_for_the_owner_may_be_said() {
        let full = |id: &str| {
            AclRequest::Grants(vec![Grant {
                grantee: Grantee::Canonical(id.to_owned()),
                permission: Permission::FullControl,
            }])
        };
        let enforced = Ownership::BucketOwnerEnforced;
        assert!(enforced.takes(&AclRequest::None, "ann"));
        assert!(enforced.takes(&canned("bucket-owner-full-control"), "ann"));
        assert!(enforced.takes(&full("ann"), "ann"));
        assert!(!enforced.takes(&full("bob"), "ann"));
        assert!(!enforced.takes(&canned("private"), "ann"));
        assert!(!enforced.takes(&canned("public-read"), "ann"));
        assert!(Ownership::ObjectWriter.takes(&canned("public-read"), "ann"));

        let public = canned("public-read").for_bucket("ann").unwrap();
        assert!(!enforced.suits(&public) && enforced.suits(&Acl::private("ann")));
        assert!(Ownership::BucketOwnerPreferred.suits(&public));
    }

    #[test]
    fn who_owns_what_others_write() {
        let none = AclRequest::None;
        let offered = canned("bucket-owner-full-control");
        let owner =
            |ownership: Ownership, request| ownership.owner("bob", "ann", request).to_owned();
        assert_eq!(owner(Ownership::ObjectWriter, &offered), "bob");
        assert_eq!(owner(Ownership::BucketOwnerPreferred, &none), "bob");
        assert_eq!(owner(Ownership::BucketOwnerPreferred, &offered), "ann");
        assert_eq!(owner(Ownership::BucketOwnerEnforced, &none), "ann");
        assert_eq!(Ownership::ObjectWriter.owner("", "ann", &none), "ann");
    }
}
