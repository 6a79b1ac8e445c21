//! Why a block stands: the sequencer signed it; witnesses saw it as well; or
//! more than two thirds of the validators signed it.
//!
//! ```text
//! 1  solo        signature[64]
//! 2  witnessed   signature[64], list of (witness[32], time u64, signature[64])
//! 3  quorum      list of (validator[32], signature[64])
//! ```
//!
//! Lists are in ascending order of their keys, each key once. The sequencer and
//! the validators are those of the genesis; which witnesses to believe is for
//! whoever asks ([`Finality::witnessed_by`]). A witness cosigns a checkpoint:
//! the log up to the block, which the block's entries follow from.
//!
//! The sequencer's own blocks are solo; the others are how the same block is
//! carried elsewhere.

use protocol::ids::PublicKey;
use protocol::sign::{self, BadSignature, Signature};
use protocol::wire::{Reader, Wire, WireError, Writer};
use protocol::{LedgerId, SecretKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::block::Header;
use crate::checkpoint::Checkpoint;
use crate::genesis::{Genesis, signature_hex};
use crate::note::Cosignature;

/// Most signatures of others.
const SIGNERS_MAX: usize = 64;

/// Why a block stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finality {
    /// The one sequencer signed it.
    Solo(#[serde(with = "signature_hex")] Signature),
    /// The sequencer signed it, and witnesses cosigned its checkpoint.
    Witnessed(Witnessed),
    /// Validators signed it.
    Quorum(Vec<Vote>),
}

/// A block that the sequencer signed and others saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witnessed {
    /// The sequencer's.
    #[serde(with = "signature_hex")]
    pub signature: Signature,
    /// In ascending order of their witnesses; at least one.
    pub cosignatures: Vec<Seen>,
}

/// One witness's cosignature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Who.
    pub witness: PublicKey,
    /// When, in seconds since 1970.
    pub time_s: u64,
    /// Over the time and the checkpoint.
    #[serde(with = "signature_hex")]
    pub signature: Signature,
}

/// One validator's signature of a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// Who.
    pub validator: LedgerId,
    /// Over the header.
    #[serde(with = "signature_hex")]
    pub signature: Signature,
}

/// Why a block does not stand.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FinalityError {
    /// A signature is wrong.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// Made by someone who makes no blocks here.
    #[error("{0} does not make blocks of this network")]
    Proposer(LedgerId),
    /// A key twice, or out of order, or none.
    #[error("signers must be listed once each, in ascending order")]
    Signers,
    /// Signed by someone who has no say.
    #[error("{0} is not a validator of this network")]
    Stranger(LedgerId),
    /// Too few signed.
    #[error("{have} of {all} validators signed: more than two thirds must")]
    TooFew {
        /// How many did.
        have: usize,
        /// How many there are.
        all: usize,
    },
}

impl Header {
    /// Signs it as the only sequencer.
    pub fn signed(&self, key: &SecretKey) -> Finality {
        Finality::Solo(sign::sign(key, self))
    }

    /// Signs it as one of the validators.
    pub fn vote(&self, key: &SecretKey) -> Vote {
        Vote { validator: key.public().into(), signature: sign::sign(key, self) }
    }
}

impl Finality {
    /// Verifies that `header` stands in the network that began like this.
    pub fn verify(&self, header: &Header, genesis: &Genesis) -> Result<(), FinalityError> {
        match self {
            Self::Solo(signature) => by_sequencer(header, signature, genesis),
            Self::Witnessed(witnessed) => {
                by_sequencer(header, &witnessed.signature, genesis)?;
                by_witnesses(header, &witnessed.cosignatures)
            }
            Self::Quorum(votes) => by_quorum(header, votes, genesis),
        }
    }

    /// How many of these witnesses saw the block. Ask after
    /// [`Finality::verify`].
    pub fn witnessed_by(&self, witnesses: &[PublicKey]) -> usize {
        let Self::Witnessed(witnessed) = self else { return 0 };
        let seen = witnessed.cosignatures.iter();
        seen.filter(|seen| witnesses.contains(&seen.witness)).count()
    }
}

fn by_sequencer(
    header: &Header,
    signature: &Signature,
    genesis: &Genesis,
) -> Result<(), FinalityError> {
    if header.proposer != genesis.sequencer {
        return Err(FinalityError::Proposer(header.proposer));
    }
    Ok(sign::verify(header.proposer, header, signature)?)
}

fn by_witnesses(header: &Header, cosignatures: &[Seen]) -> Result<(), FinalityError> {
    let is_sorted = cosignatures.is_sorted_by(|a, b| a.witness < b.witness);
    if cosignatures.is_empty() || !is_sorted {
        return Err(FinalityError::Signers);
    }
    let text = Checkpoint::of(header).to_string();
    for Seen { witness, time_s, signature } in cosignatures {
        Cosignature { time_s: *time_s, signature: *signature }.verify(*witness, &text)?;
    }
    Ok(())
}

fn by_quorum(header: &Header, votes: &[Vote], genesis: &Genesis) -> Result<(), FinalityError> {
    let validators = genesis.validators();
    if !validators.contains(&header.proposer) {
        return Err(FinalityError::Proposer(header.proposer));
    }
    if !votes.is_sorted_by(|a, b| a.validator < b.validator) {
        return Err(FinalityError::Signers);
    }
    if let Some(vote) = votes.iter().find(|vote| !validators.contains(&vote.validator)) {
        return Err(FinalityError::Stranger(vote.validator));
    }
    let (have, all) = (votes.len(), validators.len());
    if have * 3 <= all * 2 {
        return Err(FinalityError::TooFew { have, all });
    }
    for vote in votes {
        sign::verify(vote.validator, header, &vote.signature)?;
    }
    Ok(())
}

const SOLO: u8 = 1;
const WITNESSED: u8 = 2;
const QUORUM: u8 = 3;

impl Wire for Finality {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Solo(signature) => {
                out.u8(SOLO);
                signature.write(out);
            }
            Self::Witnessed(witnessed) => {
                out.u8(WITNESSED);
                witnessed.signature.write(out);
                out.list(&witnessed.cosignatures);
            }
            Self::Quorum(votes) => {
                out.u8(QUORUM);
                out.list(votes);
            }
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match from.u8()? {
            SOLO => Ok(Self::Solo(Signature::read(from)?)),
            WITNESSED => Ok(Self::Witnessed(Witnessed {
                signature: Signature::read(from)?,
                cosignatures: from.list("cosignatures", SIGNERS_MAX)?,
            })),
            QUORUM => Ok(Self::Quorum(from.list("votes", SIGNERS_MAX)?)),
            value => Err(WireError::Unknown { what: "finality", value: u64::from(value) }),
        }
    }
}

impl Wire for Seen {
    fn write(&self, out: &mut Writer) {
        self.witness.write(out);
        out.u64(self.time_s);
        self.signature.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            witness: PublicKey::read(from)?,
            time_s: from.u64()?,
            signature: Signature::read(from)?,
        })
    }
}

impl Wire for Vote {
    fn write(&self, out: &mut Writer) {
        self.validator.write(out);
        self.signature.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { validator: LedgerId::read(from)?, signature: Signature::read(from)? })
    }
}
