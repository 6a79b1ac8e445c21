//! An answer whose body is still on its way.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sha2::{Digest, Sha256};

use crate::client::xml::Element;
use crate::client::{ClientError, innermost};

/// Longest pause between two pieces of a body.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest error document that is read.
const ERROR_MAX: usize = 64 * 1024;

/// An answer. Dropping it before its end closes the connection.
pub struct Response {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    endpoint: Arc<str>,
}

impl Response {
    pub(crate) fn new(response: http::Response<Incoming>, endpoint: Arc<str>) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, headers: head.headers, body, endpoint }
    }

    /// A header as text; `None` when it is absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// This answer if its status is a success, else the S3 error in its body.
    pub async fn ok(self) -> Result<Self, ClientError> {
        if self.status.is_success() { Ok(self) } else { Err(self.into_error().await) }
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, ClientError>> {
        loop {
            let frame = match tokio::time::timeout(CHUNK_TIMEOUT, self.body.frame()).await {
                Ok(frame) => frame?,
                Err(_) => return Some(Err(self.timed_out())),
            };
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(bytes)) => return Some(Ok(bytes)),
                Ok(Err(_trailers)) => {}
                Err(error) => return Some(Err(self.broken(&error))),
            }
        }
    }

    /// The whole body.
    pub async fn bytes(mut self) -> Result<Bytes, ClientError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            whole.extend_from_slice(&chunk?);
        }
        Ok(whole.freeze())
    }

    /// Reads the body to its end, keeps nothing, and returns its length.
    pub async fn drain(mut self) -> Result<u64, ClientError> {
        let mut len = 0;
        while let Some(chunk) = self.chunk().await {
            len += chunk?.len() as u64;
        }
        Ok(len)
    }

    /// Reads the body to its end, keeps nothing, and returns its length and
    /// SHA-256.
    pub async fn digest(mut self) -> Result<(u64, [u8; 32]), ClientError> {
        let (mut len, mut hash) = (0, Sha256::new());
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            len += chunk.len() as u64;
            hash.update(&chunk);
        }
        Ok((len, hash.finalize().into()))
    }

    /// The body as XML. Some operations answer 200 and put an error inside.
    pub(crate) async fn xml(self, operation: &'static str) -> Result<Element, ClientError> {
        let (status, request_id) = (self.status, self.request_id());
        let root = Element::parse(&self.bytes().await?).map_err(ClientError::xml(operation))?;
        if root.name == "Error" {
            return Err(s3_error(status, &root, request_id));
        }
        Ok(root)
    }

    async fn into_error(mut self) -> ClientError {
        let (status, request_id) = (self.status, self.request_id());
        let mut document = BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            match chunk {
                Ok(chunk) if document.len() + chunk.len() <= ERROR_MAX => {
                    document.extend_from_slice(&chunk);
                }
                // The status tells enough when the rest does not arrive or is
                // no S3 error at all.
                _ => break,
            }
        }
        let root = Element::parse(&document).unwrap_or_default();
        s3_error(status, &root, request_id)
    }

    fn request_id(&self) -> String {
        self.header("x-amz-request-id").unwrap_or("unknown").to_owned()
    }

    fn broken(&self, error: &hyper::Error) -> ClientError {
        ClientError::Transport { endpoint: self.endpoint.to_string(), cause: innermost(error) }
    }

    fn timed_out(&self) -> ClientError {
        ClientError::Timeout { endpoint: self.endpoint.to_string(), waited: CHUNK_TIMEOUT }
    }
}

fn s3_error(status: StatusCode, root: &Element, request_id: String) -> ClientError {
    // HEAD has no body, and a proxy in between speaks HTML.
    let (code, message) = match root.name.as_str() {
        "Error" => (root.text_of("Code"), root.text_of("Message")),
        _ => (status.canonical_reason().unwrap_or("Unknown"), "the answer has no S3 error"),
    };
    ClientError::S3 { status, code: code.to_owned(), message: message.to_owned(), request_id }
}
