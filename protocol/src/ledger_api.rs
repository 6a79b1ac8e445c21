//! What nodes and gateways ask of the ledger.
//!
//! One stream for each request: a request frame, an answer frame (both at most
//! [`crate::frame::LEDGER_FRAME_MAX`]). Anyone with a sound key may connect: a
//! submission is believed for the signatures it carries, not for who brings it.
//! Queries show accounts, so only registered gateways may ask them.

use std::net::SocketAddr;

use crate::ids::{ChainId, Epoch, GatewayId, LedgerId, NodeId};
use crate::price::SignedPriceSheet;
use crate::registration::{NAME_MAX, Registration};
use crate::statement::{AccountOpening, Reservation, UsageStatement};
use crate::voucher::Receipt;
use crate::wire::{Reader, Wire, WireError, Writer};

/// Most nodes or gateways in one answer.
pub const MEMBERS_MAX: usize = 4096;
/// Most submissions in one request.
pub const SUBMISSIONS_MAX: usize = 1024;
/// Longest query, and longest answer to one, in bytes of JSON.
pub const QUERY_MAX: usize = 512 * 1024;

/// A request to the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerRequest {
    /// The state of the network: answer [`ChainInfo`].
    Chain,
    /// Entries for the log: answer [`Outcomes`].
    Submit(Vec<Submission>),
    /// A question in JSON: answer [`QueryAnswer`].
    Query(Vec<u8>),
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
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match from.u8()? {
            1 => Self::Register(Box::new(Registration::read(from)?)),
            2 => Self::Receipt(Box::new(Receipt::read(from)?)),
            3 => Self::OpenAccount(Box::new(AccountOpening::read(from)?)),
            4 => Self::Reserve(Box::new(Reservation::read(from)?)),
            5 => Self::Usage(Box::new(UsageStatement::read(from)?)),
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
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match from.u8()? {
            64 => Self::Chain,
            65 => Self::Submit(from.list("submissions", SUBMISSIONS_MAX)?),
            66 => Self::Query(from.blob("query", QUERY_MAX)?.to_vec()),
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
    /// Registered gateways.
    pub gateways: Vec<GatewayId>,
    /// Registered nodes.
    pub nodes: Vec<NodeRecord>,
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
