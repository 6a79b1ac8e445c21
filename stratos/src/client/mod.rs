//! An S3 client: signed requests to one endpoint, path style, by HTTP or HTTPS.
//!
//! [`S3Client::send`] sends anything; [`ops`] has the operations that the
//! program and its tests use, as methods. Bodies stream in both directions, and
//! an object's name is bytes that reach the server as they are.
//!
//! Not here: retries. Who measures or tests a server wants to see every answer.

mod body;
pub(crate) mod encode;
pub mod ops;
mod request;
mod response;
mod sign;
mod trust;
pub mod xml;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;

pub use crate::client::body::{Body, PayloadHash, repeated};
pub use crate::client::request::Request;
pub use crate::client::response::Response;
use crate::client::sign::{Signer, ToSign};
pub use crate::client::trust::{SYSTEM_BUNDLE, Trust, TrustError};
use crate::client::xml::XmlError;

/// Presigned addresses live for a week at most.
pub const PRESIGN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than what servers allow an idle connection, so that a request rarely
/// meets one that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// From the first byte of the request to the head of the answer. Long, because
/// the upload of a large part lies in between.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(900);

/// Why an operation failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The endpoint is not an address that this client can use.
    #[error("{0:?} is not an endpoint: write it as http://HOST:PORT or https://HOST:PORT")]
    Endpoint(String),
    /// The file with the certificates to believe in.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A header cannot be signed.
    #[error("header {0} is not plain ASCII text: encode it first")]
    Header(String),
    /// The request could not be signed.
    #[error("cannot sign the request: {0}")]
    Signing(String),
    /// The request is not valid HTTP.
    #[error("cannot build the request: {0}")]
    Request(#[from] http::Error),
    /// A presigned address would live too long, or not at all.
    #[error("a presigned address lives from 1 second to 7 days, not {} seconds", .0.as_secs())]
    Expiry(Duration),
    /// Nobody listens at the endpoint.
    #[error("cannot connect to {endpoint}: {cause}; is the network running?")]
    Connect {
        /// The endpoint.
        endpoint: String,
        /// What the system said.
        cause: String,
    },
    /// The connection broke.
    #[error("the connection to {endpoint} failed: {cause}")]
    Transport {
        /// The endpoint.
        endpoint: String,
        /// What broke.
        cause: String,
    },
    /// No answer, or no more of it, came in time.
    #[error("no answer from {endpoint} within {} seconds", .waited.as_secs())]
    Timeout {
        /// The endpoint.
        endpoint: String,
        /// How long the client waited.
        waited: Duration,
    },
    /// The server answered with an S3 error.
    #[error("{code}: {message} (HTTP {}, request {request_id})", .status.as_u16())]
    S3 {
        /// The HTTP status.
        status: StatusCode,
        /// The S3 error code; the status's name when the answer had no body.
        code: String,
        /// What the server said.
        message: String,
        /// Finds the request in the server's log.
        request_id: String,
    },
    /// The answer is not what the operation promises.
    #[error("cannot understand the answer to {operation}: {cause}")]
    Answer {
        /// The operation.
        operation: &'static str,
        /// What is wrong with it.
        cause: String,
    },
}

impl ClientError {
    /// The S3 error code, if the server gave one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::S3 { code, .. } => Some(code),
            _ => None,
        }
    }

    pub(crate) fn xml(operation: &'static str) -> impl FnOnce(XmlError) -> Self {
        move |error| Self::Answer { operation, cause: error.to_string() }
    }
}

/// A client of one endpoint with one key. Clones share the connections.
#[derive(Clone)]
pub struct S3Client {
    http: Client<Connector, Body>,
    endpoint: Arc<str>,
    signer: Arc<Signer>,
}

