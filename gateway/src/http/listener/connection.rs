//! One connection from its first byte to its end, and each of its requests in
//! a task of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{CONNECTION, EXPECT};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Version};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use s3s::{Body, HttpResponse};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use super::activity::{Activity, Sent, Verdict};
use super::body::{Read, RequestBody, Rest};
use super::socket::{self, Seat, Socket, Stream};
use super::{Door, HttpLimits, HttpService, Tls};
use crate::http::guard::{RequestIds, S3Refusal};

/// Where a request came from; in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// In the extensions of a request that came over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secure;

/// Most requests that a client may have open on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 100;
/// Largest head of an HTTP/2 request.
const HTTP2_HEAD_MAX: u32 = 16 * 1024;
/// What an HTTP/2 client may send of one body before anybody reads it, and of
/// all bodies of a connection.
const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 512 * 1024;
/// What is buffered of one answer for a client that does not read.
const HTTP2_SEND_BUFFER: usize = 64 * 1024;
/// How often, and how patiently, an HTTP/2 client is asked whether it is there.
const HTTP2_PING: Duration = Duration::from_secs(20);

/// The first byte of every TLS connection: a record of the handshake.
const TLS_HANDSHAKE: u8 = 22;
/// What a client that does not speak TLS hears on a port that does.
const NOT_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nserver: Stratos\r\ncontent-type: text/plain\r\n\
    connection: close\r\ncontent-length: 39\r\n\r\nThis port speaks HTTPS: use https://.\r\n";

fn builder(limits: &HttpLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.buffer)
        .pipeline_flush(false)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(HTTP2_HEAD_MAX)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    builder
}

impl<S: HttpService> Door<S> {
    /// Serves a connection until it ends, is cut, or the gateway stops.
    pub(super) async fn serve(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<Arc<Tls>>,
        seat: Seat,
    ) {
        let Some(first) = self.first_byte(&stream).await else { return };
        let secure = tls.as_ref().map(|_| Secure);
        let stream = match tls {
            None => Stream::Plain(stream),
            Some(tls) => match self.begin_tls(stream, peer, first, &tls).await {
                Some(stream) => Stream::Tls(Box::new(stream)),
                None => return,
            },
        };
        let activity = Arc::new(Activity::new(Instant::now()));
        let linger = self.limits.linger;
        let socket = Socket::new(stream, seat, activity.clone(), self.tasks.clone(), linger);
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            if let Some(secure) = secure {
                request.extensions_mut().insert(secure);
            }
            exchange(self.clone(), activity.clone(), request)
        });
        let builder = builder(&self.limits);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));

        let mut look = interval(self.limits.look_every());
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ending = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        // A broken request was answered; let the client read it.
                        activity.linger();
                        tracing::debug!(%peer, error, "connection failed");
                    }
                    return;
                }
                () = self.cut.cancelled() => return,
                () = self.closing.cancelled(), if !ending => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = look.tick() => match activity.verdict(Instant::now(), &self.limits) {
                    Verdict::Stay => {}
                    Verdict::End if !ending => {
                        ending = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    Verdict::End | Verdict::Cut => {
                        tracing::debug!(%peer, "connection cut");
                        return;
                    }
                },
            }
        }
    }

    /// Somebody who connects wants to say something. It stays to be read.
    async fn first_byte(&self, stream: &TcpStream) -> Option<u8> {
        let mut byte = [0];
        tokio::select! {
            peeked = timeout(self.limits.first_byte_timeout, stream.peek(&mut byte)) => {
                matches!(peeked, Ok(Ok(n)) if 0 < n).then_some(byte[0])
            }
            () = self.closing.cancelled() => None,
        }
    }

    /// The handshake; `None` when it came to nothing.
    async fn begin_tls(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        first: u8,
        tls: &Tls,
    ) -> Option<TlsStream<TcpStream>> {
        if first != TLS_HANDSHAKE {
            // Most likely a client that was given `http://` for this port.
            let limit = self.limits.linger;
            if let Ok(Ok(())) = timeout(limit, stream.write_all(NOT_TLS)).await {
                socket::linger(Stream::Plain(stream), limit).await;
            }
            return None;
        }
        let failed = tokio::select! {
            done = timeout(self.limits.handshake_timeout, tls.accept(stream)) => match done {
                Ok(Ok(stream)) => return Some(stream),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it took too long".to_owned(),
            },
            () = self.closing.cancelled() => return None,
        };
        self.stats.handshakes_failed.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%peer, error = failed, "TLS handshake failed");
        None
    }
}

