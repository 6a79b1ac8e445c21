//! Signatures of a library that others wrote are right; whatever differs from
//! what they cover by one bit is not.

use http::{HeaderValue, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::http::guard::target::{Plus, Target, decode};
use crate::http::guard::testing::{HEADER, NOW, QUERY, SECRET, Signer, TOKEN, parts, settings};

/// Who sent a request, or the code of the refusal.
fn sender(parts: &Parts) -> Result<Caller, &'static str> {
    sender_at(parts, Door::S3, None).map_err(|refusal| refusal.code.as_str())
}

fn sender_at(parts: &Parts, door: Door, body_hash: Option<&str>) -> Result<Caller, S3Refusal> {
    let settings = settings();
    let target = Target::parse(parts, &settings.domains)?;
    let credentials = Credentials::find(parts, &target.query)?;
    let query = &target.query;
    let evidence = Evidence { parts, query, credentials: &credentials, door, body_hash };
    authenticate(&settings, &evidence).map(|found| found.caller)
}

const METHODS: [&str; 4] = ["GET", "PUT", "POST", "DELETE"];

/// A request before it is signed: method, path, query, and headers.
type Request = (&'static str, String, String, Pairs);

/// Text, escaped as some client may do it: more than it must, or less, or in
/// small letters.
fn escaped(kept: &'static str) -> impl Strategy<Value = String> {
    let letter = prop_oneof![
        3 => "[A-Za-z0-9._~-]",
        1 => select(vec!["/", "+", " ", "%", ";", ":", "=", "&", "//", "%2F", "\u{e9}", "\u{1f980}"])
            .prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    let escape = |(text, how): (String, u8)| {
        let hex = |b: u8| if how & 1 == 0 { format!("%{b:02X}") } else { format!("%{b:02x}") };
        text.bytes()
            .map(|b| {
                let is_free = b.is_ascii_alphanumeric() || b"-._~".contains(&b);
                let is_kept = how & 2 == 0 && kept.bytes().any(|k| k == b);
                if is_free || is_kept { char::from(b).to_string() } else { hex(b) }
            })
            .collect::<String>()
    };
    vec((letter, any::<u8>()).prop_map(escape), 0..12).prop_map(|letters| letters.concat())
}

fn request() -> impl Strategy<Value = Request> {
    let path = escaped("/+;:=@!$'()*,&").prop_map(|path| format!("/b/{path}"));
    let pairs = vec((escaped("/:@!'()*,?"), proptest::option::of(escaped("/:@!'()*,?="))), 0..4);
    let query = pairs.prop_map(|pairs| {
        let pairs = pairs.into_iter().enumerate().map(|(n, (name, value))| match value {
            Some(value) => format!("{n}{name}={value}"),
            None => format!("{n}{name}"),
        });
        pairs.collect::<Vec<_>>().join("&")
    });
    let headers = vec(("x-amz-meta-[a-z]{1,4}", "[ -~]{0,12}"), 0..4).prop_map(|mut headers| {
        headers.sort();
        headers.dedup_by(|a, b| a.0 == b.0);
        headers
    });
    (select(&METHODS[..]), path, query, headers)
}

fn signed(signer: &Signer<'_>, (method, path, query, headers): &Request) -> Parts {
    let uri = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    signer.sign(method, &uri, &headers)
}

type Pairs = Vec<(String, String)>;

/// What a request means: its method, key, query and headers.
fn meaning(parts: &Parts) -> (String, String, Pairs, Pairs) {
    let settings = settings();
    let target = Target::parse(parts, &settings.domains).unwrap();
    let mut query: Vec<_> = target
        .query
        .iter()
        .filter(|(name, _)| *name != "X-Amz-Signature")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    query.sort();
    let words = |value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    let mut headers: Vec<_> = parts
        .headers
        .iter()
        .filter(|(name, _)| name.as_str() != "authorization")
        .map(|(name, value)| (name.to_string(), words(value)))
        .collect();
    headers.sort();
    let path = decode(parts.uri.path(), Plus::IsPlus).unwrap().into_owned();
    (parts.method.to_string(), path, query, headers)
}

/// The request with one bit of its line or of a header changed; `None` if that
/// can be no request.
fn mutated(parts: &Parts, place: Index, at: Index, bit: u8) -> Option<Parts> {
    let mut parts = parts.clone();
    let flip = |bytes: &mut Vec<u8>| {
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
    };
    let names: Vec<_> = parts
        .headers
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, _)| name.clone())
        .collect();
    match place.index(names.len() + 2) {
        0 => {
            let mut method = parts.method.as_str().as_bytes().to_vec();
            flip(&mut method);
            parts.method = http::Method::from_bytes(&method).ok()?;
        }
        1 => {
            let mut line = parts.uri.to_string().into_bytes();
            flip(&mut line);
            parts.uri = http::Uri::try_from(line).ok()?;
        }
        n => {
            let value = parts.headers.get_mut(&names[n - 2])?;
            let mut bytes = value.as_bytes().to_vec();
            flip(&mut bytes);
            *value = HeaderValue::from_bytes(&bytes).ok()?;
        }
    }
    Some(parts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn s05_what_another_library_signs_is_right(request in request(), presigned in any::<bool>()) {
        let signer = if presigned { QUERY } else { HEADER };
        let parts = signed(&signer, &request);
        let caller = sender(&parts);
        prop_assert!(caller.is_ok(), "{:?}: {:?}", parts, caller);
        let auth = if presigned { AuthKind::Query } else { AuthKind::Header };
        prop_assert_eq!(caller.unwrap().auth, auth);
    }

    #[test]
    fn s05_nothing_that_is_signed_can_change(
        request in request(),
        presigned in any::<bool>(),
        changes in vec((any::<Index>(), any::<Index>(), 0..8_u8), 24),
    ) {
        let signer = if presigned { QUERY } else { HEADER };
        let parts = signed(&signer, &request);
        for (place, at, bit) in changes {
            let Some(changed) = mutated(&parts, place, at, bit) else { continue };
            // Another spelling of the same request is the same request.
            if let Ok(caller) = sender(&changed) {
                if caller.identity.is_anonymous() {
                    // The question mark was lost, and all behind it is a key; or
                    // a hash came in, and what is behind it is gone.
                    let query = changed.uri.query().unwrap_or_default();
                    prop_assert!(presigned && !query.contains("X-Amz-Signature="));
                    continue;
                }
                prop_assert_eq!(meaning(&changed), meaning(&parts));
            }
        }
    }
}

#[test]
fn s05_keys_of_every_kind_are_signed_as_they_are_sent() {
    for path in [
        "/b/a%2Fb",
        "/b/a%252eb",
        "/b/a+b",
        "/b/a%20b",
        "/b/%C3%BC",
        "/b//a",
        "/b/a//b/",
        "/b/;",
        "/b/a/../b",
        "/b/./a",
        "/b/%2e%2e/a",
        "/b/a%5Cb",
        "/b/%01",
        "/b/a=b&c@d:e!$'()*,",
    ] {
        for signer in [HEADER, QUERY] {
            let parts = signer.sign("GET", path, &[]);
            assert!(sender(&parts).is_ok(), "{path}");
            let mut other = parts.clone();
            other.uri = parts.uri.to_string().replacen("/b/", "/b/x", 1).parse().unwrap();
            assert_eq!(sender(&other).err(), Some("SignatureDoesNotMatch"), "{path}");
        }
    }
}

#[test]
fn s01_a_wrong_signature_is_refused_in_every_place_and_for_every_method() {
    let wrong = Signer { secret: "another", ..HEADER };
    let uris = ["/", "/b", "/b/k", "/b?acl", "/b/k?uploadId=1&partNumber=1", "/b?delete"];
    for method in ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS"] {
        for uri in uris {
            for signer in [wrong, Signer { presigned: true, payload: None, ..wrong }] {
                let parts = signer.sign(method, uri, &[]);
                let refusal = sender_at(&parts, Door::S3, None).unwrap_err();
                assert_eq!(refusal.code, Code::SignatureDoesNotMatch, "{method} {uri}");
                assert_eq!(refusal.status, 403);
            }
        }
    }
}