impl S3Client {
    /// A client of `endpoint`, which is `http://HOST:PORT` or `https://HOST:PORT`;
    /// for the latter, say whom to believe by [`S3Client::trusting`].
    pub fn new(
        endpoint: &str,
        region: &str,
        access_key: &str,
        secret_key: &str,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            http: http_client(Trust::Nobody),
            endpoint: parse_endpoint(endpoint)?.into(),
            signer: Arc::new(Signer::new(region, access_key, secret_key)),
        })
    }

    /// The same client, which believes that this is the server.
    #[must_use]
    pub fn trusting(mut self, trust: Trust) -> Self {
        self.http = http_client(trust);
        self
    }

    /// The endpoint, without a slash at its end.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Signs and sends a request. Any status is an answer; see
    /// [`Response::ok`] for those that are errors.
    pub async fn send(&self, request: Request) -> Result<Response, ClientError> {
        let uri = request.uri(&self.endpoint);
        let to_sign =
            ToSign { method: request.method.as_str(), uri: &uri, headers: &request.headers };
        let signature = self.signer.headers(&to_sign, request.body.hash(), SystemTime::now())?;
        let mut headers = request.headers;
        headers.extend(signature);
        self.transmit(request.method, &uri, headers, request.body).await
    }

    /// Sends a request to `url` as it stands, without a signature of ours: for
    /// presigned addresses and anonymous access.
    pub async fn send_unsigned(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response, ClientError> {
        self.transmit(method, url, headers, body).await
    }

    /// An address that lets whoever has it send this one request until it
    /// expires.
    pub fn presign(
        &self,
        method: &Method,
        bucket: &str,
        key: &[u8],
        expires: Duration,
        extra_query: &[(&str, &str)],
    ) -> Result<String, ClientError> {
        if expires < Duration::from_secs(1) || expires > PRESIGN_MAX {
            return Err(ClientError::Expiry(expires));
        }
        let mut request = Request::new(method.clone(), bucket, key);
        for (name, value) in extra_query {
            request = request.query(name, value);
        }
        let uri = request.uri(&self.endpoint);
        let to_sign = ToSign { method: method.as_str(), uri: &uri, headers: &request.headers };
        let signature = self.signer.query(&to_sign, expires, SystemTime::now())?;
        let separator = if extra_query.is_empty() { '?' } else { '&' };
        Ok(format!("{uri}{separator}{signature}"))
    }

    async fn transmit(
        &self,
        method: Method,
        uri: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response, ClientError> {
        // hyper leaves it out for an empty body, and S3 wants to see it.
        let is_upload = method == Method::PUT || method == Method::POST;
        let len = is_upload.then(|| HeaderValue::from(body.len()));
        let mut request = http::Request::builder().method(method).uri(uri).body(body)?;
        *request.headers_mut() = headers;
        if let Some(len) = len {
            request.headers_mut().insert(http::header::CONTENT_LENGTH, len);
        }
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.http.request(request)).await;
        let answer = answer.map_err(|_| self.timed_out(ANSWER_TIMEOUT))?;
        Ok(Response::new(answer.map_err(|error| self.broken(&error))?, self.endpoint.clone()))
    }

    fn broken(&self, error: &hyper_util::client::legacy::Error) -> ClientError {
        let (endpoint, cause) = (self.endpoint.to_string(), innermost(error));
        if error.is_connect() {
            ClientError::Connect { endpoint, cause }
        } else {
            ClientError::Transport { endpoint, cause }
        }
    }

    fn timed_out(&self, waited: Duration) -> ClientError {
        ClientError::Timeout { endpoint: self.endpoint.to_string(), waited }
    }
}

/// How connections are made, plain or over TLS.
pub(crate) type Connector = HttpsConnector<HttpConnector>;

/// A pooled HTTP/1.1 client, as both clients of this crate use it.
pub(crate) fn http_client<B>(trust: Trust) -> Client<Connector, B>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    let mut connector = HttpConnector::new();
    // Small requests otherwise wait 40 ms for the peer's delayed ACK.
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    // What is above it speaks TLS.
    connector.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trust.config())
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(connector)
}

/// Checks `http://HOST:PORT` or `https://HOST:PORT` and returns it without a slash at its end.
pub(crate) fn parse_endpoint(text: &str) -> Result<String, ClientError> {
    let wrong = || ClientError::Endpoint(text.to_owned());
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let good = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.path() == "/"
        && uri.query().is_none()
        && uri.host().is_some_and(|host| !host.is_empty());
    if !good {
        return Err(wrong());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// The system's words for an error that was wrapped several times.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
