//! Brings the index up to date with the volumes when the store is opened.
//!
//! **What counts after a crash.** Records of one volume are written with rising
//! sequences, batch after batch, and a batch begins only after the one before it
//! was synced. Every header says up to which sequence its volume was synced
//! before (`synced`). So of the records that are found in a volume:
//!
//! - those up to the highest `synced` of all of them, or up to what the index
//!   covers, are durable and whole: a sync that succeeded stands behind them;
//! - the others are of the last batch. Each may be there, torn or absent, in any
//!   order, and may have been acknowledged. They are read whole; what has its
//!   root is written again, to a new volume, and synced. Not merely synced: if
//!   the process ended because a sync failed, the kernel holds pages for clean
//!   that are not on the disk, and a second sync would say so too. What does not
//!   have its root was never acknowledged, and is left behind.
//!
//! An acknowledged record is always found: its header and its volume are durable
//! before anyone hears of it, and a place without a header is skipped sector by
//! sector, so neither space that nobody used nor a header that rotted hides what
//! lies behind it. What looks like a header inside of a body is none: its hash
//! would need the store's secret.
//!
//! A sector that cannot be read is not a place without a header. A volume that has
//! one is neither cut nor closed: the next start looks again. Any other fault of
//! reading ends the start: nothing is concluded from a disk that does not answer.
//!
//! Of the records of one shard the one with the highest sequence counts, of those
//! that are whole. Only that one is ever written again, so that it stays the
//! newest: a shard whose tombstone is in doubt does not come back.
//!
//! No volume is written to again, so what a crash left in it never meets what is
//! written later.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::ShardId;

use crate::store::StoreError;
use crate::store::compact::{self, Condition};
use crate::store::core::Core;
use crate::store::disk::{DiskFile, read_some};
use crate::store::format::{
    ALIGN, HEADER_LEN, Header, Kind, StoreId, VOLUME_HEADER_LEN, is_foreign, volume_number,
};
use crate::store::index::Change;
use crate::store::index::entry::{At, Entry, Row};
use crate::store::shard::is_damage;

/// Changes that go to the index at once.
const CHANGES: usize = 4096;

/// What was done to open the store.
#[derive(Debug, Default)]
#[expect(dead_code, reason = "shown in the log")]
pub(crate) struct Found {
    volumes: usize,
    scanned: usize,
    rewritten: usize,
    torn: usize,
}

/// Makes the index say what the volumes hold.
pub(crate) fn run(core: &Core) -> Result<Found, StoreError> {
    let names = core.volumes.disk.names()?;
    let on_disk: BTreeSet<u32> = names.iter().filter_map(|name| volume_number(name)).collect();
    let mut found = Found { volumes: on_disk.len(), ..Found::default() };
    let known = core.index.volumes();
    let mut highest = known.iter().map(|(_, row)| row.covered).max().unwrap_or(0);
    let mut unsure = BTreeMap::new();
    let mut open = Vec::new();
    let to_scan = unclosed(core, &on_disk)?;
    found.scanned = to_scan.len();
    for (number, file, row) in to_scan {
        let caught = catch_up(core, number, &file, row, &mut unsure, &mut highest)?;
        open.push((number, file, caught));
    }
    forget_missing(core, &known, &on_disk)?;
    core.sequence.store(highest.saturating_add(1), Ordering::Release);
    let mut stay = BTreeSet::new();
    for records in unsure.into_values() {
        match rewrite(core, records)? {
            Rewritten::Yes => found.rewritten += 1,
            Rewritten::No => found.torn += 1,
            Rewritten::Stays(volume) => _ = stay.insert(volume),
        }
    }
    for (volume, file, Caught { end, is_whole }) in open {
        if !is_whole || stay.contains(&volume) {
            tracing::warn!(volume, "this volume is looked at again at the next start");
            continue;
        }
        // No later record may have a sequence that was given before.
        let (scan_from, covered, is_sealed) = (end, highest, true);
        let reached = Change::Reached { volume, scan_from, covered, end, is_sealed };
        core.index.apply(vec![reached])?;
        // What lies behind the last record is of no use to anyone.
        if file.len()? > end {
            file.set_len(end)?;
        }
    }
    // On a full disk the next start does it again.
    let has_room = core.check_index_room().is_ok();
    if has_room && (found.scanned > 0 || known.len() != on_disk.len()) {
        core.index.checkpoint()?;
    }
    Ok(found)
}

/// A volume that was not closed, and what the index says of it.
type Unclosed = (u32, Arc<dyn DiskFile>, Row);

