//! Wins back the space of records that count no more: what still counts in a
//! volume is written again elsewhere, then the volume goes.
//!
//! A tombstone counts until nobody can bring its shard back: for as long as a put
//! may come late, and for as long as another volume holds an earlier record of
//! the shard.
//!
//! Readers that have a shard open read on; others find it at its new place. The
//! space that is needed meanwhile is taken from the reserve.
//!
//! Not here: when it happens and at what pace (`keep`).

use std::io;
use std::sync::Arc;

use protocol::ShardId;

use crate::store::StoreError;
use crate::store::core::Core;
use crate::store::disk::DiskFile;
use crate::store::format::{HEADER_LEN, Header, Kind};
use crate::store::index::Change;
use crate::store::index::entry::{At, Entry, Row};
use crate::store::log::{Body, Record};
use crate::store::recover::{Scan, is_of_shard};
use crate::store::shard::{Shard, is_damage};

/// How long a put may come after the delete of its shard. A gateway gives an
/// upload up a day after it began, and clocks may differ by much less than an
/// hour.
pub(crate) const LATE_MS: u64 = 25 * 60 * 60 * 1000;

/// Records that are moved in one piece, through the small log.
const PIECE: u64 = 512 * 1024;

/// Volumes that are shorter than this share of a full one are put together when
/// there are so many of them: each start leaves one or two.
const SHORT: u64 = 8;
const SHORT_MAX: usize = 16;

/// The volume that is most worth the work, if one is. When space is tight, less
/// is worth it.
pub(crate) fn pick(volumes: &[(u32, Row)], full: u64, is_tight: bool) -> Option<u32> {
    let sealed = || volumes.iter().filter(|(_, row)| row.is_sealed);
    let share = if is_tight { 20 } else { 4 };
    let is_worth = |row: &Row| row.live == 0 || row.dead() >= row.end / share;
    // Dead bytes for each byte that has to be moved.
    let gain = |row: &Row| u128::from(row.dead()) * 1024 / u128::from(row.live.max(1));
    let best = sealed().filter(|(_, row)| is_worth(row)).max_by_key(|(_, row)| gain(row));
    let short = || sealed().filter(|(_, row)| row.end < full / SHORT);
    let shortest =
        || short().min_by_key(|(_, row)| row.end).filter(|_| short().count() > SHORT_MAX);
    best.or_else(shortest).map(|(number, _)| *number)
}

/// Moves what counts out of a volume and removes it. After each record `pause`
/// is told of its bytes; if it says no, the rest is left for later.
pub(crate) fn run(
    core: &Core,
    number: u32,
    pause: &mut dyn FnMut(u64) -> bool,
) -> Result<bool, StoreError> {
    let file = core.volumes.file(number)?;
    for header in Scan::new(&core.volumes.store, number, &*file, crate::store::format::ALIGN)? {
        let header = header?;
        core.check_sound()?;
        if is_of_shard(&header) && rescue(core, &header)? && !pause(header.record_len()) {
            return Ok(false);
        }
    }
    leave_behind(core, number)?;
    // What was moved must be found without this volume.
    core.index.checkpoint()?;
    core.index.apply(vec![Change::Remove(number)])?;
    core.volumes.remove(number)?;
    tracing::debug!(volume = number, "a volume was compacted");
    Ok(true)
}

/// Moves a record that counts. Whether it counted.
fn rescue(core: &Core, header: &Header) -> Result<bool, StoreError> {
    let (shard, at) = (header.shard, At::of(header));
    // Asked twice: most records of a volume that is worth it do not count.
    let counts = || Ok::<_, StoreError>(core.index.get(shard)?.filter(|entry| entry.at == at));
    if counts()?.is_none() {
        return Ok(false);
    }
    let _claim = core.claim(shard);
    let Some(entry) = counts()? else { return Ok(false) };
    if entry.is_tombstone && is_spent(core, &entry, at.volume) {
        core.index.apply(vec![Change::Drop(shard, at)])?;
    } else if entry.is_damaged || !copy(core, header)? {
        tracing::error!(?shard, "a damaged shard is given up");
        core.index.apply(vec![Change::Drop(shard, at)])?;
    }
    Ok(true)
}

/// Whether nothing can bring the shard of a tombstone back, once the volume
/// `without` is gone.
pub(crate) fn is_spent(core: &Core, entry: &Entry, without: u32) -> bool {
    let is_there = |volume: &u32| *volume != without && core.index.row(*volume).is_some();
    is_over(entry, core.clock.now_ms()) && !entry.older.iter().any(is_there)
}

/// Whether no put can be late any more for the shard of a tombstone. It may have
/// to stay for a scan, but it refuses nothing: a record that is written now has
/// a higher sequence and counts instead.
pub(crate) fn is_over(tombstone: &Entry, now_ms: u64) -> bool {
    now_ms > tombstone.time_ms.saturating_add(LATE_MS)
}

/// Writes a record again. Not, if it is not whole. The caller makes sure that it
/// is the newest of its shard.
pub(crate) fn copy(core: &Core, header: &Header) -> Result<bool, StoreError> {
    let file = core.volumes.file(header.volume)?;
    let Some((body, outboard)) = content(core, file, header)? else { return Ok(false) };
    core.write(Record {
        kind: header.kind,
        shard: header.shard,
        owner: header.owner,
        len: header.len,
        root: header.root,
        time_ms: header.time_ms,
        body,
        outboard,
    })?;
    Ok(true)
}

