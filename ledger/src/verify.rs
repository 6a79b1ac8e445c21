//! Replays an exported ledger with nothing but the export: signatures, hashes,
//! roots, and that no money was made or lost.

use std::io::{self, BufRead, Read};

use protocol::{ChainId, LedgerId};
use serde::Serialize;
use thiserror::Error;

use crate::block::Block;
use crate::chain::{BeginError, BlockError, Chain, Source};
use crate::export::{LINE_MAX, LineError, parse_block, parse_genesis};

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The network that the genesis makes, once it was read. An export proves
    /// its history, not that it is the one you mean: compare this and the head.
    pub network: Option<Network>,
    /// Good blocks, block 0 among them.
    pub blocks: u64,
    /// Entries in them.
    pub entries: u64,
    /// Whether after each good block the sum of all balances was the supply.
    pub conserved: bool,
    /// The first block that is wrong or cannot be read. A wrong genesis counts
    /// as block 0.
    pub first_bad_height: Option<u64>,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// Which network it is, and how far the good part of the export goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The network.
    pub chain: ChainId,
    /// Whose blocks they are.
    pub ledger: LedgerId,
    /// Entries in the log up to the last good block, and the root of its tree:
    /// what a checkpoint says.
    pub log_size: u64,
    /// The root.
    pub root: String,
}

impl Report {
    /// Whether the whole export is good.
    pub fn is_ok(&self) -> bool {
        self.conserved && self.error.is_none()
    }
}

#[derive(Debug, Error)]
enum Fault {
    #[error("the export cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("the export ends before its {0}")]
    Missing(&'static str),
    #[error("the line is longer than {LINE_MAX} bytes")]
    TooLong,
    #[error("the last line is cut off")]
    CutOff,
    #[error("the line is not UTF-8")]
    Text,
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("the genesis: {0}")]
    Begin(#[from] BeginError),
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error("block 0 does not follow from the genesis")]
    First,
    #[error("the sum of all balances is not the supply")]
    NotConserved,
}

/// Replays an export. Never fails and never panics, whatever it is given: what
/// is wrong stands in the report.
pub fn verify(mut export: impl BufRead) -> Report {
    let mut report = Report {
        network: None,
        blocks: 0,
        entries: 0,
        conserved: true,
        first_bad_height: None,
        error: None,
    };
    if let Err(fault) = replay(&mut export, &mut report) {
        report.first_bad_height = Some(report.blocks);
        report.error = Some(fault.to_string());
    }
    report
}

fn replay(export: &mut impl BufRead, report: &mut Report) -> Result<(), Fault> {
    let genesis = next_line(export)?.ok_or(Fault::Missing("genesis"))?;
    let mut chain = Chain::new(parse_genesis(&genesis)?)?;
    let first = next_line(export)?.ok_or(Fault::Missing("first block"))?;
    check_first(&chain, &parse_block(&first)?)?;
    count(report, &chain, 0)?;

    while let Some(line) = next_line(export)? {
        let block = parse_block(&line)?;
        chain.extend(&block, Source::Foreign)?;
        count(report, &chain, block.entries.len())?;
    }
    Ok(())
}

/// Block 0 follows from the genesis alone; only its signature is new.
fn check_first(chain: &Chain, block: &Block) -> Result<(), Fault> {
    if block.header != *chain.head() || !block.entries.is_empty() {
        return Err(Fault::First);
    }
    Ok(chain.confirm(&block.finality)?)
}

fn count(report: &mut Report, chain: &Chain, entries: usize) -> Result<(), Fault> {
    if !chain.state().book().is_conserved() {
        report.conserved = false;
        return Err(Fault::NotConserved);
    }
    let (genesis, head) = (chain.state().genesis(), chain.head());
    report.network = Some(Network {
        chain: genesis.chain,
        ledger: genesis.sequencer,
        log_size: head.log_size,
        root: head.entries_root.to_string(),
    });
    report.blocks += 1;
    report.entries += entries as u64;
    Ok(())
}

/// The next line without its newline, or `None` at the end.
fn next_line(export: &mut impl BufRead) -> Result<Option<String>, Fault> {
    let mut line = Vec::new();
    let limit = LINE_MAX as u64 + 1;
    export.by_ref().take(limit).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(if line.len() >= LINE_MAX { Fault::TooLong } else { Fault::CutOff });
    }
    String::from_utf8(line).map(Some).map_err(|_| Fault::Text)
}
