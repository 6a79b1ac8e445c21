//! The guard as a whole, and as a service.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Empty;
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use time::macros::datetime;
use tower::service_fn;

use crate::http::listener::HttpService;

use super::testing::{HEADER_AUTH, PRESIGNED, parts};
use super::*;

fn guard() -> Guard {
    Guard::new(GuardSettings {
        region: "eu-north-1".to_owned(),
        domains: Domains::parse(["s3.example.com"]).expect("a good domain"),
        now: || datetime!(2026-01-02 03:04:05 UTC),
    })
}

const DATE: (&str, &str) = ("x-amz-date", "20260102T030405Z");
const AUTH: (&str, &str) = ("authorization", HEADER_AUTH);

#[track_caller]
fn check(method: &str, uri: &str, headers: &[(&str, &str)], want: Result<(), (&str, u16)>) {
    let mut all = vec![("host", "s3.example.com:9000")];
    all.extend_from_slice(headers);
    let got = guard().check(&parts(method, uri, &all));
    let got = got.as_ref().map(|_| ()).map_err(|e| (e.code.as_str(), e.status.as_u16()));
    assert_eq!(got, want, "{method} {uri} {headers:?}");
}

#[test]
fn good_requests_pass() {
    check("GET", "/", &[AUTH, DATE], Ok(()));
    check("PUT", "/photos/cat", &[AUTH, DATE, ("content-length", "3")], Ok(()));
    check("GET", &format!("/photos/cat?{PRESIGNED}"), &[], Ok(()));
    check("GET", &format!("/photos/cat?{PRESIGNED}&response-expires=0"), &[], Ok(()));
    check("GET", "/photos/cat", &[], Ok(()));
    check("OPTIONS", "/photos/cat", &[("origin", "https://example.com")], Ok(()));
}

#[test]
fn each_rule_is_asked() {
    let long = "k".repeat(1025);
    let unsigned = ("x-amz-acl", "public-read");
    let late = ("x-amz-date", "20260102T040405Z");
    check("GET", &format!("/b/{long}"), &[], Err(("KeyTooLongError", 400)));
    check("GET", &format!("/b?p={}", "x".repeat(8192)), &[], Err(("InvalidURI", 414)));
    check("GET", "/b/k", &[AUTH, AUTH, DATE], Err(("InvalidArgument", 400)));
    check("GET", "/b/k?Signature=x", &[], Err(("InvalidRequest", 400)));
    check("GET", "/b/k", &[AUTH, late], Err(("RequestTimeTooSkewed", 403)));
    check("PUT", "/b/k", &[AUTH, DATE, unsigned], Err(("AccessDenied", 403)));
    check("PUT", &format!("/b/k?{PRESIGNED}"), &[unsigned], Err(("AccessDenied", 403)));
    check("GET", "/b/k?response-expires=0", &[], Err(("InvalidRequest", 400)));
    check("PUT", "/b/k", &[("x-amz-meta-a", "a\tb")], Err(("InvalidArgument", 400)));
    check("GET", "/b/k?torrent&acl", &[], Err(("InvalidArgument", 400)));
    let form = ("content-type", "multipart/form-data; boundary=b");
    check("POST", "/b", &[form], Ok(()));
    check("POST", "/b/k", &[form], Err(("MethodNotAllowed", 405)));
    let twice = format!("/b/k?{PRESIGNED}&X-Amz-Acl=private&x-amz-acl=private");
    check("PUT", &twice, &[], Err(("InvalidArgument", 400)));
    // Together, what is in the head and what is in the query is too much.
    let half = "v".repeat(1100);
    let both = format!("/b/k?{PRESIGNED}&x-amz-meta-a={half}");
    check("PUT", &both, &[], Ok(()));
    check("PUT", &both, &[("content-type", "a\tb")], Err(("InvalidArgument", 400)));
    let both = format!("{both}&x-amz-meta-b={half}");
    check("PUT", &both, &[], Err(("MetadataTooLarge", 400)));
    check("DELETE", "/b?acl", &[AUTH, DATE], Err(("MethodNotAllowed", 405)));
    check("GET", "/b?metadataConfiguration", &[AUTH, DATE], Err(("NotImplemented", 501)));
    check("GET", "/b", &[("host", "evil.com")], Err(("InvalidArgument", 400)));
}

#[test]
fn a_method_cannot_be_overridden() {
    // A DELETE of a bucket's ACL does not exist; a GET of it does, and stays a
    // GET whatever the header says.
    let override_it = ("x-http-method-override", "DELETE");
    check("GET", "/b?acl", &[AUTH, DATE, override_it], Ok(()));
    check("DELETE", "/b?acl", &[AUTH, DATE], Err(("MethodNotAllowed", 405)));
}

#[tokio::test]
async fn refused_requests_do_not_reach_the_service() {
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = calls.clone();
    let inner = service_fn(move |request: Request<GuardedBody<Empty<Bytes>>>| {
        seen.fetch_add(1, Ordering::Relaxed);
        let has_ids = request.extensions().get::<RequestIds>().is_some();
        // Anything the guard adds to the head could break the signature.
        let added = request.headers().len() != 1;
        async move {
            assert!(has_ids && !added);
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

#[tokio::test]
async fn the_s3_layer_sees_headers_of_the_query_and_no_range_that_s3_ignores() {
    let inner = service_fn(|request: Request<GuardedBody<Empty<Bytes>>>| async move {
        let mut answer = HttpResponse::new(Body::empty());
        *answer.headers_mut() = request.headers().clone();
        Ok::<_, s3s::HttpError>(answer)
    });
    let uri = format!("/b/k?{PRESIGNED}&X-Amz-Storage-Class=STANDARD");
    let request = parts("PUT", &uri, &[("host", "h"), ("range", "bytes=5-2")]);
    let request = Request::from_parts(request, Empty::new());
    let service = Guarded::new(Arc::new(guard()), inner);
    let seen = service.oneshot(request).await.expect("infallible");
    assert_eq!(seen.headers()["x-amz-storage-class"], "STANDARD");
    assert!(!seen.headers().contains_key("range"));
    assert!(!seen.headers().contains_key("x-amz-signature"));
}

/// The real S3 layer, with nothing behind it.
fn s3_layer() -> S3Service {
    struct Nothing;
    impl s3s::S3 for Nothing {}
    let mut builder = S3ServiceBuilder::new(Nothing);
    builder.set_auth(SimpleAuth::from_single("AKID", "secret"));
    builder.set_host(Domains::parse(["s3.example.com"]).expect("a good domain"));
    builder.build()
}

#[tokio::test]
async fn the_s3_layer_answers_in_full_documents() {
    let service = Guarded::new(Arc::new(guard()), s3_layer());
    fn fits<S: HttpService>(_: &S) {}
    fits(&service);

    for (method, uri, headers, status, code) in [
        ("GET", "/photos/cat", vec![], 403, "AccessDenied"),
        ("GET", "/NO", vec![], 400, "InvalidBucketName"),
        ("POST", "/", vec![], 501, "NotImplemented"),
        ("PUT", "/photos/cat?torrent", vec![], 405, "MethodNotAllowed"),
        // Today's clock is not the guard's: the S3 layer has its own.
        ("GET", "/photos/cat", vec![AUTH, DATE], 403, "RequestTimeTooSkewed"),
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
        ("photos.s3.example.com", "AccessDenied"),
        ("Photos.s3.example.com.:9000", "AccessDenied"),
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
