//! What nodes and gateways ask of the ledger.
//!
//! One stream for each request: a request frame, an answer frame (both at most
//! [`crate::frame::LEDGER_FRAME_MAX`]). Anyone with a sound key may connect: a
//! submission is believed for the signatures it carries, not for who brings it.
//! Queries are open to anyone too: all that they show stands in the export.

use std::net::SocketAddr;

use crate::audit::AuditReport;
use crate::claim::{Equivocation, LossClaim, LossRebuttal};
use crate::grant::Grant;
use crate::ids::{AccountId, ChainId, Epoch, GatewayId, LedgerId, NodeId, PublicKey};
use crate::order::Order;
use crate::price::{Amount, SignedPriceSheet};
use crate::registration::{NAME_MAX, Registration};
use crate::statement::{
    AccountOpening, OwnedOpening, Release, Reservation, TransferId, UsageStatement,
};
use crate::voucher::Receipt;
use crate::wire::{Reader, Wire, WireError, Writer};

/// Most nodes or gateways in one answer.
pub const MEMBERS_MAX: usize = 4096;
/// Most price sheets that may hold at once or are to come.
pub const SHEETS_MAX: usize = 64;
/// Most submissions in one request.
pub const SUBMISSIONS_MAX: usize = 1024;
/// Longest query, and longest answer to one, in bytes of JSON.
pub const QUERY_MAX: usize = 512 * 1024;

/// Longest note with cosignatures.
pub const NOTE_MAX: usize = 16 * 1024;
/// Longest proof of fraud.
pub const FRAUD_MAX: usize = 64 * 1024;

/// A request to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerRequest {
    /// The state of the network: answer [`ChainInfo`].
    Chain,
    /// Entries for the log: answer [`Outcomes`].
    Submit(Vec<Submission>),
    /// A question in JSON: answer [`QueryAnswer`].
    Query(Vec<u8>),
    /// Something that only whoever holds the ledger's key may do, and shows by
    /// dialling with it: answer [`Outcomes`] of one.
    Operate(Operation),
    /// A checkpoint of this ledger with cosignatures of its witnesses, as a
    /// signed note: answer [`Outcomes`] of one.
    Cosign(Vec<u8>),
    /// A proof in JSON that two blocks of one height are signed: answer
    /// [`Outcomes`] of one. If it holds, the ledger halts.
    Fraud(Vec<u8>),
}

/// What the operator of a ledger does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Money comes in for a customer.
    Deposit {
        /// Makes it idempotent.
        id: TransferId,
        /// Who gets it.
        account: AccountId,
        /// How much.
        amount: Amount,
    },
    /// Money comes in as a node's deposit or a gateway's bond.
    Fund {
        /// Makes it idempotent.
        id: TransferId,
        /// Whose.
        party: PublicKey,
        /// How much.
        amount: Amount,
    },
    /// Prices for epochs to come.
    Post(SignedPriceSheet),
    /// A gateway joins.
    Admit(GatewayId),
}

impl Wire for Operation {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Deposit { id, account, amount } => {
                out.u8(1);
                id.write(out);
                account.write(out);
                amount.write(out);
            }
            Self::Fund { id, party, amount } => {
                out.u8(2);
                id.write(out);
                party.write(out);
                amount.write(out);
            }
            Self::Post(sheet) => {
                out.u8(3);
                sheet.write(out);
            }
            Self::Admit(gateway) => {
                out.u8(4);
                gateway.write(out);
            }
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match from.u8()? {
            1 => Self::Deposit {
                id: TransferId::read(from)?,
                account: AccountId::read(from)?,
                amount: Amount::read(from)?,
            },
            2 => Self::Fund {
                id: TransferId::read(from)?,
                party: PublicKey::read(from)?,
                amount: Amount::read(from)?,
            },
            3 => Self::Post(SignedPriceSheet::read(from)?),
            4 => Self::Admit(GatewayId::read(from)?),
            value => return Err(WireError::Unknown { what: "operation", value: u64::from(value) }),
        })
    }
}

