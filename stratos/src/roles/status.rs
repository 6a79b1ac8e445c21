//! How a node or the ledger is: `/health/live`, `/health/ready` and `/metrics`
//! on a small HTTP listener of their own.
//!
//! *Live*: the process answers. *Ready*: it can serve. Everything a caller could
//! hold on to is bounded: connections, the time each may take, one request on
//! each. Not here: the gateway's, which are on its S3 port.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections at once; more wait in the backlog.
const CONNECTIONS: usize = 16;

/// From the connection to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// After an accept that failed, such as for lack of files.
const PAUSE: Duration = Duration::from_secs(1);

/// Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How something is, now.
pub struct Look {
    /// Why it is not ready, or nothing.
    pub missing: Option<String>,
    /// Its metrics in Prometheus' text format.
    pub metrics: String,
}

/// Something that can be asked how it is.
pub trait Watched: Send + Sync + 'static {
    /// Looks.
    fn look(&self) -> impl Future<Output = Look> + Send;
}

/// Answers for `watched` until it is dropped. Once `stopping` is cancelled it
/// is live, but not ready. Without a listener it only waits.
pub async fn serve<W: Watched>(
    listener: Option<TcpListener>,
    watched: W,
    stopping: CancellationToken,
) -> Infallible {
    let Some(listener) = listener else { return std::future::pending().await };
    let watched = Arc::new(watched);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(answer_one(stream, peer, watched.clone(), stopping.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections for health and metrics");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an answer about health or metrics failed");
                }
            }
        }
    }
}

async fn answer_one<W: Watched>(
    stream: TcpStream,
    peer: SocketAddr,
    watched: Arc<W>,
    stopping: CancellationToken,
) {
    let service = service_fn(|request| {
        let (watched, stopping) = (watched.clone(), stopping.clone());
        async move { Ok::<_, Infallible>(answer(&request, &*watched, &stopping).await) }
    });
    let connection =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // Who asks for health hears of a failure by itself.
    match tokio::time::timeout(PATIENCE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "connection for health or metrics"),
        Err(_) => tracing::debug!(%peer, "connection for health or metrics took too long"),
    }
}

async fn answer<W: Watched>(
    request: &Request<Incoming>,
    watched: &W,
    stopping: &CancellationToken,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/health/live" => text(StatusCode::OK, "live\n"),
        "/health/ready" if stopping.is_cancelled() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "not ready: stopping\n")
        }
        "/health/ready" => match watched.look().await.missing {
            None => text(StatusCode::OK, "ready\n"),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
        },
        "/metrics" => text(StatusCode::OK, watched.look().await.metrics),
        _ => text(StatusCode::NOT_FOUND, "/health/live, /health/ready or /metrics\n"),
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(TEXT_FORMAT);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Writes metrics in Prometheus' text format; every name begins with
/// `stratos_`.
#[derive(Default)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// Begins a metric. `kind` is `gauge` or `counter`; a counter's samples end
    /// in `_total`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        self.line(format_args!("# HELP stratos_{name} {help}."));
        self.line(format_args!("# TYPE stratos_{name} {kind}"));
    }

    /// A sample with one label.
    pub fn labelled(&mut self, name: &str, label: &str, value: &str, count: u64) {
        self.line(format_args!("stratos_{name}{{{label}=\"{value}\"}} {count}"));
    }

    /// A metric that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.line(format_args!("stratos_{name} {value}"));
    }

    /// A metric that only goes up.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.line(format_args!("stratos_{name}_total {value}"));
    }

    /// What was written.
    pub fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Body, S3Client};

    struct Thing(Option<&'static str>);

    impl Watched for Thing {
        async fn look(&self) -> Look {
            let mut metrics = Metrics::default();
            metrics.gauge("things", "Things", 1);
            Look { missing: self.0.map(str::to_owned), metrics: metrics.finish() }
        }
    }

    /// The status and text of one answer about `thing`.
    async fn ask(thing: Thing, path: &str, stopping: bool) -> (u16, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let stop = CancellationToken::new();
        if stopping {
            stop.cancel();
        }
        let client = S3Client::new(&url, "r", "", "").expect("a client");
        let url = format!("{url}{path}");
        let asked = async {
            let (method, headers, body) = (Method::GET, http::HeaderMap::new(), Body::from(""));
            let answer = client.send_unsigned(method, &url, headers, body).await.expect("answered");
            let status = answer.status.as_u16();
            let text = answer.bytes().await.expect("a text");
            (status, String::from_utf8(text.to_vec()).expect("text"))
        };
        tokio::select! {
            never = serve(Some(listener), thing, stop) => match never {},
            answer = asked => answer,
        }
    }

    #[tokio::test]
    async fn health_and_metrics_are_told() {
        let ok = |text: &str| (200, text.to_owned());
        assert_eq!(ask(Thing(None), "/health/live", false).await, ok("live\n"));
        assert_eq!(ask(Thing(None), "/health/ready", false).await, ok("ready\n"));
        let metrics = "# HELP stratos_things Things.\n# TYPE stratos_things gauge\n\
                       stratos_things 1\n";
        assert_eq!(ask(Thing(None), "/metrics", false).await, ok(metrics));
        assert_eq!(ask(Thing(None), "/", false).await.0, 404);
    }

    #[tokio::test]
    async fn what_is_not_ready_or_stops_says_so_and_is_live() {
        let why = ask(Thing(Some("no disk")), "/health/ready", false).await;
        assert_eq!(why, (503, "not ready: no disk\n".to_owned()));
        let why = ask(Thing(None), "/health/ready", true).await;
        assert_eq!(why, (503, "not ready: stopping\n".to_owned()));
        assert_eq!(ask(Thing(Some("no disk")), "/health/live", true).await.0, 200);
    }
}
