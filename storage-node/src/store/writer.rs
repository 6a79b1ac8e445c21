//! Stores one shard as its bytes arrive.
//!
//! ```text
//! incoming/<random> written -> root compared -> fdatasync -> rename -> fsync of the folder
//! ```
//!
//! Only after the last step may anyone be told. A writer that is dropped before
//! removes what it wrote; after a crash the next start does.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::keys::random;
use protocol::tree::TreeHasher;
use protocol::{Root, ShardId};

use crate::store::file::{self, HEADER_LEN, ShardFile, ShardHeader};
use crate::store::{Room, ShardStore, StoreError};

/// A put under way.
#[derive(Debug)]
pub(crate) struct Writer {
    store: Arc<ShardStore>,
    shard: ShardId,
    hasher: TreeHasher,
    incoming: Option<Incoming>,
    /// Given back when the writer ends, one way or the other.
    _room: Room,
}

/// A file that goes away unless it is renamed.
#[derive(Debug)]
struct Incoming {
    file: File,
    path: PathBuf,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // After a rename there is nothing left under this name. Any other
        // failure leaves a file that the next start removes.
        let _ = fs::remove_file(&self.path);
    }
}

impl Writer {
    pub(super) fn new(store: Arc<ShardStore>, shard: ShardId, room: Room) -> Self {
        Self { store, shard, hasher: TreeHasher::default(), incoming: None, _room: room }
    }

    /// Writes the next bytes of the body.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let at = HEADER_LEN as u64 + self.hasher.len();
        self.hasher.update(bytes);
        self.open()?.file.write_all_at(bytes, at)?;
        Ok(())
    }

    /// Writes the last bytes, and stores the shard if it has the promised
    /// length and root. When this returns, it survives a power cut.
    pub fn finish(mut self, last: &[u8], len: u64, root: Root) -> Result<(), StoreError> {
        let at = HEADER_LEN as u64 + self.hasher.len();
        self.hasher.update(last);
        let got_len = self.hasher.len();
        let (got, outboard) = std::mem::take(&mut self.hasher).finish();
        if (got, got_len) != (root, len) {
            return Err(StoreError::WrongRoot { got, got_len });
        }
        let header = ShardHeader { shard: self.shard, len, root };
        let store = self.store.clone();
        let incoming = self.open()?;
        incoming.file.write_all_at(last, at)?;
        incoming.file.write_all_at(&outboard, HEADER_LEN as u64 + len)?;
        incoming.file.write_all_at(&header.encode(), 0)?;
        store.sync(|| incoming.file.sync_data())?;
        store.commit(&incoming.path, &header)
    }

    fn open(&mut self) -> io::Result<&mut Incoming> {
        if self.incoming.is_none() {
            let path = self.store.incoming.join(hex::encode(random::<16>()));
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            self.incoming = Some(Incoming { file, path });
        }
        Ok(self.incoming.as_mut().expect("it was filled just now"))
    }
}

impl ShardStore {
    /// Gives a whole, synced file its name, unless the name is taken.
    fn commit(&self, incoming: &Path, header: &ShardHeader) -> Result<(), StoreError> {
        self.make_subfolder(header.shard)?;
        let _turn = self.turn(header.shard);
        let path = self.path(header.shard);
        let folder = File::open(self.subfolder(header.shard))?;
        let replaced = match self.held(header)? {
            Held::Nothing => None,
            Held::Same => {
                // It may be there since a moment ago, and not durable yet.
                return self.sync(|| folder.sync_all());
            }
            Held::Damaged => {
                tracing::warn!(shard = ?header.shard, "a damaged shard is replaced by sound bytes");
                file::shard_len(fs::metadata(&path)?.len())
            }
        };
        fs::rename(incoming, &path)?;
        if let Some(len) = replaced {
            self.stored.fetch_sub(len, Ordering::Relaxed);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        self.stored.fetch_add(header.len, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        // The rename is recorded in the folder, not in the file. Without this
        // sync the answer could outlive the shard it speaks of.
        self.sync(|| folder.sync_all())
    }

    /// What the name of a shard stands for already. Rare, so that it is read
    /// whole: "stored" must be true of the bytes, not only of the header. And
    /// only sound bytes can be in conflict with others: a header that differs
    /// may be one that rotted, and sound bytes must be able to replace it.
    fn held(&self, header: &ShardHeader) -> Result<Held, StoreError> {
        match ShardFile::open(&self.path(header.shard), header.shard) {
            Err(StoreError::NotFound) => Ok(Held::Nothing),
            Err(StoreError::Corrupt(_)) => Ok(Held::Damaged),
            Err(error) => Err(error),
            Ok(file) if !file.is_sound()? => Ok(Held::Damaged),
            Ok(file) if file.header == *header => Ok(Held::Same),
            Ok(_) => Err(StoreError::Conflict),
        }
    }
}

enum Held {
    Nothing,
    Same,
    /// Nothing that could be served; its content cannot be told any more.
    Damaged,
}
