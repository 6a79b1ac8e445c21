//! What the index keeps of a shard, and of a volume: bytes in a table that is
//! made anew whenever it cannot be read, so they may change with any version
//! (`VERSION` in the module above).

use protocol::message::SHARD_LEN_MAX;
use protocol::{GatewayId, Root, ShardId};

use crate::store::format::{Header, Kind, record_len};

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub volume: u32,
    pub place: u64,
}

/// The record that counts for a shard: its newest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub is_tombstone: bool,
    /// Its bytes were read and are not what was stored.
    pub is_damaged: bool,
    pub at: At,
    pub len: u64,
    pub root: Root,
    pub owner: GatewayId,
    pub sequence: u64,
    pub time_ms: u64,
    /// Other volumes that hold earlier records of the shard. While one of them
    /// is there, a tombstone cannot be dropped: a scan of the volumes would find
    /// what it buried.
    pub older: Vec<u32>,
}

/// No file is longer. What is read is held to this, so that sums of a few such
/// numbers do not overflow.
const FILE_MAX: u64 = u64::MAX / 2;

const FIXED_LEN: usize = 1 + 4 + 8 + 8 + 32 + 32 + 8 + 8;
const TOMBSTONE: u8 = 1;
const DAMAGED: u8 = 2;

impl Entry {
    /// The entry of a record; a seal has none.
    pub fn of(header: &Header) -> Option<Self> {
        (header.kind != Kind::Seal).then(|| Self {
            is_tombstone: header.kind == Kind::Tombstone,
            is_damaged: false,
            at: At { volume: header.volume, place: header.place },
            len: header.len,
            root: header.root,
            owner: header.owner,
            sequence: header.sequence,
            time_ms: header.time_ms,
            older: Vec::new(),
        })
    }

    /// Whether a header is that of the record this entry stands for.
    pub fn fits(&self, shard: ShardId, header: &Header) -> bool {
        Self::of(header).is_some_and(|mut of| {
            of.is_damaged = self.is_damaged;
            of.older.clone_from(&self.older);
            header.shard == shard && of == *self
        })
    }

    /// Bytes of the record in its volume.
    pub fn record_len(&self) -> u64 {
        record_len(self.len)
    }

    /// Whether a shard is held under this id.
    pub fn is_shard(&self) -> bool {
        !self.is_tombstone
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_LEN + 4 * self.older.len());
        let flag = |is, bit| if is { bit } else { 0 };
        out.push(flag(self.is_tombstone, TOMBSTONE) | flag(self.is_damaged, DAMAGED));
        out.extend_from_slice(&self.at.volume.to_le_bytes());
        out.extend_from_slice(&self.at.place.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.root.0);
        out.extend_from_slice(&self.owner.0);
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        for volume in &self.older {
            out.extend_from_slice(&volume.to_le_bytes());
        }
        out
    }

    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&flags, rest) = bytes.split_first()?;
        let (volume, rest) = rest.split_first_chunk::<4>()?;
        let (place, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<8>()?;
        let (root, rest) = rest.split_first_chunk::<32>()?;
        let (owner, rest) = rest.split_first_chunk::<32>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (time_ms, older) = rest.split_first_chunk::<8>()?;
        let (older, []) = older.as_chunks::<4>() else { return None };
        let (place, len) = (u64::from_le_bytes(*place), u64::from_le_bytes(*len));
        (place <= FILE_MAX && len <= SHARD_LEN_MAX).then(|| Self {
            is_tombstone: flags & TOMBSTONE != 0,
            is_damaged: flags & DAMAGED != 0,
            at: At { volume: u32::from_le_bytes(*volume), place },
            len,
            root: Root(*root),
            owner: GatewayId(*owner),
            sequence: u64::from_le_bytes(*sequence),
            time_ms: u64::from_le_bytes(*time_ms),
            older: older.iter().map(|volume| u32::from_le_bytes(*volume)).collect(),
        })
    }
}

/// What the index knows of a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// Nothing is written to it any more, and the index knows all that it holds.
    pub is_sealed: bool,
    /// Records before this place are all in the index.
    pub scan_from: u64,
    /// So are the records up to this sequence.
    pub covered: u64,
    /// Where the next record goes.
    pub end: u64,
    /// Bytes of the records that count.
    pub live: u64,
    pub sums: Sums,
}

/// Sums over the records that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Bytes of shards.
    pub stored: u64,
    pub shards: u64,
    pub tombstones: u64,
    pub damaged: u64,
}

const ROW_LEN: usize = 1 + 8 * 8;

impl Row {
    /// Bytes that are of no use.
    pub fn dead(&self) -> u64 {
        self.end.saturating_sub(self.live)
    }

