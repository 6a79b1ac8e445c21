//! Access control lists: an owner, and grants to accounts and groups.
//!
//! Pure: who an id or e-mail address belongs to is asked of the caller. What a
//! grant is worth for an action is in `auth::authorize`, and whether ACLs count
//! at all in `auth::public_access`.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html>

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Grants that an ACL may have.
pub const GRANTS_MAX: usize = 100;

const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED_USERS: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

/// Who may do what with a bucket or an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl {
    /// Canonical user id.
    pub owner: String,
    /// Groups first. At most [`GRANTS_MAX`].
    pub grants: Vec<Grant>,
}

/// One line of an ACL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// To whom.
    pub grantee: Grantee,
    /// What.
    pub permission: Permission,
}

/// Whom a grant is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    /// The account with this canonical user id.
    Canonical(String),
    /// Everybody, signed or not.
    AllUsers,
    /// Every account of this gateway.
    AuthenticatedUsers,
    /// The gateway where it writes access logs.
    LogDelivery,
}

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permission {
    /// All of the others.
    FullControl,
    /// List a bucket, read an object.
    Read,
    /// Write to a bucket.
    Write,
    /// Read the ACL.
    ReadAcp,
    /// Write the ACL.
    WriteAcp,
}

/// Who asks an ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker<'a> {
    /// Nobody signed.
    Anonymous,
    /// The account with this canonical user id.
    Account(&'a str),
    /// The gateway where it writes access logs.
    LogDelivery,
}

/// Why an ACL is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AclError {
    /// `InvalidArgument`.
    #[error("{0}")]
    Invalid(String),
    /// `UnresolvableGrantByEmailAddress`.
    #[error("The email address you provided does not match any account on record.")]
    UnknownEmail,
    /// `InvalidRequest`.
    #[error("Specifying both Canned ACLs and Header Grants is not allowed")]
    CannedAndGrants,
    /// `MalformedACLError`.
    #[error("An ACL may have {GRANTS_MAX} grants, this has {0}.")]
    TooMany(usize),
}

impl Acl {
    /// An ACL that leaves everything to the owner.
    pub fn private(owner: &str) -> Self {
        let grants = vec![grant(Grantee::Canonical(owner.to_owned()), Permission::FullControl)];
        Self { owner: owner.to_owned(), grants }
    }

    /// An ACL with these grants.
    pub fn new(owner: &str, mut grants: Vec<Grant>) -> Result<Self, AclError> {
        if grants.len() > GRANTS_MAX {
            return Err(AclError::TooMany(grants.len()));
        }
        // Clients expect groups before accounts.
        grants.sort_by_key(|grant| matches!(grant.grantee, Grantee::Canonical(_)));
        Ok(Self { owner: owner.to_owned(), grants })
    }

    /// Whether people whom nobody chose may do anything.
    pub fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| grant.grantee.is_public())
    }

    /// Whether nobody but the owner may do anything.
    pub fn is_private(&self) -> bool {
        self.grants.iter().all(|grant| grant.grantee == Grantee::Canonical(self.owner.clone()))
    }

    /// Whether a grant gives `asker` the permission. `ignore_public` leaves out
    /// grants to the public. What owners may do without a grant is not asked here.
    pub fn allows(&self, asker: Asker<'_>, permission: Permission, ignore_public: bool) -> bool {
        self.grants.iter().any(|grant| {
            (grant.permission == permission || grant.permission == Permission::FullControl)
                && grant.grantee.includes(asker)
                && !(ignore_public && grant.grantee.is_public())
        })
    }
}

impl Grantee {
    /// The group with this URI.
    pub fn from_uri(uri: &str) -> Result<Self, AclError> {
        match uri {
            ALL_USERS => Ok(Self::AllUsers),
            AUTHENTICATED_USERS => Ok(Self::AuthenticatedUsers),
            LOG_DELIVERY => Ok(Self::LogDelivery),
            _ => Err(AclError::Invalid("Invalid group uri".to_owned())),
        }
    }