/// The volumes that were not closed. The index knows each of them before any is
/// read: what one holds can be older than what another does.
fn unclosed(core: &Core, on_disk: &BTreeSet<u32>) -> Result<Vec<Unclosed>, StoreError> {
    let mut to_scan = Vec::new();
    for &number in on_disk {
        core.volumes.seen(number);
        let row = core.index.row(number).unwrap_or_default();
        if row.is_sealed {
            continue;
        }
        let file = core.volumes.file(number)?;
        let mut begin = [0; VOLUME_HEADER_LEN];
        read_some(&*file, 0, &mut begin)?;
        if is_foreign(&begin, &core.volumes.store) {
            tracing::warn!(volume = number, "this volume is of another store; it is left alone");
            continue;
        }
        let Row { scan_from, covered, end, .. } = row;
        let is_sealed = false;
        let reached = Change::Reached { volume: number, scan_from, covered, end, is_sealed };
        core.index.apply(vec![reached])?;
        to_scan.push((number, file, row));
    }
    Ok(to_scan)
}

/// How far a volume was read.
struct Caught {
    /// The end of the last record.
    end: u64,
    /// Whether all of it could be read.
    is_whole: bool,
}

/// Tells the index of the durable records that it does not know, and collects
/// those that may not be durable.
fn catch_up(
    core: &Core,
    number: u32,
    file: &Arc<dyn DiskFile>,
    row: Row,
    unsure: &mut BTreeMap<ShardId, Vec<Header>>,
    highest: &mut u64,
) -> Result<Caught, StoreError> {
    let from = row.scan_from.max(ALIGN);
    let scan = || Scan::new(&core.volumes.store, number, &**file, from);
    let (mut synced, mut end) = (row.covered, from.max(row.end));
    let mut first = scan()?;
    for header in &mut first {
        let header = header?;
        synced = synced.max(header.synced);
        *highest = (*highest).max(header.sequence);
        end = end.max(header.place + header.record_len());
    }
    let mut changes = Vec::new();
    let mut second = scan()?;
    for header in &mut second {
        let header = header?;
        if header.sequence <= row.covered {
            continue;
        }
        let Some(entry) = Entry::of(&header) else { continue };
        if header.sequence <= synced {
            changes.push(Change::Put(header.shard, entry));
            if changes.len() == CHANGES {
                core.index.apply(std::mem::take(&mut changes))?;
            }
        } else {
            unsure.entry(header.shard).or_default().push(header);
        }
    }
    // Known from now on, but not closed: its last batch comes to another volume.
    let (scan_from, is_sealed) = (from, false);
    changes.push(Change::Reached {
        volume: number,
        scan_from,
        covered: row.covered,
        end,
        is_sealed,
    });
    core.index.apply(changes)?;
    // Each hole may hide a header, and a sequence that was given before.
    let holes = first.holes + second.holes;
    *highest = highest.saturating_add(holes);
    Ok(Caught { end, is_whole: holes == 0 })
}

/// What became of a record that was in doubt.
enum Rewritten {
    Yes,
    No,
    /// There is no room, or it cannot be read: it counts where it is, in a volume
    /// that stays open.
    Stays(u32),
}

/// Of the records of one shard that are in doubt, writes the newest again that is
/// whole, if it still counts.
fn rewrite(core: &Core, mut records: Vec<Header>) -> Result<Rewritten, StoreError> {
    records.sort_by_key(|header| std::cmp::Reverse(header.sequence));
    for header in records {
        let known = core.index.get(header.shard)?;
        if known.is_some_and(|entry| entry.sequence > header.sequence) {
            return Ok(Rewritten::Yes);
        }
        let error = match compact::copy(core, &header) {
            Ok(true) => return Ok(Rewritten::Yes),
            Ok(false) => {
                leave_torn(&header);
                continue;
            }
            Err(error) => error,
        };
        match (compact::condition(core, &header)?, error) {
            // It may have been acknowledged: it is known, and known to be damaged.
            (Condition::Unreadable, error) => {
                tracing::error!(%error, shard = ?header.shard, "a record cannot be read");
                stays(core, &header, true)?;
                return Ok(Rewritten::Stays(header.volume));
            }
            // Its bytes have their root. What the index names is durable.
            (Condition::Whole, StoreError::NoSpace) => {
                core.volumes.file(header.volume)?.sync()?;
                stays(core, &header, false)?;
                return Ok(Rewritten::Stays(header.volume));
            }
            (Condition::Torn, StoreError::NoSpace) => leave_torn(&header),
            (_, error) => return Err(error),
        }
    }
    Ok(Rewritten::No)
}

/// A torn record may hide an earlier one that was acknowledged: the end of a volume
/// may be that of a recovery which was cut off as well.
fn leave_torn(header: &Header) {
    let (shard, volume) = (header.shard, header.volume);
    tracing::warn!(?shard, volume, "a torn record is left behind; it was not acknowledged");
}

/// Lets a record count where it is.
fn stays(core: &Core, header: &Header, is_damaged: bool) -> Result<(), StoreError> {
    let Some(entry) = Entry::of(header) else { return Ok(()) };
    let damage = is_damaged.then_some(Change::Damage(header.shard, entry.at));
    core.index.apply([Change::Put(header.shard, entry)].into_iter().chain(damage).collect())
}