    pub fn add(&mut self, entry: &Entry) {
        // These are derived: a sum that is off must not take the node down.
        let more = |sum: &mut u64, by: u64| *sum = sum.saturating_add(by);
        more(&mut self.live, entry.record_len());
        more(&mut self.sums.stored, if entry.is_shard() { entry.len } else { 0 });
        more(&mut self.sums.shards, u64::from(entry.is_shard()));
        more(&mut self.sums.tombstones, u64::from(entry.is_tombstone));
        more(&mut self.sums.damaged, u64::from(entry.is_damaged));
    }

    pub fn remove(&mut self, entry: &Entry) {
        let less = |sum: &mut u64, by: u64| *sum = sum.saturating_sub(by);
        less(&mut self.live, entry.record_len());
        less(&mut self.sums.stored, if entry.is_shard() { entry.len } else { 0 });
        less(&mut self.sums.shards, u64::from(entry.is_shard()));
        less(&mut self.sums.tombstones, u64::from(entry.is_tombstone));
        less(&mut self.sums.damaged, u64::from(entry.is_damaged));
    }

    pub fn encode(&self) -> [u8; ROW_LEN] {
        let Sums { stored, shards, tombstones, damaged } = self.sums;
        let mut out = [0; ROW_LEN];
        out[0] = u8::from(self.is_sealed);
        let numbers = [self.scan_from, self.covered, self.end, self.live];
        let numbers = numbers.into_iter().chain([stored, shards, tombstones, damaged]);
        for (field, number) in out[1..].as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *field = number.to_le_bytes();
        }
        out
    }

    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ROW_LEN] = bytes.try_into().ok()?;
        let (numbers, _) = bytes[1..].as_chunks::<8>();
        let [scan_from, covered, end, live, stored, shards, tombstones, damaged] =
            <[[u8; 8]; 8]>::try_from(numbers).ok()?.map(u64::from_le_bytes);
        let sums = Sums { stored, shards, tombstones, damaged };
        let is_sane = [scan_from, covered, end].iter().all(|number| *number <= FILE_MAX);
        let is_sealed = bytes[0] != 0;
        is_sane.then_some(Self { is_sealed, scan_from, covered, end, live, sums })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_rows_read_back() {
        let entry = Entry {
            is_tombstone: true,
            is_damaged: false,
            at: At { volume: 1, place: 2 },
            len: 3,
            root: Root([4; 32]),
            owner: GatewayId([5; 32]),
            sequence: 6,
            time_ms: 7,
            older: vec![8, 9],
        };
        assert_eq!(Entry::parse(&entry.encode()), Some(entry.clone()));
        assert_eq!(Entry::parse(&entry.encode()[..FIXED_LEN + 3]), None);
        let sums = Sums { stored: 5, shards: 6, tombstones: 7, damaged: 8 };
        let row = Row { is_sealed: true, scan_from: 1, covered: 2, end: 3, live: 4, sums };
        assert_eq!(Row::parse(&row.encode()), Some(row));
        assert_eq!(Row::parse(&[0; 3]), None);
    }

    #[test]
    fn numbers_that_no_file_has_are_refused_and_sums_do_not_overflow() {
        let sound = Entry {
            is_tombstone: false,
            is_damaged: true,
            at: At { volume: u32::MAX, place: FILE_MAX },
            len: SHARD_LEN_MAX,
            root: Root([4; 32]),
            owner: GatewayId([5; 32]),
            sequence: u64::MAX,
            time_ms: u64::MAX,
            older: Vec::new(),
        };
        assert_eq!(Entry::parse(&sound.encode()), Some(sound.clone()));
        let long = Entry { len: SHARD_LEN_MAX + 1, ..sound.clone() };
        let far = Entry { at: At { volume: 1, place: FILE_MAX + 1 }, ..sound.clone() };
        for bad in [long, far] {
            assert_eq!(Entry::parse(&bad.encode()), None, "{bad:?}");
        }

        let full = Sums { stored: u64::MAX, shards: u64::MAX, tombstones: 0, damaged: u64::MAX };
        let mut row = Row { live: u64::MAX, sums: full, ..Row::default() };
        row.add(&sound);
        assert_eq!((row.live, row.sums), (u64::MAX, full));
        assert_eq!(Row::parse(&row.encode()), Some(row));
        for bad in [
            Row { scan_from: u64::MAX, ..row },
            Row { covered: u64::MAX, ..row },
            Row { end: u64::MAX, ..row },
        ] {
            assert_eq!(Row::parse(&bad.encode()), None, "{bad:?}");
        }
    }
}
