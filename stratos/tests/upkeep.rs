//! What happens in buckets by itself: objects expire, webhooks hear of changes,
//! accesses are logged.

mod asking;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asking::{crc32, text};
use gateway::UpkeepSettings;
use gateway::webhook::{Options, Webhook, signature};
use http::{HeaderValue, Method};
use stratos::client::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use world::{BUCKET, World, code, eventually};

const SECRET: &str = "hush";

/// Sets a sub-resource of a bucket.
async fn configure(world: &World, bucket: &str, what: &str, document: &str) {
    let sum = HeaderValue::from_str(&crc32(document.as_bytes())).unwrap();
    let request = Request::new(Method::PUT, bucket, "")
        .query(what, "")
        .header("x-amz-checksum-crc32", sum)
        .header("x-amz-skip-destination-validation", HeaderValue::from_static("true"))
        .body(document.as_bytes().to_vec());
    let sent = async { world.s3.send(request).await?.ok().await?.drain().await };
    assert_eq!(code(sent.await), "", "{what}");
}

async fn get(world: &World, bucket: &str, key: &str, query: &[(&str, &str)]) -> Response {
    let mut request = Request::new(Method::GET, bucket, key);
    for (name, value) in query {
        request = request.query(name, value);
    }
    world.s3.send(request).await.unwrap()
}

