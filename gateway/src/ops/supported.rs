//! What is refused until it exists: never a wrong success.

use s3s::dto::{ObjectCannedACL, ServerSideEncryption, StorageClass};
use s3s::{S3ErrorCode, S3Result};

use crate::error::{not_implemented, refuse};

/// Longest key, in bytes of UTF-8.
const KEY_MAX: usize = 1024;

/// Options of a write that this version may not know.
#[derive(Default)]
pub struct WriteOptions<'a> {
    /// `x-amz-acl`.
    pub acl: Option<&'a ObjectCannedACL>,
    /// Any `x-amz-grant-*`.
    pub grants: bool,
    /// Any `x-amz-object-lock-*`.
    pub lock: bool,
    /// Any `x-amz-server-side-encryption-customer-*`.
    pub customer_key: bool,
    /// `x-amz-server-side-encryption`.
    pub encryption: Option<&'a ServerSideEncryption>,
    /// `x-amz-storage-class`.
    pub storage_class: Option<&'a StorageClass>,
    /// `x-amz-tagging`.
    pub tagging: Option<&'a str>,
}

impl WriteOptions<'_> {
    /// Refuses what is not there.
    pub fn check(&self) -> S3Result<()> {
        let private = ["private", "bucket-owner-full-control"];
        if self.grants || self.acl.is_some_and(|acl| !private.contains(&acl.as_str())) {
            return Err(not_implemented("Access control by ACL other than private"));
        }
        if self.lock {
            return Err(not_implemented("Object lock"));
        }
        if self.customer_key {
            return Err(not_implemented("Encryption with customer keys"));
        }
        // Everything is encrypted by AES-256 in any case.
        if self.encryption.is_some_and(|kind| kind.as_str() != ServerSideEncryption::AES256) {
            return Err(not_implemented("Encryption other than AES256"));
        }
        if self.storage_class.is_some_and(|class| class.as_str() != StorageClass::STANDARD) {
            return Err(refuse(
                S3ErrorCode::InvalidStorageClass,
                "The storage class you specified is not valid.",
            ));
        }
        if self.tagging.is_some_and(|tagging| !tagging.is_empty()) {
            return Err(not_implemented("Object tagging"));
        }
        Ok(())
    }
}

/// Refuses keys that cannot be.
pub fn check_key(key: &str) -> S3Result<()> {
    if key.len() > KEY_MAX {
        return Err(refuse(S3ErrorCode::KeyTooLongError, "Your key is too long."));
    }
    Ok(())
}

/// Refuses version ids other than that of an unversioned object.
pub fn check_version_id(version_id: Option<&str>) -> S3Result<()> {
    match version_id {
        None | Some("null") => Ok(()),
        Some(_) => Err(refuse(
            S3ErrorCode::NoSuchVersion,
            "The version ID specified in the request does not match an existing version.",
        )),
    }
}