/// Something that a node or gateway wants on the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submission {
    /// A node joins or moves.
    Register(Box<Registration>),
    /// A node claims what it is owed.
    Receipt(Box<Receipt>),
    /// A gateway serves a new account.
    OpenAccount(Box<AccountOpening>),
    /// A gateway sets money aside.
    Reserve(Box<Reservation>),
    /// A gateway says what an account used.
    Usage(Box<UsageStatement>),
    /// A gateway says how the audits of an epoch ended.
    Audits(Box<AuditReport>),
    /// An account's owner lets a gateway spend.
    Grant(Box<Grant>),
    /// A node or a gateway orders with what it has earned.
    Order(Box<Order>),
    /// A gateway says that a node lost a shard.
    Loss(Box<LossClaim>),
    /// Bytes that refute such a claim.
    Rebuttal(Box<LossRebuttal>),
    /// Proof that a node signed two things that contradict each other.
    Equivocation(Box<Equivocation>),
    /// A gateway is to serve a wallet's account.
    OpenOwned(Box<OwnedOpening>),
    /// A gateway gives back what it set aside.
    Release(Box<Release>),
}

impl Wire for Submission {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Register(value) => {
                out.u8(1);
                value.write(out);
            }
            Self::Receipt(value) => {
                out.u8(2);
                value.write(out);
            }
            Self::OpenAccount(value) => {
                out.u8(3);
                value.write(out);
            }
            Self::Reserve(value) => {
                out.u8(4);
                value.write(out);
            }
            Self::Usage(value) => {
                out.u8(5);
                value.write(out);
            }
            Self::Audits(value) => {
                out.u8(6);
                value.write(out);
            }
            Self::Grant(value) => {
                out.u8(7);
                value.write(out);
            }
            Self::Order(value) => {
                out.u8(8);
                value.write(out);
            }
            Self::Loss(value) => {
                out.u8(9);
                value.write(out);
            }
            Self::Rebuttal(value) => {
                out.u8(10);
                value.write(out);
            }
            Self::Equivocation(value) => {
                out.u8(11);
                value.write(out);
            }
            Self::OpenOwned(value) => {
                out.u8(12);
                value.write(out);
            }
            Self::Release(value) => {
                out.u8(13);
                value.write(out);
            }
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match from.u8()? {
            1 => Self::Register(Box::new(Registration::read(from)?)),
            2 => Self::Receipt(Box::new(Receipt::read(from)?)),
            3 => Self::OpenAccount(Box::new(AccountOpening::read(from)?)),
            4 => Self::Reserve(Box::new(Reservation::read(from)?)),
            5 => Self::Usage(Box::new(UsageStatement::read(from)?)),
            6 => Self::Audits(Box::new(AuditReport::read(from)?)),
            7 => Self::Grant(Box::new(Grant::read(from)?)),
            8 => Self::Order(Box::new(Order::read(from)?)),
            9 => Self::Loss(Box::new(LossClaim::read(from)?)),
            10 => Self::Rebuttal(Box::new(LossRebuttal::read(from)?)),
            11 => Self::Equivocation(Box::new(Equivocation::read(from)?)),
            12 => Self::OpenOwned(Box::new(OwnedOpening::read(from)?)),
            13 => Self::Release(Box::new(Release::read(from)?)),
            value => {
                return Err(WireError::Unknown { what: "submission", value: u64::from(value) });
            }
        })
    }
}

