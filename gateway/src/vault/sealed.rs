//! From a payload to shards and back: sealed, then coded.
//!
//! ```text
//! 0     32                                              end - 16   end
//! salt  length u32, payload, zeros: sealed by AES-256-GCM         tag
//! ```
//!
//! The key is made from the vault's key and the salt, which is random, so that
//! it seals one segment only; the associated data is the segment's name (the
//! block of `ids` before it is encrypted). Zeros fill it up to `data` equal
//! units of whole steps of 512 bytes, which are the data shards.
//!
//! Shards are trusted for nothing: a node may name any root for what it holds.
//! Only what opens is believed; if it does not, other shards are tried.

use std::collections::BTreeMap;

use bytes::Bytes;
use erasure::{Codec, Engine};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::ids::{IdKey, VaultId};
use super::payload::len_max;
use crate::object::cipher::{Key, OpenError, TAG};

/// Bytes of the salt.
const SALT: usize = 32;

/// Shards are multiples of this, so that lengths tell little.
const STEP: usize = 512;

/// Ways to choose shards that are tried before a segment counts as spoilt.
const TRIES: usize = 512;

/// The most bytes that a shard of this segment can have.
pub fn shard_len_max(id: VaultId) -> u64 {
    let data = usize::from(id.data.max(1));
    let sealed = (SALT + 4 + len_max(id.kind) + TAG).next_multiple_of(STEP * data);
    (sealed / data) as u64
}

/// The keys of the vault, made from the master key.
#[derive(Clone)]
pub struct VaultKeys {
    ids: IdKey,
    seal: Zeroizing<[u8; 32]>,
}

impl VaultKeys {
    /// Those of a gateway with this master key.
    pub fn new(master: &Key) -> Self {
        let derive = |purpose| Zeroizing::new(*master.derive(purpose).bytes());
        Self {
            ids: IdKey::new(&derive("stratos vault id v1")),
            seal: derive("stratos vault seal v1"),
        }
    }

    /// Names of segments.
    pub fn ids(&self) -> &IdKey {
        &self.ids
    }

    fn aead(&self, salt: &[u8; SALT]) -> LessSafeKey {
        let mut hasher = blake3::Hasher::new_derive_key("stratos vault segment v1");
        hasher.update(self.seal.as_ref()).update(salt);
        let key = Zeroizing::new(*hasher.finalize().as_bytes());
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("a key has 32 bytes");
        LessSafeKey::new(key)
    }

    /// Seals a payload; `salt` is random.
    fn seal(&self, id: VaultId, salt: [u8; SALT], payload: &[u8]) -> Vec<u8> {
        let step = STEP * usize::from(id.data);
        let len = (SALT + 4 + payload.len() + TAG).next_multiple_of(step);
        let mut sealed = Vec::with_capacity(len);
        sealed.extend_from_slice(&salt);
        let count = u32::try_from(payload.len()).expect("a payload is bounded");
        sealed.extend_from_slice(&count.to_le_bytes());
        sealed.extend_from_slice(payload);
        sealed.resize(len - TAG, 0);
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let tag = self
            .aead(&salt)
            .seal_in_place_separate_tag(nonce, Aad::from(id.to_block()), &mut sealed[SALT..])
            .expect("a payload is far below the limit of GCM");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    fn open(&self, id: VaultId, mut sealed: Vec<u8>) -> Result<Vec<u8>, OpenError> {
        let (salt, body) = sealed.split_first_chunk_mut::<SALT>().ok_or(OpenError)?;
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let plain = self
            .aead(salt)
            .open_in_place(nonce, Aad::from(id.to_block()), body)
            .map_err(|_| OpenError)?;
        let (len, rest) = plain.split_first_chunk::<4>().ok_or(OpenError)?;
        let len = u32::from_le_bytes(*len) as usize;
        Ok(rest.get(..len).ok_or(OpenError)?.to_vec())
    }

    /// The shards of a payload, sealed with a new salt.
    pub fn encode(&self, id: VaultId, payload: &[u8]) -> Vec<Bytes> {
        self.encode_with(id, protocol::keys::random(), payload)
    }

    fn encode_with(&self, id: VaultId, salt: [u8; SALT], payload: &[u8]) -> Vec<Bytes> {
        let scheme = id.scheme().expect("names are made of schemes");
        let mut coded = self.seal(id, salt, payload);
        let unit = coded.len() / usize::from(scheme.data());
        let mut parity = vec![0; unit * usize::from(scheme.parity())];
        Codec::new(scheme, Engine::default()).encode_stripe(&coded, &mut parity);
        coded.append(&mut parity);
        let coded = Bytes::from(coded);
        (0..coded.len() / unit).map(|at| coded.slice(at * unit..(at + 1) * unit)).collect()
    }

    /// The payload, from shards of which some may be wrong. Of each number there
    /// may be several.
    pub fn decode(&self, id: VaultId, shards: &[(u8, Bytes)]) -> Result<Vec<u8>, OpenError> {
        let scheme = id.scheme().ok_or(OpenError)?;
        let codec = Codec::new(scheme, Engine::default());
        let needed = usize::from(scheme.data());
        let mut by_len: BTreeMap<usize, Vec<&(u8, Bytes)>> = BTreeMap::new();
        for shard in shards {
            let (index, bytes) = shard;
            if *index < scheme.total() && !bytes.is_empty() && bytes.len().is_multiple_of(STEP) {
                by_len.entry(bytes.len()).or_default().push(shard);
            }
        }
        // Shards of one segment are equally long; the length that most have first.
        let mut groups: Vec<_> = by_len.into_iter().collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.len()));
        let mut left = TRIES;
        for (unit, group) in groups {
            for chosen in choices(group.len(), needed).take(left) {
                left -= 1;
                let mut units: Vec<Option<&[u8]>> = vec![None; usize::from(scheme.total())];
                for &at in &chosen {
                    units[usize::from(group[at].0)] = Some(&group[at].1);
                }
                let mut sealed = vec![0; unit * needed];
                if codec.decode_stripe(&units, &mut sealed).is_ok()
                    && let Ok(payload) = self.open(id, sealed)
                {
                    return Ok(payload);
                }
            }
        }
        Err(OpenError)
    }
}

