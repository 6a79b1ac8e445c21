//! An error that the guard answers itself, and the XML that every error of the
//! gateway has on the wire.
//!
//! Not here: errors of the operations. Those come out of the S3 protocol layer
//! as XML of their own and are only completed (`finish`).

use std::borrow::Cow;
use std::fmt::{self, Display};

use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use s3s::{Body, HttpResponse};
use thiserror::Error;

/// The codes that the door itself answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The signature does not cover what was sent, or the request came too late.
    AccessDenied,
    /// The `Authorization` header cannot be read, or names another region.
    AuthorizationHeaderMalformed,
    /// The same for the query parameters of a presigned URL.
    AuthorizationQueryParametersError,
    /// The session is over.
    ExpiredToken,
    /// The body is not as long as it should be.
    IncompleteBody,
    /// The service failed; the cause is in the log.
    InternalError,
    /// No such access key.
    InvalidAccessKeyId,
    /// A header or a parameter makes no sense.
    InvalidArgument,
    /// The request as a whole makes no sense.
    InvalidRequest,
    /// The session token is not ours, or not of this key.
    InvalidToken,
    /// The path or the query cannot be decoded.
    InvalidUri,
    /// The key has more than 1024 bytes.
    KeyTooLong,
    /// What follows the last chunk is not what was announced.
    MalformedTrailer,
    /// The user metadata has more than 2 KiB.
    MetadataTooLarge,
    /// The resource exists, but not with this method.
    MethodNotAllowed,
    /// Nobody said how long the body is.
    MissingContentLength,
    /// S3 has this, the gateway does not.
    NotImplemented,
    /// The headers are too large together.
    RequestHeaderSectionTooLarge,
    /// The body came too slowly.
    RequestTimeout,
    /// The clocks of client and gateway are too far apart.
    RequestTimeTooSkewed,
    /// The signature is not that of this request and this key.
    SignatureDoesNotMatch,
    /// Too much at once: come back later.
    SlowDown,
    /// The body is not what was signed.
    ContentSha256Mismatch,
}

impl Code {
    /// The code as S3 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::AccessDenied => "AccessDenied",
            Code::AuthorizationHeaderMalformed => "AuthorizationHeaderMalformed",
            Code::AuthorizationQueryParametersError => "AuthorizationQueryParametersError",
            Code::ExpiredToken => "ExpiredToken",
            Code::IncompleteBody => "IncompleteBody",
            Code::InternalError => "InternalError",
            Code::InvalidAccessKeyId => "InvalidAccessKeyId",
            Code::InvalidArgument => "InvalidArgument",
            Code::InvalidRequest => "InvalidRequest",
            Code::InvalidToken => "InvalidToken",
            Code::InvalidUri => "InvalidURI",
            Code::KeyTooLong => "KeyTooLongError",
            Code::MalformedTrailer => "MalformedTrailerError",
            Code::MetadataTooLarge => "MetadataTooLarge",
            Code::MethodNotAllowed => "MethodNotAllowed",
            Code::MissingContentLength => "MissingContentLength",
            Code::NotImplemented => "NotImplemented",
            Code::RequestHeaderSectionTooLarge => "RequestHeaderSectionTooLarge",
            Code::RequestTimeout => "RequestTimeout",
            Code::RequestTimeTooSkewed => "RequestTimeTooSkewed",
            Code::SignatureDoesNotMatch => "SignatureDoesNotMatch",
            Code::SlowDown => "SlowDown",
            Code::ContentSha256Mismatch => "XAmzContentSHA256Mismatch",
        }
    }

    /// The HTTP status that goes with it unless the refusal says otherwise.
    pub fn status(self) -> StatusCode {
        match self {
            Code::AuthorizationHeaderMalformed
            | Code::AuthorizationQueryParametersError
            | Code::ExpiredToken
            | Code::IncompleteBody
            | Code::InvalidArgument
            | Code::InvalidRequest
            | Code::InvalidToken
            | Code::InvalidUri
            | Code::KeyTooLong
            | Code::MalformedTrailer
            | Code::MetadataTooLarge
            | Code::RequestHeaderSectionTooLarge
            | Code::RequestTimeout
            | Code::ContentSha256Mismatch => StatusCode::BAD_REQUEST,
            Code::AccessDenied
            | Code::InvalidAccessKeyId
            | Code::RequestTimeTooSkewed
            | Code::SignatureDoesNotMatch => StatusCode::FORBIDDEN,
            Code::MissingContentLength => StatusCode::LENGTH_REQUIRED,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Code::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Code::SlowDown => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Why a request is not let in, in the words that the client will read.
#[derive(Debug, Clone, Error)]
#[error("{}: {message}", code.as_str())]
pub struct S3Refusal {
    /// The S3 error code.
    pub code: Code,
    /// The HTTP status.
    pub status: StatusCode,
    /// The message for people.
    pub message: Cow<'static, str>,
    /// Further elements of the XML, such as `Region`.
    pub fields: Vec<(&'static str, String)>,
    /// Further headers of the answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl S3Refusal {
    /// A refusal with the usual status of its code.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let status = code.status();
        Self { code, status, message: message.into(), fields: Vec::new(), headers: Vec::new() }
    }

    /// The answer to whatever broke inside; says nothing about what it was.
    pub fn internal() -> Self {
        Self::new(Code::InternalError, INTERNAL_MESSAGE)
    }

    /// The answer to one more than there is room for.
    pub fn slow_down() -> Self {
        Self::new(Code::SlowDown, "Please reduce your request rate.")
    }

    /// Adds an element to the XML.
    pub fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Replaces the status.
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a header to the answer.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The error document. `resource` is the path as the client sent it.
    pub fn xml(&self, resource: &str, ids: &RequestIds) -> String {
        let mut xml = String::with_capacity(512);
        xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
        push_element(&mut xml, "Code", self.code.as_str());
        push_element(&mut xml, "Message", &self.message);
        for (name, value) in &self.fields {
            push_element(&mut xml, name, value);
        }
        push_tail(&mut xml, resource, ids);
        xml.push_str("</Error>");
        xml
    }

    /// The whole answer, ids included. The caller drops the body for HEAD.
    pub fn into_response(self, resource: &str, ids: &RequestIds) -> HttpResponse {
        let xml = self.xml(resource, ids);
        let mut response = HttpResponse::new(Body::from(xml));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, XML);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        headers.extend(self.headers);
        ids.stamp(headers);
        response
    }
}

/// What the client reads when something broke inside.
pub(super) const INTERNAL_MESSAGE: &str = "We encountered an internal error. Please try again.";
/// The content type of every error document.
pub(super) const XML: HeaderValue = HeaderValue::from_static("application/xml");
/// How long a client that was told `SlowDown` should wait at least.
pub(super) const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// The name the gateway goes by.
const SERVER: HeaderValue = HeaderValue::from_static("Stratos");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const HOST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");

/// The two names of one request: on its answer, in its error document and in
/// the log. A handler finds them in the request's extensions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestIds {
    request: u64,
    host: u128,
}

