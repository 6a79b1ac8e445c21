//! The log of all entries ever: an append-only Merkle tree as in RFC 6962,
//! with SHA-256. Its leaves are the hashes of entries ([`Entry::hash`]).
//!
//! An inclusion proof says "my receipt was counted", a consistency proof
//! "history was not rewritten"; both need nothing but a signed header.
//!
//! [`Entry::hash`]: crate::entry::Entry::hash

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use sha2::Sha256;

use crate::hash::Hash;

/// A log of this size has no place in any memory, and the proofs' arithmetic
/// ends there.
const SIZE_MAX: u64 = u64::MAX / 4;

/// The log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    tree: MemoryBackedTree<Sha256, [u8; 32]>,
}

impl Log {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.tree.push(leaf.0);
    }

    /// How many entries it has.
    pub fn size(&self) -> u64 {
        self.tree.len()
    }

    /// Stands for all entries.
    pub fn root(&self) -> Hash {
        Hash((*self.tree.root().as_bytes()).into())
    }

    /// Proves that the entry at `index` is in the log as it is now.
    pub fn prove_inclusion(&self, index: u64) -> Option<Vec<Hash>> {
        let index = usize::try_from(index).ok().filter(|_| index < self.size())?;
        Some(hashes(self.tree.prove_inclusion(index).as_bytes()))
    }

    /// Proves that the log, when it had `old_size` entries, was the beginning
    /// of what it is now.
    pub fn prove_consistency(&self, old_size: u64) -> Option<Vec<Hash>> {
        if old_size == 0 {
            return None;
        }
        let added = usize::try_from(self.size().checked_sub(old_size)?).ok()?;
        Some(hashes(self.tree.prove_consistency(added).as_bytes()))
    }
}

/// Whether `proof` shows that `leaf` is entry number `index` of the log with
/// this root and size.
pub fn verify_inclusion(root: Hash, size: u64, index: u64, leaf: Hash, proof: &[Hash]) -> bool {
    if size > SIZE_MAX {
        return false;
    }
    let Ok(proof) = InclusionProof::<Sha256>::try_from_bytes(bytes(proof)) else { return false };
    RootHash::new(root.0.into(), size).verify_inclusion(&leaf.0, index, &proof).is_ok()
}

/// Whether `proof` shows that the log with the old root and size was the
/// beginning of the one with the new root and size.
pub fn verify_consistency(old: (Hash, u64), new: (Hash, u64), proof: &[Hash]) -> bool {
    if old.1 > SIZE_MAX || new.1 > SIZE_MAX {
        return false;
    }
    let Ok(proof) = ConsistencyProof::<Sha256>::try_from_bytes(bytes(proof)) else { return false };
    let root = |(hash, size): (Hash, u64)| RootHash::<Sha256>::new(hash.0.into(), size);
    root(new).verify_consistency(&root(old), &proof).is_ok()
}

fn hashes(proof: &[u8]) -> Vec<Hash> {
    proof.as_chunks::<32>().0.iter().map(|&hash| Hash(hash)).collect()
}

fn bytes(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(n: u64) -> Hash {
        Hash(*blake3::hash(&n.to_le_bytes()).as_bytes())
    }

    fn log(size: u64) -> Log {
        let mut log = Log::default();
        (0..size).for_each(|n| log.push(leaf(n)));
        log
    }

    #[test]
    fn roots_are_those_of_rfc_6962() {
        let empty = hex::encode(log(0).root().0);
        assert_eq!(empty, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let inner = |left: [u8; 32], right: [u8; 32]| {
            use sha2::Digest;
            let bytes = [&[1], left.as_slice(), right.as_slice()].concat();
            <[u8; 32]>::from(Sha256::digest(bytes))
        };
        let outer = |n| {
            use sha2::Digest;
            <[u8; 32]>::from(Sha256::digest([&[0], leaf(n).0.as_slice()].concat()))
        };
        assert_eq!(log(3).root().0, inner(inner(outer(0), outer(1)), outer(2)));
    }

    #[test]
    fn every_entry_can_be_proved_and_no_other() {
        for size in 1..20 {
            let log = log(size);
            for index in 0..size {
                let proof = log.prove_inclusion(index).unwrap();
                assert!(verify_inclusion(log.root(), size, index, leaf(index), &proof));
                assert!(!verify_inclusion(log.root(), size, index, leaf(index + 1), &proof));
            }
            assert_eq!(log.prove_inclusion(size), None);
        }
    }

    #[test]
    fn a_longer_log_is_shown_to_continue_a_shorter_one() {
        let new = log(13);
        for old_size in 1..=13 {
            let old = log(old_size);
            let proof = new.prove_consistency(old_size).unwrap();
            let (was, is) = ((old.root(), old_size), (new.root(), 13));
            assert!(verify_consistency(was, is, &proof));
            assert!(!verify_consistency((leaf(0), old_size), is, &proof));
        }
        assert_eq!(new.prove_consistency(0), None);
        assert_eq!(new.prove_consistency(14), None);
    }

    #[test]
    fn sizes_beyond_reason_are_refused() {
        assert!(!verify_inclusion(leaf(0), u64::MAX, u64::MAX - 1, leaf(0), &[leaf(1)]));
        assert!(!verify_consistency((leaf(0), 1), (leaf(0), u64::MAX), &[leaf(1)]));
    }
}
