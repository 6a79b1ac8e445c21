//! How much a request head may hold, what may stand in it only once, and what
//! may not stand in it at all, or only as long as nobody looks at it.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, EXPECT, EXPIRES, HOST, HeaderName, RANGE,
    TRANSFER_ENCODING,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use super::refusal::{Code, S3Refusal};
use super::target::Query;

/// Longest path and query together.
const URI_MAX: usize = 8 * 1024;
/// Largest head without the request line.
const HEADERS_MAX: usize = 16 * 1024;
/// Largest user metadata: names without their prefix, and values.
const METADATA_MAX: usize = 2 * 1024;

const METADATA_PREFIX: &str = "x-amz-meta-";

/// Sizes of the whole head, before anything in it is looked at.
pub(super) fn check_size(parts: &Parts) -> Result<(), S3Refusal> {
    if URI_MAX < uri_len(&parts.uri) {
        return Err(S3Refusal::new(
            Code::InvalidUri,
            format!("The path and query may have {URI_MAX} bytes together."),
        )
        .status(StatusCode::URI_TOO_LONG));
    }
    let header_len = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().len() + value.len() + ": \r\n".len()
    };
    let size: usize = parts.headers.iter().map(header_len).sum();
    if HEADERS_MAX < size {
        return Err(S3Refusal::new(
            Code::RequestHeaderSectionTooLarge,
            "Your request header and query parameters used to make the request exceed the \
             maximum allowed size.",
        )
        .field("MaxSizeAllowed", HEADERS_MAX.to_string()));
    }
    Ok(())
}

fn uri_len(uri: &Uri) -> usize {
    uri.path_and_query().map_or(0, |both| both.as_str().len())
}

/// Headers of HTTP that say one thing.
const SINGLE: [HeaderName; 9] = [
    AUTHORIZATION,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    DATE,
    EXPECT,
    HOST,
    RANGE,
    TRANSFER_ENCODING,
];

/// What the guard itself tells those behind it. Nobody else may.
pub(super) const INTERNAL_PREFIX: &str = "x-stratos-";

/// But this is a question of clients.
const ASKED: HeaderName = crate::cost::HEADER;

/// Refuses headers that pretend to come from the guard.
pub(super) fn check_internal(headers: &HeaderMap) -> Result<(), S3Refusal> {
    let is_internal =
        |name: &&HeaderName| name.as_str().starts_with(INTERNAL_PREFIX) && **name != ASKED;
    match headers.keys().find(is_internal) {
        None => Ok(()),
        Some(name) => Err(S3Refusal::new(Code::InvalidArgument, "This header may not be sent.")
            .field("ArgumentName", name.as_str())),
    }
}

/// The S3 layer treats a header that comes twice as absent, a proxy may take
/// the first and another the last: so those that matter come once.
pub(super) fn check_unique(headers: &HeaderMap) -> Result<(), S3Refusal> {
    let single = |name: &HeaderName| {
        SINGLE.contains(name)
            || name == "content-md5"
            || (name.as_str().starts_with("x-amz-") && !may_repeat(name.as_str()))
    };
    let twice = |name: &HeaderName| headers.get_all(name).iter().nth(1).is_some();
    match headers.keys().find(|name| single(name) && twice(name)) {
        None => Ok(()),
        Some(name) => {
            Err(S3Refusal::new(Code::InvalidArgument, "A header may be given only once.")
                .field("ArgumentName", name.as_str()))
        }
    }
}

/// Metadata lines of one name are joined by the signature's own rules; the
/// attribute lists are sent as one line per attribute by some clients.
fn may_repeat(name: &str) -> bool {
    name.starts_with(METADATA_PREFIX)
        || matches!(name, "x-amz-object-attributes" | "x-amz-optional-object-attributes")
}

/// What is stored with an object comes back as a header one day, and must not
/// be able to start another one there.
pub(super) fn check_stored_headers<'a>(
    headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> Result<(), S3Refusal> {
    const STORED: [HeaderName; 6] = [
        CACHE_CONTROL,
        CONTENT_DISPOSITION,
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_TYPE,
        EXPIRES,
    ];
    let mut metadata = 0;
    for (name, value) in headers {
        let user = name.as_str().strip_prefix(METADATA_PREFIX);
        metadata += user.map_or(0, |name| name.len() + value.len());
        let stored = user.is_some()
            || STORED.contains(name)
            || name == "x-amz-tagging"
            || name == "x-amz-website-redirect-location";
        if stored && value.as_bytes().iter().any(u8::is_ascii_control) {
            return Err(control_characters(name.as_str()));
        }
    }
    if METADATA_MAX < metadata {
        return Err(S3Refusal::new(
            Code::MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size",
        )
        .field("Size", metadata.to_string())
        .field("MaxSizeAllowed", METADATA_MAX.to_string()));
    }
    Ok(())
}

