//! Metadata on the nodes: what the database holds is shipped to the storage
//! nodes while it changes, encrypted and coded, so that a gateway whose folder
//! is lost is rebuilt from them and its recovery key.
//!
//! ```text
//! ship       reads what was committed (wal) and stores it as logs, now and then a snapshot
//!   state      what is known between two starts: a file beside the database
//!   store      one segment onto the nodes
//!     payload    what a segment says
//!     sealed     its shards: sealed, then coded
//!     ids        its name, which only we can read
//!   clean      what is too old off the nodes, and how much is there
//!     pages      what one node says it holds
//! recover    lists the nodes, chooses a snapshot and the logs after it, writes the database
//!   pay        vouchers for what they send
//!   waiting    logs until it is known which of them follow each other
//! key        the recovery key: all that the nodes do not have
//! ```
//!
//! Snapshots and logs form one chain: a snapshot says which log it holds last,
//! a log says which one it follows. As long as the log of the database can be
//! read on from where it was left, the chain goes on, across restarts; if it
//! cannot, a new snapshot begins another. Commits do not wait for any of this.
//!
//! Not here: when it runs (`upkeep::vault`), and SQL.

mod clean;
pub mod ids;
pub mod key;
mod pages;
pub mod pay;
pub mod payload;
pub mod recover;
pub mod sealed;
pub mod ship;
pub mod state;
mod store;
mod waiting;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::{NodeId, SegmentId};

use crate::object::cipher::Key;
use sealed::VaultKeys;

#[cfg(test)]
mod tests;

/// How far shipping has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// When all that was committed was last seen to be on the nodes.
    pub shipped_ms: Option<u64>,
    /// Since when something is not.
    pub behind_since_ms: Option<u64>,
    /// When the newest complete snapshot was begun.
    pub snapshot_ms: Option<u64>,
    /// Logs since then.
    pub logs: u64,
    /// Bytes of the pages in them.
    pub log_bytes: u64,
}

/// Who ships says how far it is every second or two. If it does not for so long,
/// a step takes long, or nobody ships any more.
const QUIET: Duration = Duration::from_secs(15);

impl Progress {
    /// What is known when this was said so long ago.
    fn after(self, silence: Duration) -> Self {
        let known = self.behind_since_ms;
        let behind_since_ms = known.or(self.shipped_ms.filter(|_| silence > QUIET));
        Self { behind_since_ms, ..self }
    }
}

/// What a gateway knows of its metadata on the nodes.
pub struct Vault {
    keys: VaultKeys,
    /// And when that was said.
    progress: Mutex<(Progress, Instant)>,
    /// Bytes of metadata shards on each node.
    stored: Mutex<HashMap<NodeId, u64>>,
}

impl Vault {
    /// That of a gateway with this master key.
    pub fn new(master: &Key) -> Self {
        let progress = Mutex::new((Progress::default(), Instant::now()));
        let stored = Mutex::default();
        Self { keys: VaultKeys::new(master), progress, stored }
    }

    /// Whether a segment is metadata: such are unknown to the database, and no
    /// orphans.
    pub fn is_ours(&self, segment: SegmentId) -> bool {
        self.keys.ids().find(segment).is_some()
    }

    /// The keys of segments.
    pub fn keys(&self) -> &VaultKeys {
        &self.keys
    }

    /// How far shipping has come.
    pub fn progress(&self) -> Progress {
        let (said, at) = *self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        said.after(at.elapsed())
    }

    pub(crate) fn set_progress(&self, progress: Progress) {
        let said = (progress, Instant::now());
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    /// Bytes of metadata shards on each node: the gateway pays for them.
    pub fn stored(&self) -> HashMap<NodeId, u64> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count_stored(&self, node: NodeId, change: impl FnOnce(u64) -> u64) {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = stored.entry(node).or_default();
        *bytes = change(*bytes);
    }
}