/// Ways to choose `needed` of `count`: first neighbours, beginning at each, so
/// that a few wrong ones are soon avoided; then all in order.
fn choices(count: usize, needed: usize) -> impl Iterator<Item = Vec<usize>> {
    let is_enough = needed > 0 && count >= needed;
    let neighbours =
        (0..count).map(move |from| (0..needed).map(|at| (from + at) % count).collect());
    let first: Option<Vec<usize>> = is_enough.then(|| (0..needed).collect());
    let all = std::iter::successors(first, move |last| {
        let mut next = last.clone();
        let at = (0..needed).rev().find(|&at| next[at] < count - needed + at)?;
        next[at] += 1;
        for later in at + 1..needed {
            next[later] = next[later - 1] + 1;
        }
        Some(next)
    });
    neighbours.filter(move |_| is_enough).chain(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ids::Kind;
    use super::*;

    const ID: VaultId = VaultId { number: 77, kind: Kind::Log, piece: 0, data: 2, parity: 4 };

    fn keys() -> VaultKeys {
        VaultKeys::new(&Key::from_bytes([3; 32]))
    }

    #[test]
    fn the_bytes_of_shards_do_not_change() {
        let shards = keys().encode_with(ID, [5; SALT], b"what was committed");
        assert_eq!((shards.len(), shards[0].len()), (6, 512));
        let all: Vec<u8> = shards.concat();
        assert_eq!(
            blake3::hash(&all).to_hex().as_str(),
            "ce5ff82fe5e0732c85837fdbf6a957193d6d7f14967f23589ae78310d7afb107"
        );
    }

    #[test]
    fn choices_are_neighbours_then_all() {
        let all: Vec<_> = choices(3, 2).collect();
        let want = [[0, 1], [1, 2], [2, 0], [0, 1], [0, 2], [1, 2]];
        assert_eq!(all, want);
        assert_eq!(choices(1, 2).count(), 0);
    }

    #[test]
    fn another_key_or_name_opens_nothing() {
        let shards: Vec<_> = (0..).zip(keys().encode(ID, b"secret")).collect();
        assert_eq!(keys().decode(ID, &shards).unwrap(), b"secret");
        let other = VaultKeys::new(&Key::from_bytes([4; 32]));
        assert_eq!(other.decode(ID, &shards), Err(OpenError));
        assert_eq!(keys().decode(VaultId { number: 78, ..ID }, &shards), Err(OpenError));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Any `data` right shards are enough, whatever the others are.
        #[test]
        fn wrong_shards_are_left_out(
            payload in prop::collection::vec(any::<u8>(), 0..3000),
            right in prop::sample::subsequence(vec![0u8, 1, 2, 3, 4, 5], 2..=6),
            wrong in prop::collection::vec((0u8..6, any::<prop::sample::Index>()), 0..4),
        ) {
            let shards = keys().encode(ID, &payload);
            let mut held: Vec<(u8, Bytes)> = Vec::new();
            for (index, flip) in wrong {
                let mut bytes = shards[usize::from(index)].to_vec();
                let at = flip.index(bytes.len());
                bytes[at] ^= 1;
                held.push((index, bytes.into()));
            }
            held.extend(right.iter().map(|&index| (index, shards[usize::from(index)].clone())));
            prop_assert_eq!(keys().decode(ID, &held).unwrap(), payload);
        }
    }
}
