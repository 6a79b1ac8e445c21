//! ACLs as requests bring them: canned, as headers that grant, or as documents.

use http::HeaderMap;
use s3s::dto::{self, AccessControlPolicy, Owner, Type};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::access::{ownership, public_access};
use crate::auth::acl::{Acl, AclError, AclRequest, Grant, Grantee, NamedGrantee, Permission};
use crate::auth::identity::{Caller, Denied};
use crate::error::{custom, refuse};
use crate::gateway::Gateway;
use crate::meta::{Account, Bucket, canonical_id};

/// Whether the headers ask for an ACL.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name == "x-amz-acl" || name.as_str().starts_with("x-amz-grant-"))
}

/// What the headers say about an ACL.
pub async fn from_headers(gateway: &Gateway, headers: &HeaderMap) -> S3Result<AclRequest> {
    if !is_asked_for(headers) {
        return Ok(AclRequest::None);
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let granted = |permission: Permission| Some((permission, text(permission.header())?));
    let grants: Vec<_> = Permission::ALL.into_iter().filter_map(granted).collect();
    // Only grants name accounts.
    let accounts = match grants.is_empty() {
        true => Vec::new(),
        false => gateway.meta.accounts().await?,
    };
    let asked = AclRequest::from_headers(text("x-amz-acl"), grants, |named| find(&accounts, named));
    asked.map_err(refusal)
}

/// Canonical id of the account that a grant names.
pub fn find(accounts: &[Account], named: NamedGrantee<'_>) -> Option<String> {
    let mut accounts = accounts.iter();
    let found = match named {
        NamedGrantee::Id(id) => accounts.find(|account| account.canonical_id() == id),
        NamedGrantee::Email(email) => {
            accounts.find(|account| !email.is_empty() && account.email.eq_ignore_ascii_case(email))
        }
    };
    found.map(Account::canonical_id)
}

/// What a new object's ACL and owner are.
pub struct Owned {
    /// The owner; `None` is anybody.
    pub owner: Option<protocol::AccountId>,
    /// The ACL; `None` is private.
    pub acl: Option<Acl>,
}

/// The owner and ACL of a new object.
pub async fn of_new_object(
    gateway: &Gateway,
    caller: &Caller,
    bucket: &Bucket,
    headers: &HeaderMap,
) -> S3Result<Owned> {
    let asked = from_headers(gateway, headers).await?;
    let bucket_owner = canonical_id(bucket.account);
    let ownership = ownership(bucket);
    if !ownership.takes(&asked, &bucket_owner) {
        return Err(not_supported());
    }
    let writer = caller.identity.canonical_id.as_str();
    let owner = ownership.owner(writer, &bucket_owner, &asked);
    let account =
        if owner == bucket_owner { Some(bucket.account) } else { caller.identity.account };
    if asked == AclRequest::None || !ownership.acls_count() {
        return Ok(Owned { owner: account, acl: None });
    }
    let acl = asked.for_object(owner, &bucket_owner).map_err(refusal)?;
    check_public(bucket, &acl)?;
    Ok(Owned { owner: account, acl: Some(acl) })
}

/// Refuses an ACL that would make public what may not be.
pub fn check_public(bucket: &Bucket, acl: &Acl) -> S3Result<()> {
    if public_access(bucket).refuses_acl(acl) {
        return Err(Denied.into());
    }
    Ok(())
}

/// What is said of an ACL where they are off.
pub fn not_supported() -> S3Error {
    custom(
        "AccessControlListNotSupported",
        http::StatusCode::BAD_REQUEST,
        "The bucket does not allow ACLs",
    )
}

/// An ACL that makes no sense.
pub fn refusal(error: AclError) -> S3Error {
    let sentence = error.to_string();
    match error {
        AclError::Invalid(_) => refuse(S3ErrorCode::InvalidArgument, sentence),
        AclError::UnknownEmail => refuse(S3ErrorCode::UnresolvableGrantByEmailAddress, sentence),
        AclError::CannedAndGrants => refuse(S3ErrorCode::InvalidRequest, sentence),
        AclError::TooMany(_) => refuse(S3ErrorCode::MalformedACLError, sentence),
    }
}

/// What a request asks an ACL to be: by headers, or by a document. One of them
/// must be there.
pub async fn asked(
    gateway: &Gateway,
    headers: &HeaderMap,
    document: Option<&AccessControlPolicy>,
    owner: &str,
) -> S3Result<AclRequest> {
    let by_headers = from_headers(gateway, headers).await?;
    let Some(document) = document else {
        if by_headers == AclRequest::None {
            return Err(refuse(
                S3ErrorCode::MissingSecurityHeader,
                "Your request was missing a required header",
            ));
        }
        return Ok(by_headers);
    };
    if by_headers != AclRequest::None {
        return Err(refuse(
            S3ErrorCode::UnexpectedContent,
            "This request does not support content",
        ));
    }
    let named = document.owner.as_ref().and_then(|owner| owner.id.as_deref());
    if named.is_some_and(|named| named != owner) {
        // An ACL cannot give an object away.
        return Err(Denied.into());
    }
    let accounts = gateway.meta.accounts().await?;
    let mut grants = Vec::new();
    for grant in document.grants.iter().flatten() {
        grants.push(parse_grant(grant, &accounts)?);
    }
    Ok(AclRequest::Grants(grants))
}

fn parse_grant(grant: &dto::Grant, accounts: &[Account]) -> S3Result<Grant> {
    let malformed = || {
        refuse(
            S3ErrorCode::MalformedACLError,
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    };
    let permission = grant.permission.as_ref().and_then(|word| Permission::parse(word.as_str()));
    let to = grant.grantee.as_ref().ok_or_else(malformed)?;
    let find = |named: NamedGrantee<'_>| find(accounts, named);
    let grantee = match (&to.id, &to.uri, &to.email_address) {
        (Some(id), None, None) => NamedGrantee::Id(id).find(find),
        (None, Some(uri), None) => Grantee::from_uri(uri),
        (None, None, Some(email)) => NamedGrantee::Email(email).find(find),
        _ => return Err(malformed()),
    };
    Ok(Grant { grantee: grantee.map_err(refusal)?, permission: permission.ok_or_else(malformed)? })
}

/// An ACL as S3 types have it.
pub async fn document(gateway: &Gateway, acl: &Acl) -> S3Result<(Owner, Vec<dto::Grant>)> {
    let accounts = gateway.meta.accounts().await?;
    let name = |id: &str| {
        let found = accounts.iter().find(|account| account.canonical_id() == id);
        found.map(|account| account.display_name.clone())
    };
    let owner = Owner { id: Some(acl.owner.clone()), display_name: name(&acl.owner) };
    let grants = acl.grants.iter().map(|grant| {
        let grantee = match &grant.grantee {
            Grantee::Canonical(id) => dto::Grantee {
                id: Some(id.clone()),
                display_name: name(id),
                type_: Type::from_static(Type::CANONICAL_USER),
                email_address: None,
                uri: None,
            },
            group => dto::Grantee {
                uri: group.uri().map(str::to_owned),
                type_: Type::from_static(Type::GROUP),
                id: None,
                display_name: None,
                email_address: None,
            },
        };
        let permission = dto::Permission::from_static(grant.permission.as_str());
        dto::Grant { grantee: Some(grantee), permission: Some(permission) }
    });
    Ok((owner, grants.collect()))
}
