//! Shards on disk: a file for each, durable before anyone hears of it.
//!
//! ```text
//! DIR/shards/07/07..07-03   a whole, durable shard: 2 hex digits, then its id
//! DIR/incoming/..           puts under way, removed at the next start
//! ```
//!
//! A shard file appears under its name whole and synced or not at all, so there
//! is no index to keep and nothing to recover. A name never changes its
//! content. Names are made of hex digits that we format ourselves; nothing that
//! a peer sends becomes part of a path.
//!
//! After the first failed sync the store takes no more shards until a restart:
//! the kernel may have dropped what it could not write, and a second sync would
//! report success for it. Reads go on.
//!
//! Every function here blocks; callers use a blocking thread.
//!
//! Not here: who may ask (`server`), and what it costs (`lanes`).

mod census;
pub(crate) mod file;
pub(crate) mod folder;
pub(crate) mod range;
pub(crate) mod record;
#[cfg(test)]
mod tests;
pub(crate) mod writer;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::refusal::Refusal;
use protocol::{Root, ShardId};
use rustix::io::Errno;
use thiserror::Error;

use self::file::ShardFile;
use self::writer::Writer;

/// Locks that keep two changes of one name apart; more than the blocking
/// threads that are busy at once would be of no use.
const NAME_LOCKS: usize = 64;

/// Why the store did not do what was asked.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("no such shard")]
    NotFound,
    #[error("the id is taken by other content")]
    Conflict,
    #[error("the body has root {got} and {got_len} bytes, not what was promised")]
    WrongRoot { got: Root, got_len: u64 },
    #[error("no file handle is left: raise the limit of open files")]
    NoHandle,
    #[error("no space above the reserve")]
    NoSpace,
    #[error("the range lies outside the shard")]
    BadRange,
    #[error("the file of {0:?} is damaged")]
    Corrupt(ShardId),
    #[error("a sync failed before; nothing is stored until a restart")]
    Failed,
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

impl StoreError {
    /// What the gateway is told.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::NotFound => Refusal::NotFound,
            Self::Conflict => Refusal::Conflict,
            Self::WrongRoot { .. } => Refusal::WrongRoot,
            // Nothing is wrong with the disk, nor with what it holds.
            Self::NoHandle => Refusal::Busy,
            Self::NoSpace => Refusal::NoSpace,
            Self::BadRange => Refusal::BadRange,
            Self::Corrupt(_) | Self::Failed | Self::Io(_) => Refusal::Disk,
        }
    }
}

/// How much is held, and how much more will be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    pub stored: u64,
    pub shards: u64,
    pub free: u64,
}

/// How much of the disk a node may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of shards; `None` is the whole disk.
    pub capacity: Option<u64>,
    /// Free bytes of the disk that are never used.
    pub reserve: u64,
}

/// The shards of one data folder. The folder is locked by its owner.
#[derive(Debug)]
pub(crate) struct ShardStore {
    shards: PathBuf,
    incoming: PathBuf,
    limits: Limits,
    stored: AtomicU64,
    count: AtomicU64,
    /// Bytes promised to puts under way.
    promised: AtomicU64,
    failed: AtomicBool,
    /// Subfolders that are known to survive a power cut.
    durable: Box<[AtomicBool; 256]>,
    making_folders: Mutex<()>,
    names: Box<[Mutex<()>; NAME_LOCKS]>,
}

impl ShardStore {
    /// Opens the shards under `folder`: counts them and removes what a crash
    /// left half-written.
    pub fn open(folder: &Path, limits: Limits) -> io::Result<Arc<Self>> {
        let (shards, incoming) = (folder.join("shards"), folder.join("incoming"));
        for path in [&shards, &incoming] {
            create_folder(path)?;
        }
        File::open(folder)?.sync_all()?;
        let left = census::remove_files(&incoming)?;
        let census = census::count(&shards)?;
        tracing::info!(shards = census.shards, bytes = census.bytes, left, "shard store opened");
        Ok(Arc::new(Self {
            shards,
            incoming,
            limits,
            stored: AtomicU64::new(census.bytes),
            count: AtomicU64::new(census.shards),
            promised: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            durable: Box::new([const { AtomicBool::new(false) }; 256]),
            making_folders: Mutex::new(()),
            names: Box::new([const { Mutex::new(()) }; NAME_LOCKS]),
        }))
    }

