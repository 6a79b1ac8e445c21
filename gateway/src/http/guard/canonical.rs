//! The text that a Version 4 signature of a request is made over.
//!
//! It is written anew from what was received: from the raw path, the query as it
//! is understood, and the headers that the claim names. Where clients that
//! people use differ from each other, the text has several forms; each form
//! binds the same method, key, query and headers.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write as _;

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;
use sha2::{Digest, Sha256};

use super::credentials::{ALGORITHM, Claim, Place, Scope};
use super::refusal::S3Refusal;
use super::target::{Plus, Query, decode, host};

/// The strings to sign of every form; one of them was signed, or none.
///
/// `payloads` are what may stand for the hash of the body.
pub(super) fn strings_to_sign(
    parts: &Parts,
    query: &Query<'_>,
    claim: &Claim<'_>,
    payloads: &[&str],
) -> Result<Vec<String>, S3Refusal> {
    let raw = parts.uri.path();
    // The path was decoded before, so this cannot fail.
    let encoded = encode(&decode(raw, Plus::IsPlus).unwrap_or_default(), true);
    // Some clients escape less than they should, or more, and sign what they send.
    let paths = [Some(encoded.as_str()), Some(raw).filter(|raw| *raw != encoded)];
    let sorted = canonical_query(query, claim.place);
    // curl did not sort and escape queries for years.
    let raw = parts.uri.query().filter(|raw| claim.place == Place::Header && *raw != sorted);
    let queries = [Some(sorted.as_str()), raw];
    let headers = canonical_headers(parts, claim)?;

    let mut strings = Vec::new();
    for path in paths.into_iter().flatten() {
        for query in queries.into_iter().flatten() {
            for payload in payloads {
                let lines = [parts.method.as_str(), path, query].map(str::as_bytes);
                let hash =
                    hash_lines(lines.into_iter().chain([headers.as_slice(), payload.as_bytes()]));
                strings.push(string_to_sign(&claim.date, &claim.scope, &hash));
            }
        }
    }
    Ok(strings)
}

/// The SHA-256 of lines, in hex.
fn hash_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for (n, line) in lines.enumerate() {
        if n > 0 {
            hash.update(b"\n");
        }
        hash.update(line);
    }
    hex::encode(hash.finalize())
}

fn string_to_sign(date: &str, scope: &Scope<'_>, hash: &str) -> String {
    format!("{ALGORITHM}\n{date}\n{}\n{hash}", scope_text(scope))
}

/// The scope as it is signed.
pub(super) fn scope_text(scope: &Scope<'_>) -> String {
    format!("{}/{}/{}/aws4_request", scope.day, scope.region, scope.service)
}

