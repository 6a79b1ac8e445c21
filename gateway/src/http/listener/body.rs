//! The body of a request: at least as fast as the limits ask, and handed back
//! when the service did not want all of it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep_until};

/// How slowly a client may send a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPace {
    /// At least this many bytes ...
    pub bytes: u64,
    /// ... for every such time spent waiting for them.
    pub window: Duration,
}

/// Why the body of a request ended early.
#[derive(Debug, Error)]
pub enum RequestBodyError {
    /// The client sends, but too slowly to wait for it.
    #[error("the client sent less than {} bytes in {:?}", .0.bytes, .0.window)]
    TooSlow(BodyPace),
    /// The connection broke, or the body was not well-formed.
    #[error("the body of the request broke off")]
    Broken(#[source] hyper::Error),
}

/// The body of a request as the service sees it.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Option<Incoming>,
    waiting: Waiting,
    alarm: Option<Pin<Box<Sleep>>>,
    read: Read,
    back: Arc<Mutex<Option<Rest>>>,
}

/// How far the service has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Nothing,
    Something,
    /// Nothing more will come, or nothing more is waited for.
    Failed,
}

/// The part of a body that the service did not want.
#[derive(Debug)]
pub(super) struct Rest {
    pub incoming: Incoming,
    pub read: Read,
}

/// Where the rest of the body arrives once the service has dropped it.
#[derive(Debug)]
pub(super) struct Unread(Arc<Mutex<Option<Rest>>>);

impl Unread {
    /// `None` when the body was read to its end, or is still being read.
    pub fn take(&self) -> Option<Rest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, pace: BodyPace) -> (Self, Unread) {
        let back = Arc::new(Mutex::new(None));
        let unread = Unread(back.clone());
        let waiting = Waiting::new(pace);
        let ended = incoming.is_end_stream();
        let incoming = (!ended).then_some(incoming);
        (Self { incoming, waiting, alarm: None, read: Read::Nothing, back }, unread)
    }

    /// Rings at `at`; `Ready` when that is now.
    fn poll_alarm(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if alarm.deadline() != at {
            alarm.as_mut().reset(at);
        }
        alarm.as_mut().poll(cx)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        if this.read == Read::Failed {
            return Poll::Ready(None);
        }
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        if this.read == Read::Nothing {
            this.read = Read::Something;
        }
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                this.waiting.arrived(Instant::now(), bytes);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.read = Read::Failed;
                Poll::Ready(Some(Err(RequestBodyError::Broken(error))))
            }
            Poll::Ready(None) => {
                this.incoming = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let deadline = this.waiting.deadline(Instant::now());
                ready!(this.poll_alarm(deadline, cx));
                this.read = Read::Failed;
                Poll::Ready(Some(Err(RequestBodyError::TooSlow(this.waiting.pace))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take().filter(|body| !body.is_end_stream()) {
            let rest = Rest { incoming, read: self.read };
            *self.back.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
        }
    }
}

/// Counts the time that the gateway waits for the client, and only that: a
/// service that does not read makes no client slow.
///
/// The client has a window of waiting; `pace.bytes` buy it a new one.
#[derive(Debug)]
struct Waiting {
    pace: BodyPace,
    spent: Duration,
    got: u64,
    since: Option<Instant>,
}

impl Waiting {
    fn new(pace: BodyPace) -> Self {
        Self { pace, spent: Duration::ZERO, got: 0, since: None }
    }

    /// Nothing is there: until when to wait for it.
    fn deadline(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        since + self.pace.window.saturating_sub(self.spent)
    }

    fn arrived(&mut self, now: Instant, bytes: u64) {
        if let Some(since) = self.since.take() {
            self.spent += now - since;
        }
        self.got += bytes;
        // When the window is over and yet something has come, nobody was there
        // to ring the alarm: the bytes had been waiting for the service.
        if self.pace.bytes <= self.got || self.pace.window <= self.spent {
            self.got = 0;
            self.spent = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: BodyPace = BodyPace { bytes: 100, window: Duration::from_secs(30) };

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_drip_does_not_move_the_deadline() {
        let start = Instant::now();
        let mut waiting = Waiting::new(PACE);
        for second in 0..30 {
            let deadline = waiting.deadline(start + seconds(second));
            assert_eq!(deadline, start + seconds(30));
            waiting.arrived(start + seconds(second + 1), 1);
        }
    }

    #[test]
    fn enough_bytes_buy_a_new_window() {
        let start = Instant::now();
        let mut waiting = Waiting::new(PACE);
        waiting.deadline(start);
        waiting.arrived(start + seconds(29), 100);
        assert_eq!(waiting.deadline(start + seconds(29)), start + seconds(59));
    }

    #[test]
    fn only_waiting_counts() {
        let start = Instant::now();
        let mut waiting = Waiting::new(PACE);
        waiting.deadline(start);
        waiting.arrived(start + seconds(10), 1);
        // The service is busy for an hour, then wants more.
        let later = start + seconds(3600);
        assert_eq!(waiting.deadline(later), later + seconds(20));
        // And for another hour while something was there.
        waiting.arrived(later + seconds(3600), 1);
        let later = later + seconds(3600);
        assert_eq!(waiting.deadline(later), later + seconds(30));
    }
}
