//! What must be refused, over the network: each test is named by the id of the
//! checklist in SECURITY.md and sees that nothing was changed or told.
//!
//! Ids that are decided by one function have their tests beside it; the last
//! test here counts them all.

mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use stratos::client::{Body, Request, S3Client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use world::{BUCKET, World, code, put_with, sample};

/// A client of another account, with a bucket of its own.
async fn other(world: &World, name: &str) -> S3Client {
    world.admin.create_account(name, None, None).await.unwrap();
    let key = world.admin.create_key(name).await.unwrap();
    let client = client(world, &key.access_key_id, &key.secret_access_key);
    client.create_bucket(&format!("of-{name}")).await.unwrap();
    client
}

fn client(world: &World, id: &str, secret: &str) -> S3Client {
    let at = world.cluster.endpoint();
    S3Client::new(&at.endpoint, &at.region, id, secret).unwrap()
}

/// The S3 code of the refusal, or "".
async fn ask(s3: &S3Client, request: Request) -> String {
    let sent = async { s3.send(request).await?.ok().await?.drain().await };
    code(sent.await)
}

/// What the server says to these very bytes before it closes or falls silent.
async fn raw(world: &World, request: &str) -> String {
    let address = world.s3.endpoint().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64 * 1024];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer)).await;
    let read = read.expect("an answer or an end").unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

async fn configure(s3: &S3Client, sub_resource: &str, document: &str) -> String {
    let request = Request::new(Method::PUT, BUCKET, "").query(sub_resource, "");
    ask(s3, request.body(document.as_bytes().to_vec())).await
}