#[test]
fn s12_who_is_not_known_hears_of_the_key_and_nothing_else() {
    let refusal = |signer: Signer<'_>| {
        sender_at(&signer.sign("GET", "/b/k", &[]), Door::S3, None).unwrap_err()
    };
    let unknown = refusal(Signer { key: "NOBODY", ..HEADER });
    assert_eq!((unknown.code, unknown.status.as_u16()), (Code::InvalidAccessKeyId, 403));
    assert_eq!(unknown.fields, [("AWSAccessKeyId", "NOBODY".to_owned())]);
    let wrong = refusal(Signer { secret: "another", ..HEADER });
    let names: Vec<&str> = wrong.fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["AWSAccessKeyId", "SignatureProvided"]);
    assert!(!format!("{wrong:?}").contains(SECRET));
}

#[test]
fn s13_nobody_in_particular_is_anonymous() {
    let caller = sender(&parts("GET", "/b/k", &[("host", "h")])).unwrap();
    assert!(caller.identity.is_anonymous());
    assert_eq!((caller.auth, caller.secure, caller.peer), (AuthKind::Anonymous, false, None));
}

#[test]
fn s14_a_temporary_key_needs_its_token() {
    for presigned in [false, true] {
        let payload = (!presigned).then_some(UNSIGNED);
        let with = |key, token| {
            let signer = Signer { key, token, presigned, payload, ..HEADER };
            sender(&signer.sign("GET", "/b/k", &[])).map(|caller| caller.identity.access_key)
        };
        assert_eq!(with("TEMP", Some(TOKEN)).as_deref(), Ok("TEMP"));
        assert_eq!(with("TEMP", None).err(), Some("InvalidToken"));
        assert_eq!(with("TEMP", Some("bad")).err(), Some("InvalidToken"));
        assert_eq!(with("TEMP", Some("old")).err(), Some("ExpiredToken"));
        assert_eq!(with("AKID", Some(TOKEN)).err(), Some("InvalidToken"));
        let wrong = Signer { key: "TEMP", token: Some(TOKEN), secret: "x", ..HEADER };
        assert_eq!(sender(&wrong.sign("GET", "/b/k", &[])).err(), Some("SignatureDoesNotMatch"));
    }
}

