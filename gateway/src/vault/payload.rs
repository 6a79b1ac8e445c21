//! What metadata segments say, before they are sealed.
//!
//! ```text
//! all     version u16 = 1, kind u8, then
//! piece   offset u64, raw length u32, LZ4 block of that part of the database file
//! end     time u64, base u64, length u64, page size u32, pieces u32, BLAKE3 of the file (32)
//! log     time u64, follows u64, page size u32, pages of the database u32, count u32,
//!         LZ4 block of: count page numbers u32, ascending, then count pages
//! beat    time u64, follows u64
//! ```
//!
//! Times are milliseconds since 1970. `follows` and `base` are numbers of logs:
//! the one before this, and the last that the snapshot holds. A log that was
//! written twice, because it was not known whether it was stored, follows the
//! same one twice: the later holds all of the earlier.

use std::collections::BTreeMap;

use lz4_flex::block::get_maximum_output_size;
use protocol::wire::{Reader, WireError, Writer};
use thiserror::Error;

use super::ids::Kind;
use crate::meta::wal::{Commits, TRANSACTION_MAX};

const VERSION: u16 = 1;

/// Bytes of a snapshot in one piece.
pub const PIECE: usize = 4 * 1024 * 1024;

/// Bytes of pages after which a log is full.
pub const LOG_FULL: usize = 8 * 1024 * 1024;

/// Bytes that a log may hold, however they are compressed.
const LOG_MAX: usize = LOG_FULL + TRANSACTION_MAX + 4 * (TRANSACTION_MAX / 512);

/// Bytes that a payload of this kind may have, in this format and later ones.
pub fn len_max(kind: Kind) -> usize {
    match kind {
        Kind::Piece => 64 + get_maximum_output_size(PIECE),
        Kind::Log => 64 + get_maximum_output_size(LOG_MAX),
        Kind::End | Kind::Beat => 4096,
    }
}

/// What a metadata segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A part of the database file.
    Piece {
        /// Where it begins.
        offset: u64,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A snapshot is complete.
    End(End),
    /// Commits.
    Log(Log),
    /// There were no commits until now.
    Beat {
        /// When that was.
        time_ms: u64,
        /// The last log.
        follows: u64,
    },
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// When it was begun.
    pub time_ms: u64,
    /// The last log that it holds.
    pub base: u64,
    /// Bytes of the file.
    pub len: u64,
    /// Bytes of a page.
    pub page_size: u32,
    /// How many pieces there are.
    pub pieces: u32,
    /// The BLAKE3 hash of the file.
    pub hash: [u8; 32],
}

/// Commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// When they were read.
    pub time_ms: u64,
    /// The log before.
    pub follows: u64,
    /// Bytes of a page.
    pub page_size: u32,
    /// Pages of the database after it.
    pub db_pages: u32,
    /// The pages that changed.
    pub pages: BTreeMap<u32, Vec<u8>>,
}

/// Why bytes that opened are not what they should be: a newer program wrote
/// them.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PayloadError {
    /// A newer format.
    #[error("metadata segments have format {0}, this program knows {VERSION}: use a newer stratos")]
    Version(u16),
    /// Too short, or something else.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// What is compressed is something else.
    #[error("a metadata segment does not hold what it says")]
    Content,
}

impl Log {
    /// The log of these commits.
    pub fn new(time_ms: u64, follows: u64, commits: Commits) -> Self {
        let Commits { pages, page_size, db_pages, .. } = commits;
        Self { time_ms, follows, page_size, db_pages, pages }
    }

    fn write(&self, out: &mut Writer) {
        out.u64(self.time_ms);
        out.u64(self.follows);
        out.u32(self.page_size);
        out.u32(self.db_pages);
        out.u32(u32::try_from(self.pages.len()).expect("a log is bounded"));
        let mut raw = Vec::with_capacity(self.pages.len() * (4 + self.page_size as usize));
        for number in self.pages.keys() {
            raw.extend_from_slice(&number.to_le_bytes());
        }
        for page in self.pages.values() {
            assert_eq!(page.len(), self.page_size as usize);
            raw.extend_from_slice(page);
        }
        out.bytes(&lz4_flex::block::compress(&raw));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, PayloadError> {
        let (time_ms, follows) = (from.u64()?, from.u64()?);
        let (page_size, db_pages, count) = (from.u32()?, from.u32()?, from.u32()? as usize);
        let size = page_size as usize;
        if !size.is_power_of_two() || !(512..=65_536).contains(&size) {
            return Err(PayloadError::Content);
        }
        let len = count.checked_mul(4 + size).filter(|&len| len <= LOG_MAX);
        let raw = decompress(from, len.ok_or(PayloadError::Content)?)?;
        let (numbers, images) = raw.split_at(4 * count);
        let numbers = numbers
            .chunks_exact(4)
            .map(|four| u32::from_le_bytes(four.try_into().expect("four bytes")));
        let pages: BTreeMap<u32, Vec<u8>> =
            numbers.zip(images.chunks_exact(size).map(<[u8]>::to_vec)).collect();
        let within = pages.keys().all(|&number| (1..=db_pages).contains(&number));
        if !within || pages.len() != count {
            return Err(PayloadError::Content);
        }
        Ok(Self { time_ms, follows, page_size, db_pages, pages })
    }
}

/// The rest of `from`, which must decompress to `len` bytes.
fn decompress(from: &mut Reader<'_>, len: usize) -> Result<Vec<u8>, PayloadError> {
    let packed = from.take(from.0.len())?;
    let raw = lz4_flex::block::decompress(packed, len).map_err(|_| PayloadError::Content)?;
    if raw.len() == len { Ok(raw) } else { Err(PayloadError::Content) }
}

impl Payload {
    /// The bytes that are sealed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u16(VERSION);
        match self {
            Self::Piece { offset, bytes } => {
                out.u8(1);
                out.u64(*offset);
                out.u32(u32::try_from(bytes.len()).expect("a piece is bounded"));
                out.bytes(&lz4_flex::block::compress(bytes));
            }
            Self::End(End { time_ms, base, len, page_size, pieces, hash }) => {
                out.u8(2);
                out.u64(*time_ms);
                out.u64(*base);
                out.u64(*len);
                out.u32(*page_size);
                out.u32(*pieces);
                out.bytes(hash);
            }
            Self::Log(log) => {
                out.u8(3);
                log.write(&mut out);
            }
            Self::Beat { time_ms, follows } => {
                out.u8(4);
                out.u64(*time_ms);
                out.u64(*follows);
            }
        }
        out.0
    }

