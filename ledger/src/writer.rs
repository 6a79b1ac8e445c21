//! The one task that makes blocks: it checks and applies what waits in its
//! mailbox, adds the changes of epochs that are due, and answers once the block
//! is on disk.
//!
//! Readers share the chain behind a lock that is held over the commit, so
//! nobody sees what is not on disk. While the disk is full the commit waits for
//! room, and with it everybody: gateways and nodes go on with what they know.
//! After any other failed commit what is in memory is ahead of the disk: the
//! ledger stops, and the next start rebuilds it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocol::SecretKey;
use protocol::ledger_api::Outcome;
use protocol::wire::Wire;
use thiserror::Error;
use tokio::sync::{RwLock, RwLockReadGuard, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::block::{BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX, Block};
use crate::chain::Chain;
use crate::clock::Timing;
use crate::entry::{Deposit, Entry, Verified};
use crate::event::Event;
use crate::halt::Halt;
use crate::state::Rejection;
use crate::store::{Store, StoreError};

/// Requests that may wait.
const QUEUE_MAX: usize = 64;

/// Requests that are taken from the queue at once.
const JOBS_MAX: usize = 16;

/// How often the writer looks whether an epoch ends.
const TICK: Duration = Duration::from_millis(100);

/// How often a full disk is tried again.
const FULL: Duration = Duration::from_secs(1);

/// The ledger writes no more: it stops, or its disk failed. What was submitted
/// may or may not be on the ledger, and can be submitted again.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the ledger is stopping: submit again later")]
pub struct Stopped;

/// A block did not reach the disk.
#[derive(Debug, Error)]
#[error("a block could not be written, so the ledger stopped: {0}")]
pub struct WriteError(#[from] StoreError);

/// The chain as readers see it.
#[derive(Debug)]
pub struct Shared {
    chain: RwLock<Chain>,
    broken: AtomicBool,
    halt: Halt,
}

impl Shared {
    /// Shares a chain that was just opened.
    pub(crate) fn new(chain: Chain, halt: Halt) -> Arc<Self> {
        Arc::new(Self { chain: RwLock::new(chain), broken: AtomicBool::new(false), halt })
    }

    /// Whether nothing is taken any more, and how to come to that.
    pub(crate) fn halt(&self) -> &Halt {
        &self.halt
    }

    /// The chain up to its latest block on disk.
    pub async fn read(&self) -> Result<RwLockReadGuard<'_, Chain>, Stopped> {
        let chain = self.chain.read().await;
        // Set while the lock was held, so it is seen by whoever comes after.
        if self.broken.load(Ordering::Acquire) { Err(Stopped) } else { Ok(chain) }
    }
}

/// Entries that may be written once they are checked, and who asks.
struct Job {
    entries: Vec<Entry>,
    done: oneshot::Sender<Vec<Outcome>>,
}

/// Brings entries to the writer.
#[derive(Clone)]
pub struct Handle {
    jobs: mpsc::Sender<Job>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    /// Submits entries. When this returns, those with `Ok` are on disk.
    pub async fn submit(&self, entries: Vec<Verified>) -> Result<Vec<Outcome>, Stopped> {
        self.run(entries.into_iter().map(Verified::into_entry).collect()).await
    }

    /// Brings money in. The same id again changes nothing.
    pub async fn deposit(&self, deposit: Deposit) -> Result<Outcome, Stopped> {
        let outcomes = self.run(vec![Entry::Deposit(deposit)]).await?;
        outcomes.into_iter().next().ok_or(Stopped)
    }

    async fn run(&self, entries: Vec<Entry>) -> Result<Vec<Outcome>, Stopped> {
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job { entries, done }).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

/// The writing task.
pub struct Writer {
    shared: Arc<Shared>,
    store: Store,
    key: SecretKey,
    timing: Timing,
    queue: mpsc::Receiver<Job>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    /// A writer that is ready to run, and the way to it.
    pub fn new(
        shared: Arc<Shared>,
        store: Store,
        key: SecretKey,
        timing: Timing,
    ) -> (Self, Handle) {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        (Self { shared, store, key, timing, queue }, Handle { jobs })
    }

    /// Writes until `stop`; what waits then is still written.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), WriteError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut jobs = Vec::with_capacity(JOBS_MAX);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                taken = self.queue.recv_many(&mut jobs, JOBS_MAX) => if taken == 0 { break },
                _ = tick.tick() => {}
            }
            let wrote = self.write(&mut jobs, &stop).await?;
            if wrote && !self.timing.block_interval.is_zero() {
                let pause = tokio::time::sleep(self.timing.block_interval);
                tokio::select! { () = stop.cancelled() => break, () = pause => {} }
            }
        }
        self.queue.close();
        while self.queue.recv_many(&mut jobs, JOBS_MAX).await > 0 {
            self.write(&mut jobs, &stop).await?;
        }
        Ok(self.store.close().await?)
    }

    /// Brings a block to the disk, as soon as there is room for it.
    async fn append(
        store: &mut Store,
        block: &Block,
        events: &[Event],
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let mut is_told = false;
        loop {
            match store.append(block, events).await {
                Err(error) if error.is_full() && !stop.is_cancelled() => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::error!(%error, "the ledger waits: make room on its disk");
                    }
                    let pause = tokio::time::sleep(FULL);
                    tokio::select! { () = stop.cancelled() => {}, () = pause => {} }
                }
                done => {
                    if is_told && done.is_ok() {
                        tracing::info!("the ledger has room again");
                    }
                    return done;
                }
            }
        }
    }

    /// Writes what is due and what `jobs` bring, in as many blocks as it takes,
    /// and answers. Tells whether there was anything to write.
    async fn write(
        &mut self,
        jobs: &mut Vec<Job>,
        stop: &CancellationToken,
    ) -> Result<bool, WriteError> {
        let mut waiting = VecDeque::new();
        let mut answers = Vec::with_capacity(jobs.len());
        for (asker, Job { entries, done }) in jobs.drain(..).enumerate() {
            answers.push((done, Vec::with_capacity(entries.len())));
            waiting.extend(entries.into_iter().map(|entry| (asker, entry)));
        }
        let mut wrote = false;
        if let Some(reason) = self.shared.halt().reason() {
            for (asker, _) in waiting.drain(..) {
                answers[asker].1.push(Err(reason.to_owned()));
            }
        }
        while self.shared.halt().reason().is_none() {
            let mut chain = self.shared.chain.write().await;
            chain.begin((self.timing.now_ms)());
            let entries = fill_block(&mut chain, &mut waiting, &mut answers);
            if !entries.is_empty() {
                let header = chain.finish();
                let finality = header.signed(&self.key);
                let events = chain.take_events();
                let block = Block { header, entries, finality };
                if let Err(error) = Self::append(&mut self.store, &block, &events, stop).await {
                    self.shared.broken.store(true, Ordering::Release);
                    return Err(error.into());
                }
                wrote = true;
            }
            drop(chain);
            if waiting.is_empty() {
                break;
            }
        }
        for (done, outcomes) in answers {
            let _ = done.send(outcomes); // The caller may be gone; the entries stand.
        }
        Ok(wrote)
    }
}

