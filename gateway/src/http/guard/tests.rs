//! The guard as a whole, and as a service.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{Empty, Full};
use s3s::Body;
use s3s::service::{S3Service, S3ServiceBuilder};
use tower::service_fn;

use crate::http::listener::HttpService;

use super::testing::{HEADER, HEADER_AUTH, PRESIGNED, QUERY, Signer, parts, settings};
use super::*;

fn guard() -> Guard {
    Guard::new(settings())
}

const DATE: (&str, &str) = ("x-amz-date", "20260102T030405Z");
const AUTH: (&str, &str) = ("authorization", HEADER_AUTH);

/// As it is sent, with a host.
fn sent(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut all = vec![("host", "s3.example.com:9000")];
    all.extend_from_slice(headers);
    parts(method, uri, &all)
}

#[track_caller]
fn check(parts: &Parts, want: Result<(), (&str, u16)>) {
    let got = guard().check(parts, None);
    let got = got.as_ref().map(|_| ()).map_err(|e| (e.code.as_str(), e.status.as_u16()));
    assert_eq!(got, want, "{parts:?}");
}

#[test]
fn good_requests_pass() {
    check(&HEADER.sign("GET", "/", &[]), Ok(()));
    check(&HEADER.sign("PUT", "/photos/cat", &[("content-length", "3")]), Ok(()));
    check(&HEADER.sign("POST", "/photos", &[("content-type", "multipart/form-data")]), Ok(()));
    check(&QUERY.sign("GET", "/photos/cat", &[]), Ok(()));
    check(&QUERY.sign("GET", "/photos/cat?response-expires=0", &[]), Ok(()));
    check(&sent("GET", "/photos/cat", &[]), Ok(()));
    check(&sent("OPTIONS", "/photos/cat", &[("origin", "https://example.com")]), Ok(()));
    check(&sent("POST", "/photos", &[("content-type", "multipart/form-data")]), Ok(()));
}

#[test]
fn each_rule_is_asked() {
    let sends =
        |method, uri: &str, headers: &[_], want| check(&sent(method, uri, headers), Err(want));
    let signs =
        |signer: Signer<'_>, method, uri: &str, want| check(&signer.sign(method, uri, &[]), want);
    let late = ("x-amz-date", "20260102T040405Z");
    let long = "k".repeat(1025);
    sends("GET", &format!("/b/{long}"), &[], ("KeyTooLongError", 400));
    sends("GET", &format!("/b?p={}", "x".repeat(8192)), &[], ("InvalidURI", 414));
    sends("GET", "/b/k", &[AUTH, AUTH, DATE], ("InvalidArgument", 400));
    sends("GET", "/b/k?Signature=x", &[], ("InvalidRequest", 400));
    sends("GET", "/b/k", &[AUTH, late], ("RequestTimeTooSkewed", 403));
    sends(
        "GET",
        "/b/k",
        &[AUTH, DATE, ("x-amz-content-sha256", "x")],
        ("SignatureDoesNotMatch", 403),
    );
    sends("GET", "/b/k", &[AUTH, DATE], ("InvalidRequest", 400));
    sends("GET", &format!("/b/k?{PRESIGNED}"), &[], ("SignatureDoesNotMatch", 403));
    sends("GET", "/b/k?response-expires=0", &[], ("InvalidRequest", 400));
    sends("PUT", "/b/k", &[("x-amz-meta-a", "a\tb")], ("InvalidArgument", 400));
    sends("GET", "/b/k?torrent&acl", &[], ("InvalidArgument", 400));
    sends("POST", "/b/k", &[("content-type", "multipart/form-data")], ("NotImplemented", 501));
    signs(HEADER, "DELETE", "/b?acl", Err(("MethodNotAllowed", 405)));
    signs(HEADER, "GET", "/b?metadataConfiguration", Err(("NotImplemented", 501)));
    signs(
        Signer { service: "sts", ..HEADER },
        "GET",
        "/",
        Err(("AuthorizationHeaderMalformed", 400)),
    );
    signs(QUERY, "PUT", "/b/k?X-Amz-Acl=private&x-amz-acl=private", Err(("InvalidArgument", 400)));
    // Together, what is in the head and what is in the query is too much.
    let half = "v".repeat(1100);
    let both = format!("/b/k?x-amz-meta-a={half}");
    signs(QUERY, "PUT", &both, Ok(()));
    let kind = ("content-type", "a\tb");
    check(&QUERY.sign("PUT", &both, &[kind]), Err(("InvalidArgument", 400)));
    signs(QUERY, "PUT", &format!("{both}&x-amz-meta-b={half}"), Err(("MetadataTooLarge", 400)));
    check(&parts("GET", "/b", &[("host", "a b")]), Err(("InvalidRequest", 400)));
}

