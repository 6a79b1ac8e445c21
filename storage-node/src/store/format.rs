//! What lies in a volume: a volume header, then records at multiples of 512.
//!
//! ```text
//! volume   0      4        6      8         24      28       32     64
//!          "SVOL" version  0      store id  number  0        hash
//!          4      u16      u16    16        u32     u32      32
//!
//! record   0      4        6     7      8        24      32    64     96
//!          "SREC" version  kind  index  segment  length  root  owner  sequence
//!          4      u16      u8    u8     16       u64     32    32     u64
//!
//!          104     112     116  120    128      136       152  160   192   192+length
//!          synced  volume  0    place  time ms  store id  0    hash  body  outboard
//!          u64     u32     u32  u64    u64      16        8    32
//! ```
//!
//! Integers are little-endian. The hash is BLAKE3 of all before it, keyed by the
//! store's secret id: a gateway that hides a record in the body of a shard
//! cannot give it a hash that counts, and a volume of another store, or a record
//! at another place, is none. Numbers `sequence` rise in the order in which
//! records were written; of two records of one shard the later one counts.
//! `synced` is the highest sequence of this volume that was durable before this
//! record was written (see `recover`).
//!
//! Not here: which records are whole after a crash (`recover`).

use protocol::message::SHARD_LEN_MAX;
use protocol::{GatewayId, Root, SegmentId, ShardId, tree};

/// Records begin at multiples of this: no sector holds parts of two records, so
/// writing one cannot tear another.
pub(crate) const ALIGN: u64 = 512;

/// Bytes before a record's body.
pub(crate) const HEADER_LEN: usize = 192;

/// Bytes that a volume's header has; the first record follows at [`ALIGN`].
pub(crate) const VOLUME_HEADER_LEN: usize = 64;

const RECORD_MAGIC: [u8; 4] = *b"SREC";
const VOLUME_MAGIC: [u8; 4] = *b"SVOL";
const VERSION: u16 = 1;
const HASH_AT: usize = 160;
const _: () = assert!(HASH_AT + 32 == HEADER_LEN);
const _: () = assert!(4 + 2 + 2 + 16 + 4 + 4 + 32 == VOLUME_HEADER_LEN);

/// The secret that ties volumes to their folder. Never leaves it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreId(pub [u8; 16]);

impl std::fmt::Debug for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("store:***")
    }
}

impl StoreId {
    fn hash(&self, bytes: &[u8]) -> [u8; 32] {
        let key = blake3::derive_key("stratos volume v1", &self.0);
        *blake3::keyed_hash(&key, bytes).as_bytes()
    }
}

/// What a record says of its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is held; body and outboard follow.
    Shard,
    /// It was deleted.
    Tombstone,
    /// Of no shard: the volume was closed in good order, all before is durable.
    Seal,
}

/// What stands before the body of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    pub shard: ShardId,
    pub len: u64,
    pub root: Root,
    /// Who stored it; zero is anybody.
    pub owner: GatewayId,
    pub sequence: u64,
    pub synced: u64,
    pub volume: u32,
    pub place: u64,
    pub time_ms: u64,
}

impl Header {
    pub fn encode(&self, store: &StoreId) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..4].copy_from_slice(&RECORD_MAGIC);
        out[4..6].copy_from_slice(&VERSION.to_le_bytes());
        out[6] = match self.kind {
            Kind::Shard => 1,
            Kind::Tombstone => 2,
            Kind::Seal => 3,
        };
        out[7] = self.shard.index;
        out[8..24].copy_from_slice(&self.shard.segment.0);
        out[24..32].copy_from_slice(&self.len.to_le_bytes());
        out[32..64].copy_from_slice(&self.root.0);
        out[64..96].copy_from_slice(&self.owner.0);
        out[96..104].copy_from_slice(&self.sequence.to_le_bytes());
        out[104..112].copy_from_slice(&self.synced.to_le_bytes());
        out[112..116].copy_from_slice(&self.volume.to_le_bytes());
        out[120..128].copy_from_slice(&self.place.to_le_bytes());
        out[128..136].copy_from_slice(&self.time_ms.to_le_bytes());
        out[136..152].copy_from_slice(&store.0);
        let hash = store.hash(&out[..HASH_AT]);
        out[HASH_AT..].copy_from_slice(&hash);
        out
    }

    /// The header in these bytes, if they are one of this store.
    pub fn parse(bytes: &[u8; HEADER_LEN], store: &StoreId) -> Option<Self> {
        // The cheap question first: most places hold no header.
        if bytes[..4] != RECORD_MAGIC || bytes[4..6] != VERSION.to_le_bytes() {
            return None;
        }
        if store.hash(&bytes[..HASH_AT]) != bytes[HASH_AT..] {
            return None;
        }
        let kind = match bytes[6] {
            1 => Kind::Shard,
            2 => Kind::Tombstone,
            3 => Kind::Seal,
            _ => return None,
        };
        let len = u64_at(bytes, 24);
        let fits = len <= SHARD_LEN_MAX && (kind == Kind::Shard || len == 0);
        let segment = SegmentId(array_at(bytes, 8));
        fits.then(|| Self {
            kind,
            shard: ShardId { segment, index: bytes[7] },
            len,
            root: Root(array_at(bytes, 32)),
            owner: GatewayId(array_at(bytes, 64)),
            sequence: u64_at(bytes, 96),
            synced: u64_at(bytes, 104),
            volume: u32::from_le_bytes(array_at(bytes, 112)),
            place: u64_at(bytes, 120),
            time_ms: u64_at(bytes, 128),
        })
    }

    /// Bytes of the whole record.
    pub fn record_len(&self) -> u64 {
        record_len(self.len)
    }
}

