//! The listener from the other end of the wire, with a toy service behind it.
//! Limits are short where a test is about one; nothing sleeps.

use std::sync::Mutex;

use http::StatusCode;
use http_body_util::BodyExt;
use s3s::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower::service_fn;

use super::*;

mod tls;

/// No step of a test takes as long as this unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<F: Future>(what: F) -> F::Output {
    timeout(PATIENCE, what).await.expect("this should not take so long")
}

/// Waits for other tasks until `done`.
async fn until(done: impl Fn() -> bool) {
    soon(async {
        while !done() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// What the toy service shares with its test.
#[derive(Default)]
struct Toy {
    paths: Mutex<Vec<String>>,
    begun: Notify,
    go: Notify,
    ended: Notify,
}

impl Toy {
    fn paths(&self) -> Vec<String> {
        self.paths.lock().expect("nobody panics with it").clone()
    }
}

async fn toy(
    toy: Arc<Toy>,
    request: Request<RequestBody>,
) -> Result<HttpResponse, std::convert::Infallible> {
    let path = request.uri().path().to_owned();
    toy.paths.lock().expect("nobody panics with it").push(path.clone());
    assert!(request.extensions().get::<Peer>().is_some());
    let is_secure = request.extensions().get::<Secure>().is_some();
    let answer = |status: StatusCode, body: Body| {
        let mut response = HttpResponse::new(body);
        *response.status_mut() = status;
        response
    };
    Ok(match path.as_str() {
        "/read" => match request.into_body().collect().await {
            Ok(body) => answer(StatusCode::OK, Body::from(body.to_bytes())),
            Err(error) => answer(StatusCode::BAD_REQUEST, Body::from(error.to_string())),
        },
        "/secure" => answer(
            StatusCode::OK,
            Body::from(if is_secure { "secure" } else { "plain" }.to_owned()),
        ),
        "/refuse" => answer(StatusCode::FORBIDDEN, Body::from("no".to_owned())),
        "/panic" => panic!("the toy breaks"),
        "/wait" => {
            toy.begun.notify_one();
            toy.go.notified().await;
            toy.ended.notify_one();
            answer(StatusCode::OK, Body::from("waited".to_owned()))
        }
        "/endless" => {
            let piece = bytes::Bytes::from(vec![7; 64 * 1024]);
            let frames = futures::stream::repeat_with(move || {
                Ok::<_, std::convert::Infallible>(http_body::Frame::data(piece.clone()))
            });
            let body = http_body_util::StreamBody::new(frames);
            answer(StatusCode::OK, Body::http_body_unsync(body))
        }
        _ => answer(StatusCode::OK, Body::from("hello".to_owned())),
    })
}

struct Server {
    addr: SocketAddr,
    toy: Arc<Toy>,
    stats: Arc<HttpStats>,
    stop: CancellationToken,
    done: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(limits: HttpLimits) -> Self {
        Self::start_with(limits, None).await
    }

    async fn start_with(limits: HttpLimits, tls: Option<Arc<Tls>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("a bound port");
        let (shared, stats) = (Arc::new(Toy::default()), Arc::new(HttpStats::default()));
        let stop = CancellationToken::new();
        let behind = shared.clone();
        let service = service_fn(move |request| toy(behind.clone(), request));
        let ports = vec![Port { socket: listener, tls }];
        let done = tokio::spawn(serve(ports, service, limits, stats.clone(), stop.clone()));
        Self { addr, toy: shared, stats, stop, done }
    }

    async fn connect(&self) -> Client {
        Client(soon(TcpStream::connect(self.addr)).await.expect("somebody listens"))
    }

    async fn open_falls_to(&self, n: u64) {
        until(|| self.stats.open.load(Ordering::Relaxed) == n).await;
    }
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        soon(self.0.write_all(text.as_bytes())).await.expect("the server reads");
    }

    /// One answer with a `Content-Length`, no byte more: head and body.
    async fn answer(&mut self) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"\r\n\r\n") {
            soon(self.0.read_exact(&mut byte)).await.expect("an answer");
            text.push(byte[0]);
        }
        let head = String::from_utf8(text).expect("an ASCII head").to_ascii_lowercase();
        let length = head
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| rest.lines().next().expect("a line").parse().expect("a length"));
        let mut body = vec![0; length];
        soon(self.0.read_exact(&mut body)).await.expect("the whole body");
        head + &String::from_utf8(body).expect("a text")
    }

    /// Everything up to the end of the connection.
    async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        soon(self.0.read_to_end(&mut all)).await.expect("a clean end");
        String::from_utf8_lossy(&all).into_owned()
    }
}

