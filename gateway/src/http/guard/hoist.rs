//! Headers that a presigned URL brings in its query.
//!
//! Whoever presigns may put `x-amz-` headers into the query, where the
//! signature covers them; to S3 they are headers all the same. The S3 layer
//! reads only the head, so they are moved there, where the same rules apply to
//! them as to headers that were sent as such.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::credentials::{Claim, Place};
use super::refusal::{Code, S3Refusal};
use super::target::Query;

/// Parameters of the signature itself.
const OWN: [&str; 7] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];
/// Says what the client's library was set to when it signed. Some libraries
/// leave it in every URL, without the checksum that it promises as a header.
const NOT_MEANT: &str = "x-amz-sdk-checksum-algorithm";

/// The headers in the query of a presigned URL.
pub(super) fn headers_in_query(
    claim: &Claim<'_>,
    query: &Query<'_>,
    headers: &HeaderMap,
) -> Result<HeaderMap, S3Refusal> {
    let mut found = HeaderMap::new();
    if claim.place != Place::Query {
        return Ok(found);
    }
    for (name, value) in query.iter() {
        let lower = name.to_ascii_lowercase();
        let is_header = lower.starts_with("x-amz-") && lower != NOT_MEANT;
        if !is_header || OWN.contains(&lower.as_str()) {
            continue;
        }
        let invalid = |message: &'static str| {
            S3Refusal::new(Code::InvalidArgument, message).field("ArgumentName", name)
        };
        let header = HeaderName::from_bytes(lower.as_bytes())
            .map_err(|_| invalid("The parameter is not the name of a header."))?;
        let value = HeaderValue::from_bytes(value.trim().as_bytes())
            .map_err(|_| invalid("The value may not contain control characters."))?;
        // A signed header that is not there counts as empty in the signature:
        // to add it now would change what was signed.
        if claim.signs(&lower) || headers.contains_key(&header) || found.contains_key(&header) {
            return Err(invalid("A header may be given only once."));
        }
        found.insert(header, value);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::guard::Domains;
    use crate::http::guard::credentials::Credentials;
    use crate::http::guard::target::Target;
    use crate::http::guard::testing::{HEADER_AUTH, PRESIGNED, parts};

    /// The headers that were found, or the code of the refusal.
    fn hoisted(query: &str, headers: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let mut all = vec![("host", "h"), ("x-amz-date", "20260102T030405Z")];
        all.extend_from_slice(headers);
        let parts = parts("PUT", &format!("/b/k?{query}"), &all);
        let target = Target::parse(&parts, &Domains::default()).unwrap();
        let Credentials::Signed(claim) = Credentials::find(&parts, &target.query).unwrap() else {
            panic!("signed")
        };
        let found = headers_in_query(&claim, &target.query, &parts.headers);
        let found = found.map_err(|refusal| refusal.code.as_str().to_owned())?;
        let text = |value: &HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
        Ok(found.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
    }

    #[test]
    fn what_is_no_part_of_the_signature_is_a_header() {
        let header = |name: &str, value: &str| Ok(vec![(name.to_owned(), value.to_owned())]);
        let with = |more: &str| hoisted(&format!("{PRESIGNED}&{more}"), &[]);
        assert_eq!(with("x-id=PutObject&prefix=x-amz-acl"), Ok(vec![]));
        assert_eq!(with("X-Amz-Security-Token=t"), Ok(vec![]));
        assert_eq!(with("x-amz-sdk-checksum-algorithm=CRC32"), Ok(vec![]));
        assert_eq!(with("X-Amz-Acl=public-read"), header("x-amz-acl", "public-read"));
        assert_eq!(with("x-amz-meta-a=%20na%C3%AFve%20b"), header("x-amz-meta-a", "naïve b"));
        assert_eq!(
            with("x-amz-checksum-crc32=AAAAAA%3D%3D"),
            header("x-amz-checksum-crc32", "AAAAAA==")
        );
    }

    #[test]
    fn a_signature_in_the_head_leaves_the_query_alone() {
        let auth = [("authorization", HEADER_AUTH)];
        assert_eq!(hoisted("X-Amz-Acl=public-read", &auth), Ok(vec![]));
    }

    #[test]
    fn nothing_is_given_twice() {
        let invalid = Err("InvalidArgument".to_owned());
        let with = |more: &str| format!("{PRESIGNED}&{more}");
        assert_eq!(hoisted(&with("X-Amz-Acl=a"), &[("x-amz-acl", "b")]), invalid);
        assert_eq!(hoisted(&with("X-Amz-Acl=a&x-amz-acl=a"), &[]), invalid);
        let signed = PRESIGNED.replace("SignedHeaders=host", "SignedHeaders=host%3Bx-amz-acl");
        assert_eq!(hoisted(&format!("{signed}&X-Amz-Acl=a"), &[]), invalid);
        assert_eq!(hoisted(&with("x-amz-meta-a=b%0D%0Ac"), &[]), invalid);
        assert_eq!(hoisted(&with("x-amz-meta-a%20b=c"), &[]), invalid);
    }
}