/// Who waits for an answer, and what it is so far.
type Answer = (oneshot::Sender<Vec<Outcome>>, Vec<Outcome>);

/// Checks and applies entries until the block is full or none waits. Changes
/// of epochs come first: they decide what may follow.
fn fill_block(
    chain: &mut Chain,
    waiting: &mut VecDeque<(usize, Entry)>,
    answers: &mut [Answer],
) -> Vec<Entry> {
    let mut block = Draft::default();
    while let Some(entry) = chain.state().due() {
        if !block.has_room_for(&entry) {
            return block.entries;
        }
        chain.add(&entry).expect("what is due may follow");
        tracing::debug!(?entry, "epochs move on");
        block.push(entry);
    }
    while let Some((asker, entry)) = waiting.pop_front() {
        if !block.has_room_for(&entry) {
            waiting.push_front((asker, entry));
            return block.entries;
        }
        answers[asker].1.push(match chain.add(&entry) {
            Ok(()) => {
                block.push(entry);
                Ok(())
            }
            Err(Rejection::Known) => Ok(()),
            Err(reason) => {
                tracing::debug!(%reason, "an entry was not taken");
                Err(reason.to_string())
            }
        });
    }
    block.entries
}

/// The entries of a block that is being made.
#[derive(Default)]
struct Draft {
    entries: Vec<Entry>,
    bytes: usize,
}

impl Draft {
    fn has_room_for(&self, entry: &Entry) -> bool {
        self.entries.len() < BLOCK_ENTRIES_MAX
            && self.bytes + entry.to_wire().len() <= BLOCK_BYTES_MAX
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.to_wire().len();
        self.entries.push(entry);
    }
}
