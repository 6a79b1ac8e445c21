//! Who asks, and what they may do.
//!
//! [`credentials`] finds the account and secret of an access key, [`sigv4`]
//! computes signatures, [`identity`] says who a request is from.

pub mod acl;
pub mod authorize;
pub mod credentials;
pub mod identity;
pub mod policy;
pub mod public_access;
pub mod sigv4;
