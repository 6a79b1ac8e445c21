//! What conditions of policies may ask of a request.
//!
//! The keys are chosen here, one by one. A header or query parameter can fill
//! the key that is named after it and no other: who asks, from where and when
//! are taken from what the server knows.
//!
//! Not here: tags; operations add these with what they have parsed.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html>

use http::HeaderMap;
use s3s::dto::CopySource;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::identity::{AuthKind, Caller};
use super::policy::Context;
use crate::meta::Millis;

/// Headers that conditions may ask for, and their keys.
const HEADERS: &[(&str, &str)] = &[
    ("user-agent", "aws:UserAgent"),
    ("referer", "aws:Referer"),
    ("if-match", "s3:if-match"),
    ("if-none-match", "s3:if-none-match"),
    ("x-amz-acl", "s3:x-amz-acl"),
    ("x-amz-content-sha256", "s3:x-amz-content-sha256"),
    ("x-amz-grant-full-control", "s3:x-amz-grant-full-control"),
    ("x-amz-grant-read", "s3:x-amz-grant-read"),
    ("x-amz-grant-read-acp", "s3:x-amz-grant-read-acp"),
    ("x-amz-grant-write", "s3:x-amz-grant-write"),
    ("x-amz-grant-write-acp", "s3:x-amz-grant-write-acp"),
    ("x-amz-metadata-directive", "s3:x-amz-metadata-directive"),
    ("x-amz-object-lock-legal-hold", "s3:object-lock-legal-hold"),
    ("x-amz-object-lock-mode", "s3:object-lock-mode"),
    ("x-amz-object-lock-retain-until-date", "s3:object-lock-retain-until-date"),
    ("x-amz-object-ownership", "s3:x-amz-object-ownership"),
    ("x-amz-server-side-encryption", "s3:x-amz-server-side-encryption"),
    (
        "x-amz-server-side-encryption-aws-kms-key-id",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
    ),
    (
        "x-amz-server-side-encryption-customer-algorithm",
        "s3:x-amz-server-side-encryption-customer-algorithm",
    ),
    ("x-amz-storage-class", "s3:x-amz-storage-class"),
    ("x-amz-website-redirect-location", "s3:x-amz-website-redirect-location"),
];

/// Query parameters that conditions may ask for, and their keys.
const QUERY: &[(&str, &str)] = &[
    ("prefix", "s3:prefix"),
    ("delimiter", "s3:delimiter"),
    ("max-keys", "s3:max-keys"),
    ("versionId", "s3:VersionId"),
];

/// The context of a request.
pub fn of(
    caller: &Caller,
    headers: &HeaderMap,
    query: &[(String, String)],
    now_ms: Millis,
) -> Context {
    let mut context = Context::new();
    for (header, key) in HEADERS {
        for value in headers.get_all(*header) {
            context.add(key, String::from_utf8_lossy(value.as_bytes()));
        }
    }
    for (parameter, key) in QUERY {
        for (_, value) in query.iter().filter(|(name, _)| name == parameter) {
            context.add(key, value.as_str());
        }
    }
    add_copy_source(&mut context, headers);
    add_caller(&mut context, caller);
    add_time(&mut context, now_ms);
    context
}

/// The source of a copy as `bucket/key`, however it is written: the same parser
/// reads it for the operation, so no spelling gets around a condition. What it
/// cannot read is no source, and the operation refuses it.
fn add_copy_source(context: &mut Context, headers: &HeaderMap) {
    for value in headers.get_all("x-amz-copy-source") {
        let source = value.to_str().ok().and_then(|text| CopySource::parse(text).ok());
        if let Some(CopySource::Bucket { bucket, key, .. }) = source {
            context.add("s3:x-amz-copy-source", format!("{bucket}/{key}"));
        }
    }
}

fn add_caller(context: &mut Context, caller: &Caller) {
    let identity = &caller.identity;
    if identity.is_anonymous() {
        context.set("aws:PrincipalType", "Anonymous");
    } else {
        let id = identity.canonical_id.as_str();
        context.set("aws:PrincipalType", "Account");
        context.set("aws:PrincipalAccount", id);
        context.set("aws:PrincipalArn", format!("arn:aws:iam::{id}:root"));
        context.set("aws:userid", id);
        context.set("aws:username", identity.account_name.as_str());
        context.set("s3:signatureversion", "AWS4-HMAC-SHA256");
    }
    context.set("aws:PrincipalIsAWSService", "false");
    context.set("aws:SecureTransport", caller.secure.to_string());
    if let Some(peer) = caller.peer {
        context.set("aws:SourceIp", peer.to_canonical().to_string());
    }
    match caller.auth {
        AuthKind::Anonymous => {}
        AuthKind::Header => context.set("s3:authType", "REST-HEADER"),
        AuthKind::Query => context.set("s3:authType", "REST-QUERY-STRING"),
        AuthKind::Form => context.set("s3:authType", "POST"),
    }
    if let Some(age) = caller.signature_age_ms {
        context.set("s3:signatureAge", age.to_string());
    }
}