/// Forgets volumes that are no more, and what they held.
fn forget_missing(
    core: &Core,
    known: &[(u32, Row)],
    on_disk: &BTreeSet<u32>,
) -> Result<(), StoreError> {
    let missing: Vec<_> = known.iter().filter(|(number, _)| !on_disk.contains(number)).collect();
    for (number, row) in &missing {
        // Read again: what is found elsewhere does not count here any more.
        let row = core.index.row(*number).unwrap_or(*row);
        if row.live > 0 {
            tracing::error!(volume = number, shards = row.sums.shards, "a volume is missing");
            forget(core, *number)?;
        }
        core.index.apply(vec![Change::Remove(*number)])?;
    }
    Ok(())
}

/// Drops every entry of a volume.
fn forget(core: &Core, volume: u32) -> Result<(), StoreError> {
    let mut next = Some(ShardId::FIRST);
    while let Some(from) = next {
        let page = core.index.page(from, CHANGES, |entry| entry.at.volume == volume)?;
        next = page.last().and_then(|(shard, _)| shard.next());
        let drop = |(shard, entry): (ShardId, Entry)| Change::Drop(shard, entry.at);
        core.index.apply(page.into_iter().map(drop).collect())?;
    }
    Ok(())
}

/// Bytes that are read at once: little while one record follows the other, much
/// where none is.
const NEAR: usize = 4 * 1024;
const FAR: usize = 256 * 1024;

/// The headers in a volume, in order of place.
pub(crate) struct Scan<'a> {
    store: &'a StoreId,
    number: u32,
    file: &'a dyn DiskFile,
    at: u64,
    len: u64,
    window: Vec<u8>,
    window_at: u64,
    is_lost: bool,
    /// Sectors that could not be read.
    pub holes: u64,
}

impl<'a> Scan<'a> {
    pub fn new(
        store: &'a StoreId,
        number: u32,
        file: &'a dyn DiskFile,
        from: u64,
    ) -> io::Result<Self> {
        let len = file.len()?;
        let (window, window_at) = (Vec::new(), 0);
        Ok(Self { store, number, file, at: from, len, window, window_at, is_lost: false, holes: 0 })
    }

    /// The bytes of a header at the current place, if there are so many.
    fn bytes(&mut self) -> io::Result<Option<&[u8; HEADER_LEN]>> {
        let start = self.at.checked_sub(self.window_at).and_then(|at| usize::try_from(at).ok());
        let start = match start.filter(|at| at + HEADER_LEN <= self.window.len()) {
            Some(start) => start,
            None => {
                self.fill()?;
                0
            }
        };
        Ok(self.window.get(start..).and_then(|bytes| bytes.first_chunk()))
    }

    /// Reads from the current place on. A bad sector further on does not hide what
    /// is here.
    fn fill(&mut self) -> io::Result<()> {
        self.window_at = self.at;
        self.window.clear();
        for size in [if self.is_lost { FAR } else { NEAR }, HEADER_LEN] {
            self.window.resize(size, 0);
            match read_some(self.file, self.at, &mut self.window) {
                Ok(got) => {
                    self.window.truncate(got);
                    return Ok(());
                }
                Err(error) if is_damage(&error) => {
                    tracing::error!(%error, volume = self.number, at = self.at, "cannot be read");
                }
                Err(error) => return Err(error),
            }
        }
        self.window.clear();
        self.holes += 1;
        Ok(())
    }
}

impl Iterator for Scan<'_> {
    type Item = io::Result<Header>;

    fn next(&mut self) -> Option<io::Result<Header>> {
        while self.at + HEADER_LEN as u64 <= self.len {
            let (number, place, len) = (self.number, self.at, self.len);
            let store = self.store;
            let header = match self.bytes() {
                Ok(bytes) => bytes.and_then(|bytes| Header::parse(bytes, store)),
                Err(error) => {
                    self.at = self.len; // Nothing is concluded from what follows.
                    return Some(Err(error));
                }
            };
            let fits = |header: &Header| {
                (header.volume, header.place) == (number, place)
                    && place + HEADER_LEN as u64 + header.len <= len
            };
            if let Some(header) = header.filter(fits) {
                self.at += header.record_len();
                self.is_lost = false;
                return Some(Ok(header));
            }
            self.at += ALIGN;
            self.is_lost = true;
        }
        None
    }
}

impl At {
    /// Where a record lies.
    pub fn of(header: &Header) -> Self {
        Self { volume: header.volume, place: header.place }
    }
}

/// Whether a record stands for a shard; a seal stands for none.
pub(crate) fn is_of_shard(header: &Header) -> bool {
    header.kind != Kind::Seal
}