/// How a record reads.
pub(crate) enum Condition {
    Whole,
    /// Cut off, or other bytes than its header says.
    Torn,
    Unreadable,
}

/// Reads a record.
pub(crate) fn condition(core: &Core, header: &Header) -> Result<Condition, StoreError> {
    if header.kind != Kind::Shard {
        return Ok(Condition::Whole);
    }
    let shard = Shard::of(core.volumes.file(header.volume)?, header);
    match sound(shard.verify(|_, _| Ok(()))) {
        Ok(Some(_)) => Ok(Condition::Whole),
        Ok(None) => Ok(Condition::Torn),
        Err(StoreError::Io(error)) if is_damage(&error) => Ok(Condition::Unreadable),
        Err(error) => Err(error),
    }
}

/// Reads what follows a header, large bodies straight into their new space.
fn content(
    core: &Core,
    file: Arc<dyn DiskFile>,
    header: &Header,
) -> Result<Option<(Body, Vec<u8>)>, StoreError> {
    if header.kind != Kind::Shard {
        return Ok(Some((Body::Here(Vec::new()), Vec::new())));
    }
    let shard = Shard::of(file, header);
    let (body, outboard) = if header.record_len() <= PIECE {
        let mut body = Vec::with_capacity(usize::try_from(header.len).unwrap_or(0));
        let outboard = sound(shard.verify(|_, bytes| {
            body.extend_from_slice(bytes);
            Ok(())
        }))?;
        (Body::Here(body), outboard)
    } else {
        let space = core.large.space(core, header.record_len())?;
        let to = space.place + HEADER_LEN as u64;
        let mut failed = None;
        let outboard = sound(shard.verify(|at, bytes| {
            let wrote = if failed.is_none() {
                space.volume.file.write_at(to + at, &[bytes])
            } else {
                Ok(())
            };
            failed = wrote.err().or(failed.take());
            Ok(())
        }))?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        (Body::Written(space), outboard)
    };
    Ok(outboard.map(|outboard| (body, outboard)))
}

/// What is cut off is not sound. What cannot be read may be so another time, and
/// stays where it is until a scrub has called it damaged.
fn sound(verified: io::Result<Option<Vec<u8>>>) -> Result<Option<Vec<u8>>, StoreError> {
    match verified {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => Ok(other?),
    }
}

/// What the index still expects in a volume whose records were all read has lost
/// its header: that is looked at once more, since the volume goes for good. A
/// tombstone can be written again from the index alone.
fn leave_behind(core: &Core, number: u32) -> Result<(), StoreError> {
    let is_left = |core: &Core| core.index.row(number).is_some_and(|row| row.live > 0);
    let mut next = Some(ShardId::FIRST);
    while let Some(from) = next.filter(|_| is_left(core)) {
        let page = core.index.page(from, 1, |entry| entry.at.volume == number)?;
        let Some((shard, entry)) = page.into_iter().next() else { break };
        next = shard.next();
        let _claim = core.claim(shard);
        if core.index.get(shard)?.is_none_or(|now| now.at != entry.at) {
            continue;
        }
        if entry.is_tombstone {
            bury_again(core, shard, &entry)?;
        } else {
            match core.open_entry(shard, &entry) {
                _ if entry.is_damaged => {}
                Err(StoreError::Corrupt(_)) => {}
                Ok(_) => return Err(StoreError::Io(io::Error::other("it can be read after all"))),
                Err(error) => return Err(error),
            }
            tracing::error!(?shard, "a shard whose header rotted is given up");
            core.index.apply(vec![Change::Drop(shard, entry.at)])?;
        }
    }
    Ok(())
}

/// Writes a tombstone again that cannot be read any more.
pub(crate) fn bury_again(core: &Core, shard: ShardId, entry: &Entry) -> Result<(), StoreError> {
    core.write(Record {
        kind: Kind::Tombstone,
        shard,
        owner: entry.owner,
        len: 0,
        root: entry.root,
        time_ms: entry.time_ms,
        body: Body::Here(Vec::new()),
        outboard: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(end: u64, live: u64) -> Row {
        Row { is_sealed: true, end, live, ..Row::default() }
    }

    #[test]
    fn the_volume_that_gives_most_for_its_work_is_picked() {
        let full = 1 << 28;
        let volumes = [(1, row(full, full)), (2, row(full, full / 2)), (3, row(full, full / 3))];
        assert_eq!(pick(&volumes, full, false), Some(3));
        assert_eq!(pick(&volumes[..2], full, false), Some(2));
        assert_eq!(pick(&volumes[..1], full, true), None);
        let little = [(4, row(full, full - full / 10))];
        assert_eq!(pick(&little, full, false), None);
        assert_eq!(pick(&little, full, true), Some(4), "when space is tight");
        let active = [(5, Row { is_sealed: false, ..row(full, 0) })];
        assert_eq!(pick(&active, full, true), None);
    }

    #[test]
    fn many_short_volumes_are_put_together() {
        let full = 1 << 20;
        let short: Vec<_> = (0..17).map(|n| (n, row(4096 + u64::from(n), 4096))).collect();
        assert_eq!(pick(&short[1..], full, false), None);
        assert_eq!(pick(&short, full, false), Some(0));
    }
}