    /// Starts storing a shard of at most `max_len` bytes.
    pub fn put(self: &Arc<Self>, shard: ShardId, max_len: u64) -> Result<Writer, StoreError> {
        self.check_sound()?;
        let room = Room::take(self, max_len)?;
        Ok(Writer::new(self.clone(), shard, room))
    }

    /// Opens a shard for reading.
    pub fn open_shard(&self, shard: ShardId) -> Result<ShardFile, StoreError> {
        ShardFile::open(&self.path(shard), shard)
    }

    /// Forgets a shard, durably. Whether it was there.
    pub fn delete(&self, shard: ShardId) -> Result<bool, StoreError> {
        self.check_sound()?;
        let _turn = self.turn(shard);
        let path = self.path(shard);
        let len = match fs::symlink_metadata(&path) {
            Ok(found) => file::shard_len(found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let folder = File::open(self.subfolder(shard))?;
        fs::remove_file(&path)?;
        // A damaged file was not counted.
        if let Some(len) = len {
            self.stored.fetch_sub(len, Ordering::Relaxed);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        self.sync(|| folder.sync_all())?;
        Ok(true)
    }

    /// How much is held, and how much more will be taken.
    pub fn stats(&self) -> Stats {
        Stats {
            stored: self.stored.load(Ordering::Relaxed),
            shards: self.count.load(Ordering::Relaxed),
            free: self
                .available()
                .unwrap_or(0)
                .saturating_sub(self.promised.load(Ordering::Relaxed)),
        }
    }

    /// Whether a sync failed since the start.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Takes no more shards from now on.
    pub fn fail(&self, error: &io::Error) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "a sync failed: no more shards are taken until a restart");
        }
    }

    fn check_sound(&self) -> Result<(), StoreError> {
        if self.has_failed() { Err(StoreError::Failed) } else { Ok(()) }
    }

    /// Runs one sync, the only thing whose failure is never forgotten, and
    /// nothing else: a folder is opened before it is changed. If that fails,
    /// nothing has happened yet, and the store is as sound as before.
    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> Result<(), StoreError> {
        // A put may be under way for long, and others fail meanwhile.
        self.check_sound()?;
        sync().map_err(|error| {
            self.fail(&error);
            StoreError::Io(error)
        })
    }

    /// Bytes that may still be written, those promised to puts included.
    fn available(&self) -> io::Result<u64> {
        // Answered from memory by the kernel: cheap enough to ask each time.
        let disk = rustix::fs::statvfs(&self.shards)?;
        let disk = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(self.limits.reserve);
        let stored = self.stored.load(Ordering::Relaxed);
        let allowed = self.limits.capacity.map_or(u64::MAX, |most| most.saturating_sub(stored));
        Ok(disk.min(allowed))
    }

    fn subfolder(&self, shard: ShardId) -> PathBuf {
        self.shards.join(format!("{:02x}", shard.segment.0[0]))
    }

    fn path(&self, shard: ShardId) -> PathBuf {
        self.subfolder(shard).join(shard.to_string())
    }

    /// Keeps two changes of one name apart. The folder's lock keeps other
    /// processes away, so this is enough for write-once.
    fn turn(&self, shard: ShardId) -> std::sync::MutexGuard<'_, ()> {
        let lock = usize::from(shard.segment.0[1] ^ shard.index) % NAME_LOCKS;
        // The lock guards a name on disk, which a panic does not spoil.
        self.names[lock].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that the subfolder of `shard` exists and survives a power cut.
    fn make_subfolder(&self, shard: ShardId) -> Result<(), StoreError> {
        let durable = &self.durable[usize::from(shard.segment.0[0])];
        if durable.load(Ordering::Acquire) {
            return Ok(());
        }
        let _turn = self.making_folders.lock().unwrap_or_else(PoisonError::into_inner);
        let shards = File::open(&self.shards)?;
        create_folder(&self.subfolder(shard))?;
        self.sync(|| shards.sync_all())?;
        durable.store(true, Ordering::Release);
        Ok(())
    }
}

/// Room on the disk that a put under way was promised.
#[derive(Debug)]
pub(crate) struct Room {
    store: Arc<ShardStore>,
    bytes: u64,
}

impl Room {
    fn take(store: &Arc<ShardStore>, bytes: u64) -> Result<Self, StoreError> {
        let available = store.available()?;
        store
            .promised
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |promised| {
                promised.checked_add(bytes).filter(|sum| *sum <= available)
            })
            .map_err(|_| StoreError::NoSpace)?;
        Ok(Self { store: store.clone(), bytes })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.store.promised.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

/// Makes a folder that only its owner can enter, if it is not there.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}
