//! Asking for leave: what an operation wants to do, in the words of policies and
//! ACLs. The decision itself is in `auth::authorize`.

use std::sync::Arc;

use protocol::AccountId;
use s3s::{S3Error, S3Result};

use crate::auth::authorize::{Access, Action, Basis, ObjectAccess, bucket_arn, decide, object_arn};
use crate::auth::identity::{Caller, Denied};
use crate::auth::policy::Context;
use crate::auth::public_access::{Ownership, PublicAccessBlock};
use crate::auth::request_context;
use crate::gateway::{Gateway, now_ms};
use crate::meta::{Bucket, MetaError, Upload, Version, canonical_id};

/// One thing that a caller wants to do.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    caller: &'a Caller,
    bucket: &'a Bucket,
    action: Action,
    key: Option<&'a str>,
    version: Option<&'a Version>,
    /// Whether it is about an object that the caller makes, and will own.
    makes: bool,
    /// The key of which a listing would tell whether it is there.
    listed: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// Something about the bucket itself.
    pub fn bucket(caller: &'a Caller, bucket: &'a Bucket, action: Action) -> Self {
        Self { caller, bucket, action, key: None, version: None, makes: false, listed: None }
    }

    /// Something about an object.
    pub fn object(caller: &'a Caller, bucket: &'a Bucket, action: Action, key: &'a str) -> Self {
        Self { caller, bucket, action, key: Some(key), version: None, makes: false, listed: None }
    }

    /// The account that pays for it: that of the bucket.
    pub fn payer(&self) -> AccountId {
        self.bucket.account
    }

    /// The version that it is about, whose owner, ACL and tags count.
    pub fn version(self, version: &'a Version) -> Self {
        Self { version: Some(version), ..self }
    }

    /// It is about an object that the caller makes, and so is its owner's to do.
    pub fn of_new(self) -> Self {
        Self { makes: true, ..self }
    }

    /// Whether it may be done.
    pub fn check(&self) -> S3Result<()> {
        self.decide()?;
        Ok(())
    }

    /// Whether it may be done, and why.
    pub fn decide(&self) -> Result<Basis, Denied> {
        let (bucket, who) = (self.bucket, &self.caller.identity);
        let config = &bucket.config;
        let policy = config.parsed_policy(&bucket.name);
        // Nobody asks for what a request says where there is no policy.
        let context = match policy.is_some() || !who.policies.is_empty() {
            true => self.context(),
            false => Context::default(),
        };
        let resource = match self.key {
            Some(key) => object_arn(&bucket.name, key),
            None => bucket_arn(&bucket.name),
        };
        let bucket_owner = canonical_id(bucket.account);
        let owner = self.version.map(|version| owner_id(bucket, version));
        let object = match (self.version, &owner) {
            (Some(version), Some(owner)) => {
                Some(ObjectAccess { owner, acl: version.attributes.acl.as_ref() })
            }
            _ if self.makes => Some(ObjectAccess { owner: &who.canonical_id, acl: None }),
            _ => None,
        };
        decide(&Access {
            who,
            action: self.action,
            resource: &resource,
            bucket_owner: &bucket_owner,
            bucket_acl: config.acl.as_ref(),
            object,
            policy: policy.map(Arc::as_ref),
            ownership: ownership(bucket),
            public_access: public_access(bucket),
            context: &context,
        })
    }

    fn context(&self) -> Context {
        let facts = &self.caller.facts;
        let mut context = request_context::of(self.caller, &facts.headers, &facts.query, now_ms());
        let tagging = facts.headers.get("x-amz-tagging").and_then(|value| value.to_str().ok());
        if let Some(tagging) = tagging {
            let tags: Vec<_> = form_urlencoded::parse(tagging.as_bytes()).collect();
            let tags = tags.iter().map(|(key, value)| (key.as_ref(), value.as_ref()));
            request_context::add_request_tags(&mut context, tags);
        }
        if let Some(key) = self.listed {
            context.set("s3:prefix", key);
        }
        if let Some(version) = self.version {
            let tags = &version.attributes.tags;
            let tags = tags.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            request_context::add_existing_tags(&mut context, tags);
        }
        context
    }
}

/// Canonical id of the owner of a version.
pub fn owner_id(bucket: &Bucket, version: &Version) -> String {
    canonical_id(version.owner.unwrap_or(bucket.account))
}