/// `response-content-type` and its like set headers of the answer. Only
/// somebody with a key may do that, or any page could make the gateway's
/// origin serve its script.
pub(super) fn check_overrides(query: &Query<'_>, anonymous: bool) -> Result<(), S3Refusal> {
    for (name, value) in query.iter().filter(|(name, _)| name.starts_with("response-")) {
        if anonymous {
            return Err(S3Refusal::new(
                Code::InvalidRequest,
                "Request specific response headers cannot be used for anonymous GET requests.",
            ));
        }
        if value.chars().any(char::is_control) {
            return Err(control_characters(name));
        }
    }
    Ok(())
}

fn control_characters(name: &str) -> S3Refusal {
    S3Refusal::new(Code::InvalidArgument, "The value may not contain control characters.")
        .field("ArgumentName", name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::guard::Domains;
    use crate::http::guard::target::Target;
    use crate::http::guard::testing::parts;

    fn code(result: Result<(), S3Refusal>) -> Result<(), &'static str> {
        result.map_err(|refusal| refusal.code.as_str())
    }

    #[test]
    fn sizes() {
        let uri = |n: usize| format!("/{}", "a".repeat(n - 1));
        assert_eq!(code(check_size(&parts("GET", &uri(URI_MAX), &[]))), Ok(()));
        let refusal = check_size(&parts("GET", &uri(URI_MAX + 1), &[])).expect_err("too long");
        assert_eq!((refusal.code, refusal.status.as_u16()), (Code::InvalidUri, 414));

        let cookie = |n: usize| "c".repeat(n);
        let overhead = "cookie: \r\n".len();
        let fits = parts("GET", "/", &[("cookie", &cookie(HEADERS_MAX - overhead))]);
        assert_eq!(code(check_size(&fits)), Ok(()));
        let large = parts("GET", "/", &[("cookie", &cookie(HEADERS_MAX - overhead + 1))]);
        assert_eq!(code(check_size(&large)), Err("RequestHeaderSectionTooLarge"));
    }

    #[test]
    fn what_comes_once() {
        let twice =
            |name| code(check_unique(&parts("GET", "/", &[(name, "1"), (name, "1")]).headers));
        for name in [
            "authorization",
            "content-length",
            "host",
            "content-md5",
            "x-amz-date",
            "x-amz-content-sha256",
            "x-amz-acl",
            "x-amz-security-token",
        ] {
            assert_eq!(twice(name), Err("InvalidArgument"), "{name}");
        }
        for name in ["x-amz-meta-a", "x-amz-object-attributes", "accept", "if-match"] {
            assert_eq!(twice(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn s15_nobody_speaks_for_the_guard() {
        let check = |name| code(check_internal(&parts("PUT", "/", &[(name, "1")]).headers));
        assert_eq!(check("x-stratos-expires"), Err("InvalidArgument"));
        assert_eq!(check("X-Stratos-Account"), Err("InvalidArgument"));
        assert_eq!(check("x-amz-meta-x-stratos-a"), Ok(()));
    }

    #[test]
    fn metadata() {
        let check = |name: &str, value: &str| {
            code(check_stored_headers(&parts("PUT", "/", &[(name, value)]).headers))
        };
        assert_eq!(check("x-amz-meta-k", &"v".repeat(METADATA_MAX - 1)), Ok(()));
        assert_eq!(check("x-amz-meta-k", &"v".repeat(METADATA_MAX)), Err("MetadataTooLarge"));
        assert_eq!(check("x-amz-meta-k", "naïve"), Ok(()));
        for name in ["x-amz-meta-k", "content-type", "x-amz-tagging", "expires"] {
            assert_eq!(check(name, "a\tb"), Err("InvalidArgument"), "{name}");
        }
        assert_eq!(check("accept", "a\tb"), Ok(()));
    }

    #[test]
    fn overrides() {
        let check = |query: &str, anonymous| {
            let parts = parts("GET", &format!("/b/k?{query}"), &[("host", "h")]);
            let target = Target::parse(&parts, &Domains::default()).expect("a good target");
            code(check_overrides(&target.query, anonymous))
        };
        assert_eq!(check("response-content-type=text/plain", false), Ok(()));
        assert_eq!(check("response-content-type=text/plain", true), Err("InvalidRequest"));
        let split = "response-content-disposition=a%0D%0ASet-Cookie:x";
        assert_eq!(check(split, false), Err("InvalidArgument"));
        assert_eq!(check("versionId=a%0D", false), Ok(()));
    }
}
