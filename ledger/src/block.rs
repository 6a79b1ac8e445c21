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
//! signed head of the log; [`checkpoint`] says the same in the form of C2SP
//! (tlog-checkpoint and signed-note), so that any witness can cosign it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use protocol::sign::{self, BadSignature, Signature, Signed};
use protocol::wire::{Reader, Wire, WireError, Writer};
use protocol::{ChainId, LedgerId, SecretKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::entry::Entry;
use crate::genesis::signature_hex;
use crate::hash::Hash;

/// Most entries in a block.
pub const BLOCK_ENTRIES_MAX: usize = 1024;

/// Most bytes of entries in a block: as hex digits they fit the answer to a
/// query.
pub const BLOCK_BYTES_MAX: usize = 192 * 1024;

const VERSION: u16 = 1;

/// What is signed of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Why a block stands. Others may follow: witnesses, a quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finality {
    /// The one sequencer signed it.
    Solo(#[serde(with = "signature_hex")] Signature),
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

    /// Signs it as the only sequencer.
    pub fn signed(&self, key: &SecretKey) -> Finality {
        Finality::Solo(sign::sign(key, self))
    }
}

impl Finality {
    /// Verifies that `header` stands.
    pub fn verify(&self, header: &Header) -> Result<(), BadSignature> {
        let Self::Solo(signature) = self;
        sign::verify(header.proposer, header, signature)
    }
}

impl Signed for Header {
    const DOMAIN: &'static str = "stratos ledger block v1";
    fn signed_bytes(&self) -> Vec<u8> {
        self.to_wire()
    }
}

/// The text of a checkpoint: origin, size of the log, root of the log.
struct CheckpointText(String);

impl Signed for CheckpointText {
    const DOMAIN: &'static str = "stratos ledger checkpoint v1";
    fn signed_bytes(&self) -> Vec<u8> {
        self.0.as_bytes().to_vec()
    }
}

/// Signature type 0xff of a signed note: one that its specification does not
/// know, named by a text.
const NOTE_SIGNATURE: &[u8] = b"\xffstratos ledger checkpoint v1";

/// The name of the log in checkpoints.
fn origin(header: &Header) -> String {
    format!("stratos/{}", header.chain)
}

/// The head of the log as C2SP checkpoint text, without signatures.
pub fn checkpoint(header: &Header) -> String {
    let root = BASE64.encode(header.entries_root.0);
    format!("{}\n{}\n{root}\n", origin(header), header.log_size)
}

/// The head of the log as a C2SP checkpoint, signed by the sequencer.
pub fn signed_checkpoint(header: &Header, key: &SecretKey) -> String {
    let text = checkpoint(header);
    let name = origin(header);
    let signature = sign::sign(key, &CheckpointText(text.clone()));
    let id = Sha256::digest(
        [name.as_bytes(), b"\n", NOTE_SIGNATURE, key.public().0.as_slice()].concat(),
    );
    let line = BASE64.encode([&id[..4], &signature.0].concat());
    format!("{text}\n\u{2014} {name} {line}\n")
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

const SOLO: u8 = 1;

impl Wire for Finality {
    fn write(&self, out: &mut Writer) {
        let Self::Solo(signature) = self;
        out.u8(SOLO);
        signature.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match from.u8()? {
            SOLO => Ok(Self::Solo(Signature::read(from)?)),
            value => Err(WireError::Unknown { what: "finality", value: u64::from(value) }),
        }
    }
}