    /// The URI of a group.
    pub fn uri(&self) -> Option<&'static str> {
        match self {
            Self::Canonical(_) => None,
            Self::AllUsers => Some(ALL_USERS),
            Self::AuthenticatedUsers => Some(AUTHENTICATED_USERS),
            Self::LogDelivery => Some(LOG_DELIVERY),
        }
    }

    fn is_public(&self) -> bool {
        matches!(self, Self::AllUsers | Self::AuthenticatedUsers)
    }

    fn includes(&self, asker: Asker<'_>) -> bool {
        match (self, asker) {
            (Self::Canonical(id), Asker::Account(asker)) => id == asker,
            (Self::AllUsers, _) => true,
            (Self::AuthenticatedUsers, Asker::Account(_)) => true,
            (Self::LogDelivery, Asker::LogDelivery) => true,
            _ => false,
        }
    }
}

impl Permission {
    /// All of them, in the order of the headers that grant them.
    pub const ALL: [Self; 5] =
        [Self::Read, Self::Write, Self::ReadAcp, Self::WriteAcp, Self::FullControl];

    /// The word for it in XML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FullControl => "FULL_CONTROL",
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadAcp => "READ_ACP",
            Self::WriteAcp => "WRITE_ACP",
        }
    }

    /// The permission of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.as_str() == word)
    }

    /// The header that grants it.
    pub fn header(self) -> &'static str {
        match self {
            Self::FullControl => "x-amz-grant-full-control",
            Self::Read => "x-amz-grant-read",
            Self::Write => "x-amz-grant-write",
            Self::ReadAcp => "x-amz-grant-read-acp",
            Self::WriteAcp => "x-amz-grant-write-acp",
        }
    }
}

fn grant(grantee: Grantee, permission: Permission) -> Grant {
    Grant { grantee, permission }
}

/// An ACL by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannedAcl {
    /// `private`, and `aws-exec-read`, which grants something to a service that
    /// is not here.
    Private,
    /// `public-read`
    PublicRead,
    /// `public-read-write`
    PublicReadWrite,
    /// `authenticated-read`
    AuthenticatedRead,
    /// `bucket-owner-read`
    BucketOwnerRead,
    /// `bucket-owner-full-control`
    BucketOwnerFullControl,
    /// `log-delivery-write`
    LogDeliveryWrite,
}

impl CannedAcl {
    /// The canned ACL of this name.
    pub fn parse(name: &str) -> Result<Self, AclError> {
        Ok(match name {
            "private" | "aws-exec-read" => Self::Private,
            "public-read" => Self::PublicRead,
            "public-read-write" => Self::PublicReadWrite,
            "authenticated-read" => Self::AuthenticatedRead,
            "bucket-owner-read" => Self::BucketOwnerRead,
            "bucket-owner-full-control" => Self::BucketOwnerFullControl,
            "log-delivery-write" => Self::LogDeliveryWrite,
            _ => return Err(AclError::Invalid(format!("There is no canned ACL {name:?}."))),
        })
    }

    /// The grants that it makes besides the owner's; `bucket_owner` is none for
    /// a bucket itself, where what is for its owner says nothing new.
    fn grants(self, bucket_owner: Option<&str>) -> Vec<Grant> {
        let to_bucket_owner = |permission| {
            let id = bucket_owner.map(str::to_owned);
            id.map(|id| grant(Grantee::Canonical(id), permission)).into_iter().collect()
        };
        match self {
            Self::Private => Vec::new(),
            Self::PublicRead => vec![grant(Grantee::AllUsers, Permission::Read)],
            Self::PublicReadWrite => vec![
                grant(Grantee::AllUsers, Permission::Read),
                grant(Grantee::AllUsers, Permission::Write),
            ],
            Self::AuthenticatedRead => {
                vec![grant(Grantee::AuthenticatedUsers, Permission::Read)]
            }
            Self::BucketOwnerRead => to_bucket_owner(Permission::Read),
            Self::BucketOwnerFullControl => to_bucket_owner(Permission::FullControl),
            Self::LogDeliveryWrite => vec![
                grant(Grantee::LogDelivery, Permission::Write),
                grant(Grantee::LogDelivery, Permission::ReadAcp),
            ],
        }
    }
}

/// What a request says about the ACL of what it makes or changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AclRequest {
    /// Nothing: private.
    #[default]
    None,
    /// `x-amz-acl`.
    Canned(CannedAcl),
    /// `x-amz-grant-*`, or a document.
    Grants(Vec<Grant>),
}