fn unauthenticated(text: &str) -> bool {
    ["HTTP/1.1 400", "HTTP/1.1 403", "HTTP/1.1 501"].iter().any(|line| text.starts_with(line))
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_what_matters_may_come_only_once() {
    let world = World::start().await;
    world.put("k", b"before").await;
    for head in [
        "PUT /photos/k HTTP/1.1\r\nhost: h\r\nx-amz-date: 1\r\nx-amz-date: 2\r\ncontent-length: 0\r\n\r\n",
        "PUT /photos/k HTTP/1.1\r\nhost: h\r\nauthorization: a\r\nauthorization: b\r\ncontent-length: 0\r\n\r\n",
        "PUT /photos/k?partNumber=1&partNumber=2&uploadId=x HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n",
    ] {
        let answer = raw(&world, head).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
    }
    assert_eq!(world.get("k").await, b"before");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s06_odd_keys_are_keys_and_lead_nowhere_else() {
    let world = World::start().await;
    let ann = other(&world, "ann").await;
    ann.put("of-ann", "secret", "hers").await.unwrap();
    let keys =
        ["a//b", "a/../b", "./x", "/lead", "trail/", "..", "back\\slash", "../of-ann/secret"];
    for key in keys {
        world.put(key, key.as_bytes()).await;
    }
    for key in keys {
        assert_eq!(world.get(key).await, key.as_bytes(), "{key:?}");
    }
    // A copy source is a key as well.
    let copied = world.s3.copy((BUCKET, b"../of-ann/secret"), BUCKET, "copy").await;
    copied.unwrap();
    assert_eq!(world.get("copy").await, b"../of-ann/secret");
    assert_eq!(code(world.s3.copy(("of-ann", b"secret"), BUCKET, "stolen").await), "AccessDenied");
    assert_eq!(world.refusal_of_get("stolen").await, "NoSuchKey");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s10_an_old_request_is_refused() {
    let world = World::start().await;
    let answer = raw(
        &world,
        "PUT /photos/old HTTP/1.1\r\nhost: h\r\nx-amz-date: 20200101T000000Z\r\n\
         x-amz-content-sha256: UNSIGNED-PAYLOAD\r\ncontent-length: 0\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential=SKA/20200101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
         Signature=00\r\n\r\n",
    )
    .await;
    assert!(answer.contains("RequestTimeTooSkewed"), "{answer}");
    assert_eq!(world.refusal_of_get("old").await, "NoSuchKey");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_a_presigned_url_is_for_what_was_signed() {
    let world = World::start().await;
    world.put("k", b"private").await;
    let url = |method, key: &[u8]| {
        world.s3.presign(&method, BUCKET, key, Duration::from_secs(60), &[]).unwrap()
    };
    let good = url(Method::GET, b"k");
    let get = |url: String| {
        let sent = world.s3.send_unsigned(
            Method::GET,
            Box::leak(url.into_boxed_str()),
            HeaderMap::new(),
            Body::empty(),
        );
        async move { code(async { sent.await?.ok().await?.bytes().await }.await) }
    };
    assert_eq!(get(good.clone()).await, "");
    assert_eq!(get(good.replace("/k?", "/other?")).await, "SignatureDoesNotMatch");
    assert_eq!(
        get(good.replace("X-Amz-Expires=60", "X-Amz-Expires=604801")).await,
        "AuthorizationQueryParametersError"
    );
    assert_eq!(
        get(good.replace("X-Amz-Expires=60", "X-Amz-Expires=600")).await,
        "SignatureDoesNotMatch"
    );
    // A copy source that nobody signed would read as the signer.
    let put = url(Method::PUT, b"stolen");
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-copy-source", HeaderValue::from_static("/photos/k"));
    let sent = async {
        world.s3.send_unsigned(Method::PUT, &put, headers, Body::empty()).await?.ok().await
    };
    assert_eq!(code(sent.await), "AccessDenied");
    assert_eq!(world.refusal_of_get("stolen").await, "NoSuchKey");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z03_z05_nothing_is_told_before_leave_is_given() {
    let world = World::start().await;
    let ann = other(&world, "ann").await;
    world.put("k", b"x").await;
    for key in ["k", "absent"] {
        let conditional = Request::new(Method::GET, BUCKET, key)
            .header("if-none-match", HeaderValue::from_static("*"));
        assert_eq!(ask(&ann, conditional).await, "AccessDenied", "{key}");
        let version = Request::new(Method::GET, BUCKET, key).query("versionId", "null");
        assert_eq!(ask(&ann, version).await, "AccessDenied", "{key}");
    }
    // To read an object is not to read its versions.
    let policy = format!(
        r#"{{"Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{BUCKET}/*"}}]}}"#
    );
    assert_eq!(configure(&world.s3, "policy", &policy).await, "");
    assert_eq!(ask(&ann, Request::new(Method::GET, BUCKET, "k")).await, "");
    let version = Request::new(Method::GET, BUCKET, "k").query("versionId", "null");
    assert_eq!(ask(&ann, version).await, "AccessDenied");
    assert_eq!(ask(&ann, Request::new(Method::GET, BUCKET, "absent")).await, "AccessDenied");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z04_a_copy_needs_leave_on_both_sides() {
    let world = World::start().await;
    let ann = other(&world, "ann").await;
    world.put("k", b"private").await;
    ann.put("of-ann", "hers", "hers").await.unwrap();
    assert_eq!(code(ann.copy((BUCKET, b"k"), "of-ann", "stolen").await), "AccessDenied");
    assert_eq!(code(ann.copy(("of-ann", b"hers"), BUCKET, "planted").await), "AccessDenied");
    let upload = ann.create_multipart("of-ann", "big").await.unwrap();
    let part = Request::new(Method::PUT, "of-ann", "big")
        .query("uploadId", &upload)
        .query("partNumber", "1")
        .header("x-amz-copy-source", HeaderValue::from_static("/photos/k"));
    assert_eq!(ask(&ann, part).await, "AccessDenied");
    assert_eq!(code(ann.get_bytes("of-ann", "stolen").await), "NoSuchKey");
    assert_eq!(world.refusal_of_get("planted").await, "NoSuchKey");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z06_an_upload_is_its_beginners() {
    let world = World::start().await;
    let (ann, bob) = (other(&world, "ann").await, other(&world, "bob").await);
    // Both may write to the bucket; still neither may go on with the other's.
    let policy = format!(
        r#"{{"Statement":[{{"Effect":"Allow","Principal":"*","Action":["s3:PutObject","s3:AbortMultipartUpload","s3:ListMultipartUploadParts"],"Resource":"arn:aws:s3:::{BUCKET}/*"}}]}}"#
    );
    assert_eq!(configure(&world.s3, "policy", &policy).await, "");
    let upload = ann.create_multipart(BUCKET, "big").await.unwrap();
    let part = bob.upload_part(BUCKET, "big", &upload, 1, sample(100, 1)).await;
    assert_eq!(code(part), "NoSuchUpload");
    // Nor under another key.
    let part = ann.upload_part(BUCKET, "other", &upload, 1, sample(100, 1)).await;
    assert_eq!(code(part), "NoSuchUpload");
    ann.upload_part(BUCKET, "big", &upload, 1, sample(100, 1)).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z08_every_key_of_a_multi_delete_is_asked_for() {
    let world = World::start().await;
    let ann = other(&world, "ann").await;
    world.put("open/a", b"x").await;
    world.put("shut/b", b"x").await;
    let policy = format!(
        r#"{{"Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::{BUCKET}/open/*"}}]}}"#
    );
    assert_eq!(configure(&world.s3, "policy", &policy).await, "");
    let delete = |body: String| {
        let md5 = {
            use base64::Engine;
            use md5::Digest;
            base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body.as_bytes()))
        };
        Request::new(Method::POST, BUCKET, "")
            .query("delete", "")
            .header("content-md5", HeaderValue::from_str(&md5).unwrap())
            .body(body.into_bytes())
    };
    let object = |key: &str| format!("<Object><Key>{key}</Key></Object>");
    let two = format!("<Delete>{}{}</Delete>", object("open/a"), object("shut/b"));
    assert_eq!(ask(&ann, delete(two)).await, "");
    assert_eq!(world.refusal_of_get("open/a").await, "NoSuchKey");
    assert_eq!(world.get("shut/b").await, b"x");
    let many: String = (0..1001).map(|n| object(&n.to_string())).collect();
    assert_eq!(ask(&world.s3, delete(format!("<Delete>{many}</Delete>"))).await, "MalformedXML");
    let unprotected = Request::new(Method::POST, BUCKET, "").query("delete", "");
    let unprotected =
        unprotected.body(format!("<Delete>{}</Delete>", object("shut/b")).into_bytes());
    assert_eq!(ask(&world.s3, unprotected).await, "InvalidRequest");
    assert_eq!(world.get("shut/b").await, b"x");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z13_the_admin_api_wants_its_token() {
    let world = World::start().await;
    let at = world.cluster.endpoint();
    let wrong = stratos::admin::AdminClient::new(&at.admin_endpoint, "0".repeat(64)).unwrap();
    assert!(wrong.accounts().await.is_err());
    assert!(wrong.create_account("eve", None, None).await.is_err());
    assert!(wrong.create_key("default").await.is_err());
    let names: Vec<_> = world.admin.accounts().await.unwrap().accounts;
    assert_eq!(names.len(), 1);
    // It is not on the S3 port.
    let answer = raw(&world, "GET /v1/accounts HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(!answer.contains("canonical_id"), "{answer}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z15_accounts_see_nothing_of_each_other() {
    let world = World::start().await;
    let (ann, bob) = (other(&world, "ann").await, other(&world, "bob").await);
    ann.put("of-ann", "hers", "hers").await.unwrap();
    bob.put("of-bob", "his", "his").await.unwrap();
    for (who, own, foreign) in [(&ann, "of-ann", "of-bob"), (&bob, "of-bob", "of-ann")] {
        let listed =
            who.send(Request::new(Method::GET, "", "")).await.unwrap().bytes().await.unwrap();
        let listed = String::from_utf8_lossy(&listed).into_owned();
        assert!(listed.contains(own) && !listed.contains(foreign) && !listed.contains(BUCKET));
        for sub_resource in ["acl", "policy", "versions", "uploads", "lifecycle", "tagging", "cors"]
        {
            let asked = Request::new(Method::GET, foreign, "").query(sub_resource, "");
            assert_eq!(ask(who, asked).await, "AccessDenied", "{sub_resource}");
            let asked = Request::new(Method::DELETE, foreign, "").query("policy", "");
            assert_eq!(ask(who, asked).await, "AccessDenied");
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h01_requests_that_could_be_two_are_refused() {
    let world = World::start().await;
    for head in [
        "PUT /photos/k HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "PUT /photos/k HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcd",
        "PUT /photos/k HTTP/1.1\r\nhost: h\r\ncontent-length: +4\r\n\r\nabcd",
        "GET /photos/k HTTP/1.1\r\nhost: h\r\nx-a: b\r\n folded\r\n\r\n",
        "GET /photos/k HTTP/1.1\r\nhost : h\r\n\r\n",
    ] {
        let answer = raw(&world, head).await;
        assert!(answer.is_empty() || unauthenticated(&answer), "{head:?}: {answer}");
    }
    assert_eq!(world.refusal_of_get("k").await, "NoSuchKey");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h05_documents_cannot_blow_up() {
    let world = World::start().await;
    let laughs = r#"<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><Tagging><TagSet><Tag><Key>k</Key><Value>&b;</Value></Tag></TagSet></Tagging>"#;
    let deep = "<a>".repeat(100_000);
    let attributes: String = (0..50_000).map(|n| format!(" a{n}='1'")).collect();
    let wide = format!("<Tagging{attributes}></Tagging>");
    for document in [laughs, deep.as_str(), wide.as_str(), "<Other/>", "\u{feff}", "<Tagging>"] {
        let answer = configure(&world.s3, "tagging", document).await;
        assert!(!["", "InternalError"].contains(&answer.as_str()), "{:.40}: {answer}", document);
    }
    let large = format!("<Tagging>{}</Tagging>", " ".repeat(3 << 20));
    assert_ne!(configure(&world.s3, "tagging", &large).await, "");
    let asked = Request::new(Method::GET, BUCKET, "").query("tagging", "");
    assert_eq!(ask(&world.s3, asked).await, "NoSuchTagSet");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h06_numbers_out_of_range_are_errors() {
    let world = World::start().await;
    world.put("k", b"0123456789").await;
    let get = |range: &'static str| {
        Request::new(Method::GET, BUCKET, "k").header("range", HeaderValue::from_static(range))
    };
    assert_eq!(ask(&world.s3, get("bytes=10-")).await, "InvalidRange");
    assert_eq!(ask(&world.s3, get("bytes=-0")).await, "InvalidRange");
    for range in ["bytes=0-18446744073709551615", "bytes=0-99999999999999999999999", "bytes=5-1"] {
        let answer = ask(&world.s3, get(range)).await;
        assert_ne!(answer, "InternalError", "{range}");
    }
    for (name, value) in [("max-keys", "-1"), ("max-keys", "9999999999"), ("max-keys", "x")] {
        let asked = Request::new(Method::GET, BUCKET, "").query(name, value);
        assert_eq!(ask(&world.s3, asked).await, "InvalidArgument", "{name}={value}");
    }
    for number in ["0", "10001", "-1", "99999999999"] {
        let asked = Request::new(Method::PUT, BUCKET, "k")
            .query("partNumber", number)
            .query("uploadId", "x");
        let answer = ask(&world.s3, asked.body(Body::empty())).await;
        assert!(
            ["InvalidArgument", "NoSuchUpload"].contains(&answer.as_str()),
            "{number}: {answer}"
        );
    }
    assert_eq!(world.get("k").await, b"0123456789");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h09_what_is_compressed_stays_so() {
    let world = World::start().await;
    let bomb = sample(4096, 3);
    assert_eq!(
        put_with(&world.s3, "k.gz", bomb.clone(), &[("content-encoding", "gzip")]).await,
        ""
    );
    assert_eq!(world.get("k.gz").await, bomb);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h10_open_uploads_are_counted() {
    let world = World::start().await;
    for n in 0..1000 {
        world.s3.create_multipart(BUCKET, format!("k{n}")).await.unwrap();
    }
    assert_eq!(code(world.s3.create_multipart(BUCKET, "one more").await), "InvalidRequest");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h12_h13_no_request_breaks_the_server_or_learns_of_its_inside() {
    let world = World::start().await;
    for uri in [
        "/%00",
        "/photos/%ff",
        "/photos?%",
        "/..",
        "//",
        "/photos/k?versionId=%00",
        "/photos?list-type=9&continuation-token=%%",
    ] {
        let answer = raw(&world, &format!("GET {uri} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{uri}: {answer}");
        for inside in ["/tmp", "sqlite", "SELECT", "panicked", ".rs:"] {
            assert!(!answer.contains(inside), "{uri}: {answer}");
        }
    }
    for (name, value) in
        [("uploadId", "'; DROP TABLE uploads;--"), ("versionId", "../../etc/passwd"), ("acl", "x")]
    {
        let asked = Request::new(Method::GET, BUCKET, "k").query(name, value);
        let answer = ask(&world.s3, asked).await;
        assert!(!["", "InternalError"].contains(&answer.as_str()), "{name}: {answer}");
    }
    world.put("still", b"here").await;
    assert_eq!(world.get("still").await, b"here");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn h14_a_bucket_is_never_guessed_from_a_host() {
    let world = World::start().await;
    world.put("k", b"private").await;
    for host in
        ["photos.evil.com", "photos.127.0.0.1", "photos.localhost.", "photos.s3.amazonaws.com"]
    {
        let answer = raw(&world, &format!("GET /k HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert!(
            !answer.contains("private") && answer.starts_with("HTTP/1.1 4"),
            "{host}: {answer}"
        );
    }
    world.end().await;
}

/// All names of tests that carry an id, by id.
fn tests_by_id(dir: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                tests_by_id(&path, found);
            }
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for name in text.split("fn ").skip(1) {
                let name = name.split('(').next().unwrap_or_default();
                for word in name.split('_') {
                    let is_id = word.len() == 3
                        && ["s", "z", "h"].contains(&&word[..1])
                        && word[1..].bytes().all(|b| b.is_ascii_digit());
                    if !is_id {
                        break;
                    }
                    *found.entry(word.to_owned()).or_default() += 1;
                }
            }
        }
    }
}

#[test]
fn every_line_of_the_checklist_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = BTreeMap::new();
    for folder in ["gateway", "stratos", "protocol", "storage-node"] {
        tests_by_id(&root.join(folder), &mut found);
    }
    for (letter, last) in [("s", 15), ("z", 15), ("h", 14)] {
        for number in 1..=last {
            let id = format!("{letter}{number:02}");
            assert!(found.contains_key(&id), "{id} has no test");
        }
    }
    let all: usize = found.values().sum();
    assert!(all >= 100, "there were more tests once: {all}");
}
