//! Shards on disk: append-only volumes, an index that can be read off them, and
//! nothing acknowledged before it is durable.
//!
//! ```text
//! DIR/volumes/00000001.vol   records of shards and tombstones, one after the other
//! DIR/volumes/index.redb     where each shard lies; made anew if it is lost
//! DIR/volumes/marker         which life of the folder the volumes belong to
//!
//! core     what all share
//!   writer   puts and deletes        shard, range   reads
//!   log      group commit            recover        what a crash left
//!   compact, scrub, keep             work that goes on by itself
//!     index    ids -> places         volume, format files and bytes      disk
//! ```
//!
//! Nothing in a volume is ever overwritten. An id never changes its content
//! while it is held. Names of files are numbers that we count ourselves; nothing
//! that a peer sends becomes part of a path.
//!
//! After the first failed sync the store takes no more shards until a restart:
//! the kernel may have dropped what it could not write, and a second sync would
//! report success for it. Reads go on.
//!
//! Every function here blocks; callers use a blocking thread.
//!
//! Not here: who may ask (`server`), and what it costs (`lanes`).

mod compact;
pub(crate) mod core;
pub(crate) mod disk;
pub(crate) mod folder;
pub(crate) mod format;
pub(crate) mod import;
mod index;
mod keep;
mod log;
pub(crate) mod range;
pub(crate) mod record;
mod recover;
pub(crate) mod scrub;
mod shard;
#[cfg(test)]
mod tests;
mod volume;
pub(crate) mod writer;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use protocol::message::Held;
use protocol::refusal::Refusal;
use protocol::{GatewayId, Root, ShardId};
use rustix::io::Errno;
use thiserror::Error;

use self::core::{Clock, Core, Limits, Room};
use self::disk::Disk;
use self::format::StoreId;
use self::index::Index;
use self::index::entry::Entry;
use self::keep::Keepers;
use self::log::{Body, Record};
use self::shard::Shard;
use self::volume::Volumes;
use self::writer::Writer;

/// The owner of shards that were stored before owners were kept.
pub(crate) const ANYBODY: GatewayId = GatewayId([0; 32]);

/// Why the store did not do what was asked.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("no such shard")]
    NotFound,
    #[error("the id is taken by other content")]
    Conflict,
    #[error("the shard was deleted a short while ago")]
    Forgotten,
    #[error("the shard belongs to another gateway")]
    NotOwner,
    #[error("the body has root {got} and {got_len} bytes, not what was promised")]
    WrongRoot { got: Root, got_len: u64 },
    #[error("the body is longer than was announced")]
    TooLong,
    #[error("no file handle is left: raise the limit of open files")]
    NoHandle,
    #[error("no space above the reserve")]
    NoSpace,
    #[error("the range lies outside the shard")]
    BadRange,
    #[error("the record of {0:?} is damaged")]
    Corrupt(ShardId),
    #[error("a sync failed before; nothing is stored until a restart")]
    Failed,
    #[error("index: {0}")]
    Index(#[source] redb::Error),
    #[error("disk: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        if let Some(Errno::MFILE | Errno::NFILE) = Errno::from_io_error(&error) {
            return Self::NoHandle;
        }
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error),
        }
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io(error) => error,
            other => Self::other(other),
        }
    }
}

impl StoreError {
    /// What the gateway is told.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::NotFound => Refusal::NotFound,
            Self::Conflict => Refusal::Conflict,
            Self::Forgotten => Refusal::Forgotten,
            Self::NotOwner => Refusal::NotOwner,
            Self::WrongRoot { .. } => Refusal::WrongRoot,
            Self::TooLong => Refusal::Malformed,
            Self::NoSpace => Refusal::NoSpace,
            Self::BadRange => Refusal::BadRange,
            // The gateway takes the shard for lost and makes it anew elsewhere.
            Self::Corrupt(_) => Refusal::Disk,
            // Of the shard this says nothing: it may be read again later.
            Self::NoHandle | Self::Failed | Self::Index(_) | Self::Io(_) => Refusal::Busy,
        }
    }

    /// Whether whoever runs the node should look at its disk.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::Failed | Self::Index(_) | Self::Io(_))
    }
}

/// How much is held, and how much more will be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    pub stored: u64,
    pub shards: u64,
    /// Bytes that will still be taken. Dead bytes are not free before they are
    /// compacted.
    pub free: u64,
    pub dead: u64,
    pub tombstones: u64,
    pub damaged: u64,
}

