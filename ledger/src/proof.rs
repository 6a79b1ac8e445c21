//! Checks the answer to the query `inclusion` with nothing but the ledger's
//! key: the entry is in the log whose head the ledger signed.

use protocol::ids::PublicKey;
use protocol::ledger_api::Submission;
use protocol::wire::WireError;
use protocol::{ChainId, Epoch, LedgerId};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, log_key};
use crate::entry::{Entry, LaneKey};
use crate::hash::Hash;
use crate::log::verify_inclusion;
use crate::note::{Note, NoteKey};

/// An entry that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The entry.
    pub entry: Entry,
    /// Its place.
    pub index: u64,
    /// The head it was checked against.
    pub head: Checkpoint,
    /// Which of the witnesses one knows cosigned that head.
    pub witnesses: Vec<PublicKey>,
}

/// Why an answer proves nothing.
#[derive(Debug, Error)]
pub enum ProofError {
    /// It is no answer to that query.
    #[error("the answer is no proof: {0}")]
    Form(#[from] serde_json::Error),
    /// The entry is none.
    #[error("the entry cannot be read")]
    Entry(#[from] WireError),
    /// The entry is not hex digits.
    #[error("the entry cannot be read: {0}")]
    Hex(#[from] hex::FromHexError),
    /// The head is not signed by this ledger.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The proof does not lead from the entry to the head.
    #[error("the entry is not in the log with that head")]
    NotIncluded,
    /// It is another entry.
    #[error("the entry is not the receipt that was asked for")]
    Other,
}

#[derive(Deserialize)]
struct Answer {
    index: u64,
    entry: String,
    proof: Vec<Hash>,
    checkpoint: String,
}

/// Checks that the ledger's log holds the entry of this answer.
pub fn check(
    answer: Value,
    chain: ChainId,
    ledger: LedgerId,
    witnesses: &[PublicKey],
) -> Result<Proved, ProofError> {
    let Answer { index, entry, proof, checkpoint } = serde_json::from_value(answer)?;
    let note = Note::parse(&checkpoint).map_err(CheckpointError::from)?;
    let head = Checkpoint::verified(&note, &log_key(chain, ledger))?;
    let entry = Entry::from_canonical(&hex::decode(entry)?)?;
    if !verify_inclusion(head.root, head.size, index, entry.hash(), &proof) {
        return Err(ProofError::NotIncluded);
    }
    let cosigned = |key: &PublicKey| note.cosignature(&NoteKey::witness(*key)).is_ok();
    let witnesses = witnesses.iter().copied().filter(cosigned).collect();
    Ok(Proved { entry, index, head, witnesses })
}

impl Proved {
    /// Whether it is a receipt of this lane.
    pub fn is_of(&self, epoch: Epoch, lane: LaneKey) -> Result<(), ProofError> {
        let is_receipt = matches!(self.entry, Entry::Submitted(Submission::Receipt(_)));
        let is_lane = self.entry.lane() == Some((epoch, lane));
        if is_receipt && is_lane { Ok(()) } else { Err(ProofError::Other) }
    }
}
