//! What a user does with objects.

mod world;

use bytes::Bytes;
use http::{HeaderValue, Method};
use stratos::client::Request;
use stratos::client::ops::ListQuery;
use world::{BUCKET, World, code, put_with, sample};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_comes_back_as_it_was_whatever_its_size() {
    let world = World::start().await;
    // Inline, one chunk, around a chunk, around a stripe, around a batch, more
    // than a segment.
    for len in [0, 1, 4096, 4097, 65_519, 65_520, 65_521, 262_080, 600_000, 1 << 20, 70 << 20] {
        let bytes = sample(len, len as u64);
        let key = format!("size/{len}");
        world.put(&key, &bytes).await;
        let back = world.get(&key).await;
        assert!(back == bytes, "{len} bytes came back as {} bytes", back.len());
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_range_comes_back_as_it_was() {
    let world = World::start().await;
    let bytes = sample(66 << 20, 7);
    world.put("big", &bytes).await;
    let small = sample(3000, 8);
    world.put("small", &small).await;
    assert_eq!(world.get_range("small", 17..2999).await, small[17..2999]);
    let len = bytes.len() as u64;
    let segment = 64 << 20;
    for range in [
        0..1,
        65_519..65_521,
        262_079..524_161,
        1_000_000..1_000_001,
        segment - 1..segment + 1,
        segment - 70_000..segment + 70_000,
        len - 1..len,
        5..len - 5,
    ] {
        let (start, end) = (range.start as usize, range.end as usize);
        let back = world.get_range("big", range.clone()).await;
        assert!(back == bytes[start..end], "{range:?}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_replaced_or_deleted_is_gone_at_once() {
    let world = World::start().await;
    let (old, new) = (sample(100_000, 1), sample(50_000, 2));
    world.put("k", &old).await;
    world.put("k", &new).await;
    assert_eq!(world.get("k").await, new);
    world.s3.delete(BUCKET, "k").await.unwrap();
    assert_eq!(world.refusal_of_get("k").await, "NoSuchKey");
    world.s3.delete(BUCKET, "k").await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_metadata_come_back_and_aws_chunked_does_not() {
    let world = World::start().await;
    let headers = [
        ("content-type", "image/jpeg"),
        ("content-encoding", "gzip"),
        ("cache-control", "max-age=60"),
        ("content-disposition", "attachment"),
        ("content-language", "de"),
        ("expires", "Thu, 01 Dec 1994 16:00:00 GMT"),
        ("x-amz-meta-Mtime", "1700000000.5"),
    ];
    let headers: Vec<(&'static str, &str)> = headers
        .into_iter()
        .map(|(name, value)| {
            (if name == "x-amz-meta-Mtime" { "x-amz-meta-mtime" } else { name }, value)
        })
        .collect();
    assert_eq!(put_with(&world.s3, "k", "bytes", &headers).await, "");
    let head = world.s3.head(BUCKET, "k").await.unwrap();
    for (name, value) in &headers {
        assert_eq!(head.header(name), Some(*value), "{name}");
    }
    assert_eq!(head.header("etag"), Some("\"4b3a6218bb3e3a7303e8a171a60fcf92\""));
    assert_eq!(head.header("content-length"), Some("5"));
    assert!(head.header("last-modified").unwrap().ends_with(" GMT"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_what_was_declared_is_not_stored() {
    let world = World::start().await;
    let wrong = [
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest"),
        ("content-md5", "short", "InvalidDigest"),
        ("x-amz-checksum-crc32", "AAAAAA==", "BadDigest"),
        ("x-amz-checksum-crc32c", "AAAAAA==", "BadDigest"),
        ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=", "BadDigest"),
        ("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "BadDigest"),
        ("x-amz-checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "BadDigest"),
    ];
    for body in [sample(100, 1), sample(200_000, 2)] {
        for (header, value, refusal) in wrong {
            assert_eq!(put_with(&world.s3, "k", body.clone(), &[(header, value)]).await, refusal);
            assert_eq!(world.refusal_of_get("k").await, "NoSuchKey", "{header}");
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_create_the_same_key_exactly_one_wins() {
    let world = World::start().await;
    for round in 0..5 {
        let key = format!("lock/{round}");
        let mut tries = tokio::task::JoinSet::new();
        for n in 0..16 {
            let (s3, key) = (world.s3.clone(), key.clone());
            // Inline objects and coded ones meet at the same key.
            let body = sample(if n % 2 == 0 { 100 } else { 10_000 }, n);
            tries.spawn(async move {
                let refusal = put_with(&s3, &key, body.clone(), &[("if-none-match", "*")]).await;
                (refusal, body)
            });
        }
        let outcomes = tries.join_all().await;
        let won: Vec<_> = outcomes.iter().filter(|(refusal, _)| refusal.is_empty()).collect();
        assert_eq!(won.len(), 1, "{:?}", outcomes.iter().map(|(r, _)| r).collect::<Vec<_>>());
        assert!(outcomes.iter().all(|(r, _)| r.is_empty() || r == "PreconditionFailed"));
        assert_eq!(world.get(&key).await, won[0].1);
    }
    let etag = world.s3.head(BUCKET, "lock/0").await.unwrap().header("etag").unwrap().to_owned();
    assert_eq!(
        put_with(&world.s3, "lock/0", "x", &[("if-match", "\"00\"")]).await,
        "PreconditionFailed"
    );
    assert_eq!(put_with(&world.s3, "lock/0", "x", &[("if-match", &etag)]).await, "");
    assert_eq!(put_with(&world.s3, "absent", "x", &[("if-match", "*")]).await, "NoSuchKey");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_bytes_and_nothing_folds_them() {
    let world = World::start().await;
    let keys = [
        "a//b",
        "a/b",
        "./x",
        "../x",
        "a/../b",
        "dir/",
        "dir",
        "a+b",
        "a b",
        "a%20b",
        "100%",
        "/lead",
        "ünï/çødé",
        "a?b&c=d#e",
        "quote\"'<>",
        "\\back",
        "~tilde",
        "*star",
    ];
    for (n, key) in keys.iter().enumerate() {
        world.put(key, &sample(20, n as u64)).await;
    }
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(world.get(key).await, sample(20, n as u64), "{key}");
    }
    let listing = world.s3.list_v2(BUCKET, ListQuery::default()).await.unwrap();
    let mut listed: Vec<String> = listing.objects.iter().map(|o| o.key.clone()).collect();
    let mut expected: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    expected.sort();
    assert_eq!(listed, expected);
    listed.dedup();
    assert_eq!(listed.len(), keys.len());
    let long = "k".repeat(1025);
    assert_eq!(put_with(&world.s3, &long, "x", &[]).await, "KeyTooLongError");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multipart_upload_becomes_one_object_and_stays_the_same_when_completed_again() {
    let world = World::start().await;
    let (first, second) = (sample(5 << 20, 1), sample(123_457, 2));
    let s3 = &world.s3;
    let upload = s3.create_multipart(BUCKET, "big").await.unwrap();
    let one = s3.upload_part(BUCKET, "big", &upload, 1, first.clone()).await.unwrap();
    s3.upload_part(BUCKET, "big", &upload, 2, first.clone()).await.unwrap();
    // The same part again replaces it.
    let two = s3.upload_part(BUCKET, "big", &upload, 2, second.clone()).await.unwrap();
    assert_eq!(world.refusal_of_get("big").await, "NoSuchKey");
    let parts = [(1, one), (2, two)];
    let etag = s3.complete_multipart(BUCKET, "big", &upload, &parts).await.unwrap();
    assert!(etag.ends_with("-2\""), "{etag}");
    assert_eq!(s3.complete_multipart(BUCKET, "big", &upload, &parts).await.unwrap(), etag);
    assert_eq!(code(s3.abort_multipart(BUCKET, "big", &upload).await), "NoSuchUpload");
    let whole = [first, second].concat();
    assert!(world.get("big").await == whole);
    let over = (5 << 20) - 10..(5 << 20) + 10;
    assert_eq!(
        world.get_range("big", over.clone()).await,
        whole[over.start as usize..over.end as usize]
    );
    // Copied as a part of another: a range, and the whole.
    let upload = s3.create_multipart(BUCKET, "copy").await.unwrap();
    let copy = |number: u32, range: Option<&str>| {
        let mut request = Request::new(Method::PUT, BUCKET, "copy")
            .query("partNumber", &number.to_string())
            .query("uploadId", &upload)
            .header("x-amz-copy-source", HeaderValue::from_static("/photos/big"));
        if let Some(range) = range {
            request = request.header("x-amz-copy-source-range", range.parse().unwrap());
        }
        async move {
            let answer = s3.send(request).await.unwrap().ok().await.unwrap();
            let text = String::from_utf8(answer.bytes().await.unwrap().to_vec()).unwrap();
            let etag = text.split("<ETag>").nth(1).unwrap().split("</ETag>").next().unwrap();
            (number, etag.replace("&quot;", "\""))
        }
    };
    let parts = [copy(1, None).await, copy(2, Some("bytes=100-199")).await];
    s3.complete_multipart(BUCKET, "copy", &upload, &parts).await.unwrap();
    assert!(world.get("copy").await == [&whole[..], &whole[100..200]].concat());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_aborted_leaves_nothing() {
    let world = World::start().await;
    let s3 = &world.s3;
    let upload = s3.create_multipart(BUCKET, "k").await.unwrap();
    let etag = s3.upload_part(BUCKET, "k", &upload, 1, sample(10_000, 1)).await.unwrap();
    s3.abort_multipart(BUCKET, "k", &upload).await.unwrap();
    let complete = s3.complete_multipart(BUCKET, "k", &upload, &[(1, etag)]).await;
    assert_eq!(code(complete), "NoSuchUpload");
    assert_eq!(code(s3.delete_bucket(BUCKET).await), "");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_outlives_its_source() {
    let world = World::start().await;
    let bytes = sample(300_000, 1);
    world.put("from", &bytes).await;
    world.s3.copy((BUCKET, b"from"), BUCKET, "to").await.unwrap();
    world.s3.delete(BUCKET, "from").await.unwrap();
    assert_eq!(world.get("to").await, bytes);
    let onto_itself = world.s3.copy((BUCKET, b"to"), BUCKET, "to").await;
    assert_eq!(code(onto_itself), "InvalidRequest");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_link_works_for_who_has_it_and_for_nothing_else() {
    let world = World::start().await;
    world.put("k", b"shared").await;
    let hour = std::time::Duration::from_secs(3600);
    let link = |key: &[u8], ttl| world.s3.presign(&Method::GET, BUCKET, key, ttl, &[]).unwrap();
    let fetch = |url: String| async move {
        let request = http::Request::get(url).body(http_body_util::Empty::<Bytes>::new()).unwrap();
        let client =
            hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
                .build_http();
        let answer = client.request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        (status, body)
    };
    assert_eq!(fetch(link(b"k", hour)).await, (200, Bytes::from_static(b"shared")));
    assert_eq!(fetch(link(b"k", hour).replace("/k?", "/other?")).await.0, 403);
    let too_long = link(b"k", hour).replace("X-Amz-Expires=3600", "X-Amz-Expires=604801");
    assert_eq!(fetch(too_long).await.0, 403);
    let unsigned = format!("{}/{BUCKET}/k", world.s3.endpoint());
    assert_eq!(fetch(unsigned).await.0, 403);
    world.end().await;
}
