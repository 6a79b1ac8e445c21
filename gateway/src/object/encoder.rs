//! Turns batches into shards: encrypt in place, compute parity, hash each shard
//! as it grows. Pure computation; the caller runs it off the reactor.

use std::sync::Arc;

use bytes::Bytes;
use erasure::{Codec, Layout, UNIT};
use protocol::Root;

use super::cipher::{ChunkAt, ChunkCipher};
use super::splitter::Batch;

/// The next bytes of every shard, in the order of shard numbers.
pub type ShardPieces = Vec<Vec<Bytes>>;

/// Encodes one segment.
pub struct SegmentEncoder {
    codec: Codec,
    cipher: Arc<ChunkCipher>,
    segment: u32,
    hashers: Vec<blake3::Hasher>,
    /// Encrypted bytes so far.
    len: u64,
    /// Bytes of each shard so far.
    shard_len: u64,
}

/// What a finished segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    /// Encrypted bytes.
    pub len: u64,
    /// Bytes of each shard.
    pub shard_len: u64,
    /// The root of each shard.
    pub roots: Vec<Root>,
}

impl SegmentEncoder {
    /// An encoder for segment number `segment` of a content.
    pub fn new(codec: Codec, cipher: Arc<ChunkCipher>, segment: u32) -> Self {
        let total = usize::from(codec.scheme().total());
        let hashers = vec![blake3::Hasher::new(); total];
        Self { codec, cipher, segment, hashers, len: 0, shard_len: 0 }
    }

    /// Encrypts and encodes a batch.
    pub fn encode(&mut self, batch: Batch) -> ShardPieces {
        let Batch { mut chunks, first_chunk, ends_segment, frames: _ } = batch;
        self.seal(&mut chunks, first_chunk, ends_segment);
        self.len += chunks.len() as u64;

        let scheme = self.codec.scheme();
        let (data, parity) = (usize::from(scheme.data()), usize::from(scheme.parity()));
        let tail = chunks.len() % (data * UNIT);
        let full = chunks.len() / (data * UNIT);
        assert!(tail == 0 || ends_segment, "only the last stripe of a segment is short");
        let mut units = vec![UNIT; full];
        if tail > 0 {
            let unit = Layout { scheme, segment_len: tail as u64 }.unit_len(0);
            chunks.resize(full * data * UNIT + data * unit, 0);
            units.push(unit);
        }

        let mut parities = vec![0; chunks.len() / data * parity];
        let (mut from, mut to) = (chunks.as_slice(), parities.as_mut_slice());
        for &unit in &units {
            let (stripe, rest) = from.split_at(data * unit);
            let (out, rest_out) = to.split_at_mut(parity * unit);
            self.codec.encode_stripe(stripe, out);
            (from, to) = (rest, rest_out);
        }
        self.slice(&Bytes::from(chunks), &Bytes::from(parities), &units)
    }

    fn seal(&self, chunks: &mut [u8], first_chunk: u32, ends_segment: bool) {
        let count = chunks.len().div_ceil(UNIT);
        for (n, chunk) in chunks.chunks_mut(UNIT).enumerate() {
            let last = ends_segment && n + 1 == count;
            let n = u32::try_from(n).expect("a batch has few chunks");
            self.cipher
                .seal(ChunkAt { segment: self.segment, chunk: first_chunk + n, last }, chunk);
        }
    }

    /// Deals units out to shards without copying, and hashes them.
    fn slice(&mut self, data: &Bytes, parity: &Bytes, units: &[usize]) -> ShardPieces {
        let scheme = self.codec.scheme();
        let needed = usize::from(scheme.data());
        let mut pieces: ShardPieces =
            vec![Vec::with_capacity(units.len()); usize::from(scheme.total())];
        let (mut data_at, mut parity_at) = (0, 0);
        for &unit in units {
            for (index, shard) in pieces.iter_mut().enumerate() {
                let (bytes, at) =
                    if index < needed { (data, &mut data_at) } else { (parity, &mut parity_at) };
                shard.push(bytes.slice(*at..*at + unit));
                *at += unit;
            }
            self.shard_len += unit as u64;
        }
        for (hasher, shard) in self.hashers.iter_mut().zip(&pieces) {
            for unit in shard {
                hasher.update(unit);
            }
        }
        pieces
    }

    /// The lengths and roots, after the last batch.
    pub fn finish(self) -> SegmentEnd {
        let root = |hasher: &blake3::Hasher| Root(*hasher.finalize().as_bytes());
        SegmentEnd {
            len: self.len,
            shard_len: self.shard_len,
            roots: self.hashers.iter().map(root).collect(),
        }
    }
}
