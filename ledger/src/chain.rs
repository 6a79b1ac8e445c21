//! The state, the log and the head together: what a block changes, and whether
//! a block follows.
//!
//! The writer makes blocks with [`Chain::begin`], [`Chain::add`] and
//! [`Chain::finish`]; opening a ledger and verifying an export replay them with
//! [`Chain::extend`]. Both go through the same `add`, so what was written can
//! be replayed.

use std::collections::BTreeMap;

use protocol::Epoch;
use protocol::wire::Wire;
use thiserror::Error;

use crate::account::BookError;
use crate::block::{BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX, Block, Header};
use crate::entry::Entry;
use crate::event::Event;
use crate::finality::{Finality, FinalityError};
use crate::genesis::{Genesis, GenesisError};
use crate::hash::Hash;
use crate::log::Log;
use crate::state::{Rejection, State};

/// Where the blocks of a replay come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Anywhere: every signature and every root is checked.
    Foreign,
    /// Our own disk. Entries were verified before their block was signed, and
    /// each block stands for all before it, so it is enough to check the rules,
    /// the hashes and the log, and to [`Chain::confirm`] the last block.
    Own,
}

/// Why a network cannot begin.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BeginError {
    /// Its parts make no sense together.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// Its opening balances cannot be counted.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// Why a block does not follow.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BlockError {
    /// A field of the header is not what it must be.
    #[error("{0} does not follow from the blocks before and the entries")]
    Header(&'static str),
    /// No entries, or too many.
    #[error("a block holds 1 to {BLOCK_ENTRIES_MAX} entries of {BLOCK_BYTES_MAX} bytes at most")]
    Size,
    /// Nothing makes it stand.
    #[error("the block's signature: {0}")]
    Finality(FinalityError),
    /// An entry that may not follow.
    #[error("entry {index} of the block: {reason}")]
    Entry {
        /// Its place in the block.
        index: usize,
        /// Why not.
        reason: Rejection,
    },
}

/// A ledger's past in memory.
#[derive(Clone, Debug)]
pub struct Chain {
    state: State,
    log: Log,
    head: Header,
    beacons: BTreeMap<Epoch, Hash>,
}

/// Epochs whose beacons are kept.
const BEACONS_MAX: usize = 64;

impl Chain {
    /// A ledger that has only just begun: its head is block 0.
    pub fn new(genesis: Genesis) -> Result<Self, BeginError> {
        genesis.check()?;
        let state = State::new(genesis)?;
        let log = Log::default();
        let genesis = state.genesis();
        let head = Header {
            chain: genesis.chain,
            height: 0,
            prev_hash: genesis.hash(),
            time_ms: genesis.time_ms,
            entries_root: log.root(),
            log_size: 0,
            state_root: state.root(),
            proposer: genesis.sequencer,
        };
        let beacons = BTreeMap::from([(state.open().epoch, head.hash())]);
        Ok(Self { state, log, head, beacons })
    }

    /// What the entries add up to.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// All entries.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The header of the latest block.
    pub fn head(&self) -> &Header {
        &self.head
    }

    /// The hash of the block in which an epoch began: nobody knows it before.
    /// Only of the latest epochs.
    pub fn beacon(&self, epoch: Epoch) -> Option<Hash> {
        self.beacons.get(&epoch).copied()
    }

    /// What happened since it was asked last.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.state.take_events()
    }

    fn set_head(&mut self, head: Header) {
        let epoch = self.state.open().epoch;
        self.beacons.entry(epoch).or_insert_with(|| head.hash());
        while self.beacons.len() > BEACONS_MAX {
            self.beacons.pop_first();
        }
        self.head = head;
    }

    /// Starts a block at this time, or at that of the head if it is later.
    pub fn begin(&mut self, time_ms: u64) {
        self.state.begin_block(time_ms.max(self.head.time_ms));
    }

    /// Appends an entry to the block, if it may follow.
    pub fn add(&mut self, entry: &Entry) -> Result<(), Rejection> {
        self.state.check(entry)?;
        self.state.apply(entry);
        self.log.push(entry.hash());
        Ok(())
    }

    /// The header of a block of all that was added since the head. It becomes
    /// the head.
    pub fn finish(&mut self) -> Header {
        self.set_head(self.header());
        self.head.clone()
    }

    fn header(&self) -> Header {
        Header {
            chain: self.head.chain,
            height: self.head.height + 1,
            prev_hash: self.head.hash(),
            time_ms: self.state.time_ms(),
            entries_root: self.log.root(),
            log_size: self.log.size(),
            state_root: self.state.root(),
            proposer: self.head.proposer,
        }
    }

    /// Takes in a block that was made before or elsewhere. After an error,
    /// what is in memory is no ledger any more and must be dropped.
    pub fn extend(&mut self, block: &Block, source: Source) -> Result<(), BlockError> {
        let header = &block.header;
        // Cheap and telling first; the dearest, the state root, last.
        let follows = [
            (header.chain == self.head.chain, "the network"),
            (Some(header.height) == self.head.height.checked_add(1), "the height"),
            (header.prev_hash == self.head.hash(), "the hash of the block before"),
            (header.proposer == self.head.proposer, "the proposer"),
            (header.time_ms >= self.head.time_ms, "the time"),
        ];
        if let Some((_, what)) = follows.iter().find(|(holds, _)| !holds) {
            return Err(BlockError::Header(what));
        }
        check_size(&block.entries)?;
        if source == Source::Foreign {
            self.check_finality(header, &block.finality)?;
        }

        self.begin(header.time_ms);
        for (index, entry) in block.entries.iter().enumerate() {
            let failed = |reason| BlockError::Entry { index, reason };
            if source == Source::Foreign {
                entry.verify().map_err(|error| failed(error.into()))?;
            }
            self.add(entry).map_err(failed)?;
        }
        if header.entries_root != self.log.root() {
            return Err(BlockError::Header("the root of the log"));
        }
        if header.log_size != self.log.size() {
            return Err(BlockError::Header("the size of the log"));
        }
        self.set_head(header.clone());
        if source == Source::Foreign { self.check_root() } else { Ok(()) }
    }

    /// Checks that the head stands and is what the entries add up to.
    pub fn confirm(&self, finality: &Finality) -> Result<(), BlockError> {
        self.check_finality(&self.head, finality)?;
        self.check_root()
    }

    fn check_finality(&self, header: &Header, finality: &Finality) -> Result<(), BlockError> {
        finality.verify(header, self.state.genesis()).map_err(BlockError::Finality)
    }

    fn check_root(&self) -> Result<(), BlockError> {
        if self.head.state_root == self.state.root() {
            Ok(())
        } else {
            Err(BlockError::Header("the root of the state"))
        }
    }
}

fn check_size(entries: &[Entry]) -> Result<(), BlockError> {
    let bytes: usize = entries.iter().map(|entry| entry.to_wire().len()).sum();
    if entries.is_empty() || entries.len() > BLOCK_ENTRIES_MAX || bytes > BLOCK_BYTES_MAX {
        return Err(BlockError::Size);
    }
    Ok(())
}
