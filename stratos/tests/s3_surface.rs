//! What S3 clients see where their requests are unusual: bodies that are not
//! what they should be, URLs that others sign, objects that change meanwhile.

mod asking;
mod chunked;
mod world;

use asking::{HOUR, crc32, done, element, outcome, refused, request, text};
use bytes::Bytes;
use chunked::{SIGNED, UNSIGNED};
use http::{HeaderMap, HeaderValue, Method};
use stratos::client::{Body, PayloadHash, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use world::{BUCKET, World, code, sample};

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_stored_whatever_its_chunks_or_not_at_all() {
    let world = World::start().await;
    let bytes = sample(3 << 20, 1);
    let len = bytes.len().to_string();
    let announced = [
        ("x-amz-decoded-content-length", len.as_str()),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
    ];
    let put = |key: &'static str, body: Vec<u8>| {
        let (world, announced) = (&world, &announced);
        async move { outcome(chunked::put(world, key, UNSIGNED, announced, |_| body).await).await }
    };
    let one_chunk = |end: &str| {
        [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n", end.as_bytes()].concat()
    };
    let trailer = |value: &str| format!("0\r\nx-amz-checksum-crc32:{value}\r\n\r\n");
    assert_eq!(put("one", one_chunk(&trailer(&crc32(&bytes)))).await, done());
    assert!(world.get("one").await == bytes);
    let mut many: Vec<u8> = Vec::new();
    for chunk in bytes.chunks(8192) {
        many.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        many.extend_from_slice(chunk);
        many.extend_from_slice(b"\r\n");
    }
    many.extend_from_slice(trailer(&crc32(&bytes)).as_bytes());
    assert_eq!(put("many", many).await, done());
    assert!(world.get("many").await == bytes);

    assert_eq!(put("no", one_chunk(&trailer("AAAAAA=="))).await, refused("BadDigest"));
    assert_eq!(put("no", one_chunk("0\r\n\r\n")).await, refused("MalformedTrailerError"));
    assert_eq!(put("no", one_chunk("")).await, refused("IncompleteBody"));
    assert_eq!(put("no", one_chunk("z\r\n")).await, refused("InvalidRequest"));
    let longer = [b"1\r\na\r\n", one_chunk(&trailer("AAAAAA==")).as_slice()].concat();
    assert_eq!(put("no", longer).await, refused("IncompleteBody"));
    assert_eq!(put("no", b"5\r\nabcde\r\n0\r\n\r\n".to_vec()).await, refused("IncompleteBody"));
    assert_eq!(world.refusal_of_get("no").await, "NoSuchKey");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_chunks_are_verified_however_large_they_are() {
    let world = World::start().await;
    let bytes = sample(200_000, 2);
    let len = [("x-amz-decoded-content-length", "200000")];
    let good = chunked::put(&world, "k", SIGNED, &len, |signer| {
        let chunks = bytes.chunks(65_536).map(|chunk| signer.chunk(chunk));
        let mut body = chunks.collect::<Vec<_>>().concat();
        body.extend(signer.chunk(b""));
        body
    });
    assert_eq!(outcome(good.await).await, done());
    assert!(world.get("k").await == bytes);
    let forged = chunked::put(&world, "no", SIGNED, &len, |signer| {
        let mut body = signer.chunk(&bytes);
        body[100] ^= 1;
        body.extend(signer.chunk(b""));
        body
    });
    assert_eq!(outcome(forged.await).await, (403, "SignatureDoesNotMatch".to_owned()));
    let large = sample(17 * 1024 * 1024, 3);
    let length = large.len().to_string();
    let len = [("x-amz-decoded-content-length", length.as_str())];
    let whole = chunked::put(&world, "large", SIGNED, &len, |signer| {
        [signer.chunk(&large), signer.chunk(b"")].concat()
    });
    assert_eq!(outcome(whole.await).await, done());
    assert!(world.get("large").await == large);
    let cut = chunked::put(&world, "no", SIGNED, &len, |signer| signer.chunk(&large));
    assert_eq!(outcome(cut.await).await, refused("IncompleteBody"));
    assert_eq!(world.refusal_of_get("no").await, "NoSuchKey");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_replaced_all_the_time_can_be_read_and_copied_all_the_time() {
    let world = World::start().await;
    world.put("k", &sample(100, 0)).await;
    let reading = CancellationToken::new();
    let (s3, stop) = (world.s3.clone(), reading.clone());
    let writer = tokio::spawn(async move {
        for n in 0.. {
            if stop.is_cancelled() {
                break;
            }
            s3.put(BUCKET, "k", sample(100, n)).await.unwrap();
        }
    });
    let mut readers = JoinSet::new();
    for reader in 0..8 {
        let s3 = world.s3.clone();
        readers.spawn(async move {
            for n in 0..60 {
                let read = s3.get_bytes(BUCKET, "k").await;
                assert_eq!(read.as_ref().map(Bytes::len).ok(), Some(100), "{read:?}");
                if n % 3 == 0 {
                    let copied = s3.copy((BUCKET, b"k"), BUCKET, format!("copy/{reader}")).await;
                    // Its source may go away each time it is looked up.
                    let refusal = code(copied);
                    assert!(refusal.is_empty() || refusal == "SlowDown", "{refusal}");
                }
            }
        });
    }
    readers.join_all().await;
    reading.cancel();
    writer.await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_copies_to_the_same_key_exactly_one_wins() {
    let world = World::start().await;
    world.put("from", b"bytes").await;
    let copy = |to: &str, header: &'static str, value: &str| {
        let headers = [("x-amz-copy-source", "/photos/from"), (header, value)];
        let (s3, request) = (world.s3.clone(), request(Method::PUT, to, &[], &headers));
        async move { outcome(s3.send(request).await.unwrap()).await }
    };
    for round in 0..5 {
        let key = format!("to/{round}");
        let tries: JoinSet<_> = (0..16).map(|_| copy(&key, "if-none-match", "*")).collect();
        let outcomes = tries.join_all().await;
        let lost = (412, "PreconditionFailed".to_owned());
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == done()).count(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == lost).count(), 15);
    }
    assert_eq!(copy("to/0", "if-match", "\"00\"").await.0, 412);
    let etag = world.s3.head(BUCKET, "to/0").await.unwrap().header("etag").unwrap().to_owned();
    assert_eq!(copy("to/0", "if-match", &etag).await, done());
    assert_eq!(copy("to/0", "if-match", "\"open").await, refused("InvalidArgument"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_in_a_presigned_url_count_as_headers() {
    let world = World::start().await;
    let s3 = &world.s3;
    let put = |key: &'static str, query: [(&'static str, &'static str); 1], body: &'static str| async move {
        let url = s3.presign(&Method::PUT, BUCKET, key.as_bytes(), HOUR, &query).unwrap();
        let body = Body::unsigned(Bytes::from_static(body.as_bytes()));
        outcome(s3.send_unsigned(Method::PUT, &url, HeaderMap::new(), body).await.unwrap()).await
    };
    assert_eq!(put("k", [("X-Amz-Meta-Colour", "blue")], "bytes").await, done());
    let head = s3.head(BUCKET, "k").await.unwrap();
    assert_eq!(head.header("x-amz-meta-colour"), Some("blue"));
    // The checksum of an empty body: what libraries sign who have no body yet.
    let empty = [("x-amz-checksum-crc32", "AAAAAA==")];
    assert_eq!(put("no", empty, "bytes").await, refused("BadDigest"));
    assert_eq!(put("empty", empty, "").await, done());
    assert_eq!(put("open", [("X-Amz-Acl", "public-read")], "bytes").await, done());
    let open = format!("{}/{BUCKET}/open", s3.endpoint());
    let get = s3.send_unsigned(Method::GET, &open, HeaderMap::new(), Body::empty()).await.unwrap();
    assert_eq!(get.status, 200);
    assert_eq!(put("k", [("x-amz-sdk-checksum-algorithm", "CRC32")], "bytes").await, done());
    assert_eq!(put("copy", [("X-Amz-Copy-Source", "/photos/k")], "").await, done());
    assert_eq!(world.get("copy").await, b"bytes");
    assert_eq!(world.refusal_of_get("no").await, "NoSuchKey");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_mean_nothing_are_ignored() {
    let world = World::start().await;
    world.put("k", b"0123456789").await;
    world.put("empty", b"").await;
    let s3 = &world.s3;
    for range in ["bytes=-5", "bytes=0-", "bytes=-0"] {
        for method in [Method::GET, Method::HEAD] {
            let asked = request(method, "empty", &[], &[("range", range)]);
            assert_eq!(s3.send(asked).await.unwrap().status, 416, "{range}");
        }
    }
    let url = s3.presign(&Method::GET, BUCKET, b"k", HOUR, &[]).unwrap();
    let whole = "0123456789";
    for (range, status, body) in [
        ("bytes=2-3", 206, "23"),
        ("bytes=5-2", 200, whole),
        ("bytes=0-1,4-5", 200, whole),
        ("lines=0-1", 200, whole),
        ("bytes=0-9223372036854775808", 200, whole),
    ] {
        let headers = [(http::header::RANGE, HeaderValue::from_static(range))];
        let headers = headers.into_iter().collect();
        let answer = s3.send_unsigned(Method::GET, &url, headers, Body::empty()).await.unwrap();
        assert_eq!(answer.status, status, "{range}");
        assert_eq!(answer.bytes().await.unwrap(), body, "{range}");
    }
    // Also when it is signed.
    let signed = request(Method::GET, "k", &[], &[("range", "bytes=5-2")]);
    assert_eq!(s3.send(signed).await.unwrap().bytes().await.unwrap(), whole);
    world.end().await;
}

fn delete(keys: &[&str], headers: &[(&'static str, &str)]) -> Request {
    let objects: String =
        keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    let document = format!("<Delete>{objects}</Delete>");
    request(Method::POST, "", &[("delete", "")], headers).body(document.into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_deletes_that_was_changed_on_the_way_deletes_nothing() {
    let world = World::start().await;
    world.put("k", b"bytes").await;
    let send = |request| async { outcome(world.s3.send(request).await.unwrap()).await };
    let wrong = |header, value| send(delete(&["k"], &[(header, value)]));
    assert_eq!(wrong("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==").await, refused("BadDigest"));
    assert_eq!(wrong("x-amz-checksum-crc32", "AAAAAA==").await, refused("BadDigest"));
    let sha1 = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(wrong("x-amz-checksum-sha1", sha1).await, refused("BadDigest"));
    // A name is no protection.
    let named = wrong("x-amz-checksum-algorithm", "CRC32").await;
    assert_eq!(named, refused("InvalidRequest"));
    assert_eq!(wrong("x-amz-sdk-checksum-algorithm", "CRC32").await, refused("InvalidRequest"));
    assert_eq!(world.get("k").await, b"bytes");
    let right = crc32(b"<Delete><Object><Key>k</Key></Object></Delete>");
    assert_eq!(send(delete(&["k"], &[("x-amz-checksum-crc32", &right)])).await, done());
    assert_eq!(world.refusal_of_get("k").await, "NoSuchKey");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_not_what_was_signed_is_the_clients_fault() {
    let world = World::start().await;
    let wrong = PayloadHash::Sha256([7; 32]);
    let body = || Body::from("<Delete/>").with_hash(wrong.clone());
    let md5 = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
    for asked in [
        request(Method::POST, "", &[("delete", "")], &md5),
        request(Method::POST, "k", &[("uploadId", "x")], &[]),
        Request::new(Method::PUT, "another", ""),
        request(Method::PUT, "k", &[], &[]),
    ] {
        let answer = world.s3.send(asked.body(body())).await.unwrap();
        assert_eq!(outcome(answer).await, refused("XAmzContentSHA256Mismatch"));
    }
    // One that breaks off.
    let url = world.s3.presign(&Method::POST, BUCKET, b"", HOUR, &[("delete", "")]).unwrap();
    let authority = world.s3.endpoint().strip_prefix("http://").unwrap().to_owned();
    let target = url.strip_prefix(world.s3.endpoint()).unwrap();
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: {authority}\r\ncontent-length: 100\r\n\
         content-md5: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n<Delete>"
    );
    let mut stream = TcpStream::connect(&authority).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("<Code>IncompleteBody</Code>"), "{answer}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_somebody_else_is_not_touched_by_who_says_whose_it_should_be() {
    let world = World::start().await;
    world.put("k", b"bytes").await;
    let buckets = text(world.s3.send(Request::new(Method::GET, "", "")).await.unwrap()).await;
    let own = element(&buckets, "ID").to_owned();
    let send = |request| async { outcome(world.s3.send(request).await.unwrap()).await };
    let expected = "x-amz-expected-bucket-owner";
    let source = "x-amz-source-expected-bucket-owner";
    let copied = ("x-amz-copy-source", "/photos/k");
    for (owner, want) in [(own.as_str(), 200), ("123456789012", 403)] {
        for (method, key, headers) in [
            (Method::GET, "", &[(expected, owner)][..]),
            (Method::HEAD, "", &[(expected, owner)]),
            (Method::GET, "k", &[(expected, owner)]),
            (Method::PUT, "k", &[(expected, owner)]),
            (Method::PUT, "copy", &[(expected, owner), copied]),
            (Method::PUT, "copy", &[(source, owner), copied]),
        ] {
            let got = send(request(method.clone(), key, &[], headers)).await;
            assert_eq!(got.0, want, "{method} {key:?} {headers:?}: {}", got.1);
        }
    }
    let deleted = send(request(Method::DELETE, "k", &[], &[(expected, "x")])).await;
    assert_eq!(deleted, (403, "AccessDenied".to_owned()));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checksum_of_a_whole_is_compared_and_parts_are_told_where_there_are_some() {
    let world = World::start().await;
    let s3 = &world.s3;
    let begin = |headers: Vec<(&'static str, &'static str)>| async move {
        let asked = request(Method::POST, "big", &[("uploads", "")], &headers);
        element(&text(s3.send(asked).await.unwrap()).await, "UploadId").to_owned()
    };
    let kinds = [("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "FULL_OBJECT")];
    let bytes = sample(10_000, 1);
    let upload = begin(kinds.to_vec()).await;
    let etag = s3.upload_part(BUCKET, "big", &upload, 1, bytes.clone()).await.unwrap();
    let list = request(Method::GET, "big", &[("uploadId", &upload), ("max-parts", "0")], &[]);
    assert_eq!(element(&text(s3.send(list).await.unwrap()).await, "IsTruncated"), "false");
    let complete = |upload: String, etag: String, checksum: String| async move {
        let document = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
             </CompleteMultipartUpload>"
        );
        let headers = [("x-amz-checksum-crc32", checksum.as_str())];
        let asked = request(Method::POST, "big", &[("uploadId", &upload)], &headers);
        outcome(s3.send(asked.body(document.into_bytes())).await.unwrap()).await
    };
    let wrong = complete(upload.clone(), etag.clone(), "AAAAAA==".to_owned()).await;
    assert_eq!(wrong, refused("BadDigest"));
    assert_eq!(complete(upload, etag, crc32(&bytes)).await, done());
    let upload = begin(Vec::new()).await;
    let etag = s3.upload_part(BUCKET, "big", &upload, 1, bytes.clone()).await.unwrap();
    assert_eq!(complete(upload, etag, crc32(&bytes)).await, refused("InvalidRequest"));

    world.put("small", b"bytes").await;
    for (key, want) in [("big", Some("1")), ("small", None)] {
        for method in [Method::GET, Method::HEAD] {
            let asked = request(method.clone(), key, &[("partNumber", "1")], &[]);
            let answer = s3.send(asked).await.unwrap();
            assert_eq!(answer.status, 206, "{method} {key}");
            assert_eq!(answer.header("x-amz-mp-parts-count"), want, "{method} {key}");
        }
    }
    world.end().await;
}
