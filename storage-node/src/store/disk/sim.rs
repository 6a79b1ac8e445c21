//! A disk for tests, in memory: it remembers every change in order, so that a
//! test can cut the power between any two of them.
//!
//! What was written and not synced may survive a cut or not, each write for
//! itself, whole or in part; so may names. A sync that fails drops what was
//! written before it, and a later one does not bring it back, as on Linux.
//!
//! The index is the exception: its file is taken as `redb` synced it, and tests
//! take it away or spoil it as a whole.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::{Disk, DiskFile};
use crate::store::format::ALIGN;
use crate::store::index;
use crate::store::volume::locked;

/// One change.
#[derive(Clone)]
pub(crate) enum Event {
    Create(usize, String),
    Remove(String),
    SyncFolder,
    Write(usize, u64, Arc<[u8]>),
    SetLen(usize, u64),
    Sync(usize),
    SyncFailed(usize),
    /// The index, as it was synced.
    Index(Arc<Vec<u8>>),
    /// Something that the test wants to find again.
    Mark(u32),
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(file, name) => write!(f, "create {name} as {file}"),
            Self::Remove(name) => write!(f, "remove {name}"),
            Self::SyncFolder => f.write_str("sync the folder"),
            Self::Write(file, at, bytes) => write!(f, "write {file} at {at}: {}", bytes.len()),
            Self::SetLen(file, len) => write!(f, "length of {file}: {len}"),
            Self::Sync(file) => write!(f, "sync {file}"),
            Self::SyncFailed(file) => write!(f, "sync {file} in vain"),
            Self::Index(_) => f.write_str("sync the index"),
            Self::Mark(mark) => write!(f, "mark {mark}"),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<String, usize>,
    contents: Vec<Vec<u8>>,
    journal: Vec<Event>,
    faults: Faults,
}

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// The sync after so many others fails.
    pub sync: Option<u32>,
    /// The write after so many others fails, half done.
    pub write: Option<u32>,
    /// Bytes that files may still grow by.
    pub room: Option<u64>,
    /// No volume can be read, for this reason.
    pub read: Option<Errno>,
    /// The sector at this place cannot be read in any volume.
    pub bad_sector: Option<u64>,
    /// The index cannot be read or written.
    pub index: bool,
}

/// The disk. Its clones are one disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    pub fn journal(&self) -> Vec<Event> {
        locked(&self.0).journal.clone()
    }

    pub fn mark(&self, mark: u32) {
        locked(&self.0).journal.push(Event::Mark(mark));
    }

    pub fn set_faults(&self, faults: Faults) {
        locked(&self.0).faults = faults;
    }

    /// Changes the content of a file behind the store's back.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = locked(&self.0);
        let file = state.names[name];
        change(&mut state.contents[file]);
    }

    pub fn content(&self, name: &str) -> Vec<u8> {
        let state = locked(&self.0);
        state.contents[state.names[name]].clone()
    }

    /// Makes a file with this content, or replaces it.
    pub fn put_file(&self, name: &str, content: Vec<u8>) {
        let mut state = locked(&self.0);
        let file = state.contents.len();
        state.contents.push(content);
        state.names.insert(name.into(), file);
    }

    /// A copy that shares nothing, with everything that was written.
    pub fn copy(&self) -> Self {
        let state = locked(&self.0);
        let (names, contents) = (state.names.clone(), state.contents.clone());
        Self(Arc::new(Mutex::new(State { names, contents, ..State::default() })))
    }
}

impl Disk for SimDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = locked(&self.0);
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.contents.len();
        state.contents.push(Vec::new());
        state.names.insert(name.into(), file);
        if name != index::NAME {
            state.journal.push(Event::Create(file, name.into()));
        }
        Ok(Arc::new(SimFile { disk: self.clone(), file, is_index: name == index::NAME }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = *locked(&self.0).names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), file, is_index: name == index::NAME }))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(locked(&self.0).names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = locked(&self.0);
        let file = state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        let len = state.contents[file].len() as u64;
        if let Some(room) = &mut state.faults.room {
            *room += len;
        }
        if name != index::NAME {
            state.journal.push(Event::Remove(name.into()));
        }
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        locked(&self.0).journal.push(Event::SyncFolder);
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(locked(&self.0).faults.room.unwrap_or(1 << 40))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: usize,
    is_index: bool,
}