async fn put(world: &World, bucket: &str, key: &str, headers: &[(&'static str, &str)]) -> Response {
    let mut request = Request::new(Method::PUT, bucket, key).body(b"bytes".to_vec());
    for (name, value) in headers {
        request = request.header(name, HeaderValue::from_str(value).unwrap());
    }
    world.s3.send(request).await.unwrap().ok().await.unwrap()
}

fn with_days_of(seconds: u64) -> UpkeepSettings {
    UpkeepSettings { lifecycle_day: Duration::from_secs(seconds), ..UpkeepSettings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_and_uploads_expire_by_the_rules_of_their_bucket() {
    let world = World::start_with_upkeep(with_days_of(1)).await;
    let rules = "<LifecycleConfiguration><Rule><ID>old logs</ID><Status>Enabled</Status>\
        <Filter><Prefix>logs/</Prefix></Filter><Expiration><Days>1</Days></Expiration>\
        <AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation>\
        </AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>";
    configure(&world, BUCKET, "lifecycle", rules).await;
    let upload = world.s3.create_multipart(BUCKET, "logs/big").await.unwrap();
    world.put("kept", b"bytes").await;
    let answer = put(&world, BUCKET, "logs/a", &[]).await;
    let told = answer.header("x-amz-expiration").unwrap().to_owned();
    assert!(told.starts_with("expiry-date=\"") && told.contains("00:00:00 GMT"), "{told}");
    assert!(told.ends_with("rule-id=\"old%20logs\""), "{told}");
    answer.drain().await.unwrap();
    eventually("the object expires", async || world.refusal_of_get("logs/a").await == "NoSuchKey")
        .await;
    eventually("the upload is aborted", async || {
        !text(get(&world, BUCKET, "", &[("uploads", "")]).await).await.contains("logs/big")
    })
    .await;
    let part = world.s3.upload_part(BUCKET, "logs/big", &upload, 1, b"late".to_vec()).await;
    assert_eq!(code(part), "NoSuchUpload");
    let kept = world.s3.head(BUCKET, "kept").await.unwrap();
    assert_eq!(kept.header("x-amz-expiration"), None);
    assert_eq!(world.get("kept").await, b"bytes");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z14_a_locked_version_outlives_every_rule() {
    let world = World::start_with_upkeep(with_days_of(1)).await;
    let locked = Request::new(Method::PUT, "vault", "")
        .header("x-amz-bucket-object-lock-enabled", HeaderValue::from_static("true"));
    world.s3.send(locked).await.unwrap().ok().await.unwrap().drain().await.unwrap();
    let until = time::OffsetDateTime::now_utc() + Duration::from_secs(3600);
    let until = until.format(&time::format_description::well_known::Rfc3339).unwrap();
    let lock = [
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-object-lock-retain-until-date", until.as_str()),
    ];
    let mut ids = Vec::new();
    for lock in [&lock[..], &[], &[]] {
        let answer = put(&world, "vault", "k", lock).await;
        ids.push(answer.header("x-amz-version-id").unwrap().to_owned());
        answer.drain().await.unwrap();
    }
    let rules = "<LifecycleConfiguration><Rule><ID>all</ID><Status>Enabled</Status>\
        <Filter></Filter><Expiration><Days>1</Days></Expiration><NoncurrentVersionExpiration>\
        <NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration></Rule>\
        </LifecycleConfiguration>";
    configure(&world, "vault", "lifecycle", rules).await;
    let versions = async || text(get(&world, "vault", "", &[("versions", "")]).await).await;
    eventually("all but the locked version go", async || {
        let listed = versions().await;
        listed.contains("<DeleteMarker>") && !listed.contains(&ids[1]) && !listed.contains(&ids[2])
    })
    .await;
    // Had the rules meant it, it would have gone before the ones above it.
    assert!(versions().await.contains(&ids[0]));
    let kept = get(&world, "vault", "k", &[("versionId", &ids[0])]).await;
    assert_eq!(text(kept).await, "bytes");
    world.end().await;
}

/// A receiver of events that fails twice; what it took is in `taken`.
async fn receive(listener: TcpListener, taken: Arc<Mutex<Vec<String>>>) {
    let mut failures = 2;
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let Some(body) = read_signed(&mut stream).await else { continue };
        let answer = match failures {
            0 => {
                taken.lock().unwrap().push(body);
                "HTTP/1.1 204 No Content\r\n\r\n"
            }
            _ => {
                failures -= 1;
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
            }
        };
        // The sender may have given up; it will come again.
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

/// The body of a request whose signature is right.
async fn read_signed(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |name: &str| {
            head.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        let len: usize = header("content-length:").unwrap().parse().unwrap();
        if body.len() < len {
            continue;
        }
        let signed = header("x-stratos-signature:").unwrap();
        let (at, signed) = signed.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        assert_eq!(signed, signature(SECRET.as_bytes(), at.parse().unwrap(), body));
        return Some(body.to_owned());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_hears_of_every_change_even_if_it_fails_at_first() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/s3", listener.local_addr().unwrap());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let receiver = tokio::spawn(receive(listener, taken.clone()));
    let options = Options { secret: Some(SECRET.to_owned().into()), ..Options::default() };
    let hook = Webhook::parse(&url, options).unwrap();
    let webhooks = BTreeMap::from([("hook".to_owned(), hook)]);
    let upkeep = UpkeepSettings { webhooks, ..UpkeepSettings::default() };
    let world = World::start_with_upkeep(upkeep).await;
    let wanted = "<NotificationConfiguration><QueueConfiguration><Id>one</Id>\
        <Queue>arn:stratos:webhook:::hook</Queue><Event>s3:ObjectCreated:*</Event>\
        <Event>s3:ObjectRemoved:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name>\
        <Value>in/</Value></FilterRule></S3Key></Filter></QueueConfiguration>\
        </NotificationConfiguration>";
    configure(&world, BUCKET, "notification", wanted).await;
    world.put("in/a b", b"bytes").await;
    world.put("out", b"bytes").await;
    world.s3.delete(BUCKET, "in/a b").await.unwrap();
    eventually("both events come", async || taken.lock().unwrap().len() >= 2).await;
    let taken = taken.lock().unwrap().clone();
    let record = |at: usize| -> serde_json::Value {
        serde_json::from_str::<serde_json::Value>(&taken[at]).unwrap()["Records"][0].clone()
    };
    let (first, second) = (record(0), record(1));
    assert_eq!(first["eventName"], "ObjectCreated:Put");
    assert_eq!(first["s3"]["object"]["key"], "in/a+b");
    assert_eq!(first["s3"]["object"]["size"], 5);
    assert_eq!(second["eventName"], "ObjectRemoved:Delete");
    let sequencer = |record: &serde_json::Value| record["s3"]["object"]["sequencer"].to_string();
    assert!(sequencer(&first) < sequencer(&second));
    assert!(!taken.concat().contains("\"out\""), "no filter takes it: {taken:?}");
    receiver.abort();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accesses_are_logged_into_the_bucket_that_the_owner_named() {
    let log_every = Duration::from_millis(300);
    let upkeep = UpkeepSettings { log_every, ..UpkeepSettings::default() };
    let world = World::start_with_upkeep(upkeep).await;
    world.s3.create_bucket("logs").await.unwrap();
    let wanted = "<BucketLoggingStatus><LoggingEnabled><TargetBucket>logs</TargetBucket>\
        <TargetPrefix>photos/</TargetPrefix></LoggingEnabled></BucketLoggingStatus>";
    configure(&world, BUCKET, "logging", wanted).await;
    world.put("k", b"bytes").await;
    eventually("a log with the read in it is there", async || {
        assert_eq!(world.get("k").await, b"bytes");
        assert_eq!(world.refusal_of_get("none").await, "NoSuchKey");
        let listed = get(&world, "logs", "", &[("list-type", "2"), ("prefix", "photos/")]).await;
        let listed = text(listed).await;
        // One log may hold the one and the next the other.
        let mut log = String::new();
        for key in listed.split("<Key>").skip(1) {
            let key = key.split("</Key>").next().unwrap();
            log += &text(get(&world, "logs", key, &[]).await).await;
        }
        log.contains(" REST.GET.OBJECT k \"GET /photos/k HTTP/1.1\" 200 - 5 5 ")
            && log.contains(" REST.GET.OBJECT none \"GET /photos/none HTTP/1.1\" 404 NoSuchKey ")
    })
    .await;
    world.end().await;
}
