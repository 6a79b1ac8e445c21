//! Which sub-resources exist, on which level and with which methods.
//!
//! The S3 layer routes by the sub-resources that it knows and takes every
//! other request for the plain operation: `DELETE /photos?acl` would delete
//! the bucket, `PUT /photos/cat?torrent` would overwrite the cat. So a
//! sub-resource of S3 that is not routed ends here, with 405 or 501. Names
//! that S3 does not know are ignored, as S3 does.
//!
//! Browser forms (PostObject) do not go to the S3 layer: it would take in the
//! whole file before it looks at who sent it.

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Method};

use super::refusal::{Code, S3Refusal};
use super::target::{Level, Query};
use crate::http::form;

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
    ("renameObject", 0, 0),
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

/// Whether the request is a form for a bucket, which is not for the S3 layer.
/// What only looks like one is refused: the S3 layer takes every type that begins
/// so for a form, `multipart/form-data+xml` included.
pub(super) fn check_form(
    parts: &Parts,
    level: Level,
    query: &Query<'_>,
) -> Result<bool, S3Refusal> {
    let kind = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let prefix = b"multipart/";
    let is_multipart =
        kind.trim_ascii().get(..prefix.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(prefix));
    if parts.method != Method::POST || !is_multipart {
        return Ok(false);
    }
    let is_plain = !SUB_RESOURCES.iter().any(|(name, ..)| query.has(name));
    match (level, form::is_form(parts)) {
        (Level::Bucket, true) if is_plain => Ok(true),
        (_, true) => Err(not_allowed(&parts.method)),
        (_, false) => Err(S3Refusal::new(
            Code::NotImplemented,
            "A body in parts is taken only as multipart/form-data, posted to a bucket.",
        )),
    }
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

/// Refuses documents as `aws-chunked`. The S3 layer can only read them as cut
/// off; S3 libraries send objects and parts so.
pub(super) fn refuse_chunked_document(
    headers: &HeaderMap,
    is_document: bool,
) -> Result<(), S3Refusal> {
    let hash = headers.get("x-amz-content-sha256");
    let is_chunked = hash.is_some_and(|hash| hash.as_bytes().starts_with(b"STREAMING-"));
    let is_empty = headers.get("x-amz-decoded-content-length").is_none_or(|len| len == "0");
    if is_document && is_chunked && !is_empty {
        return Err(S3Refusal::new(
            Code::NotImplemented,
            "Only objects and parts can be sent as aws-chunked.",
        ));
    }
    Ok(())
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
    fn a_form_is_for_a_bucket_and_what_only_looks_like_one_is_refused() {
        let verdict = |method: &str, uri: &str, kind: &str| {
            let parts = parts(method, uri, &[("host", "h"), ("content-type", kind)]);
            let target = Target::parse(&parts, &Domains::default()).expect("a good target");
            check_form(&parts, target.level, &target.query).map_err(|e| e.status.as_u16())
        };
        let form = "multipart/form-data; boundary=b";
        assert_eq!(verdict("POST", "/b", form), Ok(true));
        assert_eq!(verdict("POST", "/b/?x=1", "Multipart/Form-Data; boundary=b"), Ok(true));
        // Refused by who reads it.
        assert_eq!(verdict("POST", "/b", "multipart/form-data; boundary=é"), Ok(true));
        for uri in ["/", "/b/k", "/b?delete", "/b/k?uploads"] {
            assert_eq!(verdict("POST", uri, form), Err(405), "{uri}");
        }
        for kind in ["multipart/form-data+xml; boundary=b", "multipart/mixed"] {
            assert_eq!(verdict("POST", "/b", kind), Err(501), "{kind}");
            // A PUT stores it as the type of an object.
            assert_eq!(verdict("PUT", "/b", kind), Ok(false), "{kind}");
        }
        assert_eq!(verdict("POST", "/b", "application/xml"), Ok(false));
        assert_eq!(verdict("POST", "/b", "multipart"), Ok(false));
    }

    #[test]
    fn documents_come_in_one_piece() {
        let streaming = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        let len = |len| ("x-amz-decoded-content-length", len);
        let check = |headers: &[(&str, &str)], is_document| {
            let headers = parts("POST", "/b?delete", headers).headers;
            refuse_chunked_document(&headers, is_document).map_err(|e| e.status.as_u16())
        };
        assert_eq!(check(&[streaming, len("5")], true), Err(501));
        assert_eq!(check(&[streaming, len("5")], false), Ok(()));
        assert_eq!(check(&[streaming, len("0")], true), Ok(()));
        assert_eq!(check(&[("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), len("5")], true), Ok(()));
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
