//! Reads one shard out of its volume.
//!
//! Not here: where it lies (`index`), and verification of what is served (the
//! gateway does that in any case).

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bao_tree::io::sync::{ReadAt, Size};
use protocol::tree::{self, TreeHasher};
use protocol::{Root, ShardId};
use rustix::io::Errno;

use crate::store::StoreError;
use crate::store::core::Core;
use crate::store::disk::{DiskFile, read_exact};
use crate::store::format::{HEADER_LEN, Header};
use crate::store::index::Change;
use crate::store::index::entry::Entry;

/// Bytes that are read at once when a whole shard is verified.
const VERIFY_BUFFER: usize = 256 * 1024;

/// How often a shard that moves while it is looked for is looked for again.
const MOVES_MAX: usize = 16;

/// A shard whose header is the one that the index expects.
#[derive(Debug)]
pub(crate) struct Shard {
    file: Arc<dyn DiskFile>,
    place: u64,
    pub len: u64,
    pub root: Root,
}

impl Core {
    /// Opens a shard for reading. It can be read for as long as it is open, even
    /// if its volume is compacted or it is deleted.
    pub fn open_shard(&self, shard: ShardId) -> Result<Shard, StoreError> {
        let mut before: Option<Entry> = None;
        for _ in 0..MOVES_MAX {
            let Some(entry) = self.index.get(shard)?.filter(Entry::is_shard) else {
                return Err(StoreError::NotFound);
            };
            if entry.is_damaged {
                return Err(StoreError::Corrupt(shard));
            }
            if before.as_ref() == Some(&entry) {
                // It did not move: this is what the disk makes of it.
                self.index.apply(vec![Change::Damage(shard, entry.at)])?;
                return Err(StoreError::Corrupt(shard));
            }
            match self.open_entry(shard, &entry) {
                Err(StoreError::Corrupt(_)) => before = Some(entry),
                other => return other,
            }
        }
        Err(StoreError::Io(io::Error::other("the shard moves without end")))
    }

    /// Opens what an entry stands for; `Corrupt` if it is not there.
    pub fn open_entry(&self, shard: ShardId, entry: &Entry) -> Result<Shard, StoreError> {
        let absent = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Corrupt(shard),
            _ => unreadable(shard, error),
        };
        let file = self.volumes.file(entry.at.volume).map_err(absent)?;
        let mut bytes = [0; HEADER_LEN];
        read_exact(&*file, entry.at.place, &mut bytes).map_err(absent)?;
        match Header::parse(&bytes, &self.volumes.store) {
            Some(header) if entry.fits(shard, &header) => {
                Ok(Shard { file, place: entry.at.place, len: entry.len, root: entry.root })
            }
            _ => Err(StoreError::Corrupt(shard)),
        }
    }
}

/// What it means that the record of a shard cannot be read: one that is cut off
/// is damaged, all else may be a fault of the whole disk.
pub(crate) fn unreadable(shard: ShardId, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => StoreError::Corrupt(shard),
        _ => error.into(),
    }
}

/// Whether bytes that cannot be read are lost: cut off, or on a bad sector.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof || Errno::from_io_error(error) == Some(Errno::IO)
}

impl Shard {
    /// A record whose header was read already.
    pub fn of(file: Arc<dyn DiskFile>, header: &Header) -> Self {
        Self { file, place: header.place, len: header.len, root: header.root }
    }

    /// The upper part of the hash tree.
    pub fn outboard(&self) -> io::Result<Vec<u8>> {
        let len = usize::try_from(tree::outboard_len(self.len)).map_err(io::Error::other)?;
        let mut outboard = vec![0; len];
        self.read(self.len, &mut outboard)?;
        Ok(outboard)
    }

    /// Reads from a place in the body, or behind it.
    pub fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        read_exact(&*self.file, self.place + HEADER_LEN as u64 + at, out)
    }

    /// The groups that cover `bytes`, with their proof.
    pub fn encode(&self, outboard: &[u8], bytes: &Range<u64>) -> io::Result<Vec<u8>> {
        tree::encode(Content(self), self.len, outboard, bytes)
    }

    /// Reads everything again: whether body and outboard still have the root.
    /// A record that is cut short is not sound either.
    pub fn is_sound(&self) -> io::Result<bool> {
        match self.verify(|_, _| Ok(())) {
            Ok(sound) => Ok(sound.is_some()),
            Err(error) if is_damage(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Shows the body piece by piece. The outboard, if all of it has the root.
    pub fn verify(
        &self,
        mut show: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<Option<Vec<u8>>> {
        let mut hasher = TreeHasher::default();
        let size = usize::try_from(self.len).unwrap_or(VERIFY_BUFFER).min(VERIFY_BUFFER);
        let mut buffer = vec![0; size];
        while hasher.len() < self.len {
            let left = self.len - hasher.len();
            let now = usize::try_from(left).unwrap_or(VERIFY_BUFFER).min(VERIFY_BUFFER);
            self.read(hasher.len(), &mut buffer[..now])?;
            show(hasher.len(), &buffer[..now])?;
            hasher.update(&buffer[..now]);
        }
        let (root, outboard) = hasher.finish();
        let is_sound = root == self.root && outboard == self.outboard()?;
        Ok(is_sound.then_some(outboard))
    }
}

/// The body of a shard, from 0.
struct Content<'a>(&'a Shard);

impl ReadAt for Content<'_> {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.file.read_at(self.0.place + HEADER_LEN as u64 + at, buffer)
    }
}

impl Size for Content<'_> {
    fn size(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.0.len))
    }
}
