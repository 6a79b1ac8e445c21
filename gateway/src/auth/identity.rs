//! Who a request is from, and how it came.
//!
//! The guard makes a [`Caller`] of every request that it lets in; nothing else
//! does. What a caller may do is decided in `authorize`.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use protocol::AccountId;
use thiserror::Error;

use super::policy::Policy;

/// Who a request is from.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The account that the access key belongs to; `None` is anybody.
    pub account: Option<AccountId>,
    /// Its S3 canonical user id, "" for anybody.
    pub canonical_id: String,
    /// Its name, "" for anybody.
    pub account_name: String,
    /// The access key, "" for anybody.
    pub access_key: String,
    /// The key's own policy and a session's: each must allow.
    pub policies: Vec<Arc<Policy>>,
}

impl Identity {
    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Whether nobody signed.
    pub fn is_anonymous(&self) -> bool {
        self.account.is_none()
    }
}

/// How a request says who it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// It does not.
    Anonymous,
    /// The `Authorization` header.
    Header,
    /// A presigned URL.
    Query,
    /// A browser form with a signed policy.
    Form,
}

/// A request's sender, verified, and what conditions of policies may ask.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub identity: Identity,
    /// How that was said.
    pub auth: AuthKind,
    /// Where the connection comes from.
    pub peer: Option<IpAddr>,
    /// Whether it came over TLS.
    pub secure: bool,
    /// Milliseconds between the signature and now, of presigned URLs.
    pub signature_age_ms: Option<i64>,
    /// The headers of the request, and its query parameters.
    pub facts: Facts,
}

/// What a request says besides who it is from.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its query parameters, decoded.
    pub query: Vec<(String, String)>,
}

/// The asker may not do that.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("Access Denied")]
pub struct Denied;