/// Answers one request.
///
/// hyper drops this future when the client hangs up. The service has a task
/// of its own, so that what it has begun it also ends.
async fn exchange<S: HttpService>(
    door: Door<S>,
    activity: Arc<Activity>,
    request: Request<Incoming>,
) -> Result<Response<Sent>, Infallible> {
    let in_flight = activity.begin();
    door.stats.requests.fetch_add(1, Ordering::Relaxed);
    let (parts, incoming) = request.into_parts();
    let method = parts.method.clone();
    let resource = parts.uri.path().to_owned();
    let framing = Framing::of(&parts);
    // An empty body needs no `100 Continue`, and botocore takes an answer
    // without one for that of the next request as well.
    let is_bare_expect = framing == Framing::Http1Expect && incoming.is_end_stream();
    let (body, unread) = RequestBody::new(incoming, door.limits.body_pace);

    let request = Request::from_parts(parts, body);
    let task = door.tasks.spawn(door.service.clone().oneshot(request));
    let mut response = match task.await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            tracing::error!(error = error.into(), "the service failed");
            internal_error(&method, &resource)
        }
        Err(error) => {
            door.stats.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, %method, "a request panicked");
            internal_error(&method, &resource)
        }
    };
    if let Some(rest) = unread.take() {
        door.settle(&activity, framing, rest, &mut response);
    }
    if is_bare_expect {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Sent::new(body, in_flight)))
}

fn internal_error(method: &Method, resource: &str) -> HttpResponse {
    let response = S3Refusal::internal().into_response(resource, &RequestIds::random());
    if method == Method::HEAD { response.map(|_| Body::empty()) } else { response }
}

/// How the end of a request body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// Each request has a stream of its own.
    Http2,
    /// The next request begins where the body ends ...
    Http1,
    /// ... which the client may never send: it waits for `100 Continue`.
    Http1Expect,
}

impl Framing {
    fn of(parts: &Parts) -> Self {
        let expects = || {
            let value = parts.headers.get(EXPECT);
            value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        };
        match parts.version {
            Version::HTTP_2 | Version::HTTP_3 => Framing::Http2,
            _ if expects() => Framing::Http1Expect,
            _ => Framing::Http1,
        }
    }
}

impl<S> Door<S> {
    /// Keeps a connection in step when the service answered without reading
    /// the whole body: a little is read and thrown away, otherwise the
    /// connection ends after the answer.
    fn settle(
        &self,
        activity: &Arc<Activity>,
        framing: Framing,
        rest: Rest,
        response: &mut HttpResponse,
    ) {
        if framing == Framing::Http2 {
            return;
        }
        let little = rest.incoming.size_hint().exact().is_some_and(|n| n <= self.limits.drain_max);
        // Whether a client that got no `100 Continue` sends its body cannot be
        // known, so what comes next on the connection cannot be known either.
        let sent = framing == Framing::Http1 || rest.read != Read::Nothing;
        if little && sent && rest.read != Read::Failed {
            let (limit, activity) = (self.limits.linger, activity.clone());
            self.tasks.spawn(async move {
                if timeout(limit, drain(rest.incoming)).await.is_err() {
                    activity.linger();
                }
            });
        } else {
            activity.linger();
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}