    /// Reads what [`Payload::to_bytes`] wrote.
    pub fn parse(bytes: &[u8]) -> Result<Self, PayloadError> {
        let mut from = Reader(bytes);
        let version = from.u16()?;
        if version != VERSION {
            return Err(PayloadError::Version(version));
        }
        let payload = match from.u8()? {
            1 => {
                let (offset, len) = (from.u64()?, from.u32()? as usize);
                if len > PIECE {
                    return Err(PayloadError::Content);
                }
                Self::Piece { offset, bytes: decompress(&mut from, len)? }
            }
            2 => Self::End(End {
                time_ms: from.u64()?,
                base: from.u64()?,
                len: from.u64()?,
                page_size: from.u32()?,
                pieces: from.u32()?,
                hash: from.array()?,
            }),
            3 => Self::Log(Log::read(&mut from)?),
            4 => Self::Beat { time_ms: from.u64()?, follows: from.u64()? },
            _ => return Err(PayloadError::Content),
        };
        from.end()?;
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log() -> Log {
        let pages = BTreeMap::from([(2, vec![7; 512]), (9, vec![8; 512])]);
        Log { time_ms: 5, follows: 4, page_size: 512, db_pages: 9, pages }
    }

    #[test]
    fn the_payload_bytes_do_not_change() {
        let end = End { time_ms: 1, base: 2, len: 3, page_size: 4096, pieces: 1, hash: [9; 32] };
        let golden = format!(
            "010002{}{}{}0010000001000000{}",
            "0100000000000000",
            "0200000000000000",
            "0300000000000000",
            "09".repeat(32),
        );
        assert_eq!(hex::encode(Payload::End(end).to_bytes()), golden);
        let beat = Payload::Beat { time_ms: 1, follows: 2 };
        assert_eq!(hex::encode(beat.to_bytes()), "01000401000000000000000200000000000000");
        // LZ4 may compress in other ways some day; what is before it stays, and
        // this is read for ever.
        let bytes = Payload::Log(log()).to_bytes();
        let head = "01000305000000000000000400000000000000000200000900000002000000";
        assert_eq!(hex::encode(&bytes[..31]), head);
    }

    #[test]
    fn payloads_read_back() {
        for payload in [
            Payload::Log(log()),
            Payload::Piece { offset: 4096, bytes: (0..=255).collect() },
            Payload::Beat { time_ms: 1, follows: 2 },
        ] {
            assert_eq!(Payload::parse(&payload.to_bytes()), Ok(payload));
        }
        assert_eq!(Payload::parse(&[2, 0, 4]), Err(PayloadError::Version(2)));
    }

    #[test]
    fn a_page_beyond_the_database_is_refused() {
        let bytes = Payload::Log(Log { db_pages: 8, ..log() }).to_bytes();
        assert_eq!(Payload::parse(&bytes), Err(PayloadError::Content));
    }

    proptest! {
        /// Foreign bytes are refused, and nothing large is allocated for them.
        #[test]
        fn any_bytes_are_read_or_refused(
            kind in 0u8..6, bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = Payload::parse(&[&[1, 0, kind], bytes.as_slice()].concat());
        }

        #[test]
        fn any_log_reads_back(
            pages in prop::collection::btree_map(1u32..100, any::<u8>(), 0..10), extra in 0u32..9,
        ) {
            let pages: BTreeMap<_, _> =
                pages.into_iter().map(|(number, fill)| (number, vec![fill; 512])).collect();
            let db_pages = pages.keys().last().copied().unwrap_or(1) + extra;
            let log = Payload::Log(Log { pages, db_pages, ..log() });
            prop_assert_eq!(Payload::parse(&log.to_bytes()), Ok(log));
        }
    }
}
