//! Proof that a ledger signed two histories: two blocks of one height, both
//! final. Anyone can make one of what they were served, and anyone can check it
//! with nothing but the genesis.
//!
//! A file of it is JSON. A ledger that is shown one against itself halts
//! ([`crate::Ledger`]).

use protocol::SecretKey;
use protocol::ledger_api::FRAUD_MAX;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::block::{Block, Header};
use crate::finality::{Finality, FinalityError};
use crate::genesis::Genesis;

/// A header and why it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHeader {
    /// What is signed.
    pub header: Header,
    /// Why it stands.
    pub finality: Finality,
}

/// Two blocks that cannot both be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FraudProof {
    /// One.
    pub a: SignedHeader,
    /// The other.
    pub b: SignedHeader,
}

/// Why a proof proves nothing.
#[derive(Debug, Error)]
pub enum FraudError {
    /// Not the JSON of a proof.
    #[error("not a fraud proof: {0}")]
    Json(#[from] serde_json::Error),
    /// Longer than any.
    #[error("a fraud proof has at most {FRAUD_MAX} bytes")]
    TooLong,
    /// Blocks of another network.
    #[error("it is about another network")]
    OtherChain,
    /// Both may be.
    #[error("the blocks are of different heights: {0} and {1}")]
    Heights(u64, u64),
    /// One block twice.
    #[error("both blocks are the same")]
    Same,
    /// One is not signed.
    #[error("block {0} is not final: {1}")]
    Finality(char, FinalityError),
}

impl SignedHeader {
    /// That of a block.
    pub fn of(block: &Block) -> Self {
        Self { header: block.header.clone(), finality: block.finality.clone() }
    }

    /// Signs a header as the sequencer.
    pub fn solo(header: Header, key: &SecretKey) -> Self {
        let finality = header.signed(key);
        Self { header, finality }
    }
}

impl FraudProof {
    /// Reads what [`FraudProof::to_json`] wrote. Whether it proves anything is
    /// asked elsewhere.
    pub fn from_json(json: &[u8]) -> Result<Self, FraudError> {
        if json.len() > FRAUD_MAX {
            return Err(FraudError::TooLong);
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// As a file.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("headers have nothing JSON lacks");
        json.push(b'\n');
        json
    }

    /// Verifies that whoever makes the blocks of this network made both.
    pub fn verify(&self, genesis: &Genesis) -> Result<(), FraudError> {
        let (a, b) = (&self.a.header, &self.b.header);
        if a.chain != genesis.chain || b.chain != genesis.chain {
            return Err(FraudError::OtherChain);
        }
        if a.height != b.height {
            return Err(FraudError::Heights(a.height, b.height));
        }
        if a.hash() == b.hash() {
            return Err(FraudError::Same);
        }
        for (name, signed) in [('a', &self.a), ('b', &self.b)] {
            let standing = signed.finality.verify(&signed.header, genesis);
            standing.map_err(|error| FraudError::Finality(name, error))?;
        }
        Ok(())
    }
}
