//! Proofs that a range of bytes belongs to a shard, so that a lying or rotten
//! node costs a retry and never a wrong byte.
//!
//! A shard's root is the BLAKE3 hash of its bytes. BLAKE3 is a tree of 1 KiB
//! chunks; we keep its upper part, whose leaves are groups of 16 chunks
//! (16 KiB), as the *outboard*: pairs of child hashes in post-order, 64 bytes
//! for each pair. The encoding of a range is that of the crate `bao-tree`:
//! hash pairs and groups in pre-order, nothing else.
//!
//! Not here: where outboards are kept (`storage-node`), and what happens to a
//! node whose bytes do not verify (`gateway`).

use std::io;
use std::ops::Range;

use bao_tree::io::outboard::PostOrderMemOutboard;
use bao_tree::io::sync::{ReadAt, Size, encode_ranges};
use bao_tree::iter::{BaoChunk, ResponseIter};
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use bytes::Bytes;
use thiserror::Error;

use crate::ids::Root;

/// Bytes of one group, the smallest range that can be proved.
pub const GROUP: u64 = 16 * 1024;

/// 2^4 chunks of 1 KiB make a group.
const BLOCK_SIZE: BlockSize = BlockSize::from_chunk_log(4);

/// Why an encoding was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ProofError {
    /// A hash does not match its parent, down to the root.
    #[error("bytes at {0} do not belong to the shard")]
    Mismatch(u64),
    /// The encoding is shorter or longer than the range asks for.
    #[error("the encoding has the wrong length")]
    Length,
}

fn tree(len: u64) -> BaoTree {
    BaoTree::new(len, BLOCK_SIZE)
}

/// The groups that cover `bytes`. A range that reaches the last group is left
/// open: otherwise `bao-tree` would cut a short last group into chunks.
fn groups(bytes: &Range<u64>, shard_len: u64) -> ChunkRanges {
    let covered = covered(bytes, shard_len);
    let start = ChunkNum(covered.start / 1024);
    if covered.end == shard_len {
        return ChunkRanges::from(start..);
    }
    ChunkRanges::from(start..ChunkNum(covered.end / 1024))
}

/// The bytes that an encoding of `bytes` carries: whole groups, cut at the end
/// of the shard.
pub fn covered(bytes: &Range<u64>, shard_len: u64) -> Range<u64> {
    bytes.start / GROUP * GROUP..(bytes.end.div_ceil(GROUP) * GROUP).min(shard_len)
}

/// Computes root and outboard of bytes that arrive in pieces, in one pass.
#[derive(Debug, Default)]
pub struct TreeHasher {
    hasher: blake3::Hasher,
    /// Bytes of the open group.
    filled: u64,
    /// Chaining values of the full groups.
    groups: Vec<[u8; 32]>,
    len: u64,
}

impl TreeHasher {
    /// Takes in the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.filled == GROUP {
                self.close_group();
            }
            let room = usize::try_from(GROUP - self.filled).expect("a group fits in memory");
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.hasher.update(now);
            self.filled += now.len() as u64;
            self.len += now.len() as u64;
            bytes = rest;
        }
    }

    fn close_group(&mut self) {
        self.groups.push(self.hasher.finalize_non_root());
        self.hasher = blake3::Hasher::new();
        self.hasher.set_input_offset(self.len);
        self.filled = 0;
    }

    /// Bytes taken in so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was taken in.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The root, and the outboard in post-order.
    pub fn finish(mut self) -> (Root, Vec<u8>) {
        if self.groups.is_empty() {
            // A single group is its own root and needs no outboard.
            return (Root(*self.hasher.finalize().as_bytes()), Vec::new());
        }
        self.groups.push(self.hasher.finalize_non_root());
        let mut leaves = self.groups.into_iter();
        let mut stack: Vec<[u8; 32]> = Vec::with_capacity(16);
        let mut outboard = Vec::new();
        for item in tree(self.len).post_order_chunks_iter() {
            match item {
                BaoChunk::Leaf { .. } => {
                    stack.push(leaves.next().expect("the tree has as many leaves as groups"));
                }
                BaoChunk::Parent { is_root, .. } => {
                    let right = stack.pop().expect("a parent follows its children");
                    let left = stack.pop().expect("a parent follows its children");
                    outboard.extend_from_slice(&left);
                    outboard.extend_from_slice(&right);
                    stack.push(parent(&left, &right, is_root));
                }
            }
        }
        (Root(stack.pop().expect("the last parent is the root")), outboard)
    }
}

fn parent(left: &[u8; 32], right: &[u8; 32], is_root: bool) -> [u8; 32] {
    if is_root {
        *merge_subtrees_root(left, right, Mode::Hash).as_bytes()
    } else {
        merge_subtrees_non_root(left, right, Mode::Hash)
    }
}

