//! The names of things: fixed-size identifiers that print short.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Why a text is not an identifier.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("expected {expected} hex digits for {what}, got {got:?}")]
pub struct IdError {
    what: &'static str,
    expected: usize,
    got: String,
}

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $tag:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Eight hex digits tell ids apart in a log line.
                let [a, b, c, d, ..] = self.0;
                write!(f, concat!($tag, ":{:02x}{:02x}{:02x}{:02x}"), a, b, c, d)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError {
                    what: stringify!($name),
                    expected: 2 * $len,
                    got: text.chars().take(80).collect(),
                })?;
                Ok(Self(bytes))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

byte_id!(
    /// A storage node: its Ed25519 public key.
    NodeId, 32, "node"
);
byte_id!(
    /// A gateway: its Ed25519 public key.
    GatewayId, 32, "gateway"
);
byte_id!(
    /// The ledger: the Ed25519 public key of its sequencer.
    LedgerId, 32, "ledger"
);
byte_id!(
    /// One network. Part of everything that is signed, so that nothing can be
    /// carried from one network to another.
    ChainId, 16, "chain"
);
byte_id!(
    /// Who pays.
    AccountId, 16, "account"
);
byte_id!(
    /// One life of a node's data folder. A wiped folder is a new incarnation,
    /// and what the old one held is lost.
    Incarnation, 16, "incarnation"
);
byte_id!(
    /// Up to 64 MiB of an object's bytes: the unit of placement and repair.
    /// Random, and never used again.
    SegmentId, 16, "segment"
);
byte_id!(
    /// The BLAKE3 hash of a shard's bytes, which is also the root of its hash
    /// tree (see [`crate::tree`]).
    Root, 32, "root"
);

/// One node's share of a segment. Write-once: a node refuses other content for
/// an id that it holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId {
    /// The segment it belongs to.
    pub segment: SegmentId,
    /// Its number in the scheme: data shards first, then parity.
    pub index: u8,
}

impl ShardId {
    /// The id that comes first.
    pub const FIRST: Self = Self { segment: SegmentId([0; 16]), index: 0 };

    /// The id that follows in order; `None` after the last.
    pub fn next(self) -> Option<Self> {
        if let Some(index) = self.index.checked_add(1) {
            return Some(Self { index, ..self });
        }
        let segment = u128::from_be_bytes(self.segment.0).checked_add(1)?;
        Some(Self { segment: SegmentId(segment.to_be_bytes()), index: 0 })
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.segment.0;
        write!(f, "shard:{a:02x}{b:02x}{c:02x}{d:02x}/{}", self.index)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:02x}", self.segment, self.index)
    }
}

/// A settlement period, counted from 0 at genesis.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! key_id {
    ($($name:ident)*) => {$(
        impl From<PublicKey> for $name {
            fn from(key: PublicKey) -> Self {
                Self(key.0)
            }
        }
        impl From<$name> for PublicKey {
            fn from(id: $name) -> Self {
                Self(id.0)
            }
        }
    )*};
}

byte_id!(
    /// An Ed25519 public key before it is known whose it is.
    PublicKey, 32, "key"
);
key_id!(NodeId GatewayId LedgerId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_short_for_people_and_whole_for_machines() {
        let node = NodeId([0xab; 32]);
        assert_eq!(format!("{node:?}"), "node:abababab");
        assert_eq!(node.to_string(), "ab".repeat(32));
        assert_eq!(node.to_string().parse(), Ok(node));
    }

    #[test]
    fn shards_follow_each_other_in_order() {
        let shard = |byte, index| ShardId { segment: SegmentId([byte; 16]), index };
        assert_eq!(shard(7, 3).next(), Some(shard(7, 4)));
        let last = shard(7, 255).next().unwrap();
        assert_eq!((last.segment.0[15], last.index), (8, 0));
        assert!(shard(7, 255) < last && last < shard(8, 0));
        assert_eq!(shard(255, 255).next(), None);
    }

    #[test]
    fn a_wrong_id_is_named() {
        let error = "zz".parse::<AccountId>().unwrap_err();
        assert_eq!(error.to_string(), "expected 32 hex digits for AccountId, got \"zz\"");
    }
}
