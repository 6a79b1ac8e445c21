//! What goes on at one connection, and whether it may stay open.
//!
//! A client that has a seat must use it: send a request, read its answer, or
//! send the next one soon. The verdict is pure; the connection's task asks for
//! it now and then.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::HttpLimits;

/// What is known of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    requests: Mutex<Requests>,
    linger: AtomicBool,
}

#[derive(Debug)]
struct Requests {
    begun: u64,
    /// The requests in flight. `Some` since when the client has not taken the
    /// next piece of its answer.
    in_flight: HashMap<u64, Option<Instant>>,
    /// Since when nothing is in flight; means nothing while something is.
    quiet_since: Instant,
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Stay,
    /// It has done its work: say good-bye and let it finish.
    End,
    /// It only takes up room.
    Cut,
}

impl Activity {
    pub fn new(now: Instant) -> Self {
        let requests = Requests { begun: 0, in_flight: HashMap::new(), quiet_since: now };
        Self { requests: Mutex::new(requests), linger: AtomicBool::new(false) }
    }

    /// A request has come in.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        let mut requests = self.lock();
        let number = requests.begun;
        requests.begun += 1;
        requests.in_flight.insert(number, None);
        InFlight { activity: self.clone(), number }
    }

    /// The client may still be sending when the connection closes.
    pub fn linger(&self) {
        self.linger.store(true, Ordering::Relaxed);
    }

    pub fn wants_linger(&self) -> bool {
        self.linger.load(Ordering::Relaxed)
    }

    pub fn verdict(&self, now: Instant, limits: &HttpLimits) -> Verdict {
        let requests = self.lock();
        let quiet = now.saturating_duration_since(requests.quiet_since);
        let stalled = |since: &Instant| limits.write_stall <= now.saturating_duration_since(*since);
        if requests.in_flight.values().flatten().any(stalled) {
            Verdict::Cut
        } else if !requests.in_flight.is_empty() {
            Verdict::Stay
        } else if requests.begun == 0 && limits.header_timeout <= quiet {
            Verdict::Cut
        } else if limits.idle_timeout <= quiet {
            Verdict::End
        } else {
            Verdict::Stay
        }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request, from its head to the last byte of its answer.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    number: u64,
}

impl InFlight {
    fn waits_for_client(&self, since: Option<Instant>) {
        self.activity.lock().in_flight.insert(self.number, since);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut requests = self.activity.lock();
        requests.in_flight.remove(&self.number);
        requests.quiet_since = Instant::now();
    }
}

/// The body of an answer on its way out.
#[derive(Debug)]
pub(super) struct Sent {
    body: s3s::Body,
    in_flight: InFlight,
}

impl Sent {
    pub fn new(body: s3s::Body, in_flight: InFlight) -> Self {
        // From now on the client is expected to read.
        in_flight.waits_for_client(Some(Instant::now()));
        Self { body, in_flight }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        // Being asked means that what came before has been taken; until there
        // is more, the client waits for the gateway.
        self.in_flight.waits_for_client(None);
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.in_flight.waits_for_client(Some(Instant::now()));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn limits() -> HttpLimits {
        let seconds = Duration::from_secs;
        HttpLimits {
            header_timeout: seconds(10),
            idle_timeout: seconds(60),
            write_stall: seconds(120),
            ..HttpLimits::default()
        }
    }

    #[test]
    fn a_connection_has_to_be_used() {
        let start = Instant::now();
        let activity = Arc::new(Activity::new(start));
        let after = |s| activity.verdict(Instant::now() + Duration::from_secs(s), &limits());
        assert_eq!(after(9), Verdict::Stay);
        assert_eq!(after(10), Verdict::Cut);

        let request = activity.begin();
        // Thinking takes as long as it takes.
        assert_eq!(after(3600), Verdict::Stay);
        drop(request);
        assert_eq!(after(59), Verdict::Stay);
        assert_eq!(after(60), Verdict::End);
    }

    #[test]
    fn a_client_has_to_read_its_answer() {
        let activity = Arc::new(Activity::new(Instant::now()));
        let after = |s| activity.verdict(Instant::now() + Duration::from_secs(s), &limits());
        let other = activity.begin();
        let sent = Sent::new(s3s::Body::from("answer".to_owned()), activity.begin());
        assert_eq!(after(119), Verdict::Stay);
        assert_eq!(after(120), Verdict::Cut);
        drop(sent);
        assert_eq!(after(3600), Verdict::Stay);
        drop(other);
    }
}
