//! What browsers do: forms, pages of other origins, websites.

mod asking;
mod posting;
mod world;

use std::sync::Arc;

use asking::{HOUR, outcome};
use gateway::meta::BucketConfig;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use posting::{Form, Policy, code_of, post};
use stratos::client::{Body, Response};
use world::{BUCKET, World, sample};

/// Changes what is configured for the bucket of the tests.
async fn configure(world: &World, change: impl FnOnce(&mut BucketConfig) + Send + 'static) {
    let meta = &world.cluster.gateway().meta;
    let bucket = meta.bucket(BUCKET).await.unwrap();
    let change = |config: &mut BucketConfig| {
        change(config);
        Ok(())
    };
    meta.change_config(bucket.id, change).await.unwrap();
}

/// Lets anybody do `action` with objects.
fn allow(action: &'static str) -> impl FnOnce(&mut BucketConfig) + Send + 'static {
    move |config| {
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*",
            "Action":"{action}","Resource":"arn:aws:s3:::{BUCKET}/*"}}]}}"#
        );
        config.policy = Some(policy);
    }
}

/// A configuration in JSON, as it is kept.
fn parse<T: serde::de::DeserializeOwned>(json: serde_json::Value) -> Option<T> {
    Some(serde_json::from_value(json).unwrap())
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

async fn ask(
    world: &World,
    method: Method,
    path: &str,
    pairs: &[(&'static str, &str)],
) -> Response {
    let url = format!("{}{path}", world.s3.endpoint());
    world.s3.send_unsigned(method, &url, headers(pairs), Body::empty()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_form_is_an_upload() {
    let world = World::start().await;
    let policy = Policy::default().with(r#"["starts-with", "$key", "in/"]"#);
    let form = Form::new("in/${filename}").field("Content-Type", "text/plain");
    let form = form.field("x-amz-meta-Who", "ann").field("x-ignore-me", "x");
    let policy = policy.with(r#"{"content-type": "text/plain"}, {"x-amz-meta-who": "ann"}"#);

    let answer =
        post(&world, form.clone().file("C:\\dir\\a b.txt", b"hello").v4(&world, &policy)).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("etag"), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert!(answer.header("location").unwrap().ends_with("/photos/in/a%20b.txt"));
    let stored = world.s3.get(BUCKET, "in/a b.txt").await.unwrap();
    assert_eq!(stored.header("content-type"), Some("text/plain"));
    assert_eq!(stored.header("x-amz-meta-who"), Some("ann"));
    assert_eq!(stored.bytes().await.unwrap(), "hello");

    // The old signature, a document for an answer, and a file of many pieces.
    let large = sample(9 << 20, 1);
    let status = policy.with(r#"{"success_action_status": "201"}"#);
    let asked = form.clone().field("success_action_status", "201").file("large", &large);
    let answer = post(&world, asked.v2(&world, &status)).await;
    assert_eq!(answer.status, 201);
    let document = asking::text(answer).await;
    assert_eq!(asking::element(&document, "Key"), "in/large");
    assert_eq!(asking::element(&document, "Bucket"), BUCKET);
    assert!(world.get("in/large").await == large);

    // On to another page.
    let to = "https://app.test/done?a=b";
    let elsewhere = policy.with(&format!(r#"["eq", "$success_action_redirect", "{to}"]"#));
    let asked = form.field("success_action_redirect", to).file("r", b"");
    let answer = post(&world, asked.v4(&world, &elsewhere)).await;
    assert_eq!(answer.status, 303);
    let told = "&bucket=photos&key=in%2Fr&etag=%22d41d8cd98f00b204e9800998ecf8427e%22";
    assert_eq!(answer.header("location"), Some(format!("{to}{told}").as_str()));
    assert_eq!(world.get("in/r").await, b"");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z07_a_form_that_its_policy_does_not_allow_stores_nothing() {
    let world = World::start().await;
    let any = || Policy::default().with(r#"["starts-with", "$key", ""]"#);
    let form = || Form::new("k").file("f", b"0123456789");
    let range = |range: &str| any().with(&format!(r#"["content-length-range", {range}]"#));
    let refused = [
        ("expired", form().v4(&world, &any().expiring("2020-01-01T00:00:00Z")), "AccessDenied"),
        ("uncovered", form().first("x-amz-meta-a", "b").v4(&world, &any()), "AccessDenied"),
        ("acl", form().first("acl", "public-read").v2(&world, &any()), "AccessDenied"),
        ("other key", form().v4(&world, &Policy::default().with(r#"{"key":"K"}"#)), "AccessDenied"),
        ("other bucket", form().v4(&world, &any().for_bucket("other")), "AccessDenied"),
        ("too large", form().v4(&world, &range("0, 9")), "EntityTooLarge"),
        ("too small", form().v4(&world, &range("11, 99")), "EntityTooSmall"),
        ("no policy", form().v4(&world, &Policy::raw("{}")), "InvalidPolicyDocument"),
        ("never", form().v4(&world, &any().expiring("never")), "InvalidPolicyDocument"),
    ];
    for (why, form, code) in refused {
        assert_eq!(code_of(post(&world, form).await).await, code, "{why}");
        assert_eq!(world.refusal_of_get("k").await, "NoSuchKey", "{why}");
    }
    // A file that is too large only behind what is stored inline.
    let large = Form::new("k").file("f", &sample(3 << 20, 2));
    let answer = post(&world, large.v4(&world, &range("0, 2000000"))).await;
    assert_eq!(code_of(answer).await, "EntityTooLarge");
    assert_eq!(world.refusal_of_get("k").await, "NoSuchKey");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z07_a_form_with_a_wrong_signature_stores_nothing() {
    let world = World::start().await;
    let policy = Policy::default().with(r#"["starts-with", "$key", ""]"#);
    let form = || Form::new("k").file("f", b"x");
    let v4 = || form().v4(&world, &policy);
    let v2 = || form().v2(&world, &policy);
    let wider = policy.with(r#"["starts-with", "$acl", ""]"#);
    let refused = [
        ("v4", v4().change("x-amz-signature", "00"), "SignatureDoesNotMatch"),
        ("v2", v2().change("signature", "AAAA"), "SignatureDoesNotMatch"),
        ("other policy", v4().change("policy", &wider.base64()), "SignatureDoesNotMatch"),
        ("unknown key", v2().change("awsaccesskeyid", "nobody"), "InvalidAccessKeyId"),
        ("no signature", v4().without("x-amz-signature"), "InvalidArgument"),
        ("no signature", v2().without("signature"), "InvalidArgument"),
        ("no policy", v4().without("policy"), "InvalidArgument"),
        ("two", v4().first("signature", "AAAA"), "InvalidArgument"),
        ("a token of nobody", v4().first("x-amz-security-token", "t"), "InvalidToken"),
        ("nobody at all", form(), "AccessDenied"),
    ];
    for (why, form, code) in refused {
        assert_eq!(code_of(post(&world, form).await).await, code, "{why}");
        assert_eq!(world.refusal_of_get("k").await, "NoSuchKey", "{why}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z07_a_form_that_is_not_whole_stores_nothing() {
    let world = World::start().await;
    let policy = Policy::default().with(r#"["starts-with", "$key", ""]"#);
    let whole = Form::new("k").file("f", &sample(100_000, 3)).v4(&world, &policy);
    let body = whole.body();
    let cut = |len: usize| body[..len].to_vec();
    let refused = [
        ("cut in the file", cut(body.len() - 5000), "MalformedPOSTRequest"),
        ("cut at the last", cut(body.len() - 4), "MalformedPOSTRequest"),
        ("cut in a field", cut(100), "MalformedPOSTRequest"),
        ("nothing", Vec::new(), "MalformedPOSTRequest"),
        ("no file", Form::new("k").body(), "InvalidArgument"),
        ("no key", Form::default().file("f", b"x").body(), "InvalidArgument"),
        (
            "large field",
            Form::new("k").field("x-ignore-a", &"x".repeat(21_000)).file("f", b"x").body(),
            "MaxPostPreDataLengthExceededError",
        ),
    ];
    for (why, body, code) in refused {
        assert_eq!(code_of(posting::post_body(&world, body).await).await, code, "{why}");
        assert_eq!(world.refusal_of_get("k").await, "NoSuchKey", "{why}");
    }
    // A wrong checksum, as for a PUT.
    let wrong = Form::new("k").field("x-amz-checksum-crc32", "AAAAAA==").file("f", b"x");
    assert_eq!(code_of(post(&world, wrong.v4(&world, &policy)).await).await, "BadDigest");
    assert_eq!(world.refusal_of_get("k").await, "NoSuchKey");
    assert_eq!(post(&world, whole).await.status, 204);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_anybody_needs_a_bucket_that_lets_anybody_write() {
    let world = World::start().await;
    let form = || Form::new("k").file("f", b"x");
    assert_eq!(code_of(post(&world, form()).await).await, "AccessDenied");
    configure(&world, allow("s3:PutObject")).await;
    assert_eq!(post(&world, form()).await.status, 204);
    assert_eq!(world.get("k").await, b"x");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_ask_first_and_read_errors_too() {
    let world = World::start().await;
    world.put("k", b"x").await;
    let preflight = |origin: &'static str, method: &'static str, wanted: &'static str| {
        let pairs = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", wanted),
        ];
        let world = &world;
        async move { ask(world, Method::OPTIONS, "/photos/k?X-Amz-Signature=x", &pairs).await }
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(
        outcome(ask(&world, Method::OPTIONS, "/photos/k", &[]).await).await,
        refused(400, "BadRequest")
    );
    assert_eq!(
        outcome(preflight("https://app.test", "PUT", "").await).await,
        refused(403, "AccessForbidden")
    );

    configure(&world, |config| {
        config.cors = parse(serde_json::json!({"cors_rules": [{
            "allowed_origins": ["https://*.test"],
            "allowed_methods": ["PUT", "POST", "GET"],
            "allowed_headers": ["content-type", "x-amz-*"],
            "expose_headers": ["ETag"],
            "max_age_seconds": 5,
        }]}));
    })
    .await;
    let answer = preflight("https://app.test", "PUT", "Content-Type,X-Amz-Date").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.test"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("PUT, POST, GET"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("content-type, x-amz-date"));
    assert_eq!(answer.header("access-control-max-age"), Some("5"));
    assert!(answer.header("vary").unwrap().contains("Origin"));
    for (origin, method, wanted) in [
        ("https://evil.org", "PUT", ""),
        ("https://app.test", "DELETE", ""),
        ("https://app.test", "PUT", "authorization"),
    ] {
        let answer = preflight(origin, method, wanted).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin} {method}");
        assert_eq!(outcome(answer).await, refused(403, "AccessForbidden"), "{origin} {method}");
    }

    // A presigned PUT, a form, and what is refused by the guard or the operation.
    let origin = [("origin", "https://app.test")];
    let url = world.s3.presign(&Method::PUT, BUCKET, b"p", HOUR, &[]).unwrap();
    let put = |url: String| {
        let world = &world;
        async move {
            world.s3.send_unsigned(Method::PUT, &url, headers(&origin), "x".into()).await.unwrap()
        }
    };
    let answer = put(url.clone()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("access-control-expose-headers")),
        (200, Some("ETag"))
    );
    let refused_put = put(url.replace("X-Amz-Expires=3600", "X-Amz-Expires=99999999")).await;
    assert_eq!(refused_put.status, 403);
    assert_eq!(refused_put.header("access-control-allow-origin"), Some("https://app.test"));
    let form =
        post(&world, Form::new("k").file("f", b"x").header("origin", "https://app.test")).await;
    assert_eq!(
        (form.status.as_u16(), form.header("access-control-allow-origin")),
        (403, Some("https://app.test"))
    );
    let stranger = ask(&world, Method::GET, "/photos/k", &[("origin", "https://evil.org")]).await;
    assert_eq!(stranger.header("access-control-allow-origin"), None);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_a_website_under_its_own_host() {
    let world = World::start().await;
    for (key, page) in [
        ("index.html", "<p>home"),
        ("docs/index.html", "<p>docs"),
        ("404.html", "<p>nothing here"),
        ("plain", "plain"),
    ] {
        world.put(key, page.as_bytes()).await;
    }
    let put =
        world::put_with(&world.s3, "moved", "", &[("x-amz-website-redirect-location", "/plain")]);
    assert_eq!(put.await, "");
    let port = world.s3.endpoint().rsplit(':').next().unwrap().to_owned();
    let host: Arc<str> = format!("{BUCKET}.web.localhost:{port}").into();
    let visit = |method: Method, path: &'static str| {
        let (world, host) = (&world, host.clone());
        async move { ask(world, method, path, &[("host", &host)]).await }
    };
    let page = |path: &'static str| {
        let answer = visit(Method::GET, path);
        async move {
            let answer = answer.await;
            let (status, to) =
                (answer.status.as_u16(), answer.header("location").map(str::to_owned));
            let body = answer.bytes().await.unwrap();
            (status, to.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
        }
    };
    let shown = |status: u16, text: &str| (status, String::new(), text.to_owned());

    // Nothing is public before its owner says so, twice.
    assert!(page("/").await.2.contains("NoSuchWebsiteConfiguration"));
    configure(&world, |config| {
        config.website = parse(serde_json::json!({
            "index_document": {"suffix": "index.html"},
            "error_document": {"key": "404.html"},
            "routing_rules": [{
                "condition": {"key_prefix_equals": "old/"},
                "redirect": {"replace_key_prefix_with": "docs/"},
            }],
        }));
    })
    .await;
    let (status, _, body) = page("/").await;
    assert_eq!(status, 403);
    assert!(body.contains("<li>Code: AccessDenied</li>"), "{body}");
    configure(&world, allow("s3:GetObject")).await;
    assert_eq!(page("/").await, shown(200, "<p>home"));
    assert_eq!(page("/docs/").await, shown(200, "<p>docs"));
    assert_eq!(page("/plain?response-content-type=text/html").await, shown(200, "plain"));
    let (status, to, _) = page("/docs").await;
    assert_eq!((status, to), (302, format!("http://{host}/docs/")));
    // Who may not list learns only that it is not for them.
    assert_eq!(page("/absent").await, shown(403, "<p>nothing here"));
    let (status, to, _) = page("/old/a%20b").await;
    assert_eq!((status, to), (301, format!("http://{host}/docs/a%20b")));
    assert_eq!(page("/moved").await.0, 301);
    assert_eq!(page("/moved").await.1, "/plain");

    let head = visit(Method::HEAD, "/").await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, Some("7")));
    let put = visit(Method::PUT, "/plain").await;
    assert_eq!(put.status, 405);
    assert_eq!(world.get("plain").await, b"plain");
    // The host of no bucket.
    let other = ask(&world, Method::GET, "/", &[("host", "absent.web.localhost")]).await;
    assert_eq!(other.status, 404);
    assert!(String::from_utf8_lossy(&other.bytes().await.unwrap()).contains("NoSuchBucket"));
    world.end().await;
}
