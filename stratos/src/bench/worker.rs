//! One worker of a phase: takes a ticket, does the operation, notes how long it
//! took, until there are no tickets left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::bench::payload::Payload;
use crate::bench::{Op, Tally, Until};
use crate::client::ops::ListQuery;
use crate::client::{ClientError, S3Client};
use crate::units::MIB;

/// Parts of a multipart upload.
pub const PART_LEN: u64 = 8 * MIB;

/// A worker that only fails gives up, rather than spin on a server that is gone.
const FAILURES_IN_A_ROW: u32 = 20;

/// What all phases of one size have in common.
#[derive(Clone)]
pub struct Work {
    pub client: S3Client,
    pub bucket: String,
    pub size: u64,
    pub payload: Arc<Payload>,
    pub stop: CancellationToken,
}

/// Hands out the operations of a phase.
pub struct Tickets {
    next: AtomicU64,
    limit: u64,
    deadline: Option<Instant>,
    objects: u64,
}

impl Tickets {
    /// `objects` is how many objects there are to work on.
    pub fn new(op: Op, until: Until, objects: u64) -> Self {
        let (limit, deadline) = match until {
            Until::Elapsed(time) => (u64::MAX, Instant::now().checked_add(time)),
            Until::Count(count) => (count, None),
        };
        // Each object is deleted once.
        let limit = if op == Op::Delete { limit.min(objects) } else { limit };
        Self { next: AtomicU64::new(0), limit, deadline, objects }
    }

    /// How many were handed out.
    pub fn issued(&self) -> u64 {
        self.next.load(Ordering::Relaxed).min(self.limit)
    }

    /// The number of the object to work on.
    fn take(&self) -> Option<u64> {
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return None;
        }
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        (ticket < self.limit).then(|| ticket % self.objects.max(1))
    }
}

/// Works until there are no tickets, the benchmark is stopped, or everything
/// fails. Dropping the future gives the operation in flight up.
pub async fn run(work: Work, op: Op, number: usize, tickets: Arc<Tickets>) -> Tally {
    let mut tally = Tally::default();
    let mut failures = 0;
    while failures < FAILURES_IN_A_ROW {
        let Some(object) = tickets.take() else { break };
        let started = Instant::now();
        let done = tokio::select! {
            () = work.stop.cancelled() => break,
            done = work.perform(op, number, object) => done,
        };
        match done {
            Ok(()) => {
                tally.latencies.record(started.elapsed());
                failures = 0;
            }
            Err(error) => {
                tally.errors += 1;
                tally.first_error.get_or_insert_with(|| format!("{op}: {error}"));
                failures += 1;
            }
        }
    }
    tally
}

impl Work {
    async fn perform(&self, op: Op, worker: usize, object: u64) -> Result<(), ClientError> {
        let key = format!("{}/{object:08}", self.size);
        match op {
            Op::Put => {
                let body = self.payload.body(self.size);
                self.client.put(&self.bucket, &key, body).await.map(drop)
            }
            Op::Get => self.get(&key).await,
            Op::Head => self.client.head(&self.bucket, &key).await?.drain().await.map(drop),
            Op::List => {
                let prefix = format!("{}/", self.size);
                let query = ListQuery { prefix: &prefix, ..ListQuery::default() };
                self.client.list_v2(&self.bucket, query).await.map(drop)
            }
            Op::Delete => self.client.delete(&self.bucket, &key).await,
            Op::Multipart => self.multipart(&format!("multipart/{}/{worker}", self.size)).await,
        }
    }

    async fn get(&self, key: &str) -> Result<(), ClientError> {
        let len = self.client.get(&self.bucket, key).await?.drain().await?;
        if len == self.size {
            return Ok(());
        }
        let cause = format!("it has {len} bytes instead of {}", self.size);
        Err(ClientError::Answer { operation: "GetObject", cause })
    }

    async fn multipart(&self, key: &str) -> Result<(), ClientError> {
        let upload = self.client.create_multipart(&self.bucket, key).await?;
        let done = self.upload_parts(key, &upload).await;
        if done.is_err() {
            // The failure is what is reported; an abort that fails too only
            // leaves the upload to the server's own clean-up.
            let _ = self.client.abort_multipart(&self.bucket, key, &upload).await;
        }
        done
    }

    async fn upload_parts(&self, key: &str, upload: &str) -> Result<(), ClientError> {
        let mut parts = Vec::new();
        for (number, len) in part_lens(self.size) {
            let body = self.payload.body(len);
            let etag = self.client.upload_part(&self.bucket, key, upload, number, body).await?;
            parts.push((number, etag));
        }
        self.client.complete_multipart(&self.bucket, key, upload, &parts).await.map(drop)
    }
}

/// Number and length of each part; an empty object has one empty part.
fn part_lens(size: u64) -> impl Iterator<Item = (u32, u64)> {
    let count = size.div_ceil(PART_LEN).max(1);
    (0..count).map(move |index| (index as u32 + 1, (size - index * PART_LEN).min(PART_LEN)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn parts_add_up() {
        let lens = |size: u64| part_lens(size).collect::<Vec<_>>();
        assert_eq!(lens(0), [(1, 0)]);
        assert_eq!(lens(5), [(1, 5)]);
        assert_eq!(lens(PART_LEN), [(1, PART_LEN)]);
        assert_eq!(lens(2 * PART_LEN + 1), [(1, PART_LEN), (2, PART_LEN), (3, 1)]);
    }

    #[test]
    fn tickets_end_at_the_count_and_go_round_the_objects() {
        let tickets = Tickets::new(Op::Get, Until::Count(5), 2);
        let taken: Vec<u64> = std::iter::from_fn(|| tickets.take()).collect();
        assert_eq!(taken, [0, 1, 0, 1, 0]);
        assert_eq!(tickets.issued(), 5);
    }

    #[test]
    fn each_object_is_deleted_once() {
        let tickets = Tickets::new(Op::Delete, Until::Elapsed(Duration::from_secs(3600)), 3);
        assert_eq!(std::iter::from_fn(|| tickets.take()).count(), 3);
    }

    #[test]
    fn no_ticket_is_taken_after_the_deadline() {
        let tickets = Tickets::new(Op::Put, Until::Elapsed(Duration::ZERO), 3);
        assert_eq!((tickets.take(), tickets.issued()), (None, 0));
    }
}