/// A grantee as a request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedGrantee<'a> {
    /// By canonical user id.
    Id(&'a str),
    /// By e-mail address.
    Email(&'a str),
}

impl NamedGrantee<'_> {
    /// The grantee, if there is an account of this name; `resolve` gives the
    /// canonical user id of one.
    pub fn find(
        self,
        resolve: impl FnOnce(NamedGrantee<'_>) -> Option<String>,
    ) -> Result<Grantee, AclError> {
        match (resolve(self), self) {
            (Some(id), _) => Ok(Grantee::Canonical(id)),
            (None, NamedGrantee::Id(_)) => Err(AclError::Invalid("Invalid id".to_owned())),
            (None, NamedGrantee::Email(_)) => Err(AclError::UnknownEmail),
        }
    }
}

impl AclRequest {
    /// Reads `x-amz-acl` and the headers that grant permissions; `grants` has
    /// the values of the latter. `resolve` gives the canonical user id of an
    /// account, if there is such an account.
    pub fn from_headers<'a>(
        canned: Option<&str>,
        grants: impl IntoIterator<Item = (Permission, &'a str)>,
        resolve: impl Fn(NamedGrantee<'_>) -> Option<String>,
    ) -> Result<Self, AclError> {
        let mut parsed = Vec::new();
        for (permission, header) in grants {
            for part in split_grants(header)? {
                if parsed.len() == GRANTS_MAX {
                    return Err(AclError::TooMany(GRANTS_MAX + 1));
                }
                parsed.push(grant(header_grantee(part, &resolve)?, permission));
            }
        }
        match (canned, parsed.is_empty()) {
            (None, true) => Ok(Self::None),
            (None, false) => Ok(Self::Grants(parsed)),
            (Some(name), true) => Ok(Self::Canned(CannedAcl::parse(name)?)),
            (Some(_), false) => Err(AclError::CannedAndGrants),
        }
    }

    /// The ACL of a bucket.
    pub fn for_bucket(&self, owner: &str) -> Result<Acl, AclError> {
        self.acl(owner, None)
    }

    /// The ACL of an object.
    pub fn for_object(&self, owner: &str, bucket_owner: &str) -> Result<Acl, AclError> {
        if *self == Self::Canned(CannedAcl::LogDeliveryWrite) {
            let sentence = "log-delivery-write is an ACL for buckets.";
            return Err(AclError::Invalid(sentence.to_owned()));
        }
        self.acl(owner, Some(bucket_owner))
    }

    fn acl(&self, owner: &str, bucket_owner: Option<&str>) -> Result<Acl, AclError> {
        let canned = match self {
            Self::None => CannedAcl::Private,
            Self::Canned(canned) => *canned,
            Self::Grants(grants) => return Acl::new(owner, grants.clone()),
        };
        let mut grants = Acl::private(owner).grants;
        // Who owns both needs no second grant.
        grants.extend(canned.grants(bucket_owner.filter(|bucket_owner| *bucket_owner != owner)));
        Acl::new(owner, grants)
    }
}

/// Cuts `id="a", uri="b"` at commas that are outside of quotes.
fn split_grants(header: &str) -> Result<Vec<&str>, AclError> {
    let mut quoted = false;
    let outside = |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    let parts: Vec<&str> = header.split(outside).map(str::trim).collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(AclError::Invalid("Argument format not recognized".to_owned()));
    }
    Ok(parts)
}

/// `id="..."`, `uri="..."` or `emailAddress="..."`; the quotes may be missing.
fn header_grantee(
    part: &str,
    resolve: impl Fn(NamedGrantee<'_>) -> Option<String>,
) -> Result<Grantee, AclError> {
    let invalid = || AclError::Invalid("Argument format not recognized".to_owned());
    let (kind, value) = part.split_once('=').ok_or_else(invalid)?;
    let value = value.trim();
    let value = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or_else(invalid)?,
        None => value,
    };
    if value.is_empty() || value.contains('"') {
        return Err(invalid());
    }
    let kind = kind.trim();
    if kind.eq_ignore_ascii_case("id") {
        NamedGrantee::Id(value).find(resolve)
    } else if kind.eq_ignore_ascii_case("emailAddress") {
        NamedGrantee::Email(value).find(resolve)
    } else if kind.eq_ignore_ascii_case("uri") {
        Grantee::from_uri(value)
    } else {
        Err(invalid())
    }
}

#[cfg(test)]
mod tests;
