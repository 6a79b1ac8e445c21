//! The client against a server that records, and a verifier of signatures that
//! shares no code with the signer.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use ring::{digest, hmac};

use super::ops::ListQuery;
use super::*;
use crate::recorder::{Recorded, Recorder, answer};

const SECRET: &str = "secret/+key";

async fn client_of(recorder: &Recorder) -> S3Client {
    S3Client::new(&recorder.url(), "eu-test-1", "AKTEST", SECRET).expect("an endpoint")
}

fn with_etag() -> http::Response<Bytes> {
    let mut ok = answer(200, "");
    ok.headers_mut().insert("etag", "\"e\"".parse().expect("a value"));
    ok
}

/// Names that some clients or servers normalize, with the path that S3 wants.
const ODD_KEYS: &[(&[u8], &str)] = &[
    (b"a//b", "/bucket/a//b"),
    (b"/lead", "/bucket//lead"),
    (b"./x", "/bucket/./x"),
    (b"../x", "/bucket/../x"),
    (b"a/../b/", "/bucket/a/../b/"),
    (b"1+1", "/bucket/1%2B1"),
    (b"100%", "/bucket/100%25"),
    (b"%2e%2F", "/bucket/%252e%252F"),
    (b"two words ", "/bucket/two%20words%20"),
    ("größe/日本".as_bytes(), "/bucket/gr%C3%B6%C3%9Fe/%E6%97%A5%E6%9C%AC"),
    (b"\xff\x01", "/bucket/%FF%01"),
    (b"~!*'();:@&=$,?#[]", "/bucket/~%21%2A%27%28%29%3B%3A%40%26%3D%24%2C%3F%23%5B%5D"),
];

#[tokio::test]
async fn odd_names_arrive_to_the_byte_and_signed() {
    let recorder = Recorder::start(|_| with_etag()).await;
    let client = client_of(&recorder).await;
    for (key, _) in ODD_KEYS {
        client.put("bucket", key, "body").await.expect("stored");
    }
    let seen = recorder.seen();
    assert_eq!(seen.len(), ODD_KEYS.len());
    for (request, (_, path)) in seen.iter().zip(ODD_KEYS) {
        assert_eq!(request.target, *path);
        assert_eq!(request.body, "body");
        verify(request);
    }
    assert_eq!(recorder.connections(), 1, "the connection is kept");
}

#[tokio::test]
async fn queries_and_headers_are_signed() {
    let recorder = Recorder::start(|_| answer(200, "<R><UploadId>u</UploadId></R>")).await;
    let client = client_of(&recorder).await;
    assert_eq!(client.create_multipart("bucket", "k").await.expect("started"), "u");
    let query = ListQuery { prefix: "a+b c/é", delimiter: "/", token: "t=/", max_keys: Some(2) };
    client.list_v2("bucket", query).await.expect("a listing");
    let request = Request::new(Method::GET, "bucket", "k")
        .header("range", "bytes=0-9".parse().expect("a value"))
        .header("x-amz-meta-name", "  two   spaces ".parse().expect("a value"));
    client.send(request).await.expect("an answer");

    let seen = recorder.seen();
    assert_eq!(seen[0].target, "/bucket/k?uploads=");
    assert_eq!(
        seen[1].target,
        "/bucket?list-type=2&prefix=a%2Bb%20c%2F%C3%A9&delimiter=%2F\
         &continuation-token=t%3D%2F&max-keys=2"
    );
    assert_eq!(seen[2].header("range"), "bytes=0-9");
    seen.iter().for_each(verify);
}

