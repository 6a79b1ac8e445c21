//! A request before it is signed.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::client::{Body, encode};

/// A request to S3. An empty key addresses the bucket, an empty bucket the
/// service.
pub struct Request {
    pub(crate) method: Method,
    path: String,
    query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

impl Request {
    /// A request without query, headers and body.
    pub fn new(method: Method, bucket: &str, key: impl AsRef<[u8]>) -> Self {
        Self {
            method,
            path: encode::path(bucket, key.as_ref()),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Body::empty(),
        }
    }

    /// With a query parameter; an empty value makes `?name=`.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a header, which will be signed.
    ///
    /// # Panics
    /// When `name` is not a header name: names are part of the program.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// The whole address at `endpoint`.
    pub(crate) fn uri(&self, endpoint: &str) -> String {
        let mut uri = format!("{endpoint}{}", self.path);
        if !self.query.is_empty() {
            let pairs = self.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            uri.push('?');
            uri.push_str(&encode::query(pairs));
        }
        uri
    }
}
