//! Accepts connections and hands each request to a service.
//!
//! Everything a client could hold on to has a limit here: seats, the time to
//! the first byte and to the end of a head, the pace of a body, the time an
//! answer may lie unread. Each request runs in a task of its own, so a client
//! that hangs up cannot cut a commit in half, and a panic is the end of one
//! request only.
//!
//! Not here: what a request may contain (`guard`), and bytes buffered by the
//! operations (they count them themselves).

mod activity;
mod body;
mod connection;
mod reload;
mod socket;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use http::Request;
use s3s::HttpResponse;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::http::guard::{RequestIds, S3Refusal};
use socket::{Seat, Stream};

pub use body::{BodyPace, RequestBody, RequestBodyError};
pub use connection::{Peer, Secure};
pub use tls::{LOOK_EVERY, Tls, TlsError, TlsFiles};

/// How much room clients have, and how much time.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Connections at once; the next one gets `503 SlowDown`.
    pub max_connections: usize,
    /// Connections that are being told so at once; the next one is just closed,
    /// and so is one that wants TLS.
    pub max_refusals: usize,
    /// From the connection to its first byte.
    pub first_byte_timeout: Duration,
    /// From the first byte of a TLS connection to the end of its handshake.
    pub handshake_timeout: Duration,
    /// For the head of a request. On HTTP/1 the clock runs from the end of the
    /// request before, so this is how long a connection may be idle, too.
    pub header_timeout: Duration,
    /// How long an HTTP/2 connection may be idle.
    pub idle_timeout: Duration,
    /// Read buffer of a connection, and so the largest head that is looked at;
    /// 8 KiB at least.
    pub buffer: usize,
    /// How slowly a body may come.
    pub body_pace: BodyPace,
    /// How long a client may leave the next piece of its answer unread.
    pub write_stall: Duration,
    /// An unwanted rest of a body up to this size is read and thrown away to
    /// keep the connection; for a larger one the connection ends.
    pub drain_max: u64,
    /// How long a connection that ends waits for a client that still sends.
    pub linger: Duration,
    /// How long requests in flight may take once the gateway stops.
    pub stop_grace: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_refusals: 64,
            first_byte_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            buffer: 128 * 1024,
            body_pace: BodyPace { bytes: 30 * 1024, window: Duration::from_secs(30) },
            write_stall: Duration::from_secs(120),
            drain_max: 256 * 1024,
            linger: Duration::from_secs(3),
            stop_grace: Duration::from_secs(30),
        }
    }
}

impl HttpLimits {
    /// How often a connection is looked at: often enough that no limit is
    /// overrun by more than a quarter.
    fn look_every(&self) -> Duration {
        let shortest = self.header_timeout.min(self.idle_timeout).min(self.write_stall);
        (shortest / 4).max(Duration::from_millis(5))
    }
}

/// What the listener counts.
#[derive(Debug, Default)]
pub struct HttpStats {
    /// Connections accepted since the start.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// Connections turned away for lack of room.
    pub refused: AtomicU64,
    /// Requests begun since the start.
    pub requests: AtomicU64,
    /// Requests that ended in a panic.
    pub panics: AtomicU64,
    /// TLS connections that ended before their handshake did.
    pub handshakes_failed: AtomicU64,
    /// Failures to accept, such as too few file descriptors.
    pub accept_errors: AtomicU64,
}

/// What can answer requests.
pub trait HttpService:
    Service<
        Request<RequestBody>,
        Response = HttpResponse,
        Error: Into<s3s::StdError> + Send + 'static,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<
            Request<RequestBody>,
            Response = HttpResponse,
            Error: Into<s3s::StdError> + Send + 'static,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// A port to serve on.
#[derive(Debug)]
pub struct Port {
    /// Where clients connect.
    pub socket: TcpListener,
    /// What they have to speak, if it is not plain HTTP.
    pub tls: Option<Arc<Tls>>,
}

impl From<TcpListener> for Port {
    fn from(socket: TcpListener) -> Self {
        Self { socket, tls: None }
    }
}

/// Serves `service` on all ports until `stop`, then lets requests in flight
/// finish. The limits are those of all ports together.
///
/// Returns once every connection is closed or the grace is over. An error
/// means that a listening socket itself is broken.
pub async fn serve<S: HttpService>(
    ports: Vec<Port>,
    service: S,
    limits: HttpLimits,
    stats: Arc<HttpStats>,
    stop: CancellationToken,
) -> io::Result<()> {
    let door = Door {
        service,
        stats,
        tasks: TaskTracker::new(),
        closing: stop.child_token(),
        cut: CancellationToken::new(),
        seats: Arc::new(Semaphore::new(limits.max_connections)),
        refusals: Arc::new(Semaphore::new(limits.max_refusals)),
        limits: Arc::new(limits),
    };
    let result = try_join_all(ports.iter().map(|port| door.accept_loop(port))).await;
    // Whoever connects from here on is told at once that nobody listens.
    drop(ports);
    door.close().await;
    result.map(drop)
}

