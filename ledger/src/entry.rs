//! What stands in the ledger's log: what nodes and gateways submitted, and
//! what the sequencer itself adds when time passes or money comes in.
//!
//! ```text
//! 1..=5    a submission, exactly as it came (protocol::ledger_api)
//! 32       close epoch     epoch u64, next u64
//! 33       stop receipts   epoch u64
//! 34       seal epoch      epoch u64
//! 35       mature epoch    epoch u64
//! 36       deposit         id[16], account[16], amount u128
//! ```
//!
//! A submission carries its own signatures; the sequencer's entries stand under
//! the signature of their block. Not here: whether an entry may follow what the
//! log already holds (`state`).

use protocol::ledger_api::Submission;
use protocol::price::Amount;
use protocol::sign::BadSignature;
use protocol::statement::TransferId;
use protocol::wire::{Reader, Wire, WireError, Writer};
use protocol::{AccountId, ChainId, Epoch, GatewayId, NodeId};

use crate::hash::Hash;

/// Longest encoding of an entry. A registration with an invite is the longest.
pub const ENTRY_MAX: usize = 1024;

const CLOSE_EPOCH: u8 = 32;
const STOP_RECEIPTS: u8 = 33;
const SEAL_EPOCH: u8 = 34;
const MATURE_EPOCH: u8 = 35;
const DEPOSIT: u8 = 36;

/// Money that comes in from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Makes it idempotent.
    pub id: TransferId,
    /// Who gets it.
    pub account: AccountId,
    /// How much.
    pub amount: Amount,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Something a node or a gateway signed.
    Submitted(Submission),
    /// The open epoch ends and `next` begins. `next` is later than the one
    /// after it when the ledger was away for whole epochs.
    CloseEpoch {
        /// The epoch that ends.
        epoch: Epoch,
        /// The epoch that begins.
        next: Epoch,
    },
    /// A closed epoch takes no more receipts; usage statements may follow.
    StopReceipts(Epoch),
    /// A closed epoch is settled, once and for all.
    SealEpoch(Epoch),
    /// What a sealed epoch paid may be withdrawn.
    MatureEpoch(Epoch),
    /// Money comes in.
    Deposit(Deposit),
}

/// Which series of receipts an entry belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneKey {
    /// Who owes.
    pub gateway: GatewayId,
    /// Who is owed.
    pub node: NodeId,
    /// The gateway's lane.
    pub lane: u16,
}

impl Entry {
    /// The leaf of this entry in the log.
    pub fn hash(&self) -> Hash {
        Hash(blake3::derive_key("stratos ledger entry v1", &self.to_wire()))
    }

    /// Reads an entry that must fill `bytes` and be their only spelling. An
    /// address has several, and what is hashed must not have two.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, WireError> {
        let entry = Self::from_wire(bytes)?;
        if entry.to_wire() != bytes {
            return Err(WireError::Text("a canonical entry"));
        }
        Ok(entry)
    }

    /// Verifies every signature that the entry itself carries.
    pub fn verify(&self) -> Result<(), BadSignature> {
        let Self::Submitted(submission) = self else { return Ok(()) };
        match submission {
            Submission::Register(registration) => {
                if let Some(invite) = &registration.invite {
                    invite.verify()?;
                }
                registration.verify()
            }
            Submission::Receipt(receipt) => receipt.verify(),
            Submission::OpenAccount(opening) => opening.verify(),
            Submission::Reserve(reservation) => reservation.verify(),
            Submission::Usage(statement) => statement.verify(),
        }
    }

    /// The network that a submission was signed for.
    pub fn chain(&self) -> Option<ChainId> {
        let Self::Submitted(submission) = self else { return None };
        Some(match submission {
            Submission::Register(registration) => registration.chain,
            Submission::Receipt(receipt) => receipt.voucher.body.chain,
            Submission::OpenAccount(opening) => opening.chain,
            Submission::Reserve(reservation) => reservation.chain,
            Submission::Usage(statement) => statement.chain,
        })
    }

    /// The epoch and lane of a receipt.
    pub fn lane(&self) -> Option<(Epoch, LaneKey)> {
        let Self::Submitted(Submission::Receipt(receipt)) = self else { return None };
        let body = &receipt.voucher.body;
        Some((body.epoch, LaneKey { gateway: body.gateway, node: body.node, lane: body.lane }))
    }
}

/// An entry whose own signatures were verified. The writer takes nothing less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified(Entry);

impl Verified {
    /// Verifies the signatures of `entry`.
    pub fn new(entry: Entry) -> Result<Self, BadSignature> {
        entry.verify()?;
        Ok(Self(entry))
    }

    /// The entry.
    pub fn into_entry(self) -> Entry {
        self.0
    }
}

impl Wire for LaneKey {
    fn write(&self, out: &mut Writer) {
        self.gateway.write(out);
        self.node.write(out);
        out.u16(self.lane);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { gateway: GatewayId::read(from)?, node: NodeId::read(from)?, lane: from.u16()? })
    }
}

impl Wire for Entry {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Submitted(submission) => submission.write(out),
            Self::CloseEpoch { epoch, next } => {
                out.u8(CLOSE_EPOCH);
                epoch.write(out);
                next.write(out);
            }
            Self::StopReceipts(epoch) => {
                out.u8(STOP_RECEIPTS);
                epoch.write(out);
            }
            Self::SealEpoch(epoch) => {
                out.u8(SEAL_EPOCH);
                epoch.write(out);
            }
            Self::MatureEpoch(epoch) => {
                out.u8(MATURE_EPOCH);
                epoch.write(out);
            }
            Self::Deposit(deposit) => {
                out.u8(DEPOSIT);
                deposit.id.write(out);
                deposit.account.write(out);
                deposit.amount.write(out);
            }
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        if from.0.first().is_some_and(|&tag| tag < CLOSE_EPOCH) {
            return Ok(Self::Submitted(Submission::read(from)?));
        }
        Ok(match from.u8()? {
            CLOSE_EPOCH => Self::CloseEpoch { epoch: Epoch::read(from)?, next: Epoch::read(from)? },
            STOP_RECEIPTS => Self::StopReceipts(Epoch::read(from)?),
            SEAL_EPOCH => Self::SealEpoch(Epoch::read(from)?),
            MATURE_EPOCH => Self::MatureEpoch(Epoch::read(from)?),
            DEPOSIT => Self::Deposit(Deposit {
                id: TransferId::read(from)?,
                account: AccountId::read(from)?,
                amount: Amount::read(from)?,
            }),
            value => return Err(WireError::Unknown { what: "entry", value: u64::from(value) }),
        })
    }
}
