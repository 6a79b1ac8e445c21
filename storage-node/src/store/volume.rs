//! The files of volumes: which are open, and how one that is written to grows.
//!
//! ```text
//! 0        512                      end                ready
//! header   records, space set aside  zeros, synced      nothing yet
//! ```
//!
//! Space is handed out at the end and never twice. Ahead of the end lie zeros
//! that were written and synced before: syncing a record then changes no length
//! and no map of blocks, so the file system writes no journal. They are laid in
//! steps that double, so that a small node has a small file.
//!
//! A volume is written to in one life of the process only. At the next start it
//! is closed for good, so what a crash left behind its end is never mixed with
//! anything newer.
//!
//! Not here: what is written into the space (`log`), when it is found again
//! (`recover`).

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::disk::{Disk, DiskFile};
use crate::store::format::{ALIGN, StoreId, volume_header, volume_name};

/// Volumes that are kept open to be read; more are opened when they are needed.
const OPEN_MAX: usize = 128;

/// The first and the longest step in which zeros are laid.
const STEP_MIN: u64 = 1 << 20;
const STEP_MAX: u64 = 16 << 20;

/// Zeros that are written at once.
static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

/// All volumes of a store.
#[derive(Debug)]
pub(crate) struct Volumes {
    pub disk: Arc<dyn Disk>,
    pub store: StoreId,
    open: Mutex<VecDeque<(u32, Arc<dyn DiskFile>)>>,
    next: Mutex<u32>,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is under these locks is set at once: a panic elsewhere spoils nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Volumes {
    pub fn new(disk: Arc<dyn Disk>, store: StoreId) -> Self {
        Self { disk, store, open: Mutex::default(), next: Mutex::new(1) }
    }

    /// The next volume to be made has a higher number than this.
    pub fn seen(&self, number: u32) {
        let mut next = locked(&self.next);
        *next = (*next).max(number.saturating_add(1));
    }

    /// The file of a volume. One that was removed is read on by those who have
    /// it open.
    pub fn file(&self, number: u32) -> io::Result<Arc<dyn DiskFile>> {
        let known = |open: &VecDeque<(u32, Arc<dyn DiskFile>)>| {
            open.iter().find(|(known, _)| *known == number).map(|(_, file)| file.clone())
        };
        if let Some(file) = known(&locked(&self.open)) {
            return Ok(file);
        }
        let file = self.disk.open(&volume_name(number))?;
        self.keep(number, file.clone());
        Ok(file)
    }

    fn keep(&self, number: u32, file: Arc<dyn DiskFile>) {
        let mut open = locked(&self.open);
        if open.len() == OPEN_MAX {
            open.pop_front();
        }
        open.push_back((number, file));
    }

    /// Begins a volume. It survives a power cut when this returns.
    pub fn create(&self) -> Result<Volume, Fault> {
        let number = {
            let mut next = locked(&self.next);
            let number = *next;
            let full = || Fault::Write(io::Error::other("no number is left"));
            *next = number.checked_add(1).ok_or_else(full)?;
            number
        };
        let file = self.disk.create(&volume_name(number)).map_err(Fault::Write)?;
        let header = volume_header(number, &self.store);
        if let Err(error) = file.write_at(0, &[&header]) {
            // If this fails too, the next start closes what is left of it.
            let _ = self.disk.remove(&volume_name(number));
            return Err(Fault::Write(error));
        }
        file.sync().map_err(Fault::Sync)?;
        self.disk.sync_folder().map_err(Fault::Sync)?;
        self.keep(number, file.clone());
        Ok(Volume {
            number,
            file,
            synced: AtomicU64::new(0),
            spoilt: AtomicBool::new(false),
            grown: Mutex::new(Grown { end: ALIGN, ready: ALIGN, under_way: BTreeSet::new() }),
            growing: Mutex::new(()),
        })
    }

    /// Removes a volume that holds nothing that counts.
    pub fn remove(&self, number: u32) -> io::Result<()> {
        locked(&self.open).retain(|(open, _)| *open != number);
        self.disk.remove(&volume_name(number))?;
        self.disk.sync_folder()
    }
}

/// What went wrong with a volume. After a failed sync nothing more is stored.
#[derive(Debug)]
pub(crate) enum Fault {
    Write(io::Error),
    Sync(io::Error),
}

/// A volume that is written to.
#[derive(Debug)]
pub(crate) struct Volume {
    pub number: u32,
    pub file: Arc<dyn DiskFile>,
    /// The highest sequence that is durable here.
    pub synced: AtomicU64,
    spoilt: AtomicBool,
    grown: Mutex<Grown>,
    /// Held by the one who lays zeros; taken before `grown`.
    growing: Mutex<()>,
}

#[derive(Debug)]
struct Grown {
    /// Where the next record goes.
    end: u64,
    /// Zeros were laid up to here.
    ready: u64,
    /// Where space was handed out whose record the index does not know yet.
    under_way: BTreeSet<u64>,
}

/// Space for one record, its sender's alone until this is dropped. If no record
/// is written it is dead, and compaction wins it back.
#[derive(Debug)]
pub(crate) struct Space {
    pub volume: Arc<Volume>,
    pub place: u64,
}

impl Drop for Space {
    fn drop(&mut self) {
        locked(&self.volume.grown).under_way.remove(&self.place);
    }
}

impl Volume {
    /// Hands out space of `len` bytes, a multiple of [`ALIGN`]; `None` if the
    /// volume would be longer than `most`. Space for a large shard lies beyond
    /// the zeros: to write its bytes twice would cost more than a journal entry.
    pub fn space(self: &Arc<Self>, len: u64, most: u64, zeros: bool) -> io::Result<Option<Space>> {
        debug_assert_eq!(len % ALIGN, 0);
        loop {
            let need = {
                let mut grown = locked(&self.grown);
                let need = grown.end + len;
                if need > most && grown.end > ALIGN {
                    return Ok(None);
                }
                if !zeros {
                    self.file.allocate(grown.end, len)?;
                    grown.ready = grown.ready.max(need);
                }
                if need <= grown.ready {
                    let place = std::mem::replace(&mut grown.end, need);
                    grown.under_way.insert(place);
                    return Ok(Some(Space { volume: self.clone(), place }));
                }
                need
            };
            let _turn = locked(&self.growing);
            let ready = locked(&self.grown).ready;
            if ready < need {
                self.lay_zeros(&*self.file, ready, need.max(next_step(ready, most)))?;
            }
        }
    }