/// What all connections share.
#[derive(Debug, Clone)]
struct Door<S> {
    service: S,
    limits: Arc<HttpLimits>,
    stats: Arc<HttpStats>,
    seats: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    /// Connections and requests.
    tasks: TaskTracker,
    /// No new requests.
    closing: CancellationToken,
    /// Nothing any more.
    cut: CancellationToken,
}

impl<S: HttpService> Door<S> {
    async fn accept_loop(&self, port: &Port) -> io::Result<()> {
        let mut failures = AcceptFailures::default();
        loop {
            let accepted = tokio::select! {
                accepted = port.socket.accept() => accepted,
                () = self.closing.cancelled() => return Ok(()),
            };
            match accepted {
                Ok((stream, peer)) => {
                    failures = AcceptFailures::default();
                    self.stats.accepted.fetch_add(1, Ordering::Relaxed);
                    self.admit(stream, peer, port.tls.clone());
                }
                Err(error) => {
                    self.stats.accept_errors.fetch_add(1, Ordering::Relaxed);
                    let Some(pause) = failures.after(&error) else { return Err(error) };
                    if !pause.is_zero() {
                        tracing::warn!(%error, ?pause, "cannot accept connections");
                    }
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.closing.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr, tls: Option<Arc<Tls>>) {
        // Answers are often small, and a client that waits for one has nothing
        // to send that an ACK could ride on.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "the client is gone already");
            return;
        }
        if let Ok(permit) = self.seats.clone().try_acquire_owned() {
            let seat = Seat::new(permit, self.stats.clone());
            self.tasks.spawn(self.clone().serve(stream, peer, tls, seat));
            return;
        }
        self.stats.refused.fetch_add(1, Ordering::Relaxed);
        // Behind TLS it could be said only after a handshake, which is more
        // work than there is room for.
        if tls.is_some() {
            return;
        }
        if let Ok(permit) = self.refusals.clone().try_acquire_owned() {
            let limit = self.limits.linger;
            self.tasks.spawn(async move {
                turn_away(stream, limit).await;
                drop(permit);
            });
        }
    }
}

impl<S> Door<S> {
    async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        if timeout(self.limits.stop_grace, self.tasks.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(tasks = self.tasks.len(), "requests in flight are cut off");
        self.cut.cancel();
        // Without their connections, requests that read or send end by
        // themselves. Those that do neither are left to the end of the process.
        let _ = timeout(CUT_GRACE, self.tasks.wait()).await;
    }
}

/// How long connections have to fall apart once they are cut.
const CUT_GRACE: Duration = Duration::from_millis(500);

/// Tells a client that there is no room, without reading what it wants.
async fn turn_away(mut stream: TcpStream, limit: Duration) {
    let ids = RequestIds::random();
    let body = S3Refusal::slow_down().xml("/", &ids);
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nserver: Stratos\r\ncontent-type: application/xml\r\n\
         x-amz-request-id: {}\r\nx-amz-id-2: {}\r\nretry-after: 1\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        ids.request(),
        ids.host(),
        body.len()
    );
    if let Ok(Ok(())) = timeout(limit, stream.write_all(answer.as_bytes())).await {
        socket::linger(Stream::Plain(stream), limit).await;
    }
}

/// How often in a row nothing could be accepted.
#[derive(Debug, Default)]
struct AcceptFailures {
    in_a_row: u32,
}

impl AcceptFailures {
    /// How long to wait before the next try; `None` when none will help.
    fn after(&mut self, error: &io::Error) -> Option<Duration> {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, OutOfMemory};
        // The client's failure, or nobody's.
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return Some(Duration::ZERO);
        }
        self.in_a_row += 1;
        let exhausted = error.kind() == OutOfMemory
            || error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&code));
        if !exhausted && UNKNOWN_MAX < self.in_a_row {
            return None;
        }
        // The waiting connection stays in the backlog, so without a pause this
        // would spin until somebody else closes a file.
        Some(Duration::from_millis(10 << self.in_a_row.min(7)).min(Duration::from_secs(1)))
    }
}

/// Linux's ENFILE, EMFILE and ENOBUFS: too many files, too little memory.
const EXHAUSTED: [i32; 3] = [23, 24, 105];
/// Other failures in a row that are borne.
const UNKNOWN_MAX: u32 = 16;

#[cfg(test)]
mod tests;