/// Who owns what others write to a bucket, and whether ACLs count: they do until
/// somebody says otherwise.
pub fn ownership(bucket: &Bucket) -> Ownership {
    bucket.config.ownership.unwrap_or(Ownership::ObjectWriter)
}

/// What is not public in a bucket, whatever policies and ACLs say.
pub fn public_access(bucket: &Bucket) -> PublicAccessBlock {
    bucket.config.public_access_block.as_ref().map(PublicAccessBlock::from).unwrap_or_default()
}

/// The bucket of this name, if it is whose the request expects
/// (`x-amz-expected-bucket-owner`). Says nothing of what the caller may do.
pub async fn find_bucket(
    gateway: &Gateway,
    name: &str,
    expected_owner: Option<&String>,
) -> S3Result<Bucket> {
    let bucket = gateway.meta.bucket(name).await?;
    if expected_owner.is_some_and(|expected| *expected != canonical_id(bucket.account)) {
        return Err(Denied.into());
    }
    Ok(bucket)
}

/// The bucket of this name, if the caller may do `action` with it.
pub async fn bucket(
    gateway: &Gateway,
    caller: &Caller,
    name: &str,
    expected_owner: Option<&String>,
    action: Action,
) -> S3Result<Bucket> {
    let bucket = find_bucket(gateway, name, expected_owner).await?;
    Ask::bucket(caller, &bucket, action).check()?;
    Ok(bucket)
}

/// A version that the caller may do `action` with: the one with this id, or the
/// latest. Whether there is none is told only to who may list the bucket.
pub async fn version(
    gateway: &Gateway,
    ask: Ask<'_>,
    version_id: Option<&str>,
) -> S3Result<Version> {
    let key = ask.key.unwrap_or_default();
    let found = gateway.meta.find_version(ask.bucket.id, key.as_bytes(), version_id).await?;
    let Some(found) = found else {
        Ask { action: Action::ListBucket, key: None, listed: ask.key, ..ask }.check()?;
        return Err(match version_id {
            Some(_) => MetaError::NoSuchVersion.into(),
            None => no_such_key(key),
        });
    };
    ask.version(&found).check()?;
    if found.delete_marker {
        return Err(deleted(&found, version_id.is_some(), key));
    }
    Ok(found)
}

fn no_such_key(key: &str) -> S3Error {
    let _ = key;
    MetaError::NoSuchKey.into()
}

/// What is answered where a delete marker is.
fn deleted(marker: &Version, by_id: bool, key: &str) -> S3Error {
    let mut error = if by_id {
        let error = MetaError::DeleteMarker;
        S3Error::from(error)
    } else {
        no_such_key(key)
    };
    let mut headers = http::HeaderMap::new();
    headers.insert("x-amz-delete-marker", http::HeaderValue::from_static("true"));
    if let Ok(id) = marker.version_id.parse() {
        headers.insert("x-amz-version-id", id);
    }
    if by_id {
        headers.insert("last-modified", http_date(marker.modified_ms));
    }
    error.set_headers(headers);
    error
}

fn http_date(millis: crate::meta::Millis) -> http::HeaderValue {
    let mut text = Vec::new();
    let format = s3s::dto::TimestampFormat::HttpDate;
    let written = super::timestamp(millis).format(format, &mut text);
    let value = written.ok().and_then(|()| http::HeaderValue::from_bytes(&text).ok());
    value.unwrap_or(http::HeaderValue::from_static(""))
}

/// The account of the caller, who must have signed.
pub fn account(caller: &Caller) -> S3Result<protocol::AccountId> {
    Ok(caller.identity.account.ok_or(Denied)?)
}

/// What reading a version is called: it takes another leave to name one.
pub fn read_action(version_id: Option<&str>) -> Action {
    if version_id.is_some() { Action::GetObjectVersion } else { Action::GetObject }
}

/// Checks that an upload may be gone on with: by who began it, or by the owner of
/// the bucket. Its id alone is not enough.
pub fn own_upload(caller: &Caller, bucket: &Bucket, upload: &Upload) -> S3Result<()> {
    let account = caller.identity.account;
    if account.is_some() && (account == upload.account || account == Some(bucket.account)) {
        return Ok(());
    }
    Err(MetaError::NoSuchUpload.into())
}
