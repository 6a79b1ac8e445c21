//! Blocks: which entries came when, in which order, and what they add up to.
//!
//! ```text
//! 0        2      18      26         58       66            98        106         138
//! version  chain  height  prev hash  time ms  entries root  log size  state root  proposer
//! u16      16     u64     32         u64      32            u64       32          32
//! ```
//!
//! Block 0 holds no entries and builds on the hash of the genesis. Each later
//! one holds at least one entry and builds on the hash of the one before. The
//! entries root is that of the log of all entries ever, so a header is also a
//! signed head of the log; [`crate::checkpoint`] says the same in the form that
//! witnesses of any log know. Not here: why a block stands ([`finality`]).
//!
//! [`finality`]: crate::finality

use protocol::sign::{self, Signed};
use protocol::wire::{Reader, Wire, WireError, Writer};
use protocol::{ChainId, LedgerId};
use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::finality::Finality;
use crate::hash::Hash;

/// Most entries in a block.
pub const BLOCK_ENTRIES_MAX: usize = 1024;

/// Most bytes of entries in a block: as hex digits they fit the answer to a
/// query.
pub const BLOCK_BYTES_MAX: usize = 192 * 1024;

const VERSION: u16 = 1;

/// What is signed of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The network.
    pub chain: ChainId,
    /// Counts from 0.
    pub height: u64,
    /// The hash of the block before; of the genesis, for block 0.
    pub prev_hash: Hash,
    /// When it was made, in milliseconds since 1970. Never goes back.
    pub time_ms: u64,
    /// The root of the log after this block's entries.
    pub entries_root: Hash,
    /// How many entries the log has then.
    pub log_size: u64,
    /// The root of the state then.
    pub state_root: Hash,
    /// Who made it.
    pub proposer: LedgerId,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What is signed.
    pub header: Header,
    /// In the order in which they were applied.
    pub entries: Vec<Entry>,
    /// Why it stands.
    pub finality: Finality,
}

impl Header {
    /// Bytes of the encoding.
    pub const LEN: usize = 170;

    /// What the next block builds on.
    pub fn hash(&self) -> Hash {
        Hash(sign::digest(self))
    }
}

impl Signed for Header {
    const DOMAIN: &'static str = "stratos ledger block v1";
    fn write_signed(&self, out: &mut Writer) {
        self.write(out);
    }
}

impl Wire for Header {
    fn write(&self, out: &mut Writer) {
        out.u16(VERSION);
        self.chain.write(out);
        out.u64(self.height);
        self.prev_hash.write(out);
        out.u64(self.time_ms);
        self.entries_root.write(out);
        out.u64(self.log_size);
        self.state_root.write(out);
        self.proposer.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let version = from.u16()?;
        if version != VERSION {
            let value = u64::from(version);
            return Err(WireError::Unknown { what: "block version", value });
        }
        Ok(Self {
            chain: ChainId::read(from)?,
            height: from.u64()?,
            prev_hash: Hash::read(from)?,
            time_ms: from.u64()?,
            entries_root: Hash::read(from)?,
            log_size: from.u64()?,
            state_root: Hash::read(from)?,
            proposer: LedgerId::read(from)?,
        })
    }
}
