//! What a witness believes, and what it takes for evidence. No I/O.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::block::{Block, Header};
use crate::chain::{BeginError, BlockError, Chain, Source};
use crate::export::block_line;
use crate::finality::Finality;
use crate::fraud::{FraudProof, SignedHeader};
use crate::genesis::Genesis;
use crate::replay::is_first;

/// Why a ledger is not believed any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Evidence {
    /// Two blocks of one height are final: anyone can check it.
    #[error("the ledger signed two blocks of height {}", .0.a.header.height)]
    Fork(Box<FraudProof>),
    /// A block that does not follow, or another one of a height we know that
    /// nobody signed.
    #[error("the ledger served a block that does not follow: {error}")]
    Astray {
        /// What it should have followed.
        before: Box<SignedHeader>,
        /// A line of the export.
        block: String,
        /// What is wrong with it.
        error: String,
    },
    /// Two heads of one size.
    #[error("the ledger signed a head that is not the one we know")]
    Head {
        /// The head that we know, or cosigned.
        cosigned: String,
        /// The one that does not fit, as a note.
        served: String,
    },
}

/// Why a witness cannot begin to follow.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The genesis makes no network.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// Block 0 is another.
    #[error("block 0: {0}")]
    First(BlockError),
}

/// Executes a ledger's blocks.
#[derive(Debug)]
pub struct Follower {
    chain: Chain,
    finality: Finality,
}

impl Follower {
    /// Begins with block 0.
    pub fn begin(genesis: Genesis, first: &Block) -> Result<Self, FollowError> {
        let chain = Chain::new(genesis)?;
        if !is_first(first, chain.head()) {
            return Err(FollowError::First(BlockError::Header("block 0")));
        }
        chain.confirm(&first.finality).map_err(FollowError::First)?;
        Ok(Self { chain, finality: first.finality.clone() })
    }

    /// Goes on where a chain that was replayed ends.
    pub(super) fn resume(chain: Chain, finality: Finality) -> Self {
        Self { chain, finality }
    }

    /// How the network began.
    pub fn genesis(&self) -> &Genesis {
        self.chain.state().genesis()
    }

    /// The last block that was executed.
    pub fn head(&self) -> &Header {
        self.chain.head()
    }

    /// Executes the next block. After evidence this follower is of no use.
    pub fn take(&mut self, block: &Block) -> Result<(), Box<Evidence>> {
        let before = SignedHeader { header: self.head().clone(), finality: self.finality.clone() };
        if block.header.height == before.header.height {
            return self.compare(&before, block);
        }
        if let Err(error) = self.chain.extend(block, Source::Foreign) {
            return Err(Box::new(astray(before, block, error.to_string())));
        }
        // Who was paid what is asked of the ledger, not of its witnesses.
        self.chain.take_events();
        self.finality = block.finality.clone();
        Ok(())
    }

    /// Looks at a block of a height that we know: it must be the one we know.
    pub fn compare(&self, ours: &SignedHeader, theirs: &Block) -> Result<(), Box<Evidence>> {
        if ours.header == theirs.header {
            return Ok(());
        }
        let proof = FraudProof { a: ours.clone(), b: SignedHeader::of(theirs) };
        Err(Box::new(match proof.verify(self.genesis()) {
            Ok(()) => Evidence::Fork(Box::new(proof)),
            Err(error) => astray(ours.clone(), theirs, error.to_string()),
        }))
    }
}

fn astray(before: SignedHeader, block: &Block, error: String) -> Evidence {
    Evidence::Astray { before: Box::new(before), block: block_line(block), error }
}
