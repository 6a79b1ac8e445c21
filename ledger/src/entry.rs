//! What stands in the ledger's log: what nodes and gateways submitted, and
//! what the sequencer itself adds when time passes or money comes in.
//!
//! ```text
//! 1..=11   a submission, exactly as it came (protocol::ledger_api)
//! 32       close epoch     epoch u64, next u64
//! 33       stop receipts   epoch u64
//! 34       seal epoch      epoch u64
//! 35       mature epoch    epoch u64
//! 36       deposit         id[16], account[16], amount u128
//! 37       fund            id[16], party[32], amount u128
//! 38       post prices     a signed price sheet
//! 39       admit gateway   gateway[32]
//! 40       settle claim    claim[32]
//! 41       return held     node[32]
//! 42       release         node[32]
//! 43       forfeit         node[32]
//! ```
//!
//! A submission carries its own signatures; the sequencer's entries stand under
//! the signature of their block. Not here: whether an entry may follow what the
//! log already holds (`state`).

use protocol::claim::PROOF_MAX;
use protocol::ids::PublicKey;
use protocol::ledger_api::{Operation, Submission};
use protocol::price::{Amount, SignedPriceSheet};
use protocol::sign::BadSignature;
use protocol::statement::TransferId;
use protocol::wire::{Reader, Wire, WireError, Writer};
use protocol::{AccountId, ChainId, Epoch, GatewayId, NodeId};

use crate::hash::Hash;

/// Longest encoding of an entry: that of a rebuttal, which brings a group of a shard.
pub const ENTRY_MAX: usize = REBUTTAL_MAX;

/// Longest encoding of a rebuttal: tag, network, claim, and the proof with its
/// length.
pub const REBUTTAL_MAX: usize = 1 + 16 + 32 + 4 + PROOF_MAX;

const CLOSE_EPOCH: u8 = 32;
const STOP_RECEIPTS: u8 = 33;
const SEAL_EPOCH: u8 = 34;
const MATURE_EPOCH: u8 = 35;
const DEPOSIT: u8 = 36;
const FUND: u8 = 37;
const POST_PRICES: u8 = 38;
const ADMIT_GATEWAY: u8 = 39;
const SETTLE_CLAIM: u8 = 40;
const RETURN_HELD: u8 = 41;
const RELEASE: u8 = 42;
const FORFEIT: u8 = 43;

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

/// Money that comes in as a stake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fund {
    /// Makes it idempotent, among deposits too.
    pub id: TransferId,
    /// A node, whose deposit it becomes, or a gateway, whose bond.
    pub party: PublicKey,
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
    /// Nobody refuted a loss claim in time.
    SettleClaim([u8; 32]),
    /// A node served long enough to get half of what was held back.
    ReturnHeld(NodeId),
    /// A node has left in order.
    Release(NodeId),
    /// A node was away too long.
    Forfeit(NodeId),
    /// Money comes in as a stake.
    Fund(Fund),
    /// What things cost in epochs to come.
    PostPrices(SignedPriceSheet),
    /// A gateway joins.
    AdmitGateway(GatewayId),
}

impl From<Operation> for Entry {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::Deposit { id, account, amount } => {
                Self::Deposit(Deposit { id, account, amount })
            }
            Operation::Fund { id, party, amount } => Self::Fund(Fund { id, party, amount }),
            Operation::Post(sheet) => Self::PostPrices(sheet),
            Operation::Admit(gateway) => Self::AdmitGateway(gateway),
        }
    }
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
            Submission::Audits(report) => report.verify(),
            Submission::Grant(grant) => grant.verify(),
            Submission::Order(order) => order.verify(),
            Submission::Loss(claim) => claim.verify(),
            // Its proof is checked against the claim that it names.
            Submission::Rebuttal(_) => Ok(()),
            Submission::Equivocation(evidence) => evidence.verify(),
            Submission::OpenOwned(opening) => opening.verify(),
            Submission::Release(release) => release.verify(),
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
            Submission::Audits(report) => report.chain,
            Submission::Grant(grant) => grant.chain,
            Submission::Order(order) => order.chain,
            Submission::Loss(claim) => claim.chain,
            Submission::Rebuttal(rebuttal) => rebuttal.chain,
            Submission::Equivocation(evidence) => evidence.first.voucher.body.chain,
            Submission::OpenOwned(opening) => opening.chain,
            Submission::Release(release) => release.chain,
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
            Self::SettleClaim(claim) => {
                out.u8(SETTLE_CLAIM);
                out.bytes(claim);
            }
            Self::ReturnHeld(node) => {
                out.u8(RETURN_HELD);
                node.write(out);
            }
            Self::Release(node) => {
                out.u8(RELEASE);
                node.write(out);
            }
            Self::Forfeit(node) => {
                out.u8(FORFEIT);
                node.write(out);
            }
            Self::Fund(fund) => {
                out.u8(FUND);
                fund.id.write(out);
                fund.party.write(out);
                fund.amount.write(out);
            }
            Self::PostPrices(sheet) => {
                out.u8(POST_PRICES);
                sheet.write(out);
            }
            Self::AdmitGateway(gateway) => {
                out.u8(ADMIT_GATEWAY);
                gateway.write(out);
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
            FUND => Self::Fund(Fund {
                id: TransferId::read(from)?,
                party: PublicKey::read(from)?,
                amount: Amount::read(from)?,
            }),
            POST_PRICES => Self::PostPrices(SignedPriceSheet::read(from)?),
            ADMIT_GATEWAY => Self::AdmitGateway(GatewayId::read(from)?),
            SETTLE_CLAIM => Self::SettleClaim(from.array()?),
            RETURN_HELD => Self::ReturnHeld(NodeId::read(from)?),
            RELEASE => Self::Release(NodeId::read(from)?),
            FORFEIT => Self::Forfeit(NodeId::read(from)?),
            value => return Err(WireError::Unknown { what: "entry", value: u64::from(value) }),
        })
    }
}
