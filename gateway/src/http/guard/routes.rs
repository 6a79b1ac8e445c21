//! Which sub-resources exist, on which level and with which methods.
//!
//! The S3 layer routes by the sub-resources that it knows and takes every
//! other request for the plain operation: `DELETE /photos?acl` would delete
//! the bucket, `PUT /photos/cat?torrent` would overwrite the cat. So a
//! sub-resource of S3 that is not routed ends here, with 405 or 501. Names
//! that S3 does not know are ignored, as S3 does.
//!
//! What is no operation of S3 is told apart here, too: browser forms, preflights
//! and calls of STS.

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Method};

use sha2::{Digest, Sha256};

use super::payload::Payload;
use super::refusal::{Code, S3Refusal};
use super::target::{Level, Plus, Query, decode};
use super::{BodyFault, Errand};

const GET: u8 = 1;
const PUT: u8 = 2;
const POST: u8 = 4;
const DELETE: u8 = 8;
const GPD: u8 = GET | PUT | DELETE;

/// (name, methods on a bucket, methods on an object), sorted by name. Neither
/// means that S3 has it and the gateway does not.
const SUB_RESOURCES: &[(&str, u8, u8)] = &[
    ("abac", 0, 0),
    ("accelerate", GET | PUT, 0),
    ("acl", GET | PUT, GET | PUT),
    ("analytics", GPD, 0),
    ("append", 0, 0),
    ("attributes", 0, GET),
    ("cors", GPD, 0),
    ("delete", POST, 0),
    ("encryption", GPD, 0),
    ("events", 0, 0),
    ("intelligent-tiering", GPD, 0),
    ("inventory", GPD, 0),
    ("legal-hold", 0, GET | PUT),
    ("lifecycle", GPD, 0),
    ("location", GET, 0),
    ("logging", GET | PUT, 0),
    ("metadataConfiguration", 0, 0),
    ("metadataInventoryTable", 0, 0),
    ("metadataJournalTable", 0, 0),
    ("metadataTable", GET | POST | DELETE, 0),
    ("metrics", GPD, 0),
    ("notification", GET | PUT, 0),
    ("object-lock", GET | PUT, 0),
    ("ownershipControls", GPD, 0),
    ("policy", GPD, 0),
    ("policyStatus", GET, 0),
    ("publicAccessBlock", GPD, 0),
    ("renameObject", 0, PUT),
    ("replication", GPD, 0),
    ("requestPayment", GET | PUT, 0),
    ("restore", 0, POST),
    ("retention", 0, GET | PUT),
    ("select", 0, POST),
    ("session", GET, 0),
    ("tagging", GPD, GPD),
    ("torrent", 0, GET),
    ("uploadId", 0, GET | PUT | POST | DELETE),
    ("uploads", GET, POST),
    ("versioning", GET | PUT, 0),
    ("versions", GET, 0),
    ("website", GPD, 0),
];

/// What a request is about that is no call of STS. A body of several parts is a
/// form, and forms are for buckets: the S3 layer would take every type that
/// begins like one for a form, `multipart/form-data+xml` included.
pub(super) fn errand(parts: &Parts, level: Level) -> Result<Errand, S3Refusal> {
    if parts.method == Method::OPTIONS {
        return Ok(Errand::Preflight);
    }
    let kind = content_type(&parts.headers);
    if parts.method != Method::POST || !kind.starts_with(b"multipart/") {
        return Ok(Errand::S3);
    }
    let essence = kind.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    if level == Level::Bucket && essence == b"multipart/form-data" {
        return Ok(Errand::Form);
    }
    Err(S3Refusal::new(
        Code::NotImplemented,
        "A body of this type is taken only as a browser form, sent to a bucket.",
    ))
}

/// Whether a request is a call of STS or IAM, whose clients send forms of another
/// kind to the root.
pub(super) fn is_sts(parts: &Parts, level: Level) -> bool {
    let kind = content_type(&parts.headers);
    let essence = kind.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    parts.method == Method::POST
        && level == Level::Root
        && essence == b"application/x-www-form-urlencoded"
}

/// The fields of a call of STS whose body should be what `payload` says.
pub(super) fn fields(form: &[u8], payload: &Payload) -> Result<Vec<(String, String)>, S3Refusal> {
    match payload {
        Payload::Plain => {}
        Payload::Hash(hash) if *hash == <[u8; 32]>::from(Sha256::digest(form)) => {}
        Payload::Hash(_) => return Err(BodyFault::Hash.refusal()),
        Payload::Chunks(_) => {
            let message = "The body of this request cannot be sent as aws-chunked.";
            return Err(S3Refusal::new(Code::InvalidRequest, message));
        }
    }
    let malformed = || S3Refusal::new(Code::InvalidRequest, "The body is no well-formed form.");
    let text = std::str::from_utf8(form).map_err(|_| malformed())?;
    let mut fields = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decode(name, Plus::IsSpace).ok_or_else(malformed)?;
        let value = decode(value, Plus::IsSpace).ok_or_else(malformed)?;
        fields.push((name.into_owned(), value.into_owned()));
    }
    Ok(fields)
}