#[track_caller]
fn has_status(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{answer}");
}

fn short(limit: u64) -> Duration {
    Duration::from_millis(limit)
}

#[tokio::test]
async fn requests_are_answered_one_after_the_other() {
    let server = Server::start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    // Both at once: the second waits for its turn.
    client.send("GET /a HTTP/1.1\r\nhost: h\r\n\r\nGET /b HTTP/1.1\r\nhost: h\r\n\r\n").await;
    has_status(&client.answer().await, 200);
    has_status(&client.answer().await, 200);
    assert_eq!(server.toy.paths(), ["/a", "/b"]);
    assert_eq!(server.stats.requests.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_silent_client_loses_its_seat() {
    let limits = HttpLimits { first_byte_timeout: short(50), ..HttpLimits::default() };
    let server = Server::start(limits).await;
    let mut client = server.connect().await;
    assert_eq!(client.rest().await, "");
    server.open_falls_to(0).await;
}

#[tokio::test]
async fn a_slow_head_loses_its_seat() {
    let limits = HttpLimits { header_timeout: short(100), ..HttpLimits::default() };
    let server = Server::start(limits).await;
    // The last is how HTTP/2 begins.
    for begin in ["G", "GET /a HTTP/1.1\r\nhost: h\r\nx-slow: ", "PRI * HT"] {
        let mut client = server.connect().await;
        client.send(begin).await;
        client.rest().await;
    }
    server.open_falls_to(0).await;
    assert!(server.toy.paths().is_empty());
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let limits = HttpLimits { header_timeout: short(100), ..HttpLimits::default() };
    let server = Server::start(limits).await;
    let mut client = server.connect().await;
    client.send("GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
    has_status(&client.answer().await, 200);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn one_too_many_is_told_to_slow_down() {
    let limits = HttpLimits { max_connections: 1, linger: short(50), ..HttpLimits::default() };
    let server = Server::start(limits).await;
    let mut first = server.connect().await;
    first.send("GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
    has_status(&first.answer().await, 200);

    let mut second = server.connect().await;
    second.send("GET /b HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let answer = second.answer().await;
    has_status(&answer, 503);
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(answer.contains("<Code>SlowDown</Code>"), "{answer}");
    assert_eq!(second.rest().await, "");
    assert_eq!(server.stats.refused.load(Ordering::Relaxed), 1);

    drop(first);
    server.open_falls_to(0).await;
    let mut third = server.connect().await;
    third.send("GET /c HTTP/1.1\r\nhost: h\r\n\r\n").await;
    has_status(&third.answer().await, 200);
    assert_eq!(server.toy.paths(), ["/a", "/c"]);
}

#[tokio::test]
async fn a_panic_is_the_end_of_one_request() {
    let server = Server::start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    client.send("GET /panic HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let answer = client.answer().await;
    has_status(&answer, 500);
    assert!(answer.contains("<Code>InternalError</Code>"), "{answer}");
    assert!(answer.contains("<Resource>/panic</Resource>"), "{answer}");
    assert!(!answer.contains("the toy breaks"), "{answer}");
    client.send("GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
    has_status(&client.answer().await, 200);
    assert_eq!(server.stats.panics.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_the_service() {
    let server = Server::start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    client.send("PUT /wait HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n").await;
    soon(server.toy.begun.notified()).await;
    drop(client);
    server.open_falls_to(0).await;
    server.toy.go.notify_one();
    soon(server.toy.ended.notified()).await;
}

#[tokio::test]
async fn stopping_lets_a_request_finish() {
    let server = Server::start(HttpLimits::default()).await;
    let mut idle = server.connect().await;
    idle.send("GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
    has_status(&idle.answer().await, 200);
    let mut silent = server.connect().await;
    let mut busy = server.connect().await;
    busy.send("GET /wait HTTP/1.1\r\nhost: h\r\n\r\n").await;
    soon(server.toy.begun.notified()).await;

    server.stop.cancel();
    assert_eq!(idle.rest().await, "");
    assert_eq!(silent.rest().await, "");
    soon(async { while TcpStream::connect(server.addr).await.is_ok() {} }).await;
    server.toy.go.notify_one();
    let answer = busy.answer().await;
    has_status(&answer, 200);
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("waited"), "{answer}");
    soon(server.done).await.expect("no panic").expect("a clean end");
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let server = Server::start(HttpLimits { stop_grace: short(50), ..HttpLimits::default() }).await;
    let mut client = server.connect().await;
    client.send("GET /wait HTTP/1.1\r\nhost: h\r\n\r\n").await;
    soon(server.toy.begun.notified()).await;
    server.stop.cancel();
    soon(server.done).await.expect("no panic").expect("a clean end");
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_small_unwanted_body_is_thrown_away() {
    let server = Server::start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    client.send("PUT /refuse HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n").await;
    let answer = client.answer().await;
    has_status(&answer, 403);
    assert!(!answer.contains("connection: close"), "{answer}");
    client.send("GET /evil \nGET /b HTTP/1.1\r\nhost: h\r\n\r\n").await;
    has_status(&client.answer().await, 200);
    assert_eq!(server.toy.paths(), ["/refuse", "/b"]);
}

#[tokio::test]
async fn a_large_unwanted_body_ends_the_connection_after_the_answer() {
    let limits = HttpLimits { linger: short(2000), ..HttpLimits::default() };
    let server = Server::start(limits).await;
    let mut client = server.connect().await;
    client.send("PUT /refuse HTTP/1.1\r\nhost: h\r\ncontent-length: 4000000\r\n\r\n").await;
    // A client that does not look before it has sent everything.
    client.send(&"x".repeat(4_000_000)).await;
    let answer = client.answer().await;
    has_status(&answer, 403);
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(client.rest().await, "");
    drop(client);
    server.open_falls_to(0).await;
}

#[tokio::test]
async fn a_refusal_comes_before_100_continue() {
    let server = Server::start(HttpLimits { linger: short(50), ..HttpLimits::default() }).await;
    let mut client = server.connect().await;
    let head = "host: h\r\ncontent-length: 5\r\nexpect: 100-Continue\r\n\r\n";
    client.send(&format!("PUT /refuse HTTP/1.1\r\n{head}")).await;
    let answer = client.answer().await;
    has_status(&answer, 403);
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(client.rest().await, "");

    let mut client = server.connect().await;
    client.send(&format!("PUT /read HTTP/1.1\r\n{head}")).await;
    has_status(&client.answer().await, 100);
    client.send("12345").await;
    let answer = client.answer().await;
    has_status(&answer, 200);
    assert!(answer.ends_with("12345"), "{answer}");
    client.send("GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
    has_status(&client.answer().await, 200);
}

#[tokio::test]
async fn h03_a_body_that_drips_is_given_up() {
    let body_pace = BodyPace { bytes: 1000, window: short(100) };
    let limits = HttpLimits { body_pace, linger: short(50), ..HttpLimits::default() };
    let server = Server::start(limits).await;
    let mut client = server.connect().await;
    client.send("PUT /read HTTP/1.1\r\nhost: h\r\ncontent-length: 2000\r\n\r\n").await;
    client.send(&"x".repeat(500)).await;
    let answer = client.answer().await;
    has_status(&answer, 400);
    assert!(answer.contains("sent less than 1000 bytes"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_seat() {
    let server =
        Server::start(HttpLimits { write_stall: short(200), ..HttpLimits::default() }).await;
    let mut client = server.connect().await;
    client.send("GET /endless HTTP/1.1\r\nhost: h\r\n\r\n").await;
    until(|| server.toy.paths() == ["/endless"]).await;
    server.open_falls_to(0).await;
}

#[tokio::test]
async fn nothing_is_smuggled() {
    let server = Server::start(HttpLimits { linger: short(50), ..HttpLimits::default() }).await;
    let hidden = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    // Heads that say two things about where the body ends, or that another
    // server could read in another way.
    let refused = [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: +5\r\n",
        "content-length: -1\r\n",
        "content-length: 5, 6\r\n",
        "content-length: 0x5\r\n",
        "content-length: 99999999999999999999999\r\n",
        "content-length : 5\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "x-a: b\r\n folded: content-length: 5\r\n",
        "x-a: b\0c\r\n",
        "x a: b\r\n",
    ];
    for bad in refused {
        let mut client = server.connect().await;
        client.send(&format!("POST /read HTTP/1.1\r\nhost: h\r\n{bad}\r\n{hidden}")).await;
        let answer = client.rest().await.to_ascii_lowercase();
        has_status(&answer, 400);
        assert_eq!(answer.matches("http/1.1").count(), 1, "{bad:?}: {answer}");
    }
    assert!(server.toy.paths().is_empty(), "{:?}", server.toy.paths());

    // Both framings: chunked wins, and nothing is read after it.
    for both in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ] {
        let mut client = server.connect().await;
        client
            .send(&format!("POST /read HTTP/1.1\r\nhost: h\r\n{both}\r\n0\r\n\r\n{hidden}"))
            .await;
        let answer = client.rest().await.to_ascii_lowercase();
        assert_eq!(answer.matches("http/1.1").count(), 1, "{both:?}: {answer}");
    }
    // Chunks whose length is not one.
    for chunk in ["5;a\n\rhello\r\n", "0x5\r\nhello\r\n", "-5\r\nhello\r\n", "5 5\r\nhello\r\n"] {
        let mut client = server.connect().await;
        let head = "POST /read HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
        client.send(&format!("{head}{chunk}0\r\n\r\n{hidden}")).await;
        let answer = client.rest().await.to_ascii_lowercase();
        has_status(&answer, 400);
        assert_eq!(answer.matches("http/1.1").count(), 1, "{chunk:?}: {answer}");
    }
    assert!(server.toy.paths().iter().all(|path| path == "/read"), "{:?}", server.toy.paths());
}

#[tokio::test]
async fn http2_works_too() {
    let server = Server::start(HttpLimits::default()).await;
    let stream = soon(TcpStream::connect(server.addr)).await.expect("somebody listens");
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let shake = hyper::client::conn::http2::handshake(executor, io);
    let (mut sender, connection) = soon(shake).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let mut send = |path: &str, body: &str| {
        let request = Request::put(format!("http://h{path}"));
        sender.send_request(request.body(body.to_owned()).expect("a request"))
    };

    let answer = soon(send("/read", "12345")).await.expect("an answer");
    assert_eq!(soon(answer.collect()).await.expect("a body").to_bytes(), "12345");
    // An unwanted body does not end an HTTP/2 connection.
    let answer = soon(send("/refuse", "12345")).await.expect("an answer");
    assert_eq!(answer.status(), 403);
    assert!(!answer.headers().contains_key("connection"));
    let answer = soon(send("/panic", "")).await.expect("an answer");
    assert_eq!(answer.status(), 500);

    server.stop.cancel();
    soon(server.done).await.expect("no panic").expect("a clean end");
    soon(connection).await.expect("no panic").expect("a clean end");
}

#[tokio::test]
async fn h04_an_http2_head_has_a_limit() {
    let server = Server::start(HttpLimits::default()).await;
    let stream = soon(TcpStream::connect(server.addr)).await.expect("somebody listens");
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let shake = hyper::client::conn::http2::handshake(executor, io);
    let (mut sender, connection) = soon(shake).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let mut request = Request::put("http://h/large");
    for n in 0..64 {
        request = request.header(format!("x-{n}"), "v".repeat(16 * 1024));
    }
    let sent = sender.send_request(request.body(String::new()).expect("a request"));
    let taken = soon(sent).await.is_ok_and(|answer| answer.status().is_success());
    assert!(!taken);
    assert!(!server.toy.paths().iter().any(|path| path == "/large"));
    drop(sender);
    let _ = soon(connection).await; // It may have been ended by the other side.
    server.stop.cancel();
    soon(server.done).await.expect("no panic").expect("a clean end");
}

#[test]
fn running_out_of_files_is_waited_for() {
    let mut failures = AcceptFailures::default();
    let emfile = io::Error::from_raw_os_error(24);
    let mut last = Duration::ZERO;
    for _ in 0..100 {
        let pause = failures.after(&emfile).expect("it passes");
        assert!(last <= pause && !pause.is_zero() && pause <= Duration::from_secs(1));
        last = pause;
    }
    assert_eq!(last, Duration::from_secs(1));
    let aborted = io::Error::from(io::ErrorKind::ConnectionAborted);
    assert_eq!(failures.after(&aborted), Some(Duration::ZERO));
}

#[test]
fn a_broken_socket_is_given_up() {
    let mut failures = AcceptFailures::default();
    let broken = io::Error::from_raw_os_error(9);
    let tries = std::iter::from_fn(|| failures.after(&broken)).take(1000).count();
    assert_eq!(tries, 16);
}