fn add_time(context: &mut Context, now_ms: Millis) {
    let seconds = now_ms.div_euclid(1000);
    context.set("aws:EpochTime", seconds.to_string());
    let now = OffsetDateTime::from_unix_timestamp(seconds).ok();
    if let Some(now) = now.and_then(|now| now.format(&Rfc3339).ok()) {
        context.set("aws:CurrentTime", now);
    }
}

/// Adds the tags that an object would get.
pub fn add_request_tags<'a>(
    context: &mut Context,
    tags: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    for (key, value) in tags {
        context.add("s3:RequestObjectTagKeys", key);
        context.add(&format!("s3:RequestObjectTag/{key}"), value);
    }
}

/// Adds the tags that an object has.
pub fn add_existing_tags<'a>(
    context: &mut Context,
    tags: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    for (key, value) in tags {
        context.add(&format!("s3:ExistingObjectTag/{key}"), value);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use protocol::AccountId;

    use super::*;
    use crate::auth::identity::Identity;

    fn caller() -> Caller {
        Caller {
            identity: Identity {
                account: Some(AccountId([1; 16])),
                canonical_id: "ann-id".to_owned(),
                account_name: "ann".to_owned(),
                ..Identity::default()
            },
            auth: AuthKind::Query,
            peer: Some("::ffff:192.0.2.1".parse().unwrap()),
            secure: false,
            signature_age_ms: Some(1500),
            facts: crate::auth::identity::Facts::default(),
        }
    }

    #[test]
    fn z09_headers_and_parameters_cannot_set_the_keys_of_the_server() {
        let names = [
            "aws:sourceip",
            "aws:username",
            "aws:securetransport",
            "aws:currenttime",
            "s3:authtype",
            "s3:existingobjecttag/a",
        ];
        let mut headers = HeaderMap::new();
        // A header's name has no colon or slash; these are as close as it gets.
        let close = ["sourceip", "x-amz-sourceip", "aws-sourceip", "x-forwarded-for", "username"];
        for name in close {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name, HeaderValue::from_static("6.6.6.6"));
        }
        let query = names.map(|name| (name.to_owned(), "6.6.6.6".to_owned()));
        let attacked = of(&caller(), &headers, &query, 1_767_323_045_999);
        assert_eq!(attacked, of(&caller(), &HeaderMap::new(), &[], 1_767_323_045_999));
        for (key, value) in [
            ("aws:SourceIp", "192.0.2.1"),
            ("aws:username", "ann"),
            ("aws:SecureTransport", "false"),
            ("aws:CurrentTime", "2026-01-02T03:04:05Z"),
            ("aws:EpochTime", "1767323045"),
            ("s3:authType", "REST-QUERY-STRING"),
            ("s3:signatureAge", "1500"),
        ] {
            let mut expected = attacked.clone();
            expected.set(key, value);
            assert_eq!(attacked, expected, "{key}");
        }
    }

    #[test]
    fn z09_the_headers_and_parameters_that_have_keys_are_found_under_them() {
        let mut headers = HeaderMap::new();
        headers.insert("X-Amz-Acl", HeaderValue::from_static("public-read"));
        let query =
            [("prefix".to_owned(), "a/".to_owned()), ("Prefix".to_owned(), "b/".to_owned())];
        let context = of(&caller(), &headers, &query, 0);
        let mut expected = of(&caller(), &HeaderMap::new(), &[], 0);
        expected.set("s3:x-amz-acl", "public-read");
        expected.set("S3:Prefix", "a/");
        assert_eq!(context, expected);

        let mut tagged = Context::new();
        add_request_tags(&mut tagged, [("a", "1"), ("b", "2")]);
        add_existing_tags(&mut tagged, [("A", "3")]);
        let mut expected = Context::new();
        expected.add("s3:requestobjecttagkeys", "a");
        expected.add("s3:requestobjecttagkeys", "b");
        expected.set("s3:requestobjecttag/a", "1");
        expected.set("s3:requestobjecttag/b", "2");
        expected.set("s3:existingobjecttag/a", "3");
        assert_eq!(tagged, expected);
    }

    #[test]
    fn z09_the_source_of_a_copy_is_the_same_in_every_spelling() {
        for spelling in [
            "photos/a/x y",
            "/photos/a/x y",
            "photos/a/x%20y",
            "/%70hotos/%61%2Fx%20y",
            "photos/a/x%20y?versionId=1",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-copy-source", HeaderValue::from_str(spelling).unwrap());
            let mut expected = of(&caller(), &HeaderMap::new(), &[], 0);
            expected.set("s3:x-amz-copy-source", "photos/a/x y");
            assert_eq!(of(&caller(), &headers, &[], 0), expected, "{spelling}");
        }
    }
}