fn leaf(start_chunk: u64, bytes: &[u8], is_root: bool) -> [u8; 32] {
    if is_root {
        return *blake3::hash(bytes).as_bytes();
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(start_chunk * 1024);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

/// Bytes of the outboard of a shard of `len` bytes.
pub fn outboard_len(len: u64) -> u64 {
    tree(len).outboard_size()
}

/// Encodes the groups that cover `bytes`, for a reader who has the root.
///
/// The data is not verified here: the reader does that in any case.
pub fn encode(
    data: impl ReadAt + Size,
    shard_len: u64,
    outboard: &[u8],
    bytes: &Range<u64>,
) -> io::Result<Vec<u8>> {
    let outboard = PostOrderMemOutboard {
        // `encode_ranges` does not look at the root.
        root: blake3::Hash::from([0; 32]),
        tree: tree(shard_len),
        data: outboard,
    };
    let covered = covered(bytes, shard_len);
    let room = usize::try_from(covered.end - covered.start + 64 * 64).unwrap_or(0);
    let mut out = Vec::with_capacity(room);
    encode_ranges(data, &outboard, &groups(bytes, shard_len), &mut out).map_err(io::Error::from)?;
    Ok(out)
}

/// Verifies an encoding of `bytes` against the root and returns the whole
/// groups it carries (see [`covered`]), in order and without copying them.
pub fn decode(
    root: &Root,
    shard_len: u64,
    bytes: &Range<u64>,
    encoded: &Bytes,
) -> Result<Vec<Bytes>, ProofError> {
    let mut stack = vec![root.0];
    let mut at = 0;
    let mut take = |len: usize| {
        let end = at + len;
        if end > encoded.len() {
            return Err(ProofError::Length);
        }
        let piece = encoded.slice(at..end);
        at = end;
        Ok(piece)
    };
    let mut out = Vec::new();
    for item in ResponseIter::new(tree(shard_len), groups(bytes, shard_len)) {
        let expected = stack.pop().ok_or(ProofError::Length)?;
        match item {
            BaoChunk::Parent { is_root, left, right, node, .. } => {
                let pair = take(64)?;
                let (l, r) = (hash_at(&pair[..32]), hash_at(&pair[32..]));
                if parent(&l, &r, is_root) != expected {
                    return Err(ProofError::Mismatch(node.chunk_range().start.to_bytes()));
                }
                if right {
                    stack.push(r);
                }
                if left {
                    stack.push(l);
                }
            }
            BaoChunk::Leaf { size, is_root, start_chunk, .. } => {
                let piece = take(size)?;
                if leaf(start_chunk.0, &piece, is_root) != expected {
                    return Err(ProofError::Mismatch(start_chunk.to_bytes()));
                }
                out.push(piece);
            }
        }
    }
    if at == encoded.len() { Ok(out) } else { Err(ProofError::Length) }
}

fn hash_at(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("a hash is 32 bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
    }

    fn hashed(data: &[u8]) -> (Root, Vec<u8>) {
        let mut hasher = TreeHasher::default();
        for piece in data.chunks(7001) {
            hasher.update(piece);
        }
        hasher.finish()
    }

    /// `bao-tree` and `blake3` are the oracles.
    #[test]
    fn root_and_outboard_are_those_of_bao_tree() {
        for len in [0, 1, 1023, 1024, 16383, 16384, 16385, 32768, 65536, 65537, 1_000_003] {
            let data = sample(len);
            let (root, outboard) = hashed(&data);
            assert_eq!(&root.0, blake3::hash(&data).as_bytes(), "{len}");
            let oracle = PostOrderMemOutboard::create(&data, BLOCK_SIZE);
            assert_eq!(outboard, oracle.data, "{len}");
            assert_eq!(outboard.len() as u64, outboard_len(len as u64));
        }
    }

    proptest! {
        #[test]
        fn a_range_verifies_and_any_changed_bit_does_not(
            len in 1usize..300_000, a in any::<prop::sample::Index>(),
            b in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let data = sample(len);
            let (root, outboard) = hashed(&data);
            let (a, b) = (a.index(len) as u64, b.index(len) as u64);
            let range = a.min(b)..a.max(b) + 1;
            let encoded = encode(data.as_slice(), len as u64, &outboard, &range).unwrap();

            let pieces = decode(&root, len as u64, &range, &Bytes::from(encoded.clone())).unwrap();
            let covered = covered(&range, len as u64);
            let expected = &data[covered.start as usize..covered.end as usize];
            prop_assert_eq!(pieces.concat(), expected);

            let mut bad = encoded.clone();
            let at = flip.index(bad.len());
            bad[at] ^= 1 << bit;
            prop_assert!(decode(&root, len as u64, &range, &Bytes::from(bad)).is_err());
            let short = Bytes::copy_from_slice(&encoded[..encoded.len() - 1]);
            prop_assert!(decode(&root, len as u64, &range, &short).is_err());
        }
    }
}
