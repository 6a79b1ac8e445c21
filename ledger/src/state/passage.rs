//! How time moves epochs on: open, taking receipts, taking statements, sealed,
//! mature. What is due follows from the block's time alone.

use std::collections::{BTreeMap, BTreeSet};

use protocol::price::Amount;
use protocol::{Epoch, GatewayId, NodeId};

use super::State;
use crate::account::{Account, Party};
use crate::entry::Entry;
use crate::epoch::{GatewayTotal, Intake, Open, Sealed, Summary, VoidReason, Window};
use crate::settlement::{Settlement, settle};

impl State {
    /// The change of epochs that must come next at the time of this block, if
    /// one is due. Each epoch's changes come in order, and so do the epochs.
    pub fn due(&self) -> Option<Entry> {
        let params = &self.genesis.params;
        let since = |then_ms: u64| self.time_ms.saturating_sub(then_ms);

        let passed = since(self.open.opened_ms) / params.epoch_ms;
        if passed > 0 {
            let next = Epoch(self.open.epoch.0 + passed);
            return Some(Entry::CloseEpoch { epoch: self.open.epoch, next });
        }
        for (&epoch, intake) in &self.intake {
            match intake.window {
                Window::Receipts if since(intake.since_ms) >= params.receipts_ms => {
                    return Some(Entry::StopReceipts(epoch));
                }
                Window::Statements if since(intake.since_ms) >= params.statements_ms => {
                    return Some(Entry::SealEpoch(epoch));
                }
                _ => {}
            }
        }
        // They were sealed in order, so only the first can be the next to mature.
        let (&epoch, sealed) = self.sealed.first_key_value()?;
        let wait_ms = params.challenge_ms.saturating_add(params.maturity_ms);
        (since(sealed.summary.sealed_ms) >= wait_ms).then_some(Entry::MatureEpoch(epoch))
    }

    pub(super) fn close_epoch(&mut self, next: Epoch) {
        let Open { epoch, opened_ms } = self.open;
        let passed = next.0 - epoch.0;
        if passed > 1 {
            // Whole epochs went by without a block: the ledger was away, and
            // nobody could submit. What it was taking, it takes from anew.
            for intake in self.intake.values_mut() {
                intake.since_ms = self.time_ms;
            }
        }
        let closed = Intake {
            opened_ms,
            window: Window::Receipts,
            since_ms: self.time_ms,
            lanes: BTreeMap::new(),
            statements: BTreeMap::new(),
        };
        self.intake.insert(epoch, closed);
        // The grid of epochs stays where genesis put it.
        let opened_ms = opened_ms + passed * self.genesis.params.epoch_ms;
        self.open = Open { epoch: next, opened_ms };
    }

    pub(super) fn stop_receipts(&mut self, epoch: Epoch) {
        let intake = self.intake.get_mut(&epoch).expect("check made sure that it is due");
        intake.window = Window::Statements;
        intake.since_ms = self.time_ms;
    }

    /// Settles an epoch: debits accounts, pays nodes and gateways.
    pub(super) fn seal_epoch(&mut self, epoch: Epoch) {
        let intake = self.intake.remove(&epoch).expect("check made sure that it is due");
        let (good, void) = self.judge(&intake);
        let earned = earned_by_node(&intake, &good);
        let mintable = u128::MAX - self.book.supply().0;
        let settlement = settle(&self.genesis.params, &earned, &good, mintable)
            .expect("reserves cover the sum, and they can be counted");

        self.debit(&intake, &good, settlement.debited);
        self.pay(&settlement);
        self.credit_traffic(&intake, &good);
        assert!(self.book.is_conserved(), "settling an epoch neither makes nor loses money");

        let summary = self.summarise(&intake, &good, void, &settlement);
        self.sealed.insert(epoch, Sealed::new(summary, &settlement));
    }

    /// Which gateways' epochs stand, and why the others do not. A gateway that
    /// submitted nothing and whose nodes claim nothing is neither.
    fn judge(&self, intake: &Intake) -> (BTreeSet<GatewayId>, BTreeMap<GatewayId, VoidReason>) {
        let mut good = BTreeSet::new();
        let mut void = BTreeMap::new();
        for &gateway in &self.genesis.gateways {
            match self.judge_gateway(intake, gateway) {
                Err(reason) => {
                    void.insert(gateway, reason);
                }
                Ok(()) if intake.lanes_of(gateway).next().is_some() => {
                    good.insert(gateway);
                }
                Ok(()) => {}
            }
        }
        (good, void)
    }

