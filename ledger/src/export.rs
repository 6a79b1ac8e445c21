//! A ledger as text: the genesis on the first line, then one block a line, each
//! line JSON and ended by a newline.
//!
//! A value has one spelling: a line that would not be written exactly like
//! this is refused, so that no byte of an export can change unnoticed.

use protocol::wire::{Wire, WireError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::block::{Block, Header};
use crate::entry::Entry;
use crate::finality::Finality;
use crate::genesis::Genesis;

/// Longest line: well above the largest block and the largest genesis.
pub const LINE_MAX: usize = 2 * 1024 * 1024;

/// Why a line cannot be read.
#[derive(Debug, Error)]
pub enum LineError {
    /// Not the JSON of a genesis or a block.
    #[error("not a line of a ledger: {0}")]
    Json(#[from] serde_json::Error),
    /// Not hex digits.
    #[error("an entry is not hex digits: {0}")]
    Hex(#[from] hex::FromHexError),
    /// Not an entry.
    #[error("an entry cannot be read: {0}")]
    Entry(#[from] WireError),
    /// Says the same as a good line, in other words.
    #[error("the line is not spelled as a ledger writes it")]
    Spelling,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockLine {
    header: Header,
    finality: Finality,
    entries: Vec<String>,
}

/// The line of the genesis, without its newline.
pub fn genesis_line(genesis: &Genesis) -> String {
    serde_json::to_string(genesis).expect("a genesis has nothing that JSON lacks")
}

/// Reads the line of a genesis. Whether it makes sense is asked elsewhere.
pub fn parse_genesis(line: &str) -> Result<Genesis, LineError> {
    let genesis: Genesis = serde_json::from_str(line)?;
    if genesis_line(&genesis) != line {
        return Err(LineError::Spelling);
    }
    Ok(genesis)
}

/// The line of a block, without its newline.
pub fn block_line(block: &Block) -> String {
    let line = BlockLine {
        header: block.header.clone(),
        finality: block.finality.clone(),
        entries: block.entries.iter().map(|entry| hex::encode(entry.to_wire())).collect(),
    };
    serde_json::to_string(&line).expect("a block has nothing that JSON lacks")
}

/// Reads the line of a block. Whether it follows is asked elsewhere.
pub fn parse_block(line: &str) -> Result<Block, LineError> {
    let parsed: BlockLine = serde_json::from_str(line)?;
    let mut entries = Vec::with_capacity(parsed.entries.len());
    for entry in &parsed.entries {
        entries.push(Entry::from_canonical(&hex::decode(entry)?)?);
    }
    let block = Block { header: parsed.header, finality: parsed.finality, entries };
    if block_line(&block) != line {
        return Err(LineError::Spelling);
    }
    Ok(block)
}
