//! Encryption before encoding, always: nodes are strangers.
//!
//! Every content has a random 256-bit data key. Its chunks are sealed by
//! AES-256-GCM:
//!
//! ```text
//! nonce = segment u32 | chunk u32 | last u32 (1 for the last chunk of a segment)
//! aad   = the content id
//! ```
//!
//! A data key seals one content and nothing else, so a nonce never repeats. The
//! order, number and end of chunks are authenticated by the nonce, and which
//! content they belong to by the associated data.
//!
//! The data key is kept sealed by the bucket's key, that by the master key. A
//! BLAKE3 commitment tells the right key from a wrong one, which GCM alone
//! does not.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::meta::ContentId;

/// Bytes of an authentication tag.
pub const TAG: usize = 16;

/// Plain bytes of a full chunk: with its tag it fills a unit.
pub const CHUNK: usize = erasure::UNIT - TAG;

/// Plain bytes of a full segment.
pub const SEGMENT: u64 = 64 * 1024 * 1024;

/// Encrypted bytes of `plain` bytes of one segment.
pub fn sealed_len(plain: u64) -> u64 {
    plain + plain.div_ceil(CHUNK as u64) * TAG as u64
}

/// Why something could not be decrypted. Says no more on purpose.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("decryption failed: wrong key or changed bytes")]
pub struct OpenError;

/// A 256-bit key that seals other keys or chunks. Never printed.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; 32]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

impl Key {
    /// A new random key.
    pub fn generate() -> Self {
        Self(Zeroizing::new(protocol::keys::random()))
    }

    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A key for one purpose, made from this one.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Self {
        Self(Zeroizing::new(blake3::derive_key(purpose, self.0.as_ref())))
    }

    /// Its bytes, to make other keys from and to write it down.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Tells this key from any other, and nothing about it.
    pub fn commitment(&self) -> [u8; 32] {
        blake3::derive_key("stratos key commitment v1", self.0.as_ref())
    }

    fn aead(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, self.0.as_ref()).expect("a key has 32 bytes");
        LessSafeKey::new(key)
    }

    /// Seals a secret: random nonce, ciphertext, tag. `context` says what it
    /// is and must be the same to open it.
    pub fn seal(&self, context: &[u8], secret: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = protocol::keys::random();
        let mut sealed = Vec::with_capacity(NONCE_LEN + secret.len() + TAG);
        sealed.extend_from_slice(&nonce);
        let mut body = secret.to_vec();
        self.aead()
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut body,
            )
            .expect("a secret is far below the limit of GCM");
        sealed.extend_from_slice(&body);
        sealed
    }

    /// Opens what [`Key::seal`] sealed.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(OpenError)?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = self
            .aead()
            .open_in_place(nonce, Aad::from(context), &mut body)
            .map_err(|_| OpenError)?
            .len();
        body.truncate(len);
        Ok(body)
    }

    /// Seals another key.
    pub fn wrap(&self, context: &[u8], key: &Key) -> Vec<u8> {
        self.seal(context, key.0.as_ref())
    }

    /// Opens a key that [`Key::wrap`] sealed.
    pub fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Key, OpenError> {
        let bytes = self.open(context, wrapped)?;
        Ok(Self(Zeroizing::new(bytes.as_slice().try_into().map_err(|_| OpenError)?)))
    }
}

/// Seals and opens the chunks of one content.
pub struct ChunkCipher {
    aead: LessSafeKey,
    content: ContentId,
}

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkAt {
    /// The segment's number in the content.
    pub segment: u32,
    /// The chunk's number in the segment.
    pub chunk: u32,
    /// Whether it is the segment's last.
    pub last: bool,
}

impl ChunkAt {
    fn nonce(self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..4].copy_from_slice(&self.segment.to_le_bytes());
        nonce[4..8].copy_from_slice(&self.chunk.to_le_bytes());
        nonce[8..].copy_from_slice(&u32::from(self.last).to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

impl ChunkCipher {
    /// The cipher of `content`, whose data key is `key`.
    pub fn new(key: &Key, content: ContentId) -> Self {
        Self { aead: key.aead(), content }
    }

    /// Encrypts a chunk in place; the last [`TAG`] bytes take the tag.
    pub fn seal(&self, at: ChunkAt, chunk: &mut [u8]) {
        let (plain, tag) = chunk.split_at_mut(chunk.len() - TAG);
        let made = self
            .aead
            .seal_in_place_separate_tag(at.nonce(), Aad::from(self.content.0), plain)
            .expect("a chunk is far below the limit of GCM");
        tag.copy_from_slice(made.as_ref());
    }

    /// Decrypts a chunk in place; the last [`TAG`] bytes are left over.
    pub fn open(&self, at: ChunkAt, chunk: &mut [u8]) -> Result<(), OpenError> {
        self.aead
            .open_in_place(at.nonce(), Aad::from(self.content.0), chunk)
            .map(|_| ())
            .map_err(|_| OpenError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: ChunkAt = ChunkAt { segment: 1, chunk: 2, last: false };
    const CONTENT: ContentId = ContentId([7; 16]);

    #[test]
    fn lengths() {
        assert_eq!(sealed_len(0), 0);
        assert_eq!(sealed_len(1), 17);
        assert_eq!(sealed_len(CHUNK as u64), erasure::UNIT as u64);
        assert_eq!(sealed_len(CHUNK as u64 + 1), erasure::UNIT as u64 + 17);
    }

    #[test]
    fn a_wrapped_key_opens_only_in_its_context_and_by_its_key() {
        let (bucket, data) = (Key::generate(), Key::generate());
        let wrapped = bucket.wrap(b"bucket 1", &data);
        assert_eq!(bucket.unwrap(b"bucket 1", &wrapped).unwrap().commitment(), data.commitment());
        assert!(bucket.unwrap(b"bucket 2", &wrapped).is_err());
        assert!(Key::generate().unwrap(b"bucket 1", &wrapped).is_err());
        assert!(bucket.unwrap(b"bucket 1", &wrapped[..8]).is_err());
    }

    proptest! {
        /// A chunk opens at its place in its content, unchanged, and nowhere else.
        #[test]
        fn a_chunk_opens_only_as_what_it_was_sealed(
            plain in prop::collection::vec(any::<u8>(), 0..2000), flip in any::<prop::sample::Index>(),
        ) {
            let key = Key::from_bytes([9; 32]);
            let cipher = ChunkCipher::new(&key, CONTENT);
            let mut sealed = plain.clone();
            sealed.extend([0; TAG]);
            cipher.seal(AT, &mut sealed);

            let mut opened = sealed.clone();
            prop_assert_eq!(cipher.open(AT, &mut opened), Ok(()));
            prop_assert_eq!(&opened[..plain.len()], &plain[..]);

            for other in [
                ChunkAt { segment: 0, ..AT }, ChunkAt { chunk: 3, ..AT }, ChunkAt { last: true, ..AT },
            ] {
                prop_assert_eq!(cipher.open(other, &mut sealed.clone()), Err(OpenError));
            }
            let elsewhere = ChunkCipher::new(&key, ContentId([8; 16]));
            prop_assert_eq!(elsewhere.open(AT, &mut sealed.clone()), Err(OpenError));
            let at = flip.index(sealed.len());
            sealed[at] ^= 1;
            prop_assert_eq!(cipher.open(AT, &mut sealed), Err(OpenError));
        }
    }
}
