//! Settles an epoch: shares what was paid for receipts among nodes and gateways.
//!
//! Who pays is decided before (`bills`), and how the money is shared is pure
//! arithmetic (`settlement`); this is where it goes.

use std::collections::{BTreeMap, BTreeSet};

use protocol::price::{Amount, Counters};
use protocol::{Epoch, GatewayId, NodeId};

use super::State;
use super::bills::Bill;
use crate::account::{Account, Party};
use crate::curve::Curve;
use crate::epoch::{Cover, CurveUse, GatewayTotal, Intake, Sealed, Summary, VoidReason};
use crate::event::{Earned, Event};
use crate::fraction::part;
use crate::settlement::{Line, Lines, Rates, Settlement, settle};

/// What both signed for: a node and a gateway, over all lanes.
#[derive(Clone, Copy, Default)]
struct Metered {
    counters: Counters,
    /// What it comes to: money, or units.
    amount: u128,
}

type Meters = BTreeMap<(NodeId, GatewayId), Metered>;

impl State {
    /// Settles an epoch: debits accounts, pays nodes and gateways.
    pub(super) fn seal_epoch(&mut self, epoch: Epoch) {
        let intake = self.intake.remove(&epoch).expect("check made sure that it is due");
        let curve = self.curve();
        let (bills, void) = self.judge(&intake, curve);
        let meters = meters(&intake, &bills);
        let mut covered = BTreeMap::new();
        let mut lines = Lines::new();
        let mut spare = 0;
        for (&gateway, bill) in &bills {
            let (money, cover) = self.collect(epoch, gateway, bill);
            spare += self.divide(epoch, gateway, (bill, money), &meters, &mut lines);
            if cover != Cover::default() {
                covered.insert(gateway, cover);
            }
        }
        let live = live(&intake, &bills);
        let rates = Rates::of(&self.genesis.params, self.genesis.economy(), self.minted);
        let mintable = u128::MAX - self.book.supply().0;
        let settlement = settle(&rates, &lines, spare, &live, mintable)
            .expect("what was collected is on the book, and can be counted");

        self.pay(&settlement);
        self.credit_traffic(&meters, &covered);
        self.note_paid(&settlement);
        if self.genesis.is_answerable() {
            void.keys().for_each(|&gateway| self.revoke(gateway));
        }
        self.return_reserves();
        assert!(self.book.is_conserved(), "settling an epoch neither makes nor loses money");

        assert!(self.is_prepaid(), "what lots are left for is reserved");

        self.tell(epoch, &settlement, &meters, &bills, &void);
        let summary = Summary {
            covered,
            curve: curve.map(|curve| used(curve, &bills)),
            bytes: traffic(&meters),
            ..self.summarise(&intake, void, &settlement)
        };
        self.sealed.insert(epoch, Sealed::new(summary, &settlement));
    }

