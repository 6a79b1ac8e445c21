//! The threads of a store: one for each log, one that keeps room and checkpoints
//! ahead, and one that compacts and scrubs at its leisure.
//!
//! Not here: what they do, which tests call step by step.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::store::core::Core;
use crate::store::log::{self, Body, Job, QUEUE, Record};
use crate::store::scrub::{Pass, Scrubbed};
use crate::store::volume::locked;
use crate::store::{StoreError, compact};

/// How often it is looked whether zeros are to be laid.
const TICK: Duration = Duration::from_millis(200);

/// Changes of the index after which it is made durable, and the time.
const CHANGES: u64 = 4096;
const CHECKPOINT: Duration = Duration::from_secs(5);

/// How often it is looked whether there is something to compact.
const LEISURE: Duration = Duration::from_secs(1);

/// How long work that failed is left alone.
const BACK_OFF: Duration = Duration::from_secs(60);

/// Until a volume that could not be compacted is tried again.
const ANOTHER_TIME: Duration = Duration::from_secs(6 * 60 * 60);

/// A pass of the scrub takes this long, or less.
const PASS: Duration = Duration::from_secs(25 * 24 * 60 * 60);

/// Bytes that a scrub reads in a second at least: little is read sooner.
const SCRUB_MIN: u64 = 256 * 1024;

/// The threads, until this is dropped.
#[derive(Debug)]
pub(crate) struct Keepers {
    small: Option<SyncSender<Job>>,
    large: Option<SyncSender<Job>>,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    stopped: Mutex<bool>,
    told: Condvar,
}

