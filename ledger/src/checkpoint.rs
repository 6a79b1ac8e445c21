//! The head of the log as a C2SP checkpoint (tlog-checkpoint): three lines that
//! any witness can cosign and any monitor of logs can read, and one of our own.
//!
//! ```text
//! stratos/CHAIN
//! SIZE
//! BASE64(root of the log)
//! BASE64(hash of the block's header)
//! ```
//!
//! The log alone does not say when its blocks were made and what they led to.
//! The header does, so who cosigns the last line vouches for times and state,
//! too. Not here: signatures (`note`).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use protocol::ids::PublicKey;
use protocol::{ChainId, SecretKey};
use thiserror::Error;

use crate::block::Header;
use crate::hash::Hash;
use crate::note::{self, Note, NoteError, NoteKey};

/// The head of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// Stands for all of them.
    pub root: Hash,
    /// The hash of the header of the block that brought the last of them.
    pub block: Hash,
}

/// Why a note is no checkpoint.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CheckpointError {
    /// It is no note, or not signed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text says something else.
    #[error("the text is not the head of a log")]
    Text,
}

/// The name of a network's log.
pub fn origin(chain: ChainId) -> String {
    format!("stratos/{chain}")
}

/// The key that signs a network's checkpoints.
pub fn log_key(chain: ChainId, ledger: impl Into<PublicKey>) -> NoteKey {
    NoteKey::signer(origin(chain), ledger.into())
}

impl Checkpoint {
    /// The head that a block is.
    pub fn of(header: &Header) -> Self {
        Self {
            origin: origin(header.chain),
            size: header.log_size,
            root: header.entries_root,
            block: header.hash(),
        }
    }

    /// Reads the text of a note. Our logs have one extension line.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split_terminator('\n');
        let mut line = || lines.next().ok_or(CheckpointError::Text);
        let (origin, size, root, block) = (line()?, line()?, line()?, line()?);
        let size = size.parse().map_err(|_| CheckpointError::Text)?;
        let checkpoint =
            Self { origin: origin.to_owned(), size, root: hash(root)?, block: hash(block)? };
        // One spelling: no zeros before the size, nothing after the block.
        if checkpoint.to_string() == text { Ok(checkpoint) } else { Err(CheckpointError::Text) }
    }

    /// Reads a note that `key` signed.
    pub fn verified(note: &Note, key: &NoteKey) -> Result<Self, CheckpointError> {
        note.verify(key)?;
        let checkpoint = Self::parse(&note.text)?;
        if checkpoint.origin == key.name { Ok(checkpoint) } else { Err(CheckpointError::Text) }
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (root, block) = (BASE64.encode(self.root.0), BASE64.encode(self.block.0));
        write!(f, "{}\n{}\n{root}\n{block}\n", self.origin, self.size)
    }
}

fn hash(line: &str) -> Result<Hash, CheckpointError> {
    let bytes = BASE64.decode(line).map_err(|_| CheckpointError::Text)?;
    bytes.try_into().map(Hash).map_err(|_| CheckpointError::Text)
}

/// The head that a block is, signed by the sequencer.
pub fn signed_checkpoint(header: &Header, key: &SecretKey) -> Note {
    note::signed(Checkpoint::of(header).to_string(), origin(header.chain), key)
}
