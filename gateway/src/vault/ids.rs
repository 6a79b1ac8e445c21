//! Names of metadata segments: ids that can be found without the database, and
//! that nodes cannot tell from others.
//!
//! ```text
//! 0      4     5     6       7          13      16
//! "SVM1" kind  data  parity  number     piece        encrypted by AES-256 as one block
//!        u8    u8    u8      u48        u24
//! ```
//!
//! Whoever has the key decrypts any id that a node lists and sees by the magic
//! whether it is one of these. A random id of an object's segment looks like
//! one with a probability of less than 2^-38; what it names would then fail to
//! open. Numbers are milliseconds since 1970, and none is given out twice: they
//! need no memory to be new, and say when the segment was made.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use erasure::Scheme;
use protocol::SegmentId;

const MAGIC: [u8; 4] = *b"SVM1";

/// The largest number of a segment.
pub const NUMBER_MAX: u64 = (1 << 48) - 1;

/// The largest number of a piece.
pub const PIECE_MAX: u32 = (1 << 24) - 1;

/// What a metadata segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A part of a snapshot of the database file.
    Piece = 1,
    /// Says that all pieces of a snapshot are stored.
    End = 2,
    /// Commits.
    Log = 3,
    /// Says that there were no commits.
    Beat = 4,
}

/// The name of a metadata segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultId {
    /// When it was made, and its place in the order of all.
    pub number: u64,
    /// What it holds.
    pub kind: Kind,
    /// Of a snapshot's piece: which one.
    pub piece: u32,
    /// How many of its shards bring it back.
    pub data: u8,
    /// How many more there are.
    pub parity: u8,
}

impl VaultId {
    /// How it is coded.
    pub fn scheme(self) -> Option<Scheme> {
        Scheme::new(self.data.try_into().ok()?, self.parity.try_into().ok()?)
    }

    /// The bytes that are encrypted.
    pub fn to_block(self) -> [u8; 16] {
        assert!(self.number <= NUMBER_MAX && self.piece <= PIECE_MAX);
        let mut block = [0; 16];
        block[..4].copy_from_slice(&MAGIC);
        block[4..7].copy_from_slice(&[self.kind as u8, self.data, self.parity]);
        block[7..13].copy_from_slice(&self.number.to_le_bytes()[..6]);
        block[13..].copy_from_slice(&self.piece.to_le_bytes()[..3]);
        block
    }

    /// Reads what [`VaultId::to_block`] wrote.
    fn of_block(block: [u8; 16]) -> Option<Self> {
        let (magic, rest) = block.split_first_chunk::<4>()?;
        if *magic != MAGIC {
            return None;
        }
        let kind = match rest[0] {
            1 => Kind::Piece,
            2 => Kind::End,
            3 => Kind::Log,
            4 => Kind::Beat,
            _ => return None,
        };
        let wide =
            |bytes: &[u8]| bytes.iter().rev().fold(0u64, |sum, &byte| (sum << 8) | u64::from(byte));
        let id = Self {
            number: wide(&rest[3..9]),
            kind,
            piece: u32::try_from(wide(&rest[9..12])).expect("three bytes"),
            data: rest[1],
            parity: rest[2],
        };
        id.scheme().is_some().then_some(id)
    }
}

/// Encrypts and decrypts names.
#[derive(Clone)]
pub struct IdKey(Aes256);

impl IdKey {
    /// The permutation of this key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aes256::new(&Array::from(*key)))
    }

    /// The id under which nodes keep it.
    pub fn segment(&self, id: VaultId) -> SegmentId {
        let mut block = Array::from(id.to_block());
        self.0.encrypt_block(&mut block);
        SegmentId(block.into())
    }

    /// What is kept under this id; `None` if it is no metadata of ours.
    pub fn find(&self, segment: SegmentId) -> Option<VaultId> {
        let mut block = Array::from(segment.0);
        self.0.decrypt_block(&mut block);
        VaultId::of_block(block.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOG: VaultId = VaultId {
        number: 1_764_000_000_123,
        kind: Kind::Log,
        piece: 0x0a_0b_0c,
        data: 2,
        parity: 4,
    };

    #[test]
    fn the_id_bytes_do_not_change() {
        assert_eq!(hex::encode(LOG.to_block()), "53564d310302047be897b69a010c0b0a");
        let segment = IdKey::new(&[7; 32]).segment(LOG);
        assert_eq!(hex::encode(segment.0), "3d73e301a55fafe982ba6032398e690b");
    }

    #[test]
    fn names_sort_by_number_first() {
        let later = VaultId { number: LOG.number + 1, kind: Kind::Piece, piece: 0, ..LOG };
        assert!(LOG < later);
    }

    proptest! {
        /// Every name is found again with its key, and with no other.
        #[test]
        fn a_name_is_found_with_its_key_alone(
            number in 0..=NUMBER_MAX, piece in 0..=PIECE_MAX, kind in 1u8..=4,
            data in 1u8..=127, parity in 1u8..=128, key: [u8; 32], other: [u8; 32],
        ) {
            prop_assume!(key != other);
            let kind = [Kind::Piece, Kind::End, Kind::Log, Kind::Beat][usize::from(kind) - 1];
            let id = VaultId { number, kind, piece, data, parity };
            let segment = IdKey::new(&key).segment(id);
            prop_assert_eq!(IdKey::new(&key).find(segment), Some(id));
            prop_assert_eq!(IdKey::new(&other).find(segment), None);
        }

        /// Ids of others are no names.
        #[test]
        fn foreign_ids_are_not_ours(id: [u8; 16], key: [u8; 32]) {
            prop_assert_eq!(IdKey::new(&key).find(SegmentId(id)), None);
        }
    }
}