/// In lower case.
fn content_type(headers: &HeaderMap) -> Vec<u8> {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    kind.trim_ascii().to_ascii_lowercase()
}

/// Whether the S3 layer reads the body as a document, before the operation
/// begins. Otherwise it is an object, a part, or nothing.
pub(super) fn is_document(method: &Method, level: Level, query: &Query<'_>) -> bool {
    match *method {
        Method::POST => true,
        Method::PUT => {
            let mut asked = SUB_RESOURCES.iter().filter(|(name, ..)| query.has(name));
            level != Level::Object || asked.any(|(name, ..)| *name != "uploadId")
        }
        _ => false,
    }
}

/// Whether the S3 layer will take the request for what it is.
pub(super) fn check(method: &Method, level: Level, query: &Query<'_>) -> Result<(), S3Refusal> {
    let method_bit = match *method {
        Method::GET => GET,
        Method::PUT => PUT,
        Method::POST => POST,
        Method::DELETE => DELETE,
        Method::HEAD => 0,
        // A preflight asks about a request and is not one.
        Method::OPTIONS => return Ok(()),
        _ => return Err(not_allowed(method)),
    };
    let mut asked = SUB_RESOURCES.iter().filter(|(name, ..)| query.has(name));
    if let Some(&(name, on_bucket, on_object)) = asked.next() {
        if let Some((other, ..)) = asked.next() {
            let message = format!("Conflicting query string parameters: {name}, {other}");
            return Err(S3Refusal::new(Code::InvalidArgument, message));
        }
        let allowed = match level {
            Level::Root => 0,
            Level::Bucket => on_bucket,
            Level::Object => on_object,
        };
        if allowed == 0 {
            return Err(not_implemented(name));
        }
        if allowed & method_bit == 0 {
            return Err(not_allowed(method));
        }
    }
    if *method == Method::PUT && query.has("uploadId") != query.has("partNumber") {
        // The S3 layer would store the part as the whole object.
        return Err(S3Refusal::new(
            Code::InvalidArgument,
            "A part is uploaded with both uploadId and partNumber.",
        ));
    }
    Ok(())
}

fn not_allowed(method: &Method) -> S3Refusal {
    S3Refusal::new(
        Code::MethodNotAllowed,
        "The specified method is not allowed against this resource.",
    )
    .field("Method", method.as_str())
}

