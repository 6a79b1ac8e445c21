//! Rebuilds a chain from stored blocks, and so verifies them; tells the events
//! of those that were written without.

use thiserror::Error;

use crate::block::{Block, Header};
use crate::chain::{BlockError, Chain, Source};
use crate::event::Event;
use crate::finality::Finality;
use crate::store::{Reader, Store, StoreError};

/// Blocks that are read at once.
const PAGE: u32 = 64;

/// Why stored blocks are no ledger.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// They cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One does not follow.
    #[error("block {height} of the stored ledger is wrong ({reason}): restore it from a backup")]
    Block {
        /// The first wrong block.
        height: u64,
        /// What is wrong.
        reason: BlockError,
    },
}

/// Replays all blocks on a chain that has only just begun. The finality of the
/// last block comes back with it.
pub(crate) async fn replay(
    mut chain: Chain,
    store: &mut Store,
    reader: &Reader,
) -> Result<(Chain, Finality), ReplayError> {
    let wrong = |height, reason| ReplayError::Block { height, reason };
    let first = reader.blocks(0, 1).await?;
    let first = first.into_iter().next().ok_or(StoreError::Corrupt("a genesis without block 0"))?;
    if !is_first(&first, chain.head()) {
        return Err(wrong(0, BlockError::Header("block 0")));
    }
    let untold = store.untold().await?;
    let mut finality = first.finality;
    loop {
        let head = chain.head().height;
        let blocks = reader.blocks(head + 1, PAGE).await?;
        let Some(last) = blocks.last() else {
            chain.confirm(&finality).map_err(|reason| wrong(head, reason))?;
            return Ok((chain, finality));
        };
        finality = last.finality.clone();
        let mut told: Vec<(u64, Vec<Event>)> = Vec::new();
        for block in &blocks {
            let height = block.header.height;
            chain.extend(block, Source::Own).map_err(|reason| wrong(height, reason))?;
            let events = chain.take_events();
            if height >= untold {
                told.push((height, events));
            }
        }
        if !told.is_empty() {
            store.tell(&told).await?;
        }
    }
}

/// Whether a block is the one that follows from the genesis alone.
pub(crate) fn is_first(block: &Block, head: &Header) -> bool {
    block.header == *head && block.entries.is_empty()
}