    fn judge_gateway(&self, intake: &Intake, gateway: GatewayId) -> Result<(), VoidReason> {
        let receipts = intake.owed(gateway).ok_or(VoidReason::Overflow)?;
        let statements = intake
            .statements_of(gateway)
            .try_fold(0u128, |sum, statement| sum.checked_add(statement.amount.0))
            .ok_or(VoidReason::Overflow)?;
        if statements != receipts {
            let (statements, receipts) = (Amount(statements), Amount(receipts));
            return Err(VoidReason::Mismatch { statements, receipts });
        }
        for statement in intake.statements_of(gateway) {
            let (account, amount) = (statement.account, statement.amount);
            let reserved = self.book.balance(Account::Reserved(gateway, account));
            if amount > reserved {
                return Err(VoidReason::Uncovered { account, amount, reserved });
            }
        }
        Ok(())
    }

    fn debit(&mut self, intake: &Intake, good: &BTreeSet<GatewayId>, expected: u128) {
        let mut debited = 0;
        for statement in good.iter().flat_map(|&gateway| intake.statements_of(gateway)) {
            let reserved = Account::Reserved(statement.gateway, statement.account);
            self.book
                .transfer(reserved, Account::Clearing, statement.amount)
                .expect("judged to be covered");
            let customer = self.customers.get_mut(&statement.account);
            let customer = customer.expect("a statement is of an open account");
            customer.spent.0 += statement.amount.0; // Never more than was minted.
            debited += statement.amount.0;
        }
        assert_eq!(debited, expected, "accounts pay what nodes earned");
    }

    fn pay(&mut self, settlement: &Settlement) {
        for payout in &settlement.payouts {
            let waiting = Account::Immature(payout.party);
            self.clear(waiting, payout.pay);
            self.clear(Account::RepairFund, payout.tax);
            self.book
                .mint(waiting, Amount(payout.emission))
                .expect("no more is minted than can be counted");
            if let Party::Node(node) = payout.party {
                let member = self.nodes.get_mut(&node).expect("receipts are of registered nodes");
                member.earned.0 += payout.pay + payout.emission; // At most the supply.
            }
        }
        self.clear(Account::Treasury, settlement.treasury);
    }

    fn clear(&mut self, to: Account, amount: u128) {
        self.book
            .transfer(Account::Clearing, to, Amount(amount))
            .expect("a settlement shares out exactly what was debited");
    }

    fn credit_traffic(&mut self, intake: &Intake, good: &BTreeSet<GatewayId>) {
        for body in good.iter().flat_map(|&gateway| intake.lanes_of(gateway)) {
            let member = self.nodes.get_mut(&body.node).expect("receipts are of registered nodes");
            member.bytes = member.bytes.saturating_add(body.counters.traffic());
        }
    }

    fn summarise(
        &self,
        intake: &Intake,
        good: &BTreeSet<GatewayId>,
        void: BTreeMap<GatewayId, VoidReason>,
        settlement: &Settlement,
    ) -> Summary {
        let mut totals = BTreeMap::<GatewayId, GatewayTotal>::new();
        let mut bytes = 0u64;
        for (key, body) in &intake.lanes {
            let total = totals.entry(key.gateway).or_default();
            total.owed.0 = total.owed.0.saturating_add(body.amount.0);
            total.receipts += 1;
            if good.contains(&key.gateway) {
                bytes = bytes.saturating_add(body.counters.traffic());
            }
        }
        Summary {
            opened_ms: intake.opened_ms,
            sealed_ms: self.time_ms,
            bytes,
            debited: Amount(settlement.debited),
            paid: Amount(settlement.paid),
            tax: Amount(settlement.tax),
            treasury: Amount(settlement.treasury),
            emission: Amount(settlement.emission),
            totals,
            void,
        }
    }

    pub(super) fn mature_epoch(&mut self, epoch: Epoch) {
        let sealed = self.sealed.remove(&epoch).expect("check made sure that it is due");
        for (party, amount) in sealed.payouts {
            self.book
                .transfer(Account::Immature(party), Account::Mature(party), Amount(amount))
                .expect("what an epoch paid is immature until it matures");
        }
        self.remember("epoch", sealed.digest);
        self.mature.insert(epoch, sealed.summary);
    }
}

/// D_i: what each node earned through gateways whose epoch stands.
fn earned_by_node(intake: &Intake, good: &BTreeSet<GatewayId>) -> BTreeMap<NodeId, u128> {
    let mut earned = BTreeMap::new();
    for body in good.iter().flat_map(|&gateway| intake.lanes_of(gateway)) {
        // Covered by reserves, so all of it together can be counted.
        *earned.entry(body.node).or_insert(0u128) += body.amount.0;
    }
    earned
}
