//! What the S3 layer gets to see of a request that may pass.
//!
//! It sees no credentials: who sent the request is in its extensions. It sees
//! the length of a body without its framing. And it does not see headers that
//! it refuses where S3 ignores them.

use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, EXPIRES, HeaderName, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE,
    RANGE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};
use s3s::dto::{Range, Timestamp, TimestampFormat};

use super::credentials::SECURITY_TOKEN;
use super::payload::{DECODED_LENGTH, Payload};
use super::target::{Plus, decode};

/// An `Expires` that is no date comes under this name: it is kept with the
/// object as it is.
pub const RAW_EXPIRES: &str = "x-stratos-expires";

/// The parameters of a presigned URL.
const SIGNATURE: [&str; 8] = [
    "X-Amz-Algorithm",
    "X-Amz-Content-Sha256",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// Dates that are conditions. One that is no date is none.
const CONDITIONS: [HeaderName; 4] = [
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    HeaderName::from_static("x-amz-copy-source-if-modified-since"),
    HeaderName::from_static("x-amz-copy-source-if-unmodified-since"),
];

/// The headers, of a body that comes as `payload` says.
pub(super) fn headers(headers: &mut HeaderMap, payload: &Payload) {
    for name in [AUTHORIZATION.as_str(), SECURITY_TOKEN, DECODED_LENGTH] {
        headers.remove(name);
    }
    if let Payload::Chunks(framing) = payload {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(framing.len));
    }
    for name in CONDITIONS {
        if headers.get(&name).is_some_and(|value| !is_date(value)) {
            headers.remove(name);
        }
    }
    if headers.get(RANGE).is_some_and(is_no_range) {
        headers.remove(RANGE);
    }
    if headers.get(EXPIRES).is_some_and(|value| !is_date(value))
        && let Some(value) = headers.remove(EXPIRES)
    {
        headers.insert(RAW_EXPIRES, value);
    }
}

fn is_date(value: &HeaderValue) -> bool {
    let text = value.to_str().ok();
    text.is_some_and(|text| Timestamp::parse(TimestampFormat::HttpDate, text).is_ok())
}

/// Whether S3 ignores a `Range`: of another unit, of several ranges, or of one
/// that ends before it begins.
fn is_no_range(value: &HeaderValue) -> bool {
    !value.to_str().is_ok_and(|text| Range::parse(text).is_ok())
}

/// The request line, without a signature.
pub(super) fn uri(uri: &Uri) -> Uri {
    let Some(query) = uri.query() else { return uri.clone() };
    let is_signature = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        decode(name, Plus::IsSpace).is_some_and(|name| SIGNATURE.contains(&name.as_ref()))
    };
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_signature(pair)).collect();
    let text = match kept.as_slice() {
        [] => uri.path().to_owned(),
        kept => format!("{}?{}", uri.path(), kept.join("&")),
    };
    let mut parts = uri.clone().into_parts();
    // A part of what is valid already.
    parts.path_and_query = PathAndQuery::try_from(text).ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::guard::payload::Framing;
    use crate::http::guard::testing::{HEADER_AUTH, PRESIGNED, parts};

    fn rewritten(pairs: &[(&str, &str)], payload: &Payload) -> HeaderMap {
        let mut map = parts("PUT", "/b/k", pairs).headers;
        headers(&mut map, payload);
        map
    }

    #[test]
    fn credentials_stay_outside() {
        let seen = rewritten(
            &[
                ("authorization", HEADER_AUTH),
                (SECURITY_TOKEN, "t"),
                (DECODED_LENGTH, "5"),
                ("content-length", "99"),
                ("accept", "*/*"),
            ],
            &Payload::Chunks(Framing { len: 5, signed: false, trailers: None }),
        );
        assert_eq!(seen.len(), 2);
        assert_eq!(
            (&seen["content-length"], &seen["accept"]),
            (&"5".parse().unwrap(), &"*/*".parse().unwrap())
        );
        let line = |text: &str| uri(&text.parse().unwrap()).to_string();
        assert_eq!(line(&format!("/b/a%20b?{PRESIGNED}")), "/b/a%20b");
        assert_eq!(line(&format!("/b?acl&{PRESIGNED}&x=%2F+")), "/b?acl&x=%2F+");
        assert_eq!(line("/b?X-Amz-%53ignature=s&X-Amz-Acl=private"), "/b?X-Amz-Acl=private");
        assert_eq!(line("http://h:1/b?X-Amz-Date=s"), "http://h:1/b");
        assert_eq!(line("/b?prefix=X-Amz-Date"), "/b?prefix=X-Amz-Date");
    }

    #[test]
    fn what_s3_ignores_is_not_seen() {
        let has = |name: &str, value: &str| {
            rewritten(&[(name, value)], &Payload::Plain).contains_key(name)
        };
        for range in ["bytes=0-1", "bytes=5-", "bytes=-5"] {
            assert!(has("range", range), "{range}");
        }
        for range in ["bytes=5-2", "bytes=0-1,3-4", "lines=0-1", "bytes=9223372036854775808-", "é"]
        {
            assert!(!has("range", range), "{range}");
        }
        for name in CONDITIONS {
            assert!(has(name.as_str(), "Fri, 02 Jan 2026 03:04:05 GMT"), "{name}");
            assert!(!has(name.as_str(), "yesterday"), "{name}");
        }
    }

    #[test]
    fn an_expires_that_is_no_date_keeps_its_text() {
        let seen = rewritten(&[("expires", "Fri, 02 Jan 2026 03:04:05 GMT")], &Payload::Plain);
        assert!(seen.contains_key("expires") && !seen.contains_key(RAW_EXPIRES));
        let seen = rewritten(&[("expires", "0")], &Payload::Plain);
        assert!(!seen.contains_key("expires"));
        assert_eq!(seen[RAW_EXPIRES], "0");
    }
}
