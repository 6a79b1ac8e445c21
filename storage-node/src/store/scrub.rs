//! Reads everything again, at a low rate, to find what rotted before it is
//! needed. A shard that is damaged is marked: it is not served, proved or listed
//! any more, and sound bytes may be put in its place.
//!
//! The pass goes in order of id and remembers where it is. Tombstones that are of
//! no use any more are dropped on the way.
//!
//! Not here: its pace (`keep`).

use std::time::Duration;

use protocol::{SegmentId, ShardId};

use crate::store::StoreError;
use crate::store::compact;
use crate::store::core::Core;
use crate::store::disk::read_exact;
use crate::store::format::{HEADER_LEN, Header};
use crate::store::index::Change;
use crate::store::index::entry::Entry;
use crate::store::shard::is_damage;

/// What a scrub has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Records that were read.
    pub checked: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Shards among them that are damaged, those that were known included.
    pub damaged: u64,
}

const NAME: &str = "scrub";

/// Reads every record now.
pub(crate) fn all(core: &Core) -> Result<Scrubbed, StoreError> {
    let mut sum = Scrubbed::default();
    let mut next = Some(ShardId::FIRST);
    while let Some(from) = next {
        next = step(core, from, &mut sum)?;
    }
    Ok(sum)
}

/// Reads the first record from `from` on. Where the next one may be; `None` at
/// the end of the pass.
pub(crate) fn step(
    core: &Core,
    from: ShardId,
    sum: &mut Scrubbed,
) -> Result<Option<ShardId>, StoreError> {
    let Some((shard, entry)) = core.index.page(from, 1, |_| true)?.pop() else { return Ok(None) };
    sum.checked += 1;
    sum.bytes += entry.record_len();
    if entry.is_tombstone {
        check_tombstone(core, shard, &entry)?;
    } else if !check_shard(core, shard, &entry)? {
        sum.damaged += 1;
    }
    Ok(shard.next())
}

fn check_shard(core: &Core, shard: ShardId, entry: &Entry) -> Result<bool, StoreError> {
    if entry.is_damaged {
        return Ok(false);
    }
    // Twice: what cannot be read for a moment is not lost.
    if is_sound(core, shard, entry)? || is_sound(core, shard, entry)? {
        return Ok(true);
    }
    let _claim = core.claim(shard);
    // It may have been moved or replaced while it was read.
    if core.index.get(shard)?.is_none_or(|now| now.at != entry.at) {
        return Ok(true);
    }
    tracing::error!(?shard, "a scrub found a damaged shard");
    core.index.apply(vec![Change::Damage(shard, entry.at)])?;
    Ok(false)
}

fn is_sound(core: &Core, shard: ShardId, entry: &Entry) -> Result<bool, StoreError> {
    match core.open_entry(shard, entry) {
        Ok(open) => Ok(open.is_sound()?),
        Err(StoreError::Corrupt(_)) => Ok(false),
        Err(StoreError::Io(error)) if is_damage(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn check_tombstone(core: &Core, shard: ShardId, entry: &Entry) -> Result<(), StoreError> {
    let is_spent = compact::is_spent(core, entry, 0);
    let mut bytes = [0; HEADER_LEN];
    let file = core.volumes.file(entry.at.volume)?;
    let is_there = read_exact(&*file, entry.at.place, &mut bytes).is_ok()
        && Header::parse(&bytes, &core.volumes.store)
            .is_some_and(|header| entry.fits(shard, &header));
    if is_there && !is_spent {
        return Ok(());
    }
    let _claim = core.claim(shard);
    if core.index.get(shard)?.is_none_or(|now| now.at != entry.at) {
        return Ok(());
    }
    if is_spent {
        core.index.apply(vec![Change::Drop(shard, entry.at)])
    } else if core.has_failed() {
        Ok(())
    } else {
        tracing::warn!(?shard, "a damaged tombstone is written again");
        compact::bury_again(core, shard, entry)
    }
}

/// A pass through all records, and when the next one begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Where it goes on; `None` if it is done.
    next: Option<ShardId>,
    began_ms: u64,
    kept_ms: u64,
}

/// The pass is written down so often.
const KEEP_MS: u64 = 60_000;

impl Pass {
    /// The pass that was under way before the restart, or a new one.
    pub fn open(core: &Core, now_ms: u64) -> Result<Self, StoreError> {
        let kept = core.index.meta(NAME)?;
        let new = Self { next: Some(ShardId::FIRST), began_ms: now_ms, kept_ms: now_ms };
        Ok(kept.and_then(|kept| Self::parse(&kept, now_ms)).unwrap_or(new))
    }

    /// Whether there is something to read. A pass that is done begins again when
    /// `time` has passed since it began.
    pub fn is_due(&mut self, now_ms: u64, time: Duration) -> bool {
        if self.next.is_none() && u128::from(now_ms.abs_diff(self.began_ms)) > time.as_millis() {
            (self.next, self.began_ms) = (Some(ShardId::FIRST), now_ms);
        }
        self.next.is_some()
    }

    /// Reads the next record. One that cannot be looked at does not keep the pass
    /// from the others.
    pub fn step(&mut self, core: &Core, sum: &mut Scrubbed) -> Result<(), StoreError> {
        let Some(from) = self.next else { return Ok(()) };
        match step(core, from, sum) {
            Ok(next) => self.next = next,
            Err(error) => {
                let here = core.index.page(from, 1, |_| true)?.pop();
                self.next = here.and_then(|(shard, _)| shard.next());
                return Err(error);
            }
        }
        Ok(())
    }

    pub fn is_to_be_kept(&mut self, now_ms: u64) -> bool {
        let is_due = self.next.is_none() || now_ms.abs_diff(self.kept_ms) > KEEP_MS;
        if is_due {
            self.kept_ms = now_ms;
        }
        is_due
    }

    /// Writes down where it is; durable with the next checkpoint.
    pub fn keep(&self, core: &Core) -> Result<(), StoreError> {
        let mut out = self.began_ms.to_le_bytes().to_vec();
        if let Some(ShardId { segment, index }) = self.next {
            out.extend_from_slice(&segment.0);
            out.push(index);
        }
        core.index.set_meta(NAME, &out)
    }

    fn parse(bytes: &[u8], now_ms: u64) -> Option<Self> {
        let (began, next) = bytes.split_first_chunk::<8>()?;
        let next = match next.split_first_chunk::<16>() {
            Some((segment, [index])) => {
                Some(ShardId { segment: SegmentId(*segment), index: *index })
            }
            _ => None,
        };
        Some(Self { next, began_ms: u64::from_le_bytes(*began), kept_ms: now_ms })
    }
}