impl RequestIds {
    /// Fresh ids that nobody can guess.
    pub fn random() -> Self {
        Self { request: rand::random(), host: rand::random() }
    }

    /// `x-amz-request-id`: sixteen upper-case hex digits.
    pub fn request(&self) -> impl Display {
        UpperHex::<16>(self.request.into())
    }

    /// `x-amz-id-2`.
    pub fn host(&self) -> impl Display {
        UpperHex::<32>(self.host)
    }

    /// Puts the ids and the server's name on an answer.
    pub(super) fn stamp(&self, headers: &mut http::HeaderMap) {
        let value = |id: String| HeaderValue::try_from(id).expect("hex digits are a header value");
        headers.insert(REQUEST_ID, value(self.request().to_string()));
        headers.insert(HOST_ID, value(self.host().to_string()));
        headers.insert(http::header::SERVER, SERVER);
    }
}

impl fmt::Debug for RequestIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request:{}", self.request())
    }
}

struct UpperHex<const DIGITS: usize>(u128);

impl<const DIGITS: usize> Display for UpperHex<DIGITS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$X}", self.0)
    }
}

/// The elements that end every error document.
pub(super) fn push_tail(xml: &mut String, resource: &str, ids: &RequestIds) {
    push_element(xml, "Resource", resource);
    push_element(xml, "RequestId", &ids.request().to_string());
    push_element(xml, "HostId", &ids.host().to_string());
}

/// `<name>text</name>`, legal whatever the text is.
pub(super) fn push_element(xml: &mut String, name: &str, text: &str) {
    xml.push('<');
    xml.push_str(name);
    xml.push('>');
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\'' => xml.push_str("&apos;"),
            _ => xml.push(legal(c)),
        }
    }
    xml.push_str("</");
    xml.push_str(name);
    xml.push('>');
}

/// The document without the characters that XML 1.0 has no way to write, not
/// even escaped. Keys may hold them; a client that needs to know which asks for
/// `encoding-type=url`.
pub(super) fn legal_xml(document: &str) -> Cow<'_, str> {
    // The first byte of the last two characters of the plane, and of much else.
    let maybe = |b: u8| b == 0xef || (b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r'));
    if document.bytes().any(maybe) && document.chars().any(|c| legal(c) != c) {
        return Cow::Owned(document.chars().map(legal).collect());
    }
    Cow::Borrowed(document)
}

fn legal(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => c,
        '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: RequestIds = RequestIds { request: 0xAB, host: 0xCD };

    #[test]
    fn the_document_holds_what_the_client_needs() {
        let refusal = S3Refusal::new(Code::InvalidArgument, "a < b & \u{1}").field("Region", "x");
        let golden = concat!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
            "<Error><Code>InvalidArgument</Code><Message>a &lt; b &amp; \u{fffd}</Message>",
            "<Region>x</Region><Resource>/b/&quot;k</Resource>",
            "<RequestId>00000000000000AB</RequestId>",
            "<HostId>000000000000000000000000000000CD</HostId></Error>",
        );
        assert_eq!(refusal.xml("/b/\"k", &IDS), golden);
    }

    #[test]
    fn only_what_xml_can_hold_stays() {
        for fine in ["", "a\tb\r\nc", "\u{7f}\u{85}\u{fffd}ｆ\u{10ffff}"] {
            assert!(matches!(legal_xml(fine), Cow::Borrowed(text) if text == fine), "{fine:?}");
        }
        for c in ['\0', '\u{1}', '\u{8}', '\u{b}', '\u{c}', '\u{1f}', '\u{fffe}', '\u{ffff}'] {
            assert_eq!(legal_xml(&format!("<Key>é{c}</Key>")), "<Key>é\u{fffd}</Key>", "{c:?}");
        }
    }

    #[test]
    fn slow_down_says_when_to_come_back() {
        let response = S3Refusal::slow_down().into_response("/", &IDS);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["content-type"], "application/xml");
        assert_eq!(response.headers()["x-amz-request-id"], "00000000000000AB");
        assert_eq!(response.headers()["server"], "Stratos");
    }

    #[test]
    fn ids_differ() {
        assert_ne!(RequestIds::random(), RequestIds::random());
    }
}
