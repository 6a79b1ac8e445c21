//! The life of an epoch: open, taking receipts, taking statements, sealed,
//! mature. What is held in each stage is a type of its own, so that a receipt
//! cannot be counted twice or a sealed sum changed.

use std::collections::BTreeMap;
use std::fmt;

use protocol::price::Amount;
use protocol::sign;
use protocol::statement::UsageStatement;
use protocol::voucher::VoucherBody;
use protocol::wire::{Wire, Writer};
use protocol::{AccountId, Epoch, GatewayId, NodeId};

use crate::account::{Party, write_party};
use crate::entry::LaneKey;
use crate::hash::Hash;
use crate::settlement::Settlement;

/// The epoch in which bytes move now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its number.
    pub epoch: Epoch,
    /// When it began, in milliseconds since 1970.
    pub opened_ms: u64,
}

/// What a closed epoch still takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Nodes' receipts.
    Receipts,
    /// Gateways' usage statements. Receipts stop first: a node that submits at
    /// the last moment cannot spoil the sum for others.
    Statements,
}

/// A closed epoch that is not settled yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intake {
    /// When it began.
    pub opened_ms: u64,
    /// What it takes.
    pub window: Window,
    /// Since when.
    pub since_ms: u64,
    /// The highest receipt of each lane.
    pub lanes: BTreeMap<LaneKey, VoucherBody>,
    /// The latest statement of each account.
    pub statements: BTreeMap<(GatewayId, AccountId), UsageStatement>,
    /// Stands for all that was taken, in that order, so that no block hashes
    /// all of it again. `None` in ledgers of version 1, which do.
    pub taken: Option<Hash>,
}

impl Intake {
    /// What `gateway` owes by its accepted receipts, or `None` beyond counting.
    pub fn owed(&self, gateway: GatewayId) -> Option<u128> {
        self.lanes_of(gateway).try_fold(0u128, |sum, body| sum.checked_add(body.amount.0))
    }

    /// The accepted receipts of `gateway`.
    pub fn lanes_of(&self, gateway: GatewayId) -> impl Iterator<Item = &VoucherBody> + '_ {
        // Keys sort by gateway first, so its lanes are neighbours.
        let first = LaneKey { gateway, node: NodeId([0; 32]), lane: 0 };
        self.lanes
            .range(first..)
            .take_while(move |(key, _)| key.gateway == gateway)
            .map(|(_, body)| body)
    }

    /// The statements of `gateway`.
    pub fn statements_of(&self, gateway: GatewayId) -> impl Iterator<Item = &UsageStatement> + '_ {
        self.statements
            .range((gateway, AccountId([0; 16]))..)
            .take_while(move |((of, _), _)| *of == gateway)
            .map(|(_, statement)| statement)
    }

    /// Payload bytes moved, by the accepted receipts.
    pub fn bytes(&self) -> u64 {
        self.lanes.values().fold(0, |sum: u64, body| sum.saturating_add(body.counters.traffic()))
    }

    /// Takes a receipt or a statement, by its signed digest, into what stands for
    /// all of them.
    pub fn fold(&mut self, digest: [u8; 32]) {
        if let Some(taken) = &mut self.taken {
            let both = [taken.0, digest].concat();
            *taken = Hash(blake3::derive_key("stratos ledger intake v1", &both));
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u64(self.opened_ms);
        out.u8(match self.window {
            Window::Receipts => 1,
            Window::Statements => 2,
        });
        out.u64(self.since_ms);
        if let Some(taken) = &self.taken {
            taken.write(out);
            return;
        }
        out.u64(self.lanes.len() as u64);
        for body in self.lanes.values() {
            body.write(out); // It names its lane.
        }
        out.u64(self.statements.len() as u64);
        for statement in self.statements.values() {
            out.bytes(&sign::digest(statement));
        }
    }
}

/// Why nobody is debited or paid for a gateway's epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VoidReason {
    /// Statements and receipts do not add up to the same.
    Mismatch {
        /// What its accounts are said to have used.
        statements: Amount,
        /// What its nodes' receipts claim.
        receipts: Amount,
    },
    /// An account has too little reserved with this gateway. Only in ledgers of
    /// version 1: in others the gateway pays what is not covered.
    Uncovered {
        /// The account.
        account: AccountId,
        /// What it is said to have used.
        amount: Amount,
        /// What it has reserved.
        reserved: Amount,
    },
    /// The sums cannot be counted.
    Overflow,
}

impl fmt::Display for VoidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mismatch { statements, receipts } => write!(
                f,
                "usage statements add up to {statements} atto-credits, receipts to {receipts}"
            ),
            Self::Uncovered { account, amount, reserved } => write!(
                f,
                "account {account} used {amount} atto-credits and has {reserved} reserved"
            ),
            Self::Overflow => f.write_str("the receipts or statements exceed what can be counted"),
        }
    }
}

