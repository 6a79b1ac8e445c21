//! JSON-RPC over HTTP to a node of an EVM chain.
//!
//! A few hundred lines less than a client for everything: one request at a
//! time, no subscriptions, no batches.

use std::io;
use std::time::Duration;

use alloy_primitives::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

/// Longest answer.
const ANSWER_MAX: usize = 4 * 1024 * 1024;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no answer, or no good one.
#[derive(Debug, Error)]
pub enum RpcError {
    /// It cannot be asked.
    #[error("{0:?} is no address of an RPC node; it begins with http:// or https://")]
    Url(String),
    /// There is nothing to check its certificate with.
    #[error("the machine's certificates cannot be read: {0}")]
    Roots(io::Error),
    /// Nobody answers. Its path is not shown: it may hold a secret.
    #[error("the RPC node {host} does not answer {method}: {cause}")]
    Unreachable {
        /// Whom.
        host: String,
        /// What was asked.
        method: &'static str,
        /// Why.
        cause: String,
    },
    /// It says something else than an answer.
    #[error("the RPC node answers {method} with {what}")]
    Answer {
        /// What was asked.
        method: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// It refuses.
    #[error("the RPC node refuses {method}: {message}")]
    Refused {
        /// What was asked.
        method: &'static str,
        /// Why, in its words.
        message: String,
        /// What a contract that reverted said, if one did.
        data: Option<Bytes>,
    },
}

/// A node of an EVM chain.
#[derive(Debug)]
pub struct Rpc {
    client: Client<HttpsConnector<HttpConnector>, Full<bytes::Bytes>>,
    url: Uri,
}

#[derive(Deserialize)]
struct Answer {
    // Null is an answer too.
    #[serde(default)]
    result: Value,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
    #[serde(default)]
    data: Value,
}

impl Rpc {
    /// The node at `url`. Nothing is sent yet.
    pub fn new(url: &str) -> Result<Self, RpcError> {
        let wrong = || RpcError::Url(url.to_owned());
        let url: Uri = url.parse().map_err(|_| wrong())?;
        let builder = HttpsConnectorBuilder::new();
        let builder = match url.scheme_str() {
            Some("https") => builder
                .with_provider_and_native_roots(default_provider())
                .map_err(RpcError::Roots)?,
            Some("http") => builder.with_tls_config(trusting_nobody()),
            _ => return Err(wrong()),
        };
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), url })
    }

    /// Asks for `method`.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, RpcError> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = tokio::time::timeout(PATIENCE, self.ask(method, body.to_string())).await;
        let late = || self.unreachable(method, "it takes too long");
        let (status, body) = answer.map_err(|_| late())??;
        parse(method, status, &body)
    }

    async fn ask(
        &self,
        method: &'static str,
        body: String,
    ) -> Result<(StatusCode, bytes::Bytes), RpcError> {
        let request = Request::post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .expect("all of its parts are good");
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| self.unreachable(method, &root_cause(&error)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| self.unreachable(method, &error.to_string()))?;
        Ok((status, body.to_bytes()))
    }

    fn unreachable(&self, method: &'static str, cause: &str) -> RpcError {
        let host = self.url.authority().map(|authority| authority.to_string());
        // What stands before an @ is a password.
        let host = host.unwrap_or_default().rsplit('@').next().unwrap_or_default().to_owned();
        RpcError::Unreachable { host, method, cause: cause.to_owned() }
    }
}

/// The innermost cause says what happened; the outer ones that something did.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn trusting_nobody() -> ClientConfig {
    ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("ring has what these versions need")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn parse<T: DeserializeOwned>(
    method: &'static str,
    status: StatusCode,
    body: &[u8],
) -> Result<T, RpcError> {
    // Some nodes send refusals with a status that is no success, so the body counts.
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return Err(RpcError::Answer { method, what: format!("status {status} and no JSON-RPC") });
    };
    if let Some(Refusal { message, data }) = answer.error {
        let data = data.as_str().and_then(|data| data.parse().ok());
        return Err(RpcError::Refused { method, message, data });
    }
    serde_json::from_value(answer.result)
        .map_err(|error| RpcError::Answer { method, what: format!("what makes no sense: {error}") })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::bytes;

    use super::*;

    fn answered(status: u16, body: &str) -> Result<Option<u8>, RpcError> {
        parse("eth_call", StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn results_and_nothing_are_answers() {
        assert_eq!(answered(200, r#"{"id":1,"result":7}"#).unwrap(), Some(7));
        assert_eq!(answered(200, r#"{"id":1,"result":null}"#).unwrap(), None);
    }

    #[test]
    fn a_refusal_keeps_what_the_contract_said() {
        let body = r#"{"error":{"code":3,"message":"reverted","data":"0x7ca55c77"}}"#;
        let RpcError::Refused { message, data, .. } = answered(400, body).unwrap_err() else {
            panic!("it was refused");
        };
        assert_eq!((message.as_str(), data), ("reverted", Some(bytes!("7ca55c77"))));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let error = answered(502, "<html>").unwrap_err();
        assert!(error.to_string().contains("502"), "{error}");
        assert!(matches!(answered(200, r#"{"result":"x"}"#), Err(RpcError::Answer { .. })));
        assert!(matches!(Rpc::new("ftp://host"), Err(RpcError::Url(_))));
    }

    #[tokio::test]
    async fn who_does_not_answer_is_named_without_secrets() {
        // Port 1 of the loopback: nobody listens there.
        let rpc = Rpc::new("http://user:pass@127.0.0.1:1/secret").unwrap();
        let error = rpc.call::<Value>("eth_chainId", json!([])).await.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1:1"), "{error}");
        assert!(!error.contains("secret") && !error.contains("pass"), "{error}");
    }
}