impl Stop {
    /// Waits so long, or until the end. Whether to go on.
    fn wait(&self, time: Duration) -> bool {
        let stopped = locked(&self.stopped);
        let waited = self.told.wait_timeout_while(stopped, time, |stopped| !*stopped);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Keepers {
    pub fn start(core: &Arc<Core>) -> Result<Self, StoreError> {
        let (small, small_jobs) = mpsc::sync_channel(QUEUE);
        let (large, large_jobs) = mpsc::sync_channel(QUEUE);
        let stop = Arc::<Stop>::default();
        let (small, large) = (Some(small), Some(large));
        let mut keepers = Self { small, large, stop: stop.clone(), threads: Vec::new() };
        keepers.spawn("small log", core, move |core| log::run(core, &core.small, &small_jobs))?;
        keepers.spawn("large log", core, move |core| log::run(core, &core.large, &large_jobs))?;
        let stopped = stop.clone();
        keepers.spawn("keep", core, move |core| keep(core, &stopped))?;
        keepers.spawn("leisure", core, move |core| leisure(core, &stop))?;
        Ok(keepers)
    }

    fn spawn(
        &mut self,
        name: &str,
        core: &Arc<Core>,
        work: impl FnOnce(&Core) + Send + 'static,
    ) -> Result<(), StoreError> {
        let core = core.clone();
        let thread = thread::Builder::new().name(name.into()).spawn(move || work(&core))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Waits until a record is durable.
    pub fn write(&self, record: Record) -> Result<(), StoreError> {
        let queue = match record.body {
            Body::Here(_) => &self.small,
            Body::Written(_) => &self.large,
        };
        let (done, answer) = mpsc::sync_channel(1);
        // No queue and no answer: a log's thread panicked.
        let queue = queue.as_ref().ok_or(StoreError::Failed)?;
        queue.send((record, done)).map_err(|_| StoreError::Failed)?;
        answer.recv().map_err(|_| StoreError::Failed)?
    }
}

impl Drop for Keepers {
    fn drop(&mut self) {
        (self.small, self.large) = (None, None);
        *locked(&self.stop.stopped) = true;
        self.stop.told.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

fn keep(core: &Core, stop: &Stop) {
    let mut saved = Instant::now();
    while stop.wait(TICK) {
        let is_due = saved.elapsed() > CHECKPOINT;
        let kept = core
            .small
            .grow_ahead(core)
            .and_then(|()| core.small.close_full(core, false))
            .and_then(|()| core.large.close_full(core, false))
            .and_then(|()| core.checkpoint_after(if is_due { 1 } else { CHANGES }));
        if is_due {
            saved = Instant::now();
        }
        if let Err(error) = kept {
            tracing::warn!(%error, "room or a checkpoint of the store has to wait");
            if !stop.wait(LEISURE) {
                return;
            }
        }
    }
}

fn leisure(core: &Core, stop: &Stop) {
    let (mut pass, mut last) = (None, Instant::now());
    // Volumes that could not be compacted, and when.
    let mut later = BTreeMap::new();
    while stop.wait(LEISURE) {
        let compacted = compact_one(core, stop, &mut later);
        let since = std::mem::replace(&mut last, Instant::now()).elapsed();
        let scrubbed = scrub_some(core, &mut pass, since);
        if let Err(error) = compacted.and(scrubbed) {
            tracing::warn!(%error, "compaction or scrub has to wait");
            if !stop.wait(BACK_OFF) {
                break;
            }
        }
    }
    if let Some(Err(error)) = pass.map(|pass| pass.keep(core)) {
        tracing::debug!(%error, "a scrub begins again where it was a minute ago");
    }
}

fn compact_one(
    core: &Core,
    stop: &Stop,
    later: &mut BTreeMap<u32, Instant>,
) -> Result<(), StoreError> {
    if core.has_failed() {
        return Ok(());
    }
    let limits = &core.limits;
    // Below the reserve, or so near that the next volume would get there.
    let is_tight = core.volumes.disk.free()? < limits.reserve.saturating_add(limits.volume);
    later.retain(|_, failed| failed.elapsed() < ANOTHER_TIME);
    let mut volumes = core.index.volumes();
    volumes.retain(|(number, _)| !later.contains_key(number));
    if let Some(number) = compact::pick(&volumes, limits.volume, is_tight) {
        let pause = &mut |bytes| stop.wait(pace(bytes, limits.compact_rate));
        let run = compact::run(core, number, pause);
        // One bad volume does not keep the others from being compacted.
        if let Err(StoreError::Io(_)) = run {
            later.insert(number, Instant::now());
        }
        run?;
    }
    Ok(())
}

/// Reads as much as is due after a time.
fn scrub_some(core: &Core, pass: &mut Option<Pass>, since: Duration) -> Result<(), StoreError> {
    let now_ms = core.clock.now_ms();
    let pass = match pass {
        Some(pass) => pass,
        None => pass.insert(Pass::open(core, now_ms)?),
    };
    let due = scrub_due(core.index.sums().stored, core.limits.scrub_rate, since);
    let mut sum = Scrubbed::default();
    while sum.bytes < due && pass.is_due(now_ms, PASS) {
        pass.step(core, &mut sum)?;
    }
    if sum.checked > 0 && pass.is_to_be_kept(now_ms) {
        pass.keep(core)?;
        core.written(1);
    }
    Ok(())
}

/// Bytes that a scrub is to read after a time, so that a pass takes [`PASS`].
fn scrub_due(stored: u64, most: u64, since: Duration) -> u64 {
    let rate = (stored / PASS.as_secs()).max(SCRUB_MIN).min(most);
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    rate.saturating_mul(millis) / 1000
}

/// How long so many bytes take at a rate.
fn pace(bytes: u64, rate: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrub_gets_through_in_less_than_a_month() {
        let second = Duration::from_secs(1);
        for stored in [0, 1 << 30, 10 << 40] {
            let due = scrub_due(stored, u64::MAX, second);
            assert!(due * 30 * 86_400 > stored, "{stored}");
        }
        assert_eq!(scrub_due(10 << 40, 1 << 20, second), 1 << 20, "the setting is the most");
        assert_eq!(scrub_due(0, u64::MAX, Duration::from_millis(500)), SCRUB_MIN / 2);
    }

    #[test]
    fn work_at_a_rate_takes_its_time() {
        assert_eq!(pace(1 << 20, 1 << 20), Duration::from_secs(1));
        assert_eq!(pace(0, 1), Duration::ZERO);
    }
}