    /// Divides what was paid for a gateway's receipts among them, and says what
    /// that leaves over. By posted prices it is what each of them says, unless
    /// the gateway was short.
    fn divide(
        &self,
        epoch: Epoch,
        gateway: GatewayId,
        (bill, money): (&Bill<'_>, u128),
        meters: &Meters,
        lines: &mut Lines,
    ) -> u128 {
        let prices = self.prices_of(epoch).sheet.prices;
        let mut spare = money;
        for (&(node, of), metered) in meters {
            if of != gateway {
                continue;
            }
            let debited = if bill.owed == 0 { 0 } else { part(money, metered.amount, bill.owed) };
            let stored_byte_seconds = metered.counters.stored_byte_seconds;
            let stored = Counters { stored_byte_seconds, ..Counters::default() }.amount(&prices);
            let lost = match metered.amount {
                _ if self.is_keeping(gateway, node, epoch) => 0,
                0 => 0,
                amount => part(debited, stored.0.min(amount), amount),
            };
            spare -= debited;
            let barren = bill.own.short > 0 || bill.fault.is_some();
            lines.insert((node, gateway), Line { debited, lost, barren });
        }
        spare
    }

    fn pay(&mut self, settlement: &Settlement) {
        for payout in &settlement.payouts {
            let waiting = Account::Immature(payout.party);
            self.clear(waiting, payout.pay);
            self.clear(Account::RepairFund, payout.tax + payout.withheld);
            self.book
                .mint(waiting, Amount(payout.emission))
                .expect("no more is minted than can be counted");
            if let Party::Node(node) = payout.party {
                let member = self.nodes.get_mut(&node).expect("receipts are of registered nodes");
                let earned = payout.pay + payout.emission; // At most the supply.
                member.earned.0 = member.earned.0.saturating_add(earned);
            }
        }
        self.clear(Account::Treasury, settlement.treasury);
        self.minted += settlement.emission; // At most the supply.
    }

    fn clear(&mut self, to: Account, amount: u128) {
        self.book
            .transfer(Account::Clearing, to, Amount(amount))
            .expect("a settlement shares out exactly what was debited");
    }

    fn credit_traffic(&mut self, meters: &Meters, covered: &BTreeMap<GatewayId, Cover>) {
        for ((node, gateway), metered) in meters {
            let member = self.nodes.get_mut(node).expect("receipts are of registered nodes");
            member.bytes = member.bytes.saturating_add(metered.counters.traffic());
            let is_short = covered.get(gateway).is_some_and(|cover| cover.short > Amount::ZERO);
            self.note_kept(*node, &metered.counters);
            // Nothing is claimed of what was not paid for.
            if !is_short {
                self.note_placed(*gateway, *node, &metered.counters);
            }
        }
    }

    fn tell(
        &mut self,
        epoch: Epoch,
        settlement: &Settlement,
        meters: &Meters,
        bills: &BTreeMap<GatewayId, Bill<'_>>,
        void: &BTreeMap<GatewayId, VoidReason>,
    ) {
        for share in &settlement.shares {
            let metered = meters[&(share.node, share.gateway)];
            self.events.push(Event::Earned(Earned {
                epoch,
                node: share.node,
                gateway: share.gateway,
                counters: metered.counters,
                owed: Amount(metered.amount),
                short: Amount(bills[&share.gateway].short_of(metered.amount)),
                debited: Amount(share.debited),
                gross: Amount(share.gross),
                tax: Amount(share.tax),
                withheld: Amount(share.withheld),
                emission: Amount(share.emission),
            }));
        }
        for payout in &settlement.payouts {
            let Party::Gateway(gateway) = payout.party else { continue };
            let (gross, tax) = (Amount(payout.pay + payout.tax), Amount(payout.tax));
            self.events.push(Event::Shared { epoch, gateway, gross, tax });
        }
        for (&gateway, reason) in void {
            let reason = reason.to_string();
            self.events.push(Event::Void { epoch, gateway, reason });
        }
    }

    fn summarise(
        &self,
        intake: &Intake,
        void: BTreeMap<GatewayId, VoidReason>,
        settlement: &Settlement,
    ) -> Summary {
        let mut totals = BTreeMap::<GatewayId, GatewayTotal>::new();
        for (key, body) in &intake.lanes {
            let total = totals.entry(key.gateway).or_default();
            total.owed.0 = total.owed.0.saturating_add(body.amount.0);
            total.receipts += 1;
        }
        Summary {
            opened_ms: intake.opened_ms,
            sealed_ms: self.time_ms,
            bytes: 0,
            debited: Amount(settlement.debited),
            paid: Amount(settlement.paid),
            tax: Amount(settlement.tax),
            treasury: Amount(settlement.treasury),
            emission: Amount(settlement.emission),
            totals,
            void,
            withheld: Amount(settlement.withheld),
            covered: BTreeMap::new(),
            curve: None,
        }
    }
}

/// What nodes earned through the gateways that somebody pays for.
fn meters(intake: &Intake, bills: &BTreeMap<GatewayId, Bill<'_>>) -> Meters {
    let mut meters = Meters::new();
    for body in bills.keys().flat_map(|&gateway| intake.lanes_of(gateway)) {
        let metered = meters.entry((body.node, body.gateway)).or_default();
        metered.counters = metered.counters.plus(&body.counters);
        metered.amount += body.amount.0; // A part of what the gateway owes.
    }
    meters
}

/// Gateways that share in the epoch: there is something to pay, they did not
/// break the rules, and they were not short.
fn live(intake: &Intake, bills: &BTreeMap<GatewayId, Bill<'_>>) -> BTreeSet<GatewayId> {
    let stands = |(gateway, bill): &(&GatewayId, &Bill<'_>)| {
        bill.fault.is_none() && bill.own.short == 0 && intake.lanes_of(**gateway).next().is_some()
    };
    bills.iter().filter(stands).map(|(&gateway, _)| gateway).collect()
}

/// Payload bytes that were paid for.
fn traffic(meters: &Meters) -> u64 {
    meters.values().fold(0, |sum: u64, metered| sum.saturating_add(metered.counters.traffic()))
}

fn used(curve: Curve, bills: &BTreeMap<GatewayId, Bill<'_>>) -> CurveUse {
    let units = bills.values().fold(0u128, |sum, bill| sum.saturating_add(bill.owed));
    CurveUse { units: Amount(units), reference: Amount(curve.reference(units)) }
}
