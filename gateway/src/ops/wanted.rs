//! What a write asks for besides its bytes: headers to keep, tags, ACL, lock,
//! encryption, storage class. The same for PutObject, CopyObject, browser forms
//! and multipart uploads.

use http::HeaderMap;
use protocol::AccountId;
use s3s::dto::Metadata;
use s3s::{S3ErrorCode, S3Result};

use super::access::Ask;
use super::encryption::{self, Sealing};
use super::{acls, attributes, lock, tags};
use crate::auth::authorize::{Action, Basis};
use crate::auth::identity::Caller;
use crate::error::refuse;
use crate::gateway::Gateway;
use crate::meta::{Attributes, Bucket, Lock, Millis};

/// Longest key, in bytes of UTF-8.
const KEY_MAX: usize = 1024;

/// Storage classes that are kept as a label: here all are stored alike.
pub const CLASSES: [&str; 5] =
    ["STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING"];

/// What a new object will have.
pub struct Wanted {
    /// Headers, metadata, tags, ACL, encryption, storage class.
    pub attributes: Attributes,
    /// Who will own it.
    pub owner: Option<AccountId>,
    /// What protects it.
    pub lock: Lock,
    /// Seals its data key.
    pub sealing: Sealing,
}

impl Wanted {
    /// Reads and checks all of it. `caller` may write the object; whether also
    /// with tags, an ACL or a lock is asked here.
    pub async fn new(
        gateway: &Gateway,
        caller: &Caller,
        bucket: &Bucket,
        key: &str,
        (headers, metadata): (&HeaderMap, Option<&Metadata>),
        now: Millis,
    ) -> S3Result<Self> {
        check_key(key)?;
        // Who writes by an ACL owns what is written, and may say what it is.
        let by_acl = Ask::object(caller, bucket, Action::PutObject, key).decide() == Ok(Basis::Acl);
        let ask = |action| match by_acl {
            true => Ok(()),
            false => Ask::object(caller, bucket, action, key).of_new().check(),
        };
        let mut attributes = attributes::from_headers(headers, metadata)?;
        if let Some(tagging) = text(headers, "x-amz-tagging") {
            attributes.tags = tags::from_header(tagging)?;
            if !attributes.tags.is_empty() {
                ask(Action::PutObjectTagging)?;
            }
        }
        let owned = acls::of_new_object(gateway, caller, bucket, headers).await?;
        attributes.acl = owned.acl;
        if attributes.acl.is_some() {
            ask(Action::PutObjectAcl)?;
        }
        attributes.storage_class = storage_class(headers)?;
        let lock = lock::of_new(bucket, headers, now)?;
        if headers.contains_key("x-amz-object-lock-mode") {
            ask(Action::PutObjectRetention)?;
        }
        if headers.contains_key("x-amz-object-lock-legal-hold") {
            ask(Action::PutObjectLegalHold)?;
        }
        let sealing = encryption::for_write(gateway, bucket, headers).await?;
        attributes.encryption = sealing.encryption.clone();
        Ok(Self { attributes, owner: owned.owner, lock, sealing })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The storage class, if it is not the usual one.
pub fn storage_class(headers: &HeaderMap) -> S3Result<Option<String>> {
    match text(headers, "x-amz-storage-class") {
        None | Some("" | "STANDARD") => Ok(None),
        Some(class) if CLASSES.contains(&class) => Ok(Some(class.to_owned())),
        Some(_) => Err(refuse(
            S3ErrorCode::InvalidStorageClass,
            "The storage class you specified is not valid",
        )),
    }
}

/// Refuses keys that cannot be.
pub fn check_key(key: &str) -> S3Result<()> {
    if key.is_empty() {
        return Err(refuse(S3ErrorCode::InvalidRequest, "A key cannot be empty."));
    }
    if key.len() > KEY_MAX {
        return Err(refuse(S3ErrorCode::KeyTooLongError, "Your key is too long."));
    }
    Ok(())
}