/// What a gateway paid of its own for an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    /// From its own account, reserved or not.
    pub account: Amount,
    /// From its bond.
    pub bond: Amount,
    /// From its pay, mature or not.
    pub pay: Amount,
    /// What it could not pay, so that its nodes were short of it: money, or
    /// units where they are bought on the curve.
    pub short: Amount,
    /// Why accounts were charged nothing and the gateway was revoked, if it lied.
    pub fault: Option<VoidReason>,
}

/// What units came to in an epoch, where they are bought on the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CurveUse {
    /// Units that were used.
    pub units: Amount,
    /// What they would have cost by the published rule.
    pub reference: Amount,
}

/// What a gateway's accepted receipts came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatewayTotal {
    /// The sum of their amounts; the largest number if it cannot be counted.
    pub owed: Amount,
    /// How many lanes.
    pub receipts: u64,
}

/// What became of a settled epoch. Never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// When it began.
    pub opened_ms: u64,
    /// When it was settled.
    pub sealed_ms: u64,
    /// Payload bytes that were paid for.
    pub bytes: u64,
    /// What accounts paid.
    pub debited: Amount,
    /// What nodes and gateways got of it.
    pub paid: Amount,
    /// What the repair fund got.
    pub tax: Amount,
    /// What the treasury got.
    pub treasury: Amount,
    /// What was minted for nodes.
    pub emission: Amount,
    /// Each gateway's accepted receipts, void or not.
    pub totals: BTreeMap<GatewayId, GatewayTotal>,
    /// Gateways for whom nobody was debited or paid.
    pub void: BTreeMap<GatewayId, VoidReason>,
    /// What went to the repair fund because audits failed.
    pub withheld: Amount,
    /// Gateways that paid of their own what their statements left open.
    pub covered: BTreeMap<GatewayId, Cover>,
    /// On the curve: what was used, and its published price.
    pub curve: Option<CurveUse>,
}

/// A settled epoch whose payouts are not mature yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// What became of it.
    pub summary: Summary,
    /// What each party waits for.
    pub payouts: Vec<(Party, u128)>,
    /// Stands for all of the above in the state root: it never changes again.
    pub digest: Hash,
}

impl Sealed {
    /// A settled epoch.
    pub fn new(summary: Summary, settlement: &Settlement) -> Self {
        let payouts: Vec<(Party, u128)> = settlement
            .payouts
            .iter()
            .map(|payout| (payout.party, payout.pay + payout.emission))
            .filter(|&(_, amount)| amount > 0)
            .collect();
        let mut out = Writer::default();
        summary.write(&mut out);
        out.u64(payouts.len() as u64);
        for &(party, amount) in &payouts {
            write_party(party, &mut out);
            out.u128(amount);
        }
        summary.write_later(&mut out);
        let digest = Hash(blake3::derive_key("stratos ledger sealed epoch v1", &out.0));
        Self { summary, payouts, digest }
    }
}

impl Summary {
    fn write(&self, out: &mut Writer) {
        out.u64(self.opened_ms);
        out.u64(self.sealed_ms);
        out.u64(self.bytes);
        for amount in [self.debited, self.paid, self.tax, self.treasury, self.emission] {
            amount.write(out);
        }
        out.u64(self.totals.len() as u64);
        for (gateway, total) in &self.totals {
            gateway.write(out);
            total.owed.write(out);
            out.u64(total.receipts);
        }
        out.u64(self.void.len() as u64);
        for (gateway, reason) in &self.void {
            gateway.write(out);
            write_reason(reason, out);
        }
    }

    /// What came later than ledgers that exist: it is written only where there
    /// is some, so that their digests stay.
    fn write_later(&self, out: &mut Writer) {
        if self.withheld > Amount::ZERO {
            out.u8(1);
            self.withheld.write(out);
        }
        if !self.covered.is_empty() {
            out.u8(2);
            out.u64(self.covered.len() as u64);
            for (gateway, cover) in &self.covered {
                gateway.write(out);
                cover.account.write(out);
                cover.bond.write(out);
                cover.pay.write(out);
                cover.short.write(out);
                match &cover.fault {
                    Some(reason) => write_reason(reason, out),
                    None => out.u8(0),
                }
            }
        }
        if let Some(CurveUse { units, reference }) = self.curve {
            out.u8(3);
            units.write(out);
            reference.write(out);
        }
    }
}

fn write_reason(reason: &VoidReason, out: &mut Writer) {
    match reason {
        VoidReason::Mismatch { statements, receipts } => {
            out.u8(1);
            statements.write(out);
            receipts.write(out);
        }
        VoidReason::Uncovered { account, amount, reserved } => {
            out.u8(2);
            account.write(out);
            amount.write(out);
            reserved.write(out);
        }
        VoidReason::Overflow => out.u8(3),
    }
}
