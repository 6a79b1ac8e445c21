//! What all parts of the store share: the volumes, the index, the logs, and
//! whether the disk can still be trusted.
//!
//! Not here: what is done with them.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::ShardId;

use crate::store::StoreError;
use crate::store::index::Index;
use crate::store::log::Log;
use crate::store::volume::{Fault, Volumes, locked};

/// How much of the disk a node may use, and at what pace it works by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of shards; `None` is the whole disk.
    pub capacity: Option<u64>,
    /// Free bytes of the disk that are never used for shards.
    pub reserve: u64,
    /// Length of a volume; one shard that is longer has a volume of its own.
    pub volume: u64,
    /// Bytes that compaction moves in a second.
    pub compact_rate: u64,
    /// Bytes that a scrub reads in a second, at most.
    pub scrub_rate: u64,
}

/// Free bytes of the disk that are left to the index: more than it writes between
/// two checkpoints.
const INDEX_ROOM: u64 = 24 * 1024 * 1024;

/// Free bytes below which no shard is taken, however small the reserve is set:
/// deletes and compaction need some to make room.
pub(crate) const RESERVE_MIN: u64 = 64 * 1024 * 1024;

/// What time it is, ms since 1970.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    System,
    #[cfg(test)]
    Set(Arc<AtomicU64>),
}

impl Clock {
    pub fn now_ms(&self) -> u64 {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
            #[cfg(test)]
            Self::Set(now) => now.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Core {
    pub volumes: Volumes,
    pub index: Index,
    pub limits: Limits,
    pub clock: Clock,
    /// Shards that come in one piece, and tombstones.
    pub small: Log,
    /// Shards whose bytes are written as they come.
    pub large: Log,
    /// The sequence of the next record.
    pub sequence: AtomicU64,
    /// Bytes promised to puts under way.
    promised: AtomicU64,
    /// Changes of the index since the last checkpoint.
    unsaved: AtomicU64,
    failed: AtomicBool,
    claims: Claims,
}

impl Core {
    pub fn new(volumes: Volumes, index: Index, limits: Limits, clock: Clock) -> Self {
        Self {
            volumes,
            index,
            limits,
            clock,
            small: Log::new(true),
            large: Log::new(false),
            sequence: AtomicU64::new(1),
            promised: AtomicU64::new(0),
            unsaved: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            claims: Claims::default(),
        }
    }

    /// Whether a sync failed since the start.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    pub fn check_sound(&self) -> Result<(), StoreError> {
        if self.has_failed() { Err(StoreError::Failed) } else { Ok(()) }
    }

    /// Takes no more shards from now on.
    pub fn fail(&self, error: &dyn std::error::Error) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "a sync failed: no more shards are taken until a restart");
        }
    }

    /// What a fault of a volume means: a failed sync is never forgotten.
    pub fn fault(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Write(error) => error.into(),
            Fault::Sync(error) => {
                self.fail(&error);
                StoreError::Io(error)
            }
        }
    }

    /// Bytes of shards that may still be stored, those promised included.
    pub fn available(&self) -> io::Result<u64> {
        let reserve = self.limits.reserve.max(RESERVE_MIN);
        let disk = self.volumes.disk.free()?.saturating_sub(reserve);
        let stored = self.index.sums().stored;
        let allowed = self.limits.capacity.map_or(u64::MAX, |most| most.saturating_sub(stored));
        Ok(disk.min(allowed))
    }

    /// Whether the index can grow: if the disk were full under it, nothing could
    /// be found any more. So that last bit is given to nobody, deletes included.
    pub fn check_index_room(&self) -> Result<(), StoreError> {
        if self.volumes.disk.free()? < INDEX_ROOM { Err(StoreError::NoSpace) } else { Ok(()) }
    }

    /// Bytes of shards that will be taken.
    pub fn free(&self) -> u64 {
        self.available().unwrap_or(0).saturating_sub(self.promised.load(Ordering::Relaxed))
    }

    /// Keeps others from changing what an id stands for.
    pub fn claim(&self, shard: ShardId) -> Claim<'_> {
        let mut held = locked(&self.claims.held);
        while !held.insert(shard) {
            held = self.claims.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        Claim { claims: &self.claims, shard }
    }

    /// The index changed.
    pub fn written(&self, changes: usize) {
        self.unsaved.fetch_add(changes as u64, Ordering::Relaxed);
    }

    /// Makes the index durable, if it changed so often.
    pub fn checkpoint_after(&self, changes: u64) -> Result<(), StoreError> {
        let unsaved = self.unsaved.load(Ordering::Relaxed);
        if unsaved < changes.max(1) {
            return Ok(());
        }
        self.check_index_room()?;
        self.index.checkpoint()?;
        self.unsaved.fetch_sub(unsaved, Ordering::Relaxed);
        Ok(())
    }

    /// Ends in good order: the next start has nothing to look for.
    pub fn close(&self) -> Result<(), StoreError> {
        self.check_index_room()?;
        self.small.close_full(self, true)?;
        self.large.close_full(self, true)?;
        self.index.checkpoint()
    }
}

/// Ids that somebody is about to change.
#[derive(Debug, Default)]
struct Claims {
    held: Mutex<HashSet<ShardId>>,
    freed: Condvar,
}

/// The right to change what one id stands for.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    claims: &'a Claims,
    shard: ShardId,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        locked(&self.claims.held).remove(&self.shard);
        self.claims.freed.notify_all();
    }
}

/// Room on the disk that a put under way was promised.
#[derive(Debug)]
pub(crate) struct Room {
    core: Arc<Core>,
    bytes: u64,
}

impl Room {
    pub fn take(core: &Arc<Core>, bytes: u64) -> Result<Self, StoreError> {
        let available = core.available()?;
        core.promised
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |promised| {
                promised.checked_add(bytes).filter(|sum| *sum <= available)
            })
            .map_err(|_| StoreError::NoSpace)?;
        Ok(Self { core: core.clone(), bytes })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.core.promised.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}