/// The shards of one data folder. The folder is locked by its owner.
#[derive(Debug)]
pub(crate) struct ShardStore {
    core: Arc<Core>,
    /// `None` in tests that do one step after the other.
    keepers: Option<Keepers>,
}

impl ShardStore {
    /// Opens the shards on a disk, with threads that commit and look after them.
    pub fn open(
        disk: Arc<dyn Disk>,
        store: StoreId,
        limits: Limits,
    ) -> Result<Arc<Self>, StoreError> {
        let core = Self::recover(disk, store, limits, Clock::System)?;
        let keepers = Keepers::start(&core)?;
        Ok(Arc::new(Self { core, keepers: Some(keepers) }))
    }

    fn recover(
        disk: Arc<dyn Disk>,
        store: StoreId,
        limits: Limits,
        clock: Clock,
    ) -> Result<Arc<Core>, StoreError> {
        let (index, is_old) = Index::open(&*disk, &store)?;
        let core = Core::new(Volumes::new(disk, store), index, limits, clock);
        let found = recover::run(&core)?;
        let sums = core.index.sums();
        tracing::info!(
            shards = sums.shards,
            bytes = sums.stored,
            index = if is_old { "caught up" } else { "made anew" },
            ?found,
            "shard store opened"
        );
        Ok(Arc::new(core))
    }

    /// Starts storing a shard of at most `max_len` bytes.
    pub fn put(
        self: &Arc<Self>,
        owner: GatewayId,
        shard: ShardId,
        max_len: u64,
    ) -> Result<Writer, StoreError> {
        self.core.check_sound()?;
        let room = Room::take(&self.core, max_len)?;
        Ok(Writer::new(self.clone(), owner, shard, max_len, room))
    }

    /// Starts taking in a shard of nobody in particular that is on this disk
    /// already: its file goes when it is stored, so it needs no room.
    fn take_in(self: &Arc<Self>, shard: ShardId, len: u64) -> Result<Writer, StoreError> {
        self.core.check_sound()?;
        let room = Room::take(&self.core, 0)?;
        Ok(Writer::new(self.clone(), ANYBODY, shard, len, room))
    }

    /// Opens a shard for reading.
    pub fn open_shard(&self, shard: ShardId) -> Result<Shard, StoreError> {
        self.core.open_shard(shard)
    }

    /// At most `most` sound shards of `owner` from `from` on, in order of id.
    pub fn list(
        &self,
        owner: GatewayId,
        from: ShardId,
        most: usize,
    ) -> Result<Vec<Held>, StoreError> {
        let wanted = |entry: &Entry| {
            entry.is_shard()
                && !entry.is_damaged
                && (entry.owner == owner || entry.owner == ANYBODY)
        };
        let page = self.core.index.page(from, most, wanted)?;
        let held = |(shard, Entry { len, root, .. })| Held { shard, len, root };
        Ok(page.into_iter().map(held).collect())
    }

    /// How much is held, and how much more will be taken.
    pub fn stats(&self) -> Stats {
        let sums = self.core.index.sums();
        Stats {
            stored: sums.stored,
            shards: sums.shards,
            free: self.core.free(),
            dead: self.core.index.dead(),
            tombstones: sums.tombstones,
            damaged: sums.damaged,
        }
    }

    /// Whether a sync failed since the start.
    pub fn has_failed(&self) -> bool {
        self.core.has_failed()
    }

    /// Whether nothing is found any more until the store is opened anew.
    pub fn is_lost(&self) -> bool {
        self.core.index.has_failed()
    }

    /// Reads and verifies every record now.
    pub fn scrub(&self) -> Result<scrub::Scrubbed, StoreError> {
        scrub::all(&self.core)
    }

    /// Has a record committed together with others.
    fn write(&self, record: Record) -> Result<(), StoreError> {
        match &self.keepers {
            Some(keepers) => keepers.write(record),
            None => self.core.write(record),
        }
    }
}

impl Core {
    /// Commits a record by itself.
    fn write(&self, record: Record) -> Result<(), StoreError> {
        let log = match record.body {
            Body::Here(_) => &self.small,
            Body::Written(_) => &self.large,
        };
        log.commit(self, vec![record]).pop().expect("there is an answer to each record")
    }
}

impl Drop for ShardStore {
    fn drop(&mut self) {
        // Their threads end first.
        if self.keepers.take().is_some()
            && let Err(error) = self.core.close()
        {
            tracing::warn!(%error, "the store did not close in good order; the next start looks");
        }
    }
}

/// Makes a folder that only its owner can enter, if it is not there.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}
