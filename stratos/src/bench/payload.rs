//! The bytes that a benchmark uploads.
//!
//! One pseudo-random buffer is shared by all uploads, so that the client spends
//! next to nothing on them and nothing can compress them.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::client::{Body, PayloadHash, repeated};
use crate::units::MIB;

const BUFFER_MAX: u64 = 4 * MIB;

/// Makes bodies of the lengths it was prepared for.
pub struct Payload {
    buffer: Bytes,
    hashes: BTreeMap<u64, PayloadHash>,
}

impl Payload {
    /// Prepares bodies of any length up to the largest of `lens`; with `sign`,
    /// those of `lens` are hashed now, once.
    pub fn new(lens: &[u64], sign: bool) -> Self {
        let largest = lens.iter().copied().max().unwrap_or(0);
        let buffer = pseudo_random(largest.clamp(1, BUFFER_MAX) as usize);
        let signed = lens.iter().filter(|_| sign);
        let hashes = signed.map(|len| (*len, hash(&buffer, *len))).collect();
        Self { buffer, hashes }
    }

    /// A body of `len` bytes.
    pub fn body(&self, len: u64) -> Body {
        let body = Body::repeat(self.buffer.clone(), len);
        match self.hashes.get(&len) {
            Some(hash) => body.with_hash(hash.clone()),
            None => body,
        }
    }
}

fn hash(buffer: &Bytes, len: u64) -> PayloadHash {
    let mut hash = Sha256::new();
    repeated(buffer.clone(), len).for_each(|piece| hash.update(&piece));
    PayloadHash::Sha256(hash.finalize().into())
}

fn pseudo_random(len: usize) -> Bytes {
    // Marsaglia's xorshift64: good enough to defeat compression.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_signed_body_has_the_hash_of_its_bytes() {
        let len = 2 * BUFFER_MAX + 5;
        let payload = Payload::new(&[len, 3], true);
        for len in [len, 3] {
            let body = payload.body(len);
            let announced = body.hash().clone();
            let bytes = body.collect().await.expect("a body").to_bytes();
            assert_eq!(bytes.len() as u64, len);
            assert_eq!(announced, PayloadHash::Sha256(Sha256::digest(&bytes).into()));
        }
    }

    #[test]
    fn bodies_are_unsigned_unless_asked() {
        assert_eq!(*Payload::new(&[9], false).body(9).hash(), PayloadHash::Unsigned);
        assert!(Payload::new(&[0], false).body(0).is_empty());
    }

    #[test]
    fn the_bytes_do_not_repeat_in_the_buffer() {
        let bytes = pseudo_random(4096);
        let mut words: Vec<&[u8]> = bytes.chunks(8).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 512);
    }
}