#[test]
fn s02_credentials_stand_in_one_place() {
    let mut both = QUERY.sign("PUT", "/b/k", &[]);
    both.headers.insert("authorization", HEADER_AUTH.parse().unwrap());
    check(&both, Err(("InvalidArgument", 400)));
    // A body that is not signed does not excuse a signature that is wrong.
    let streaming = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    let chunked = [
        streaming,
        ("x-amz-decoded-content-length", "1"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ];
    let wrong = Signer { secret: "another", payload: None, ..QUERY };
    check(&QUERY.sign("PUT", "/b/k", &chunked), Ok(()));
    check(&wrong.sign("PUT", "/b/k", &chunked), Err(("SignatureDoesNotMatch", 403)));
}

#[test]
fn s03_nothing_that_counts_is_unsigned() {
    for signer in [HEADER, QUERY] {
        for name in [
            "x-amz-tagging",
            "x-amz-acl",
            "x-amz-copy-source",
            "x-amz-meta-a",
            "x-amz-object-lock-mode",
            "x-amz-security-token",
        ] {
            let name: http::HeaderName = name.parse().unwrap();
            let mut parts = signer.sign("PUT", "/b/k", &[]);
            check(&parts, Ok(()));
            parts.headers.insert(name, "v".parse().unwrap());
            check(&parts, Err(("AccessDenied", 403)));
        }
    }
}

#[test]
fn s15_a_method_cannot_be_overridden() {
    // A DELETE of a bucket's ACL does not exist; a GET of it does, and stays a
    // GET whatever the header says.
    let override_it = ("x-http-method-override", "DELETE");
    check(&HEADER.sign("GET", "/b?acl", &[override_it]), Ok(()));
    check(&HEADER.sign("DELETE", "/b?acl", &[]), Err(("MethodNotAllowed", 405)));
    check(&HEADER.sign("GET", "/b", &[("x-stratos-expires", "1")]), Err(("InvalidArgument", 400)));
}

#[tokio::test]
async fn refused_requests_do_not_reach_the_service() {
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = calls.clone();
    let inner = service_fn(move |request: Request<GuardedBody<Empty<Bytes>>>| {
        seen.fetch_add(1, Ordering::Relaxed);
        let has_ids = request.extensions().get::<RequestIds>().is_some();
        let caller = request.extensions().get::<Arc<Caller>>().cloned();
        async move {
            assert!(has_ids && caller.expect("a caller").identity.is_anonymous());
            Ok::<_, s3s::HttpError>(HttpResponse::new(Body::empty()))
        }
    });
    let service = Guarded::new(Arc::new(guard()), inner);
    let send = |uri: &str| {
        let request = Request::from_parts(parts("GET", uri, &[("host", "h")]), Empty::new());
        service.clone().oneshot(request)
    };

    let refused = send("/b?Signature=x").await.expect("infallible");
    assert_eq!(refused.status(), 400);
    assert!(refused.headers().contains_key("x-amz-request-id"));
    assert_eq!(calls.load(Ordering::Relaxed), 0);

    let passed = send("/b").await.expect("infallible");
    assert_eq!(passed.status(), 200);
    assert!(passed.headers().contains_key("x-amz-request-id"));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_failing_service_is_an_internal_error() {
    let inner = service_fn(|_: Request<GuardedBody<Empty<Bytes>>>| async {
        Err::<HttpResponse, _>(s3s::HttpError::new("the secret path /var/x".into()))
    });
    let request = Request::from_parts(parts("GET", "/b/k", &[("host", "h")]), Empty::new());
    let service = Guarded::new(Arc::new(guard()), inner);
    let response = service.oneshot(request).await.expect("infallible");
    assert_eq!(response.status(), 500);
    let body = response.body().bytes().expect("one buffer");
    let body = std::str::from_utf8(&body).expect("UTF-8");
    assert!(body.contains("<Code>InternalError</Code>") && !body.contains("secret"));
    assert!(body.contains("<Resource>/b/k</Resource>"));
}

/// What a service behind the guard sees: line, headers and body.
async fn seen(request: Parts, body: &'static str) -> (String, HeaderMap, Result<Bytes, BodyFault>) {
    let answer = guard().admit(request, Full::new(Bytes::from(body))).await;
    let request = answer.map_err(|refusal| refusal.to_string()).expect("it may pass");
    let (parts, body) = request.into_parts();
    let read = http_body_util::BodyExt::collect(body).await;
    (parts.uri.to_string(), parts.headers, read.map(http_body_util::Collected::to_bytes))
}

#[tokio::test]
async fn the_s3_layer_sees_what_it_needs_and_no_credentials() {
    let headers = [("range", "bytes=5-2"), ("x-amz-date", "20260102T030405Z")];
    let signed = QUERY.sign("PUT", "/b/k?X-Amz-Storage-Class=STANDARD&x-id=1", &headers[..1]);
    let (line, headers, _) = seen(signed, "").await;
    assert_eq!(line, "/b/k?X-Amz-Storage-Class=STANDARD&x-id=1");
    assert_eq!(headers["x-amz-storage-class"], "STANDARD");
    assert!(!headers.contains_key("range") && !headers.contains_key("x-amz-signature"));
    let (_, headers, _) = seen(HEADER.sign("GET", "/b/k", &[("expires", "0")]), "").await;
    assert!(!headers.contains_key("authorization") && !headers.contains_key("expires"));
    assert_eq!(headers[RAW_EXPIRES], "0");
}

#[tokio::test]
async fn s07_the_body_is_the_one_that_was_signed() {
    let hash = hex::encode(Sha256::digest("abc"));
    let signed = || Signer { payload: Some(&hash), ..HEADER }.sign("PUT", "/b/k", &[]);
    assert_eq!(seen(signed(), "abc").await.2, Ok(Bytes::from("abc")));
    assert_eq!(seen(signed(), "abd").await.2, Err(BodyFault::Hash));
    assert_eq!(seen(signed(), "").await.2, Err(BodyFault::Hash));
    // A presigned URL may say it as well, and anybody may.
    let presigned = Signer { payload: Some(&hash), ..QUERY }.sign("PUT", "/b/k", &[]);
    assert_eq!(seen(presigned, "abd").await.2, Err(BodyFault::Hash));
    let anybody = sent("PUT", "/b/k", &[("x-amz-content-sha256", &hash)]);
    assert_eq!(seen(anybody, "abd").await.2, Err(BodyFault::Hash));
}

#[tokio::test]
async fn s09_unsigned_chunks_come_without_their_framing() {
    let headers = [
        ("x-amz-decoded-content-length", "3"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("content-encoding", "aws-chunked"),
    ];
    let body = "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n";
    let signer = Signer { payload: Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), ..HEADER };
    for request in [signer.sign("PUT", "/b/k", &headers), sent("PUT", "/b/k", &headers)] {
        let (_, headers, read) = seen(request, body).await;
        assert_eq!(read, Ok(Bytes::from("abc")));
        assert_eq!(headers["content-length"], "3");
    }
}

#[tokio::test]
async fn calls_of_sts_are_verified_with_their_body() {
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let admit = |parts: Parts, body: String| async move {
        let request = guard().admit(parts, Full::new(Bytes::from(body))).await;
        request.map(|request| request.extensions().get::<Errand>().cloned().expect("an errand"))
    };
    let code = |errand: Result<Errand, S3Refusal>| errand.err().map(|refusal| refusal.code);
    let body = "Action=ListRoles";
    let hash = hex::encode(Sha256::digest(body));
    let signer = Signer { service: "iam", payload: Some(&hash), ..HEADER };
    let signed = || signer.sign("POST", "/", &[kind]);
    let errand = admit(signed(), body.to_owned()).await.expect("it is right");
    assert!(errand == Errand::Sts(vec![("Action".to_owned(), "ListRoles".to_owned())]));
    let other = admit(signed(), "Action=CreateRole".to_owned()).await;
    assert_eq!(code(other), Some(Code::ContentSha256Mismatch));
    let mut unsaid = signed();
    unsaid.headers.remove("x-amz-content-sha256");
    assert_eq!(code(admit(unsaid, body.to_owned()).await), Some(Code::SignatureDoesNotMatch));
    let large = "a".repeat(STS_MAX + 1);
    assert_eq!(code(admit(signed(), large).await), Some(Code::InvalidRequest));
    // Some calls are made without a key.
    let anybody = admit(sent("POST", "/", &[kind]), body.to_owned()).await;
    assert!(matches!(anybody, Ok(Errand::Sts(_))));
}

/// The real S3 layer, with nothing behind it.
fn s3_layer() -> S3Service {
    struct Nothing;
    impl s3s::S3 for Nothing {}
    let mut builder = S3ServiceBuilder::new(Nothing);
    builder.set_host(Domains::parse(["s3.example.com"]).expect("a good domain"));
    builder.build()
}

#[tokio::test]
async fn the_s3_layer_answers_in_full_documents() {
    let service = Guarded::new(Arc::new(guard()), s3_layer());
    fn fits<S: HttpService>(_: &S) {}
    fits(&service);

    for (method, uri, headers, status, code) in [
        ("GET", "/photos/cat", vec![], 501, "NotImplemented"),
        ("GET", "/NO", vec![], 400, "InvalidBucketName"),
        ("POST", "/", vec![], 501, "NotImplemented"),
        ("PUT", "/photos/cat?torrent", vec![], 405, "MethodNotAllowed"),
        ("GET", "/photos/cat", vec![AUTH, DATE], 400, "InvalidRequest"),
    ] {
        let mut all = vec![("host", "localhost:9000")];
        all.extend_from_slice(&headers);
        let request = Request::from_parts(parts(method, uri, &all), Empty::<Bytes>::new());
        let response = service.clone().oneshot(request).await.expect("infallible");
        let body = response.body().bytes().expect("one buffer");
        let body = std::str::from_utf8(&body).expect("UTF-8");
        assert_eq!(response.status(), status, "{method} {uri}: {body}");
        assert_eq!(response.headers()["content-type"], "application/xml");
        let resource = uri.split('?').next().expect("a path");
        for want in [
            format!("<Error><Code>{code}</Code>"),
            "<Message>".to_owned(),
            format!("<Resource>{resource}</Resource><RequestId>"),
            "</RequestId><HostId>".to_owned(),
        ] {
            assert!(body.contains(&want), "{method} {uri}: {want} not in {body}");
        }
        assert!(!body.contains("<Message></Message>"), "{body}");
    }
}

#[tokio::test]
async fn a_bucket_of_the_host_is_seen_by_guard_and_s3_layer_alike() {
    let service = Guarded::new(Arc::new(guard()), s3_layer());
    // Under a configured domain the whole path is the key; anywhere else the
    // bucket stands in the path.
    for (host, code) in [
        ("photos.s3.example.com", "NotImplemented"),
        ("Photos.s3.example.com.:9000", "NotImplemented"),
        ("photos.evil.com", "InvalidBucketName"),
        ("photos.localhost:9000", "InvalidBucketName"),
    ] {
        let request = parts("GET", "/NO/cat", &[("host", host)]);
        let request = Request::from_parts(request, Empty::<Bytes>::new());
        let response = service.clone().oneshot(request).await.expect("infallible");
        let body = response.body().bytes().expect("one buffer");
        let body = std::str::from_utf8(&body).expect("UTF-8");
        assert!(body.contains(&format!("<Code>{code}</Code>")), "{host}: {body}");
    }
}