/// Bytes of the record of a shard of `len` bytes, with what fills the last sector.
pub(crate) fn record_len(len: u64) -> u64 {
    (HEADER_LEN as u64 + len + tree::outboard_len(len)).next_multiple_of(ALIGN)
}

/// The header of volume `number`.
pub(crate) fn volume_header(number: u32, store: &StoreId) -> [u8; VOLUME_HEADER_LEN] {
    let mut out = [0; VOLUME_HEADER_LEN];
    out[..4].copy_from_slice(&VOLUME_MAGIC);
    out[4..6].copy_from_slice(&VERSION.to_le_bytes());
    out[8..24].copy_from_slice(&store.0);
    out[24..28].copy_from_slice(&number.to_le_bytes());
    let hash = store.hash(&out[..32]);
    out[32..].copy_from_slice(&hash);
    out
}

/// Whether a volume begins with the whole header of another store.
pub(crate) fn is_foreign(bytes: &[u8; VOLUME_HEADER_LEN], store: &StoreId) -> bool {
    bytes[..4] == VOLUME_MAGIC && bytes[8..24] != store.0 && {
        let other = StoreId(array_at(bytes, 8));
        other.hash(&bytes[..32]) == bytes[32..]
    }
}

/// The name of the file of volume `number`.
pub(crate) fn volume_name(number: u32) -> String {
    format!("{number:08}.vol")
}

/// The number of the volume with this file name.
pub(crate) fn volume_number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".vol")?.parse().ok()?;
    (volume_name(number) == name).then_some(number)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the field lies inside the header")
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId([5; 16]);

    fn header() -> Header {
        Header {
            kind: Kind::Shard,
            shard: ShardId { segment: SegmentId([7; 16]), index: 3 },
            len: 4096,
            root: Root([9; 32]),
            owner: GatewayId([8; 32]),
            sequence: 17,
            synced: 16,
            volume: 2,
            place: 1024,
            time_ms: 1_790_000_000_000,
        }
    }

    #[test]
    fn header_bytes_do_not_change() {
        let golden = [
            "5352454301000103",
            &"07".repeat(16),
            "0010000000000000",
            &"09".repeat(32),
            &"08".repeat(32),
            "11000000000000001000000000000000",
            "0200000000000000",
            "0004000000000000",
            "006c50c4a0010000",
            &"05".repeat(16),
            &"00".repeat(8),
        ]
        .concat();
        let bytes = header().encode(&STORE);
        assert_eq!(hex::encode(&bytes[..HASH_AT]), golden);
        let hash = "d0f0a5a79acd9044d01d446fc0cc66d274de18e9edfc61d204a7ac86423fa343";
        assert_eq!(hex::encode(&bytes[HASH_AT..]), hash);
        assert_eq!(Header::parse(&bytes, &STORE), Some(header()));
    }

    #[test]
    fn volume_header_bytes_do_not_change() {
        let bytes = volume_header(3, &STORE);
        let golden = ["53564f4c01000000", &"05".repeat(16), "0300000000000000"].concat();
        assert_eq!(hex::encode(&bytes[..32]), golden);
        assert_eq!(bytes[32..], STORE.hash(&bytes[..32]));
        assert_eq!(volume_name(3), "00000003.vol");
        assert_eq!(volume_number("00000003.vol"), Some(3));
        for name in ["3.vol", "+0000003.vol", "00000003", "index.redb", "00000003.vol.old"] {
            assert_eq!(volume_number(name), None, "{name}");
        }
    }

    #[test]
    fn a_header_with_any_changed_bit_or_of_another_store_is_none() {
        let bytes = header().encode(&STORE);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::parse(&bad, &STORE), None, "bit {bit}");
        }
        assert_eq!(Header::parse(&bytes, &StoreId([6; 16])), None);
    }

    #[test]
    fn no_record_shares_a_sector() {
        for len in [0, 1, 319, 320, 321, 16_384, 16_385, SHARD_LEN_MAX] {
            assert_eq!(record_len(len) % ALIGN, 0);
            assert!(record_len(len) >= HEADER_LEN as u64 + len + tree::outboard_len(len));
        }
        assert_eq!(record_len(0), 512);
        assert_eq!(record_len(16_384), 16_896);
    }
}