impl Wire for LedgerRequest {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Chain => out.u8(64),
            Self::Submit(submissions) => {
                out.u8(65);
                out.list(submissions);
            }
            Self::Query(json) => {
                out.u8(66);
                out.blob(json);
            }
            Self::Operate(operation) => {
                out.u8(67);
                operation.write(out);
            }
            Self::Cosign(note) => {
                out.u8(68);
                out.blob(note);
            }
            Self::Fraud(json) => {
                out.u8(69);
                out.blob(json);
            }
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match from.u8()? {
            64 => Self::Chain,
            65 => Self::Submit(from.list("submissions", SUBMISSIONS_MAX)?),
            66 => Self::Query(from.blob("query", QUERY_MAX)?.to_vec()),
            67 => Self::Operate(Operation::read(from)?),
            68 => Self::Cosign(from.blob("note", NOTE_MAX)?.to_vec()),
            69 => Self::Fraud(from.blob("fraud proof", FRAUD_MAX)?.to_vec()),
            value => {
                return Err(WireError::Unknown { what: "ledger request", value: u64::from(value) });
            }
        })
    }
}

/// A storage node as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its key.
    pub node: NodeId,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Machines of one zone fail together.
    pub zone: String,
    /// Who runs it.
    pub operator: String,
}

impl Wire for NodeRecord {
    fn write(&self, out: &mut Writer) {
        self.node.write(out);
        out.blob(self.addr.to_string().as_bytes());
        out.blob(self.zone.as_bytes());
        out.blob(self.operator.as_bytes());
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let node = NodeId::read(from)?;
        let addr = from.text("address", NAME_MAX)?;
        Ok(Self {
            node,
            addr: addr.parse().map_err(|_| WireError::Text("address"))?,
            zone: from.text("zone", NAME_MAX)?,
            operator: from.text("operator", NAME_MAX)?,
        })
    }
}

/// The state of the network, for those who work in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainInfo {
    /// The network.
    pub chain: ChainId,
    /// Its ledger.
    pub ledger: LedgerId,
    /// The epoch in which bytes move now.
    pub open: Epoch,
    /// When it began, in milliseconds since 1970.
    pub opened_ms: u64,
    /// How long an epoch lasts, in milliseconds.
    pub epoch_ms: u64,
    /// Closed epochs that still take receipts.
    pub taking_receipts: Vec<Epoch>,
    /// Closed epochs that still take usage statements.
    pub taking_statements: Vec<Epoch>,
    /// The prices that hold now.
    pub prices: SignedPriceSheet,
    /// Gateways that may take part.
    pub gateways: Vec<GatewayId>,
    /// Registered nodes.
    pub nodes: Vec<NodeRecord>,
    /// Every sheet that holds for the open epoch, a closed one that is not
    /// settled, or one to come.
    pub sheets: Vec<SignedPriceSheet>,
    /// In a network whose units are bought on the curve: what they cost.
    pub curve: Option<CurvePrice>,
    /// Registered nodes that left or were disqualified: nothing is placed there.
    pub excluded: Vec<NodeId>,
}

impl ChainInfo {
    /// The prices that hold for an epoch: of all sheets that cover it, the one
    /// that begins last.
    pub fn prices_of(&self, epoch: Epoch) -> Option<&SignedPriceSheet> {
        let hold = self.sheets.iter().filter(|signed| signed.sheet.holds_for(epoch));
        hold.max_by_key(|signed| signed.sheet.from)
    }
}

/// The price of a traffic unit on the curve: `money / units`. Buying with X
/// gives floor(units * X / (money + X)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurvePrice {
    /// Deposits and prepaid money that is not spent.
    pub money: Amount,
    /// Units that are left.
    pub units: Amount,
}

impl Wire for CurvePrice {
    fn write(&self, out: &mut Writer) {
        self.money.write(out);
        self.units.write(out);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { money: Amount::read(from)?, units: Amount::read(from)? })
    }
}