impl State {
    /// Whether a countdown comes to its end now.
    fn is_due(countdown: &mut Option<u32>) -> bool {
        match countdown {
            Some(0) => {
                *countdown = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// Takes room for a file to grow.
    fn grow(&mut self, file: usize, to: u64) -> io::Result<()> {
        let by = to.saturating_sub(self.contents[file].len() as u64);
        match &mut self.faults.room {
            Some(room) if *room < by => Err(Errno::NOSPC.into()),
            Some(room) => {
                *room -= by;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// As `resize`, which is slow where tests are not optimized.
fn set_len(content: &mut Vec<u8>, len: usize) {
    let more = len.saturating_sub(content.len());
    content.append(&mut vec![0; more]);
    content.truncate(len);
}

fn write(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let at = usize::try_from(at).unwrap();
    let end = at + bytes.len();
    if content.len() < end {
        set_len(content, end);
    }
    content[at..end].copy_from_slice(bytes);
}

impl DiskFile for SimFile {
    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<usize> {
        let state = locked(&self.disk.0);
        match state.faults.read.filter(|_| !self.is_index) {
            Some(error) => return Err(error.into()),
            None if state.faults.index && self.is_index => return Err(Errno::IO.into()),
            None => {}
        }
        let end = at + out.len() as u64;
        let is_bad = |sector: u64| !self.is_index && at < sector + ALIGN && sector < end;
        if state.faults.bad_sector.is_some_and(is_bad) {
            return Err(Errno::IO.into());
        }
        let content = &state.contents[self.file];
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
        let now = out.len().min(content.len() - at);
        out[..now].copy_from_slice(&content[at..at + now]);
        Ok(now)
    }

    fn write_at(&self, at: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut bytes = parts.concat();
        let mut state = locked(&self.disk.0);
        if self.is_index && state.faults.index {
            return Err(Errno::IO.into());
        }
        let fails = !self.is_index && State::is_due(&mut state.faults.write);
        if fails {
            bytes.truncate(bytes.len() / 2);
        }
        state.grow(self.file, at + bytes.len() as u64)?;
        write(&mut state.contents[self.file], at, &bytes);
        if !self.is_index {
            state.journal.push(Event::Write(self.file, at, bytes.into()));
        }
        if fails { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = locked(&self.disk.0);
        if self.is_index {
            let index = Arc::new(state.contents[self.file].clone());
            state.journal.push(Event::Index(index));
            return Ok(());
        }
        if State::is_due(&mut state.faults.sync) {
            state.journal.push(Event::SyncFailed(self.file));
            return Err(Errno::IO.into());
        }
        state.journal.push(Event::Sync(self.file));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(locked(&self.disk.0).contents[self.file].len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = locked(&self.disk.0);
        state.grow(self.file, len)?;
        let old = state.contents[self.file].len() as u64;
        if let Some(room) = &mut state.faults.room {
            *room += old.saturating_sub(len);
        }
        set_len(&mut state.contents[self.file], usize::try_from(len).unwrap());
        if !self.is_index {
            state.journal.push(Event::SetLen(self.file, len));
        }
        Ok(())
    }

    fn allocate(&self, at: u64, len: u64) -> io::Result<()> {
        let long = locked(&self.disk.0).contents[self.file].len() as u64 >= at + len;
        if long { Ok(()) } else { self.set_len(at + len) }
    }
}

/// What survives for sure, as one change follows the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replay {
    names: BTreeMap<String, usize>,
    durable: BTreeMap<usize, Vec<u8>>,
    unsynced: BTreeMap<usize, Vec<Event>>,
    unsynced_names: Vec<Event>,
    /// Every index that was synced.
    indexes: Vec<Arc<Vec<u8>>>,
    /// A disk that says "synced" and does nothing.
    pub lies: bool,
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Kept,
    /// Anything, from a seed.
    Torn(u64),
}

/// What becomes of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexFate {
    Synced,
    /// An old one, as from a backup.
    Older,
    Gone,
    Spoilt,
}

impl Replay {
    /// The state of a disk that lost nothing.
    pub fn of(disk: &SimDisk) -> Self {
        let state = locked(&disk.0);
        let mut replay = Self::default();
        for (name, file) in &state.names {
            if name == index::NAME {
                replay.indexes.push(Arc::new(state.contents[*file].clone()));
            } else {
                replay.names.insert(name.clone(), *file);
                replay.durable.insert(*file, state.contents[*file].clone());
            }
        }
        replay
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Create(..) | Event::Remove(_) => self.unsynced_names.push(event.clone()),
            Event::Write(file, ..) | Event::SetLen(file, _) => {
                self.unsynced.entry(*file).or_default().push(event.clone());
            }
            Event::SyncFolder | Event::Sync(_) if self.lies => {}
            Event::SyncFolder => {
                let names = std::mem::take(&mut self.unsynced_names);
                names.iter().for_each(|event| change_name(&mut self.names, event));
            }
            Event::Sync(file) => {
                let durable = self.durable.entry(*file).or_default();
                let writes = self.unsynced.remove(file).unwrap_or_default();
                writes.iter().for_each(|event| change(durable, event, None));
            }
            // The kernel holds them for clean from now on.
            Event::SyncFailed(file) => drop(self.unsynced.remove(file)),
            Event::Index(index) => self.indexes.push(index.clone()),
            Event::Mark(_) => {}
        }
    }

    /// Whether there is anything whose fate is open.
    pub fn is_open(&self) -> bool {
        !self.unsynced_names.is_empty() || self.unsynced.values().any(|writes| !writes.is_empty())
    }

    /// The disk after a power cut now.
    pub fn cut(&self, fate: Fate, index: IndexFate) -> SimDisk {
        let mut chance = match fate {
            Fate::Torn(seed) => Some(Chance(seed)),
            Fate::Lost | Fate::Kept => None,
        };
        let mut names = self.names.clone();
        for event in &self.unsynced_names {
            let is_kept = chance.as_mut().map_or(fate == Fate::Kept, |chance| chance.below(2) == 0);
            if is_kept {
                change_name(&mut names, event);
            }
        }
        let disk = SimDisk::default();
        for (name, file) in names {
            let mut content = self.durable.get(&file).cloned().unwrap_or_default();
            for event in self.unsynced.get(&file).into_iter().flatten() {
                match (&mut chance, fate) {
                    (Some(chance), _) => match chance.below(3) {
                        0 => {}
                        1 => change(&mut content, event, None),
                        _ => change(&mut content, event, Some(chance)),
                    },
                    (None, Fate::Kept) => change(&mut content, event, None),
                    (None, _) => {}
                }
            }
            disk.put_file(&name, content);
        }
        let kept = match index {
            IndexFate::Older => self.indexes.first(),
            _ => self.indexes.last(),
        };
        match (index, kept) {
            (IndexFate::Synced | IndexFate::Older, Some(index)) => {
                disk.put_file(index::NAME, index.to_vec())
            }
            (IndexFate::Spoilt, Some(index)) => {
                let mut index = index.to_vec();
                index.iter_mut().skip(64).step_by(997).for_each(|byte| *byte ^= 0x55);
                disk.put_file(index::NAME, index);
            }
            _ => {}
        }
        disk
    }
}

fn change_name(names: &mut BTreeMap<String, usize>, event: &Event) {
    match event {
        Event::Create(file, name) => drop(names.insert(name.clone(), *file)),
        Event::Remove(name) => drop(names.remove(name)),
        _ => {}
    }
}

/// Makes a change; the first part of it, if a chance says how much.
fn change(content: &mut Vec<u8>, event: &Event, torn: Option<&mut Chance>) {
    match event {
        Event::Write(_, at, bytes) => {
            let most = bytes.len() as u64 + 1;
            let len =
                torn.map_or(bytes.len(), |chance| usize::try_from(chance.below(most)).unwrap());
            write(content, *at, &bytes[..len]);
        }
        Event::SetLen(_, len) => set_len(content, usize::try_from(*len).unwrap()),
        _ => {}
    }
}

/// Numbers from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}