#[tokio::test]
async fn a_streamed_body_is_unsigned_and_has_its_length() {
    let recorder = Recorder::start(|_| with_etag()).await;
    let client = client_of(&recorder).await;
    let body = Body::repeat(Bytes::from_static(b"0123456789"), 25);
    assert_eq!(client.put("bucket", "k", body).await.expect("stored"), "\"e\"");

    let [request] = &recorder.seen()[..] else { panic!("one request") };
    assert_eq!(request.body, "0123456789012345678901234");
    assert_eq!(request.header("content-length"), "25");
    assert_eq!(request.header("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    verify(request);
}

#[tokio::test]
async fn a_presigned_address_carries_its_own_signature() {
    let recorder = Recorder::start(|_| answer(200, "content")).await;
    let client = client_of(&recorder).await;
    for (key, _) in ODD_KEYS {
        let url = client
            .presign(&Method::GET, "bucket", key, Duration::from_secs(60), &[("versionId", "a+b")])
            .expect("an address");
        let sent = client.send_unsigned(Method::GET, &url, HeaderMap::new(), Body::empty()).await;
        assert_eq!(sent.expect("an answer").bytes().await.expect("a body"), "content");
    }
    for (request, (_, path)) in recorder.seen().iter().zip(ODD_KEYS) {
        assert!(request.target.starts_with(&format!("{path}?versionId=a%2Bb&")), "{path}");
        assert!(request.header("authorization").is_empty());
        verify_presigned(request);
    }
}

#[test]
fn a_presigned_address_lives_for_a_week_at_most() {
    let client = S3Client::new("http://127.0.0.1:9", "r", "a", "s").expect("an endpoint");
    for seconds in [0, 7 * 24 * 3600 + 1] {
        let expires = Duration::from_secs(seconds);
        let error = client.presign(&Method::GET, "b", b"k", expires, &[]).unwrap_err();
        let want =
            format!("a presigned address lives from 1 second to 7 days, not {seconds} seconds");
        assert_eq!(error.to_string(), want);
    }
}

#[tokio::test]
async fn an_s3_error_is_told_with_its_code() {
    let recorder = Recorder::start(|request| {
        let mut denied =
            answer(403, "<Error><Code>AccessDenied</Code><Message>Not you.</Message></Error>");
        denied.headers_mut().insert("x-amz-request-id", "R1".parse().expect("a value"));
        match request.method {
            Method::HEAD => answer(404, ""),
            Method::POST => answer(200, "<Error><Code>InternalError</Code></Error>"),
            _ => denied,
        }
    })
    .await;
    let client = client_of(&recorder).await;
    let Err(error) = client.get("bucket", "k").await else { panic!("it was denied") };
    assert_eq!(error.code(), Some("AccessDenied"));
    assert_eq!(error.to_string(), "AccessDenied: Not you. (HTTP 403, request R1)");
    let Err(error) = client.head("bucket", "k").await else { panic!("it is absent") };
    assert_eq!(error.code(), Some("Not Found"));
    let error = client.complete_multipart("bucket", "k", "u", &[]).await.unwrap_err();
    assert_eq!(error.code(), Some("InternalError"));
}

#[tokio::test]
async fn a_download_is_counted_and_hashed_without_being_held() {
    let content = Bytes::from(vec![7; 3 << 20]);
    let served = content.clone();
    let recorder = Recorder::start(move |_| answer(200, served.clone())).await;
    let client = client_of(&recorder).await;
    let want = digest::digest(&digest::SHA256, &content);
    let (len, hash) = client.get("b", "k").await.expect("open").digest().await.expect("read");
    assert_eq!((len, &hash[..]), (3 << 20, want.as_ref()));
    assert_eq!(client.get("b", "k").await.expect("open").drain().await.expect("read"), 3 << 20);
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let client = S3Client::new(&url, "r", "a", "s").expect("an endpoint");
    let error = client.create_bucket("b").await.unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&format!("cannot connect to {url}: ")), "{error}");
}

#[test]
fn endpoints() {
    let check = |text: &str, want: Option<&str>| {
        assert_eq!(parse_endpoint(text).ok().as_deref(), want, "{text:?}");
    };
    check("http://127.0.0.1:9000", Some("http://127.0.0.1:9000"));
    check("http://localhost/", Some("http://localhost"));
    check("http://[::1]:9000", Some("http://[::1]:9000"));
    check("https://127.0.0.1:9000", Some("https://127.0.0.1:9000"));
    check("ftp://127.0.0.1:9000", None);
    check("127.0.0.1:9000", None);
    check("http://host/path", None);
    check("http://host/?a", None);
    check("", None);
}

/// Recomputes the signature in the `Authorization` header.
#[track_caller]
fn verify(request: &Recorded) {
    let authorization = request.header("authorization");
    let field = |name: &str| {
        let (_, rest) = authorization.split_once(name).expect("a field");
        rest.split(", ").next().expect("a value").to_owned()
    };
    let (credential, signed) = (field("Credential="), field("SignedHeaders="));
    let payload = request.header("x-amz-content-sha256");
    if payload != "UNSIGNED-PAYLOAD" {
        assert_eq!(payload, sha256_hex(&request.body));
    }
    for name in ["host", "x-amz-content-sha256", "x-amz-date"] {
        assert!(signed.split(';').any(|header| header == name), "{signed}");
    }
    let canonical = canonical_request(request, &signed, payload, |_| true);
    let signature = signature(&credential, request.header("x-amz-date"), &canonical);
    assert_eq!(field("Signature="), signature, "{canonical}");
}

/// Recomputes the signature in the query.
#[track_caller]
fn verify_presigned(request: &Recorded) {
    let (_, query) = request.target.split_once('?').expect("a query");
    let field = |name: &str| {
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        pair.expect("a field").replace("%2F", "/")
    };
    let canonical = canonical_request(request, "host", "UNSIGNED-PAYLOAD", |pair| {
        !pair.starts_with("X-Amz-Signature=")
    });
    let signature = signature(&field("X-Amz-Credential"), &field("X-Amz-Date"), &canonical);
    assert_eq!(field("X-Amz-Signature"), signature, "{canonical}");
}

/// The path and the query of our client are canonical already, so the verifier
/// takes them as they arrived and only sorts the parameters.
fn canonical_request(
    request: &Recorded,
    signed: &str,
    payload: &str,
    keep: impl Fn(&str) -> bool,
) -> String {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| keep(pair)).collect();
    pairs.sort_unstable();
    let headers: String = signed
        .split(';')
        .map(|name| {
            let value: Vec<&str> = request.header(name).split_whitespace().collect();
            format!("{name}:{}\n", value.join(" "))
        })
        .collect();
    format!("{}\n{path}\n{}\n{headers}\n{signed}\n{payload}", request.method, pairs.join("&"))
}

fn signature(credential: &str, date: &str, canonical: &str) -> String {
    let (key_id, scope) = credential.split_once('/').expect("a scope");
    assert_eq!(key_id, "AKTEST");
    assert_eq!(scope, format!("{}/eu-test-1/s3/aws4_request", &date[..8]));
    let mac = |key: &[u8], text: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let key =
        scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    hex::encode(mac(&key, &text))
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}
