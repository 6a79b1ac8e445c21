//! Who asks, and what they may do.
//!
//! [`credentials`] finds the account and secret of an access key, [`sigv4`]
//! computes signatures, [`identity`] says who a request is from.

pub mod credentials;
pub mod identity;
pub mod policy;
pub mod sigv4;
