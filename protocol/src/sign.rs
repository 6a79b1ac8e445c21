//! What is signed, and how: Ed25519 over a BLAKE3 `derive_key` digest whose
//! context names the type and its version.
//!
//! ```text
//! digest    = BLAKE3 derive_key(context = DOMAIN, material = canonical bytes)
//! signature = Ed25519(key, digest)
//! ```
//!
//! Two types never share a domain, so a signature over one thing can never
//! stand for another. Verification is always `verify_strict`: a replicated
//! ledger forks when two verifiers disagree about crafted signatures.

use std::fmt;

use ed25519_dalek::{Signature as DalekSignature, VerifyingKey};
use thiserror::Error;

use crate::ids::PublicKey;
use crate::keys::{SecretKey, is_signable};
use crate::wire::{Reader, Wire, WireError, Writer};

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sig:{}", hex::encode(&self.0[..4]))
    }
}

impl Wire for Signature {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.0);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self(from.array()?))
    }
}

/// The signature does not belong to this key and this content.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the signature of {0:?} does not verify")]
pub struct BadSignature(pub PublicKey);

/// Something that can be signed.
pub trait Signed {
    /// The type and its version, unique in the project, never changed.
    const DOMAIN: &'static str;
    /// Writes what is signed: everything but the signature itself.
    fn write_signed(&self, out: &mut Writer);
}

/// The digest that a signature covers.
pub fn digest<T: Signed>(value: &T) -> [u8; 32] {
    let mut signed = Writer::default();
    value.write_signed(&mut signed);
    blake3::derive_key(T::DOMAIN, &signed.0)
}

/// Signs `value`.
pub fn sign<T: Signed>(key: &SecretKey, value: &T) -> Signature {
    key.sign_digest(&digest(value))
}

/// Verifies that `by` signed `value`.
pub fn verify<T: Signed>(
    by: impl Into<PublicKey>,
    value: &T,
    signature: &Signature,
) -> Result<(), BadSignature> {
    let by = by.into();
    let bad = BadSignature(by);
    let Ok(key) = VerifyingKey::from_bytes(&by.0) else { return Err(bad) };
    let signature = DalekSignature::from_bytes(&signature.0);
    key.verify_strict(&digest(value), &signature).map_err(|_| bad)
}

/// Verifies that `by` signed this text itself ([`SecretKey::sign_text`]).
pub fn verify_text(
    by: impl Into<PublicKey>,
    text: &str,
    signature: &Signature,
) -> Result<(), BadSignature> {
    let by = by.into();
    let bad = BadSignature(by);
    let Ok(key) = VerifyingKey::from_bytes(&by.0) else { return Err(bad) };
    if !is_signable(text) {
        return Err(bad);
    }
    let signature = DalekSignature::from_bytes(&signature.0);
    key.verify_strict(text.as_bytes(), &signature).map_err(|_| bad)
}

/// Whether these bytes are a public key that anybody should deal with: on the
/// curve and of full order. Asked once, at registration.
pub fn is_sound_key(key: impl Into<PublicKey>) -> bool {
    VerifyingKey::from_bytes(&key.into().0).is_ok_and(|key| !key.is_weak())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Note(&'static [u8]);
    impl Signed for Note {
        const DOMAIN: &'static str = "stratos test note v1";
        fn write_signed(&self, out: &mut Writer) {
            out.bytes(self.0);
        }
    }
    struct Order(&'static [u8]);
    impl Signed for Order {
        const DOMAIN: &'static str = "stratos test order v1";
        fn write_signed(&self, out: &mut Writer) {
            out.bytes(self.0);
        }
    }

    #[test]
    fn a_signature_stands_for_one_type_one_content_one_key() {
        let key = SecretKey::from_seed([1; 32]);
        let other = SecretKey::from_seed([2; 32]);
        let signature = sign(&key, &Note(b"pay"));
        assert_eq!(verify(key.public(), &Note(b"pay"), &signature), Ok(()));
        assert!(verify(key.public(), &Note(b"pay!"), &signature).is_err());
        assert!(verify(other.public(), &Note(b"pay"), &signature).is_err());
        assert!(verify(key.public(), &Order(b"pay"), &signature).is_err());
    }

    #[test]
    fn a_digest_never_stands_for_text_nor_text_for_a_digest() {
        let key = SecretKey::from_seed([1; 32]);
        let text = "stratos/00 and enough to be longer than a digest";
        let signature = key.sign_text(text);
        assert_eq!(verify_text(key.public(), text, &signature), Ok(()));
        assert!(verify_text(key.public(), &text[1..], &signature).is_err());
        let digest = "d".repeat(32);
        let signature = key.sign_digest(digest.as_bytes().try_into().unwrap());
        assert!(verify_text(key.public(), &digest, &signature).is_err());
    }

    #[test]
    fn weak_keys_are_not_sound() {
        // The neutral element: a key of order one, for which signatures can be made up.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert!(!is_sound_key(PublicKey(neutral)));
        assert!(is_sound_key(SecretKey::from_seed([1; 32]).public()));
    }
}
