//! Authorization. Default deny; decided before anything about the object is
//! revealed.

use protocol::AccountId;
use thiserror::Error;

use crate::meta::Bucket;

/// Who a request is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account that the access key belongs to.
    pub account: AccountId,
    /// The access key.
    pub access_key: String,
}

/// The asker may not do that.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("Access Denied")]
pub struct Denied;

/// Whether `who` may do anything with `bucket`.
pub fn authorize(who: &Identity, bucket: &Bucket) -> Result<(), Denied> {
    if who.account == bucket.account { Ok(()) } else { Err(Denied) }
}
