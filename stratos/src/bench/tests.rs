//! The benchmark against a server that keeps objects in a map.

use std::collections::BTreeSet;
use std::sync::Mutex;

use bytes::Bytes;
use http::Method;

use super::*;
use crate::recorder::{Recorded, Recorder, answer};

/// Enough of S3 for the benchmark; GETs of one size fail on demand.
#[derive(Default)]
struct Store {
    keys: Mutex<BTreeSet<String>>,
    fail_gets: bool,
}

impl Store {
    fn answer(&self, request: &Recorded) -> http::Response<Bytes> {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let is_bucket = path.matches('/').count() == 1;
        let mut keys = self.keys.lock().expect("no test panics while it holds this");
        match (&request.method, is_bucket) {
            (&Method::GET, true) => answer(200, listing(&keys)),
            (&Method::GET, false) if self.fail_gets => answer(503, ""),
            (&Method::GET | &Method::HEAD, false) => match keys.contains(path) {
                true => answer(200, vec![0; 1000]),
                false => answer(404, ""),
            },
            (&Method::PUT, false) => {
                if query.is_empty() {
                    keys.insert(path.to_owned());
                }
                let mut stored = answer(200, "");
                stored.headers_mut().insert("etag", "\"e\"".parse().expect("a value"));
                stored
            }
            (&Method::POST, _) if query == "uploads=" => {
                answer(200, "<R><UploadId>u</UploadId></R>")
            }
            (&Method::POST, _) => {
                keys.insert(path.to_owned());
                answer(200, "<R><ETag>e</ETag></R>")
            }
            (&Method::DELETE, false) => answer(if keys.remove(path) { 204 } else { 404 }, ""),
            _ => answer(200, ""),
        }
    }
}

fn listing(keys: &BTreeSet<String>) -> String {
    let entries: String = keys
        .iter()
        .map(|path| {
            let key = path.splitn(3, '/').nth(2).expect("a key");
            format!("<Contents><Key>{key}</Key><Size>1000</Size></Contents>")
        })
        .collect();
    format!("<R>{entries}</R>")
}

fn options(ops: &[Op]) -> Options {
    Options {
        sizes: vec![1000],
        ops: ops.to_vec(),
        concurrency: 3,
        until: Until::Count(10),
        sign_payload: false,
        server: Some(Process { pid: std::process::id() }),
    }
}

async fn bench(store: Store, options: &Options) -> (Result<Report, BenchError>, Recorder) {
    let recorder = Recorder::start(move |request| store.answer(request)).await;
    let client = S3Client::new(&recorder.url(), "r", "a", "s").expect("an endpoint");
    let report = run(&client, options, &CancellationToken::new(), |_, _| {}).await;
    (report, recorder)
}

#[tokio::test]
async fn every_operation_is_measured_and_nothing_is_left() {
    let ops = [Op::Put, Op::Get, Op::Head, Op::List, Op::Multipart, Op::Delete];
    let (report, recorder) = bench(Store::default(), &options(&ops)).await;
    let report = report.expect("a report");
    assert_eq!(report.phases.iter().map(|phase| phase.op).collect::<Vec<_>>(), ops);
    assert!(report.phases.iter().all(|phase| (phase.count, phase.errors) == (10, 0)));
    assert!(report.server.is_some() && !report.interrupted);

    let seen = recorder.seen();
    let first = &seen.first().expect("a request").target;
    assert!(first.starts_with("/stratos-bench-"), "{first}");
    let last = seen.last().expect("a request");
    assert_eq!((&last.method, &last.target), (&Method::DELETE, first));
    let parts = seen.iter().filter(|request| request.target.contains("partNumber=1")).count();
    assert_eq!(parts, 10);
    let puts = seen.iter().find(|request| request.body.len() == 1000).expect("a PUT");
    assert_eq!(puts.header("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
}

#[tokio::test]
async fn objects_to_read_are_stored_first_when_no_put_was_asked() {
    let (report, recorder) = bench(Store::default(), &options(&[Op::Get])).await;
    let report = report.expect("a report");
    assert_eq!((report.phases.len(), report.phases[0].count), (1, 10));
    let puts = recorder.seen().iter().filter(|r| r.method == Method::PUT).count();
    assert_eq!(puts, 1 + 6, "the bucket, and two objects a worker");
}

#[tokio::test]
async fn failures_are_counted_and_told_and_the_bucket_is_cleared() {
    let store = Store { fail_gets: true, ..Store::default() };
    let (report, recorder) = bench(store, &options(&[Op::Put, Op::Get])).await;
    let report = report.expect("a report");
    assert_eq!(report.errors(), 10);
    let told = report.first_error().expect("an error");
    assert!(told.starts_with("get: Service Unavailable"), "{told}");
    assert_eq!(recorder.seen().last().expect("a request").method, Method::DELETE);
}

#[tokio::test]
async fn a_stopped_benchmark_clears_up_and_says_so() {
    let recorder = Recorder::start(move |request| Store::default().answer(request)).await;
    let client = S3Client::new(&recorder.url(), "r", "a", "s").expect("an endpoint");
    let stop = CancellationToken::new();
    stop.cancel();
    let report = run(&client, &options(&[Op::Put]), &stop, |_, _| {}).await.expect("a report");
    assert!(report.interrupted && report.phases.is_empty());
    assert_eq!(recorder.seen().last().expect("a request").method, Method::DELETE);
}

#[test]
fn the_working_set_is_bounded() {
    assert_eq!(working_set(0), OBJECTS_MAX);
    assert_eq!(working_set(4096), OBJECTS_MAX);
    assert_eq!(working_set(64 << 20), 16);
    assert_eq!(working_set(5 << 30), 1);
}
