//! Corners of the S3 and admin interfaces that clients do look into.

mod asking;
mod world;

use asking::{done, element, outcome, refused, request, text};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use stratos::client::{Body, Request};
use stratos::cluster::{Cluster, ClusterOptions, FolderError, StartError};
use world::{BUCKET, World, code, put_with};

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_like_a_form_is_refused_before_it_is_read() {
    let world = World::start().await;
    let url = format!("{}/{BUCKET}", world.s3.endpoint());
    for kind in ["multipart/mixed; boundary=b", "Multipart/form-data+xml; boundary=b"] {
        let headers: HeaderMap =
            [(CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
        // A body that never comes: who waits for it does not answer.
        let never = futures::stream::pending();
        let body = Body::stream(1 << 30, never);
        let answer = world.s3.send_unsigned(Method::POST, &url, headers, body).await.unwrap();
        assert_eq!(outcome(answer).await, (501, "NotImplemented".to_owned()));
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_declared_of_a_body_must_hold() {
    let world = World::start().await;
    let put = |headers: &'static [(&'static str, &'static str)]| {
        put_with(&world.s3, "k", "bytes", headers)
    };
    // Only a chunked body has a length inside.
    assert_eq!(put(&[("x-amz-decoded-content-length", "1")]).await, "");
    assert_eq!(world.get("k").await, b"bytes");
    assert_eq!(put(&[("x-amz-sdk-checksum-algorithm", "CRC32")]).await, "InvalidRequest");
    // Asked for, not declared.
    assert_eq!(put(&[("x-amz-checksum-algorithm", "CRC32")]).await, "");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_headers_that_were_asked_for() {
    let world = World::start().await;
    let stored = [("expires", "Thu, 01 Dec 1994 16:00:00 GMT")];
    assert_eq!(put_with(&world.s3, "k", "bytes", &stored).await, "");
    let asked = "Fri, 01 Jan 2100 00:00:00 GMT";
    for (query, want) in [(&[][..], stored[0].1), (&[("response-expires", asked)], asked)] {
        let answer = world.s3.send(request(Method::GET, "k", query, &[])).await.unwrap();
        let expires: Vec<_> = answer.headers.get_all("expires").iter().collect();
        assert_eq!(expires, [want]);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_onto_itself_must_change_something() {
    let world = World::start().await;
    world.put("k", b"bytes").await;
    let copy = |header: (&'static str, &'static str)| {
        let headers = [("x-amz-copy-source", "/photos/k"), header];
        let asked = request(Method::PUT, "k", &[], &headers);
        async { outcome(world.s3.send(asked).await.unwrap()).await }
    };
    assert_eq!(copy(("x-amz-storage-class", "STANDARD")).await, refused("InvalidRequest"));
    assert_eq!(copy(("x-amz-metadata-directive", "REPLACE")).await, done());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_listing_is_legal_xml_and_an_empty_token_is_its_beginning() {
    let world = World::start().await;
    world.put("a\u{1}b\u{fffe}", b"x").await;
    let upload = request(Method::POST, "c\u{2}", &[("uploads", "")], &[]);
    let upload = text(world.s3.send(upload).await.unwrap()).await;
    let id = element(&upload, "UploadId").to_owned();
    let document = "<Delete><Object><Key>\u{3}</Key></Object></Delete>";
    let md5 = {
        use base64::Engine;
        use md5::Digest;
        base64::prelude::BASE64_STANDARD.encode(md5::Md5::digest(document))
    };
    let get = |key, query: &[(&str, &str)]| request(Method::GET, key, query, &[]);
    let deletes = request(Method::POST, "", &[("delete", "")], &[("content-md5", &md5)]);
    for (asked, want) in [
        (get("", &[]), "<Key>a\u{fffd}b\u{fffd}</Key>"),
        (get("", &[("list-type", "2"), ("prefix", "a\u{1}")]), "<Prefix>a\u{fffd}</Prefix>"),
        (get("", &[("versions", "")]), "<Key>a\u{fffd}b\u{fffd}</Key>"),
        (get("", &[("uploads", "")]), "<Key>c\u{fffd}</Key>"),
        (get("c\u{2}", &[("uploadId", &id)]), "<Key>c\u{fffd}</Key>"),
        (get("", &[("encoding-type", "url")]), "<Key>a%01b%EF%BF%BE</Key>"),
        (deletes.body(document), "<Key>\u{fffd}</Key>"),
    ] {
        let xml = text(world.s3.send(asked).await.unwrap()).await;
        assert!(xml.contains(want), "{want:?} is not in {xml:?}");
        assert!(!xml.contains(|c: char| c.is_control() && c != '\n'), "{xml:?}");
    }
    let first = get("", &[("list-type", "2"), ("continuation-token", "")]);
    let page = text(world.s3.send(first).await.unwrap()).await;
    assert_eq!(element(&page, "KeyCount"), "1");
    assert!(page.contains("<ContinuationToken></ContinuationToken>"), "{page}");
    assert!(!page.contains("NextContinuationToken"), "{page}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_admin_api_refuses_it_says_so_in_json() {
    let world = World::start().await;
    let at = world.cluster.endpoint().clone();
    let bearer = format!("Bearer {}", at.admin_token);
    for (method, path, status) in [
        (Method::GET, "/v1/epochs?last=many", 400),
        (Method::DELETE, "/v1/keys/%ff", 400),
        (Method::DELETE, "/v1/accounts", 405),
        (Method::POST, "/metrics", 405),
        (Method::GET, "/v1/nothing", 404),
    ] {
        let url = format!("{}{path}", at.admin_endpoint);
        let headers = [(AUTHORIZATION, HeaderValue::from_str(&bearer).unwrap())];
        let headers = headers.into_iter().collect();
        let sent = world.s3.send_unsigned(method, &url, headers, Body::empty()).await;
        let answer = sent.unwrap();
        assert_eq!(answer.status, status, "{path}");
        let body = answer.bytes().await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).expect(path);
        assert!(problem["error"].as_str().is_some_and(|error| !error.is_empty()), "{problem}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_use_is_named_before_its_port() {
    let world = World::start().await;
    let listen = world.s3.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    let options = ClusterOptions::new(world.cluster.dir().to_owned(), listen);
    let again = Cluster::start(options.clone()).await.err();
    assert!(matches!(again, Some(StartError::Folder(FolderError::InUse(_)))), "{again:?}");
    // Another folder: then it is the port, and no folder is made.
    let empty = tempfile::tempdir().unwrap();
    let dir = empty.path().join("data");
    let other = Cluster::start(ClusterOptions { dir: dir.clone(), ..options }).await.err();
    assert!(matches!(other, Some(StartError::Listen(..))), "{other:?}");
    assert!(!dir.exists());
    assert_eq!(code(world.s3.send(Request::new(Method::GET, "", "")).await), "");
    world.end().await;
}
