//! `stratos bench`: how fast an S3 endpoint is, and what it costs the server.
//!
//! Each phase is one operation with one size, run by a fixed number of workers
//! for a time or a count. All objects lie in a bucket of its own, which is
//! removed at the end, also after an error or an interruption. Uploads write a
//! bounded set of objects over and over, so a long run does not fill the disk.
//!
//! When the server runs on this machine, its CPU time and memory are read from
//! `/proc` around each phase: the figure that a change is judged by is CPU per
//! GiB and per operation, which a busy machine disturbs less than op/s.

mod histogram;
mod payload;
mod process;
mod report;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use serde::Serialize;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bench::payload::Payload;
use crate::bench::worker::{PART_LEN, Work};
use crate::client::ops::ListQuery;
use crate::client::{ClientError, S3Client};
use crate::units::GIB;

pub use crate::bench::process::{Memory, Process};
pub use crate::bench::report::{Phase, Report, Server, Tally};

/// At most this many bytes of one size are stored at a time.
const WORKING_SET: u64 = GIB;
/// At most this many objects of one size are stored at a time.
const OBJECTS_MAX: u64 = 100_000;
/// Deletes in flight while the bucket is cleared.
const CLEAR_CONCURRENCY: usize = 16;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// PutObject.
    Put,
    /// GetObject, read to the end.
    Get,
    /// HeadObject.
    Head,
    /// ListObjectsV2, a page of up to 1000.
    List,
    /// DeleteObject.
    Delete,
    /// A whole multipart upload: create, 8 MiB parts one after the other, complete.
    Multipart,
}

impl Op {
    /// Its name on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Multipart => "multipart",
        }
    }

    /// Whether it moves an object's bytes.
    pub fn carries_payload(self) -> bool {
        matches!(self, Self::Put | Self::Get | Self::Multipart)
    }

    fn needs_objects(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::List | Self::Delete)
    }
}

/// When a phase ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After a time.
    Elapsed(Duration),
    /// After a number of operations.
    Count(u64),
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Lengths of the objects.
    pub sizes: Vec<u64>,
    /// Operations, in the order they run.
    pub ops: Vec<Op>,
    /// Operations in flight at a time; at least one.
    pub concurrency: usize,
    /// When a phase ends. A delete phase also ends when nothing is left.
    pub until: Until,
    /// Hash payloads into the signature instead of `UNSIGNED-PAYLOAD`.
    pub sign_payload: bool,
    /// The server, if it runs on this machine.
    pub server: Option<Process>,
}

/// What the server used during a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// CPU time; `None` when it cannot be told.
    pub cpu: Option<Duration>,
}

/// Why a benchmark could not be run. A failed operation is no such reason: it
/// is counted.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The bucket could not be made.
    #[error("cannot create the bucket to measure in: {0}")]
    Create(ClientError),
    /// Objects to read could not be stored.
    #[error("cannot store the objects to measure with: {0}")]
    Prepare(String),
    /// The bucket is left behind.
    #[error("measured, but bucket {bucket} could not be removed: {source}; remove it by hand")]
    Clear {
        /// The bucket.
        bucket: String,
        /// Why.
        source: ClientError,
    },
}

/// Runs all phases and removes what they stored. `announce` hears of each phase
/// before it starts. Once `stop` is cancelled no phase starts, and the one that
/// runs ends early.
pub async fn run(
    client: &S3Client,
    options: &Options,
    stop: &CancellationToken,
    announce: impl FnMut(Op, u64),
) -> Result<Report, BenchError> {
    let bucket = format!("stratos-bench-{}", hex::encode(protocol::keys::random::<8>()));
    client.create_bucket(&bucket).await.map_err(BenchError::Create)?;
    let phases = run_phases(client, &bucket, options, stop, announce).await;
    let cleared = clear(client, &bucket).await;
    let phases = phases?;
    cleared.map_err(|source| BenchError::Clear { bucket, source })?;
    let server =
        options.server.and_then(|process| Some(Server::new(process.pid, process.memory()?)));
    Ok(Report {
        endpoint: client.endpoint().to_owned(),
        concurrency: options.concurrency,
        phases,
        server,
        interrupted: stop.is_cancelled(),
    })
}

