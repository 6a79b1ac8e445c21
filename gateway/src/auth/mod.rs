//! Who asks, and what they may do.
//!
//! [`credentials`] finds the account and secret of an access key, [`sigv4`]
//! computes signatures, [`identity`] says who a request is from. [`policy`],
//! [`acl`] and [`public_access`] each have a say in what somebody may do;
//! [`authorize`] makes one decision of it.

pub mod acl;
pub mod action;
pub mod authorize;
pub mod credentials;
pub mod identity;
pub mod policy;
pub mod public_access;
pub mod request_context;
pub mod session;
pub mod sigv4;
