//! Who asks, and what they may do.
//!
//! [`credentials`] finds the account and secret of an access key. [`identity`]
//! says who a request is from and what they may do: for now an account may do
//! everything with its own buckets and nothing with those of others; policies
//! and ACLs will be asked in the same place.

pub mod credentials;
pub mod identity;