fn not_implemented(name: &str) -> S3Refusal {
    let message = format!("The sub-resource '{name}' is not implemented here.");
    S3Refusal::new(Code::NotImplemented, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::guard::Domains;
    use crate::http::guard::target::Target;
    use crate::http::guard::testing::parts;

    #[track_caller]
    fn verdict(method: &str, uri: &str) -> Result<(), u16> {
        let parts = parts(method, uri, &[("host", "h")]);
        let target = Target::parse(&parts, &Domains::default()).expect("a good target");
        check(&parts.method, target.level, &target.query).map_err(|e| e.status.as_u16())
    }

    #[test]
    fn plain_and_unknown_parameters_pass() {
        for (method, uri) in [
            ("GET", "/"),
            ("GET", "/?x-id=ListBuckets"),
            ("GET", "/b?list-type=2&prefix=acl"),
            ("GET", "/b/k?foo&versionId=1&response-expires=x"),
            ("HEAD", "/b/k?partNumber=1"),
            ("DELETE", "/b/k?versionId=null"),
            ("PUT", "/b/k?ACL"),
            ("OPTIONS", "/b/k?uploadId=1"),
        ] {
            assert_eq!(verdict(method, uri), Ok(()), "{method} {uri}");
        }
    }

    #[test]
    fn what_is_routed_passes() {
        for &(name, on_bucket, on_object) in SUB_RESOURCES {
            for (level, allowed) in [("/b", on_bucket), ("/b/k", on_object)] {
                for (method, bit) in
                    [("GET", GET), ("PUT", PUT), ("POST", POST), ("DELETE", DELETE)]
                {
                    let want = if allowed == 0 {
                        Err(501)
                    } else if allowed & bit == 0 {
                        Err(405)
                    } else {
                        Ok(())
                    };
                    let uri = match name {
                        "uploadId" => format!("{level}?uploadId=1&partNumber=1"),
                        _ => format!("{level}?{name}"),
                    };
                    assert_eq!(verdict(method, &uri), want, "{method} {uri}");
                }
            }
            assert_eq!(verdict("GET", &format!("/?{name}")), Err(501), "{name}");
        }
        assert!(SUB_RESOURCES.is_sorted_by_key(|(name, ..)| *name));
    }

    #[test]
    fn forms_are_told_from_documents_however_they_are_spelled() {
        let form = |method, level, kind: &str| {
            let parts = parts(method, "/b", &[("content-type", kind)]);
            let errand = errand(&parts, level).map_err(|e| e.status.as_u16());
            errand.map(|errand| errand == Errand::Form)
        };
        for kind in ["multipart/form-data; boundary=b", " Multipart/Form-Data ;boundary=é"] {
            assert_eq!(form("POST", Level::Bucket, kind), Ok(true), "{kind}");
            assert_eq!(form("POST", Level::Object, kind), Err(501), "{kind}");
            assert_eq!(form("POST", Level::Root, kind), Err(501), "{kind}");
            // A PUT stores it as the type of an object.
            assert_eq!(form("PUT", Level::Object, kind), Ok(false), "{kind}");
        }
        for kind in ["multipart/form-data+xml; boundary=b", "multipart/mixed", "multipart/x"] {
            assert_eq!(form("POST", Level::Bucket, kind), Err(501), "{kind}");
        }
        for kind in ["", "application/xml", "multipart", "text/multipart/form-data"] {
            assert_eq!(form("POST", Level::Bucket, kind), Ok(false), "{kind}");
        }
    }

    #[test]
    fn calls_of_sts_are_forms_at_the_root() {
        let is_sts =
            |method, level, kind| is_sts(&parts(method, "/", &[("content-type", kind)]), level);
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        assert!(is_sts("POST", Level::Root, form));
        assert!(!is_sts("POST", Level::Bucket, form));
        assert!(!is_sts("GET", Level::Root, form));
        assert!(!is_sts("POST", Level::Root, "application/xml"));
        let pairs = |text: &str| fields(text.as_bytes(), &Payload::Plain).unwrap();
        assert_eq!(
            pairs("Action=ListRoles&Policy=%7B+%7D&x"),
            [("Action", "ListRoles"), ("Policy", "{ }"), ("x", "")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        let refused = |text: &[u8], payload| fields(text, &payload).unwrap_err().code.as_str();
        assert_eq!(refused(b"a=%f", Payload::Plain), "InvalidRequest");
        assert_eq!(refused(b"\xff", Payload::Plain), "InvalidRequest");
        assert_eq!(refused(b"a=b", Payload::Hash([0; 32])), "XAmzContentSHA256Mismatch");
    }

    #[test]
    fn documents_are_told_from_objects() {
        for (method, uri, want) in [
            ("POST", "/b?delete", true),
            ("POST", "/b/k?uploadId=1", true),
            ("PUT", "/b", true),
            ("PUT", "/b?acl", true),
            ("PUT", "/b/k?tagging", true),
            ("PUT", "/b/k", false),
            ("PUT", "/b/k?x-id=PutObject", false),
            ("PUT", "/b/k?uploadId=1&partNumber=1", false),
            ("GET", "/b/k?acl", false),
        ] {
            let parts = parts(method, uri, &[("host", "h")]);
            let target = Target::parse(&parts, &Domains::default()).expect("a good target");
            let got = is_document(&parts.method, target.level, &target.query);
            assert_eq!(got, want, "{method} {uri}");
        }
    }

    #[test]
    fn nothing_dangerous_falls_through() {
        assert_eq!(verdict("DELETE", "/b?acl"), Err(405));
        assert_eq!(verdict("DELETE", "/b?object-lock"), Err(405));
        assert_eq!(verdict("DELETE", "/b/k?acl"), Err(405));
        assert_eq!(verdict("DELETE", "/b?torrent"), Err(501));
        assert_eq!(verdict("PUT", "/b/k?append&position=0"), Err(501));
        assert_eq!(verdict("PUT", "/b/k?uploadId=x"), Err(400));
        assert_eq!(verdict("PUT", "/b/k?partNumber=1"), Err(400));
        assert_eq!(verdict("HEAD", "/b?versioning"), Err(405));
        assert_eq!(verdict("GET", "/b?acl&policy"), Err(400));
        assert_eq!(verdict("PATCH", "/b/k"), Err(405));
        assert_eq!(verdict("TRACE", "/"), Err(405));
        assert_eq!(verdict("BREW", "/b/k"), Err(405));
    }
}
