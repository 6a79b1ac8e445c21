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
use crate::store::compact;
use crate::store::core::Core;
use crate::store::disk::{DiskFile, read_some};
use crate::store::format::{
    ALIGN, HEADER_LEN, Header, Kind, StoreId, VOLUME_HEADER_LEN, is_foreign, volume_number,
};
use crate::store::index::Change;
use crate::store::index::entry::{At, Entry, Row};

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
    for number in &on_disk {
        core.volumes.seen(*number);
        let row = core.index.row(*number).unwrap_or_default();
        if row.is_sealed {
            continue;
        }
        let file = core.volumes.file(*number)?;
        let mut begin = [0; VOLUME_HEADER_LEN];
        read_some(&*file, 0, &mut begin)?;
        if is_foreign(&begin, &core.volumes.store) {
            tracing::warn!(volume = number, "this volume is of another store; it is left alone");
            continue;
        }
        let end = catch_up(core, *number, &file, row, &mut unsure, &mut highest)?;
        open.push((*number, file, end));
        found.scanned += 1;
    }
    forget_missing(core, &known, &on_disk)?;
    core.sequence.store(highest.saturating_add(1), Ordering::Release);
    for records in unsure.into_values() {
        *if rewrite(core, records)? { &mut found.rewritten } else { &mut found.torn } += 1;
    }
    for (volume, file, end) in open {
        // No later record may have a sequence that was given before.
        let (scan_from, covered, is_sealed) = (end, highest, true);
        let reached = Change::Reached { volume, scan_from, covered, end, is_sealed };
        core.index.apply(vec![reached])?;
        // What lies behind the last record is of no use to anyone.
        if file.len()? > end {
            file.set_len(end)?;
        }
    }
    if found.scanned > 0 || known.len() != on_disk.len() {
        core.index.checkpoint()?;
    }
    Ok(found)
}

/// Tells the index of the durable records that it does not know, and collects
/// those that may not be durable. The end of the last record.
fn catch_up(
    core: &Core,
    number: u32,
    file: &Arc<dyn DiskFile>,
    row: Row,
    unsure: &mut BTreeMap<ShardId, Vec<Header>>,
    highest: &mut u64,
) -> Result<u64, StoreError> {
    let from = row.scan_from.max(ALIGN);
    let scan = || Scan::new(&core.volumes.store, number, &**file, from);
    let (mut synced, mut end) = (row.covered, from);
    for header in scan()? {
        synced = synced.max(header.synced);
        *highest = (*highest).max(header.sequence);
        end = end.max(header.place + header.record_len());
    }
    let mut changes = Vec::new();
    for header in scan()?.filter(|header| header.sequence > row.covered) {
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
    Ok(end)
}

/// Of the records of one shard that are in doubt, writes the newest again that is
/// whole, if it still counts. Whether there was one.
fn rewrite(core: &Core, mut records: Vec<Header>) -> Result<bool, StoreError> {
    records.sort_by_key(|header| std::cmp::Reverse(header.sequence));
    for header in records {
        let known = core.index.get(header.shard)?;
        if known.is_some_and(|entry| entry.sequence > header.sequence)
            || compact::copy(core, &header)?
        {
            return Ok(true);
        }
        // A torn one may hide an earlier one that was acknowledged: the end of a
        // volume may be that of a recovery which was cut off as well.
        let (shard, volume) = (header.shard, header.volume);
        tracing::warn!(?shard, volume, "a torn record is left behind; it was not acknowledged");
    }
    Ok(false)
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
        Ok(Self { store, number, file, at: from, len, window, window_at, is_lost: false })
    }

    /// The bytes of a header at the current place, if there are so many.
    fn bytes(&mut self) -> Option<&[u8; HEADER_LEN]> {
        let start = self.at.checked_sub(self.window_at).and_then(|at| usize::try_from(at).ok());
        let is_near = |at: &usize| at + HEADER_LEN <= self.window.len();
        let start = start.filter(is_near).unwrap_or_else(|| {
            let size = if self.is_lost { FAR } else { NEAR };
            self.window = vec![0; size];
            let got = read_some(self.file, self.at, &mut self.window).unwrap_or_else(|error| {
                tracing::error!(%error, volume = self.number, at = self.at, "cannot be read");
                0
            });
            self.window.truncate(got);
            self.window_at = self.at;
            0
        });
        self.window.get(start..)?.first_chunk()
    }
}

impl Iterator for Scan<'_> {
    type Item = Header;

    fn next(&mut self) -> Option<Header> {
        while self.at + HEADER_LEN as u64 <= self.len {
            let (number, place, len) = (self.number, self.at, self.len);
            let store = self.store;
            let header = self.bytes().and_then(|bytes| Header::parse(bytes, store));
            let fits = |header: &Header| {
                (header.volume, header.place) == (number, place)
                    && place + HEADER_LEN as u64 + header.len <= len
            };
            if let Some(header) = header.filter(fits) {
                self.at += header.record_len();
                self.is_lost = false;
                return Some(header);
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