#[test]
fn s07_a_signed_head_says_what_the_body_is() {
    let hashed = Signer { payload: Some("0b0b"), ..HEADER };
    let mut parts = hashed.sign("PUT", "/b/k", &[]);
    assert!(sender(&parts).is_ok());
    parts.headers.insert(CONTENT_SHA256, HeaderValue::from_static(UNSIGNED));
    assert_eq!(sender(&parts).err(), Some("SignatureDoesNotMatch"));
    parts.headers.remove(CONTENT_SHA256);
    assert_eq!(sender(&parts).err(), Some("InvalidRequest"));
    // A presigned URL may say it, and then it counts.
    let presigned = Signer { payload: Some("0b0b"), ..QUERY };
    let parts = presigned.sign("PUT", "/b/k", &[]);
    assert!(sender(&parts).is_ok(), "{parts:?}");
}

#[test]
fn the_host_of_http_2_is_a_signed_header_too() {
    let mut parts = HEADER.sign("GET", "/b/k", &[]);
    let host = parts.headers.remove("host").unwrap();
    parts.version = Version::HTTP_2;
    let at = |authority: &str| format!("http://{authority}/b/k").parse().unwrap();
    parts.uri = at(host.to_str().unwrap());
    assert!(sender(&parts).is_ok());
    parts.uri = at("other.example.com");
    assert_eq!(sender(&parts).err(), Some("SignatureDoesNotMatch"));
}

#[test]
fn calls_of_sts_sign_the_hash_of_their_body() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let at = |service, door, hash| {
        let signer = Signer { service, payload: None, ..HEADER };
        let caller = sender_at(&signer.sign("POST", "/", &[]), door, Some(hash));
        caller.map(|_| ()).map_err(|refusal| refusal.code.as_str())
    };
    assert_eq!(at("sts", Door::Sts, empty), Ok(()));
    assert_eq!(at("iam", Door::Sts, empty), Ok(()));
    let other = "f".repeat(64);
    assert_eq!(at("sts", Door::Sts, &other), Err("SignatureDoesNotMatch"));
    assert_eq!(at("sts", Door::S3, empty), Err("AuthorizationHeaderMalformed"));
    assert_eq!(at("s3", Door::Sts, empty), Err("AuthorizationHeaderMalformed"));
}

#[test]
fn what_conditions_of_policies_ask_is_known() {
    let mut parts = QUERY.sign("GET", "/b/k", &[]);
    parts.extensions.insert(Peer("[::ffff:192.0.2.7]:5".parse().unwrap()));
    parts.extensions.insert(Secure);
    let caller = sender(&parts).unwrap();
    assert_eq!(caller.peer, Some("192.0.2.7".parse().unwrap()));
    assert!(caller.secure);
    assert_eq!(caller.signature_age_ms, Some(0));
    assert_eq!(age_ms(NOW, NOW - time::Duration::seconds(3)), 3000);
}
