//! One shard in one file.
//!
//! ```text
//! 0      4        6      7      8           24      32     64    64+length
//! "SHRD" version  index  flags  segment id  length  root   body  outboard
//! 4      u16      u8     u8     16          u64     32
//! ```
//!
//! Integers are little-endian; flags are 0 until a version gives them a
//! meaning. The outboard is that of [`protocol::tree`], so a range is proved
//! without reading the rest of the body. The length of the file follows from
//! the length of the shard, and the other way round: a cut file is seen without
//! reading it.
//!
//! Not here: names of files and when they are durable (the folders above).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use bao_tree::io::sync::{ReadAt, Size};
use protocol::message::SHARD_LEN_MAX;
use protocol::tree::{self, GROUP, TreeHasher};
use protocol::{Root, SegmentId, ShardId};

use crate::store::StoreError;

/// Bytes before the body.
pub(crate) const HEADER_LEN: usize = 64;
const MAGIC: [u8; 4] = *b"SHRD";
const VERSION: u16 = 1;
const _: () = assert!(HEADER_LEN == 4 + 2 + 1 + 1 + 16 + 8 + 32);

/// Bytes that are read at once when a whole file is verified.
const VERIFY_BUFFER: usize = 256 * 1024;

/// What stands before the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShardHeader {
    pub shard: ShardId,
    pub len: u64,
    pub root: Root,
}

impl ShardHeader {
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&VERSION.to_le_bytes());
        out[6] = self.shard.index;
        out[8..24].copy_from_slice(&self.shard.segment.0);
        out[24..32].copy_from_slice(&self.len.to_le_bytes());
        out[32..].copy_from_slice(&self.root.0);
        out
    }

    /// The header in these bytes, if they are one.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (version, rest) = rest.split_first_chunk::<2>()?;
        let (&[index, flags], rest) = rest.split_first_chunk::<2>()?;
        let (segment, rest) = rest.split_first_chunk::<16>()?;
        let (len, root) = rest.split_first_chunk::<8>()?;
        let known = *magic == MAGIC && u16::from_le_bytes(*version) == VERSION && flags == 0;
        let len = u64::from_le_bytes(*len);
        if !known || len > SHARD_LEN_MAX {
            return None;
        }
        let shard = ShardId { segment: SegmentId(*segment), index };
        Some(Self { shard, len, root: Root(root.try_into().ok()?) })
    }
}

/// The length of the file of a shard of `len` bytes.
pub(crate) fn file_len(len: u64) -> u64 {
    HEADER_LEN as u64 + len + tree::outboard_len(len)
}

/// The length of the shard in a file of `file_len` bytes, if there is one.
pub(crate) fn shard_len(file_len: u64) -> Option<u64> {
    const PAIR: u64 = 64;
    let rest = file_len.checked_sub(HEADER_LEN as u64)?;
    // Every group but the first brings one pair of hashes.
    let pairs = (rest + PAIR).div_ceil(GROUP + PAIR).saturating_sub(1);
    let len = rest.checked_sub(pairs * PAIR)?;
    (self::file_len(len) == file_len).then_some(len)
}

/// An open shard file whose header fits its name and length.
#[derive(Debug)]
pub(crate) struct ShardFile {
    file: File,
    pub header: ShardHeader,
}

impl ShardFile {
    /// Opens the file of `shard`.
    pub fn open(path: &Path, shard: ShardId) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NotFound,
            _ => error.into(),
        })?;
        let length = file.metadata()?.len();
        let mut bytes = [0; HEADER_LEN];
        if length < HEADER_LEN as u64 {
            return Err(StoreError::Corrupt(shard));
        }
        file.read_exact_at(0, &mut bytes)?;
        match ShardHeader::parse(&bytes) {
            Some(header) if header.shard == shard && file_len(header.len) == length => {
                Ok(Self { file, header })
            }
            _ => Err(StoreError::Corrupt(shard)),
        }
    }

    /// The upper part of the hash tree.
    pub fn outboard(&self) -> io::Result<Vec<u8>> {
        let len = usize::try_from(tree::outboard_len(self.header.len)).map_err(io::Error::other)?;
        let mut outboard = vec![0; len];
        self.file.read_exact_at(HEADER_LEN as u64 + self.header.len, &mut outboard)?;
        Ok(outboard)
    }

    /// The groups that cover `bytes`, with their proof.
    pub fn encode(&self, outboard: &[u8], bytes: &Range<u64>) -> io::Result<Vec<u8>> {
        tree::encode(Body(self), self.header.len, outboard, bytes)
    }

    /// Reads everything again: whether body and outboard still have the root.
    pub fn is_sound(&self) -> io::Result<bool> {
        let mut hasher = TreeHasher::default();
        let mut buffer = vec![0; VERIFY_BUFFER];
        while hasher.len() < self.header.len {
            let left = self.header.len - hasher.len();
            let now = usize::try_from(left).unwrap_or(VERIFY_BUFFER).min(VERIFY_BUFFER);
            self.file.read_exact_at(HEADER_LEN as u64 + hasher.len(), &mut buffer[..now])?;
            hasher.update(&buffer[..now]);
        }
        let (root, outboard) = hasher.finish();
        Ok(root == self.header.root && outboard == self.outboard()?)
    }
}

/// The body of a shard file, from 0.
struct Body<'a>(&'a ShardFile);

impl ReadAt for Body<'_> {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.file.read_at(HEADER_LEN as u64 + at, buffer)
    }
}

impl Size for Body<'_> {
    fn size(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.0.header.len))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> ShardHeader {
        ShardHeader {
            shard: ShardId { segment: SegmentId([7; 16]), index: 3 },
            len: 4096,
            root: Root([9; 32]),
        }
    }

    #[test]
    fn header_bytes_do_not_change() {
        let golden = concat!(
            "5348524401000300",
            "07070707070707070707070707070707",
            "0010000000000000",
            "0909090909090909090909090909090909090909090909090909090909090909",
        );
        assert_eq!(hex::encode(header().encode()), golden);
        assert_eq!(ShardHeader::parse(&header().encode()), Some(header()));
    }

    #[test]
    fn foreign_headers_are_not_headers() {
        for (at, value) in [(0, b'X'), (4, 2), (5, 1), (7, 1), (31, 1)] {
            let mut bytes = header().encode();
            bytes[at] = value;
            assert_eq!(ShardHeader::parse(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn the_lengths_at_the_edges_of_groups_follow_from_each_other() {
        for len in [0, 1, GROUP - 1, GROUP, GROUP + 1, 2 * GROUP, 2 * GROUP + 1, SHARD_LEN_MAX] {
            assert_eq!(shard_len(file_len(len)), Some(len), "{len}");
        }
        assert_eq!(shard_len(63), None);
        // One group and a pair of hashes without a second group.
        assert_eq!(shard_len(64 + GROUP + 64), None);
    }

    proptest! {
        #[test]
        fn the_length_of_a_shard_follows_from_the_length_of_its_file(len in 0..=SHARD_LEN_MAX) {
            prop_assert_eq!(shard_len(file_len(len)), Some(len));
        }
    }
}