    /// Lays and syncs zeros ahead, if less than half a step of them is left.
    pub fn grow_ahead(&self, volumes: &Volumes, most: u64) -> Result<(), Fault> {
        let _turn = locked(&self.growing);
        let (ready, left) = {
            let grown = locked(&self.grown);
            (grown.ready, grown.ready - grown.end)
        };
        let to = next_step(ready, most);
        if ready == ALIGN || left >= (to - ready) / 2 {
            return Ok(());
        }
        // A handle of its own: an error of the disk is told once to each handle,
        // and those who sync records must not miss theirs.
        let file = volumes.disk.open(&volume_name(self.number)).map_err(Fault::Write)?;
        zeros(&*file, ready, to).map_err(Fault::Write)?;
        file.sync().map_err(Fault::Sync)?;
        locked(&self.grown).ready = to;
        Ok(())
    }

    fn lay_zeros(&self, file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
        zeros(file, from, to)?;
        locked(&self.grown).ready = to;
        Ok(())
    }

    /// Where the next record goes, and from where on a scan must look once the
    /// index knows what is at `known`.
    pub fn reach(&self, known: &BTreeSet<u64>) -> (u64, u64) {
        let grown = locked(&self.grown);
        let first = grown.under_way.difference(known).next();
        (grown.end, first.map_or(grown.end, |first| *first))
    }

    /// All up to this sequence is durable.
    pub fn reached(&self, sequence: u64) {
        if !self.is_spoilt() {
            self.synced.fetch_max(sequence, Ordering::AcqRel);
        }
    }

    /// What was written last is in doubt.
    pub fn spoil(&self) {
        self.spoilt.store(true, Ordering::Release);
    }

    pub fn is_spoilt(&self) -> bool {
        self.spoilt.load(Ordering::Acquire)
    }
}

fn zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let now = usize::try_from(to - at).unwrap_or(ZEROS.len()).min(ZEROS.len());
        file.write_at(at, &[&ZEROS[..now]])?;
        at += now as u64;
    }
    Ok(())
}

/// How far zeros are to reach next: the file doubles, at most by a step.
fn next_step(ready: u64, most: u64) -> u64 {
    (ready + ready.clamp(STEP_MIN, STEP_MAX)).min(most.max(ready))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_grows_by_doubling_and_then_by_steps() {
        let mut ready = ALIGN;
        let mut sizes = Vec::new();
        while ready < 64 << 20 {
            ready = next_step(ready, 64 << 20);
            sizes.push(ready >> 20);
        }
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 48, 64]);
        assert_eq!(next_step(ALIGN, 4096), 4096, "a small volume");
        assert_eq!(next_step(8192, 4096), 8192, "one record that is longer");
    }
}