impl Wire for ChainInfo {
    fn write(&self, out: &mut Writer) {
        self.chain.write(out);
        self.ledger.write(out);
        self.open.write(out);
        out.u64(self.opened_ms);
        out.u64(self.epoch_ms);
        out.list(&self.taking_receipts);
        out.list(&self.taking_statements);
        self.prices.write(out);
        out.list(&self.gateways);
        out.list(&self.nodes);
        out.list(&self.sheets);
        out.list(self.curve.as_slice());
        out.list(&self.excluded);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            chain: ChainId::read(from)?,
            ledger: LedgerId::read(from)?,
            open: Epoch::read(from)?,
            opened_ms: from.u64()?,
            epoch_ms: from.u64()?,
            taking_receipts: from.list("epochs", MEMBERS_MAX)?,
            taking_statements: from.list("epochs", MEMBERS_MAX)?,
            prices: SignedPriceSheet::read(from)?,
            gateways: from.list("gateways", MEMBERS_MAX)?,
            nodes: from.list("nodes", MEMBERS_MAX)?,
            sheets: from.list("price sheets", SHEETS_MAX)?,
            curve: from.list("curves", 1)?.pop(),
            excluded: from.list("excluded nodes", MEMBERS_MAX)?,
        })
    }
}

/// For each submission, in order: empty text if it is on the ledger (now or
/// since before), or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcomes(pub Vec<Outcome>);

/// What became of one submission: `Ok`, or the reason in words.
pub type Outcome = Result<(), String>;

const REASON_MAX: usize = 512;

impl Wire for Outcomes {
    fn write(&self, out: &mut Writer) {
        out.u32(u32::try_from(self.0.len()).expect("bounded by SUBMISSIONS_MAX"));
        for outcome in &self.0 {
            match outcome {
                Ok(()) => out.blob(b""),
                Err(reason) => {
                    let end = reason.floor_char_boundary(REASON_MAX);
                    out.blob(&reason.as_bytes()[..end]);
                }
            }
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let got = from.u32()? as usize;
        if got > SUBMISSIONS_MAX {
            return Err(WireError::TooMany { what: "outcomes", got, max: SUBMISSIONS_MAX });
        }
        let mut outcomes = Vec::with_capacity(got);
        for _ in 0..got {
            let reason = from.text("reason", REASON_MAX)?;
            outcomes.push(if reason.is_empty() { Ok(()) } else { Err(reason) });
        }
        Ok(Self(outcomes))
    }
}

/// The answer to a query: JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryAnswer(pub Vec<u8>);

impl Wire for QueryAnswer {
    fn write(&self, out: &mut Writer) {
        out.blob(&self.0);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self(from.blob("answer", QUERY_MAX)?.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_network_fits_an_answer() {
        let name = "n".repeat(NAME_MAX);
        let long = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535";
        let record = NodeRecord {
            node: NodeId([1; 32]),
            addr: long.parse().unwrap(),
            zone: name.clone(),
            operator: name,
        };
        let key = crate::keys::SecretKey::from_seed([1; 32]);
        let chain = ChainId([0; 16]);
        let prices = crate::price::Prices::default();
        let sheet = crate::price::PriceSheet { chain, from: 0, until: 1, prices }.signed(&key);
        let info = ChainInfo {
            chain,
            ledger: key.public().into(),
            open: Epoch(0),
            opened_ms: 0,
            epoch_ms: 1,
            taking_receipts: vec![Epoch(0); MEMBERS_MAX],
            taking_statements: vec![Epoch(0); MEMBERS_MAX],
            prices: sheet.clone(),
            gateways: vec![GatewayId([1; 32]); MEMBERS_MAX],
            nodes: vec![record; MEMBERS_MAX],
            sheets: vec![sheet; SHEETS_MAX],
            curve: Some(CurvePrice { money: Amount(1), units: Amount(1) }),
            excluded: vec![NodeId([1; 32]); MEMBERS_MAX],
        };
        let bytes = info.to_wire();
        assert!(bytes.len() < crate::frame::LEDGER_ANSWER_MAX, "{}", bytes.len());
        assert_eq!(ChainInfo::from_wire(&bytes), Ok(info));
    }

    #[test]
    fn outcomes_read_back() {
        let outcomes = Outcomes(vec![Ok(()), Err("no such account".into())]);
        assert_eq!(Outcomes::from_wire(&outcomes.to_wire()), Ok(outcomes));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(request) = LedgerRequest::from_wire(&bytes) {
                prop_assert_eq!(request.to_wire(), bytes);
            }
        }
    }
}