/// Pairs in the order of their encoded form, without the signature itself.
fn canonical_query(query: &Query<'_>, place: Place) -> String {
    let mut pairs: Vec<(String, String)> = query
        .iter()
        .filter(|(name, _)| place == Place::Header || *name != "X-Amz-Signature")
        .map(|(name, value)| (encode(name, false), encode(value, false)))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// The signed headers one a line, an empty line, and their names.
fn canonical_headers(parts: &Parts, claim: &Claim<'_>) -> Result<Vec<u8>, S3Refusal> {
    let mut names: Vec<&str> = claim.signed_headers.split(';').collect();
    names.sort_unstable();
    let mut text = Vec::new();
    for name in &names {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        if *name == HOST.as_str() {
            // HTTP/2 has it as `:authority`.
            text.extend_from_slice(host(parts)?.trim().as_bytes());
        } else {
            push_values(&mut text, &parts.headers, name);
        }
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(names.join(";").as_bytes());
    Ok(text)
}

/// All values of a header, with commas between them. One that did not come is
/// empty.
fn push_values(text: &mut Vec<u8>, headers: &HeaderMap, name: &str) {
    for (n, value) in headers.get_all(name).iter().enumerate() {
        if n > 0 {
            text.push(b',');
        }
        let words = value.as_bytes().split(|&b| b == b' ').filter(|word| !word.is_empty());
        for (n, word) in words.enumerate() {
            if n > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        }
    }
}

/// Escapes all but letters, digits and `-._~`, and slashes where they separate.
fn encode(text: &str, keep_slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            b'/' if keep_slashes => encoded.push('/'),
            _ => write!(encoded, "%{byte:02X}").expect("a string takes all"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::guard::Domains;
    use crate::http::guard::credentials::Credentials;
    use crate::http::guard::target::Target;
    use crate::http::guard::testing::{HEADER_AUTH, PRESIGNED, parts};

    /// The example of a GET in the documentation of S3.
    #[test]
    fn the_documented_request_has_the_documented_string() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let parts = parts(
            "GET",
            "/test.txt",
            &[
                ("host", "examplebucket.s3.amazonaws.com"),
                ("range", "bytes=0-9"),
                ("x-amz-content-sha256", empty),
                ("x-amz-date", "20130524T000000Z"),
                (
                    "authorization",
                    "AWS4-HMAC-SHA256 \
                     Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
                     SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=00",
                ),
            ],
        );
        let target = Target::parse(&parts, &Domains::default()).unwrap();
        let Ok(Credentials::Signed(claim)) = Credentials::find(&parts, &target.query) else {
            panic!("it is signed")
        };
        let strings = strings_to_sign(&parts, &target.query, &claim, &[empty]).unwrap();
        let golden = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n\
                      7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
        assert_eq!(strings, [golden]);
    }

    #[test]
    fn every_form_is_tried_and_no_other() {
        let forms = |uri: &str, auth: &str| {
            let headers = [("host", "h"), ("x-amz-date", "20130524T000000Z")];
            let auth = [("authorization", auth)];
            let is_header = !auth[0].1.is_empty();
            let headers: Vec<_> = headers.into_iter().chain(is_header.then_some(auth[0])).collect();
            let parts = parts("GET", uri, &headers);
            let target = Target::parse(&parts, &Domains::default()).unwrap();
            let Ok(Credentials::Signed(claim)) = Credentials::find(&parts, &target.query) else {
                panic!("it is signed")
            };
            let mut found = strings_to_sign(&parts, &target.query, &claim, &["p"]).unwrap();
            found.sort();
            found.dedup();
            found.len()
        };
        assert_eq!(forms("/b/k?a=1&b=2", HEADER_AUTH), 1);
        assert_eq!(forms("/b/k?b=/&a=1", HEADER_AUTH), 2);
        assert_eq!(forms("/b/a+b?b=/&a=1", HEADER_AUTH), 4);
        assert_eq!(forms(&format!("/b/k?{PRESIGNED}&z=/"), ""), 1);
    }

    #[test]
    fn queries_are_sorted_as_they_are_written() {
        let canonical = |query: &str, place| {
            let parts = parts("GET", &format!("/b?{query}"), &[("host", "h")]);
            let target = Target::parse(&parts, &Domains::default()).unwrap();
            canonical_query(&target.query, place)
        };
        assert_eq!(canonical("b=2&a=1&acl", Place::Header), "a=1&acl=&b=2");
        assert_eq!(canonical("a=b+c%2bd%2F~", Place::Header), "a=b%20c%2Bd%2F~");
        assert_eq!(canonical("a-b=1&a%20b=2&a=3", Place::Header), "a=3&a%20b=2&a-b=1");
        assert_eq!(canonical("X-Amz-Signature=s&a=b", Place::Query), "a=b");
        assert_eq!(canonical("X-Amz-Signature=s", Place::Header), "X-Amz-Signature=s");
    }

    #[test]
    fn values_are_trimmed_and_folded_and_joined() {
        let headers = [("x-a", "  a   b "), ("x-a", "c"), ("x-b", ""), ("x-c", "a  \u{e9}")];
        let headers = parts("GET", "/", &headers).headers;
        let values = |name| {
            let mut text = Vec::new();
            push_values(&mut text, &headers, name);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(values("x-a"), "a b,c");
        assert_eq!(values("x-b"), "");
        assert_eq!(values("x-c"), "a é");
        assert_eq!(values("x-d"), "");
    }

    #[test]
    fn paths_are_escaped_once() {
        assert_eq!(encode("/b/a b+ü%", true), "/b/a%20b%2B%C3%BC%25");
        assert_eq!(encode("a/b", false), "a%2Fb");
    }
}
