//! The socket of one connection: gives its seat back when it is gone, and
//! closes so that the client can read the last answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::task::TaskTracker;

use super::HttpStats;
use super::activity::Activity;

/// One of the connections that the gateway has room for.
#[derive(Debug)]
pub(super) struct Seat {
    _permit: OwnedSemaphorePermit,
    stats: Arc<HttpStats>,
}

impl Seat {
    pub fn new(permit: OwnedSemaphorePermit, stats: Arc<HttpStats>) -> Self {
        stats.open.fetch_add(1, Ordering::Relaxed);
        Self { _permit: permit, stats }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.stats.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the bytes of a connection go through.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Says that nothing more will come, and leaves what is below.
    async fn end(self) -> io::Result<TcpStream> {
        match self {
            Self::Plain(mut tcp) => tcp.shutdown().await.map(|()| tcp),
            Self::Tls(mut tls) => tls.shutdown().await.map(|()| tls.into_inner().0),
        }
    }
}

/// A stream that knows how to end.
#[derive(Debug)]
pub(super) struct Socket {
    /// Both are there until the socket is dropped.
    inner: Option<(Stream, Seat)>,
    activity: Arc<Activity>,
    tasks: TaskTracker,
    linger: Duration,
}

impl Socket {
    pub fn new(
        stream: Stream,
        seat: Seat,
        activity: Arc<Activity>,
        tasks: TaskTracker,
        linger: Duration,
    ) -> Self {
        Self { inner: Some((stream, seat)), activity, tasks, linger }
    }

    fn stream(&mut self) -> Pin<&mut (dyn Duplex + Send)> {
        let (stream, _) = self.inner.as_mut().expect("only dropping takes the stream");
        match stream {
            Stream::Plain(tcp) => Pin::new(tcp),
            Stream::Tls(tls) => Pin::new(&mut **tls),
        }
    }
}

/// Both directions of a stream.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Duplex for S {}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some((stream, seat)) = self.inner.take() else { return };
        let runtime = tokio::runtime::Handle::try_current();
        if self.activity.wants_linger() && runtime.is_ok() {
            let limit = self.linger;
            self.tasks.spawn(async move {
                linger(stream, limit).await;
                drop(seat);
            });
        }
    }
}

/// Throws away this much of what a client goes on sending.
const LINGER_MAX: u64 = 16 * 1024 * 1024;

/// Ends a connection whose client may still be sending.
///
/// A socket that is closed with unread bytes resets the connection, and the
/// reset makes the client lose the answer it has not read yet. So the sending
/// half is closed first and the rest of the request is thrown away, for a
/// while.
pub(super) async fn linger(stream: Stream, limit: Duration) {
    let throw_away = async {
        let tcp = stream.end().await?;
        tokio::io::copy(&mut tcp.take(LINGER_MAX), &mut tokio::io::sink()).await
    };
    // The client closing, a limit or an error: all of them end it.
    let _ = timeout(limit, throw_away).await;
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
