//! A tiny HTTP server for unit tests: records every request and answers what
//! the test says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its method.
    pub method: Method,
    /// Path and query, to the byte.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Recorded {
    /// A header as text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text header"))
    }
}

/// The server. It stops when it is dropped.
pub struct Recorder {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<Recorded>>>,
    connections: Arc<Mutex<usize>>,
    _tasks: JoinSet<()>,
}

impl Recorder {
    /// Starts a server that answers each request with `answer`.
    pub async fn start(
        answer: impl Fn(&Recorded) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, seen.clone(), connections.clone(), Arc::new(answer)));
        Self { addr, seen, connections, _tasks: tasks }
    }

    /// Its address as `http://HOST:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What arrived so far.
    pub fn seen(&self) -> Vec<Recorded> {
        self.seen.lock().expect("no test panics while it holds this").clone()
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        *self.connections.lock().expect("no test panics while it holds this")
    }
}

type Answer = dyn Fn(&Recorded) -> Response<Bytes> + Send + Sync;

async fn accept(
    listener: TcpListener,
    seen: Arc<Mutex<Vec<Recorded>>>,
    connections: Arc<Mutex<usize>>,
    answer: Arc<Answer>,
) {
    let mut open = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        *connections.lock().expect("no test panics while it holds this") += 1;
        let (seen, answer) = (seen.clone(), answer.clone());
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (seen, answer) = (seen.clone(), answer.clone());
            async move {
                let recorded = record(request).await;
                let response = answer(&recorded).map(Full::new);
                seen.lock().expect("no test panics while it holds this").push(recorded);
                Ok::<_, Infallible>(response)
            }
        });
        open.spawn(async move {
            // A client that hangs up is part of some tests.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn record(request: http::Request<Incoming>) -> Recorded {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let target = head.uri.path_and_query().expect("a path").to_string();
    Recorded { method: head.method, target, headers: head.headers, body }
}

/// An answer without headers.
pub fn answer(status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
    Response::builder().status(status).body(body.into()).expect("a response")
}