async fn run_phases(
    client: &S3Client,
    bucket: &str,
    options: &Options,
    stop: &CancellationToken,
    mut announce: impl FnMut(Op, u64),
) -> Result<Vec<Phase>, BenchError> {
    let payload = Arc::new(Payload::new(&body_lens(options), options.sign_payload));
    let mut phases = Vec::new();
    for &size in &options.sizes {
        let work = Work {
            client: client.clone(),
            bucket: bucket.to_owned(),
            size,
            payload: payload.clone(),
            stop: stop.clone(),
        };
        let mut stored = 0;
        for &op in &options.ops {
            if stop.is_cancelled() {
                return Ok(phases);
            }
            announce(op, size);
            if op.needs_objects() && stored == 0 {
                stored = prepare(&work, options).await?;
            }
            phases.push(run_phase(&work, options, op, &mut stored).await);
        }
    }
    Ok(phases)
}

/// Stores a few objects, unmeasured, for an operation that needs some.
async fn prepare(work: &Work, options: &Options) -> Result<u64, BenchError> {
    let count = (2 * options.concurrency as u64).min(working_set(work.size));
    let (tally, issued) =
        run_workers(work, options.concurrency, Op::Put, Until::Count(count), count).await;
    match tally.first_error {
        Some(error) => Err(BenchError::Prepare(error)),
        None => Ok(issued),
    }
}

async fn run_phase(work: &Work, options: &Options, op: Op, stored: &mut u64) -> Phase {
    let objects = if op.needs_objects() { *stored } else { working_set(work.size) };
    let cpu = || options.server.and_then(Process::cpu);
    let (cpu_before, started) = (cpu(), Instant::now());
    let (tally, issued) = run_workers(work, options.concurrency, op, options.until, objects).await;
    let took = started.elapsed();
    let usage =
        Usage { cpu: cpu().zip(cpu_before).and_then(|(after, before)| after.checked_sub(before)) };
    match op {
        Op::Put => *stored = issued.min(objects).max(*stored),
        // What an early end leaves over is cleared with the bucket.
        Op::Delete => *stored = 0,
        _ => {}
    }
    Phase::new(op, work.size, tally, took, usage)
}

/// Runs `op` by all workers, and returns what they measured and how many
/// operations were begun.
async fn run_workers(
    work: &Work,
    concurrency: usize,
    op: Op,
    until: Until,
    objects: u64,
) -> (Tally, u64) {
    let tickets = Arc::new(worker::Tickets::new(op, until, objects));
    let mut workers = JoinSet::new();
    for number in 0..concurrency {
        workers.spawn(worker::run(work.clone(), op, number, tickets.clone()));
    }
    let mut tally = Tally::default();
    while let Some(joined) = workers.join_next().await {
        tally.merge(joined.expect("a worker neither panics nor is aborted while we wait"));
    }
    (tally, tickets.issued())
}

/// How many objects of this size are stored at a time.
fn working_set(size: u64) -> u64 {
    (WORKING_SET / size.max(1)).clamp(1, OBJECTS_MAX)
}

/// Every length that a body will have.
fn body_lens(options: &Options) -> Vec<u64> {
    let parts = options.sizes.iter().flat_map(|size| [PART_LEN.min(*size), size % PART_LEN]);
    options.sizes.iter().copied().chain(parts).collect()
}

async fn clear(client: &S3Client, bucket: &str) -> Result<(), ClientError> {
    loop {
        let page = client.list_v2(bucket, ListQuery::default()).await?;
        let deletes = page.objects.iter().map(|object| client.delete(bucket, &object.key));
        let mut deletes = stream::iter(deletes).buffer_unordered(CLEAR_CONCURRENCY);
        while let Some(deleted) = deletes.next().await {
            deleted?;
        }
        if page.next.is_none() {
            return client.delete_bucket(bucket).await;
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
