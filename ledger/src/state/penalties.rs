//! How money is taken from who misbehaved. From a node: pay that is not mature,
//! then what is held back, then the deposit. From a gateway: its bond, then pay
//! that is not mature, then what is free on its own account. All of it goes to
//! the repair fund.
//!
//! What is taken from immature pay is a debt: the payouts that mature later,
//! the oldest first, are short by it. So what is immature of a party is always
//! the payouts of sealed epochs less its debt, and maturing never takes more
//! than there is.

use std::collections::BTreeMap;

use protocol::GatewayId;
use protocol::NodeId;
use protocol::claim::Equivocation;
use protocol::price::Amount;
use protocol::statement::gateway_account;

use super::{Rejection, State};
use crate::account::{Account, Party};
use crate::event::Event;

/// What was taken, and from where.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    pub(super) immature: u128,
    pub(super) held: u128,
    pub(super) deposit: u128,
    pub(super) account: u128,
}

impl Taken {
    pub(super) fn total(self) -> u128 {
        self.immature + self.held + self.deposit + self.account // At most the supply.
    }
}

impl State {
    /// What was taken from each party's pay before it matured.
    pub fn debts(&self) -> &BTreeMap<Party, u128> {
        &self.law.debts
    }

    /// Takes up to `due` from a node.
    pub(super) fn penalise(&mut self, node: NodeId, due: u128, reason: String) -> Taken {
        let immature = self.take_immature(Party::Node(node), due);
        let held = self.take(Account::Held(node), due - immature);
        let deposit = self.take(Account::Deposit(node), due - immature - held);
        let taken = Taken { immature, held, deposit, account: 0 };
        self.tell_penalty(Party::Node(node), due, taken, reason);
        taken
    }

    /// Takes up to `due` from a gateway.
    pub(super) fn charge_gateway(&mut self, gateway: GatewayId, due: u128, reason: String) {
        let deposit = self.take(Account::Bond(gateway), due);
        let immature = self.take_immature(Party::Gateway(gateway), due - deposit);
        let own = Account::Available(gateway_account(gateway));
        let account = self.take(own, due - deposit - immature);
        let taken = Taken { immature, held: 0, deposit, account };
        self.tell_penalty(Party::Gateway(gateway), due, taken, reason);
    }

    /// What can be taken from a gateway.
    pub(super) fn within_reach(&self, gateway: GatewayId) -> u128 {
        let own = Account::Available(gateway_account(gateway));
        let all = [Account::Bond(gateway), Account::Immature(Party::Gateway(gateway)), own];
        all.iter().map(|&account| self.book.balance(account).0).sum() // At most the supply.
    }

    fn take_immature(&mut self, party: Party, most: u128) -> u128 {
        let taken = self.take(Account::Immature(party), most);
        self.owe_immature(party, taken);
        taken
    }

    /// What matures later will be short by what was taken.
    pub(super) fn owe_immature(&mut self, party: Party, taken: u128) {
        if taken > 0 {
            *self.law.debts.entry(party).or_default() += taken; // At most the supply.
        }
    }

    fn take(&mut self, from: Account, most: u128) -> u128 {
        let taken = self.book.balance(from).0.min(most);
        self.book
            .transfer(from, Account::RepairFund, Amount(taken))
            .expect("no more is taken than there is");
        taken
    }

    fn tell_penalty(&mut self, party: Party, due: u128, taken: Taken, reason: String) {
        self.events.push(Event::Penalty {
            party,
            reason,
            due: Amount(due),
            immature: Amount(taken.immature),
            held: Amount(taken.held),
            deposit: Amount(taken.deposit),
            account: Amount(taken.account),
        });
    }

    pub(super) fn check_equivocation(&self, evidence: &Equivocation) -> Result<(), Rejection> {
        let (node, epoch) = (evidence.node(), evidence.first.voucher.body.epoch);
        if !self.nodes.contains_key(&node) {
            return Err(Rejection::UnknownNode(node));
        }
        if !evidence.is_contradiction() {
            return Err(Rejection::NoContradiction);
        }
        // Once for a node: it has nothing more to say.
        if self.law.excluded.get(&node).is_some_and(|excluded| excluded.disqualified) {
            return Err(Rejection::Known);
        }
        if !self.is_challengeable(epoch) {
            return Err(Rejection::Closed { epoch, what: "evidence" });
        }
        Ok(())
    }

    /// All that is not mature and half of the deposit are gone, and so is the
    /// node.
    pub(super) fn punish_equivocation(&mut self, evidence: &Equivocation) {
        let node = evidence.node();
        let immature = self.take_immature(Party::Node(node), u128::MAX);
        let half = self.book.balance(Account::Deposit(node)).0.div_ceil(2);
        let deposit = self.take(Account::Deposit(node), half);
        let taken = Taken { immature, deposit, ..Taken::default() };
        let lane = evidence.first.voucher.body.lane;
        let epoch = evidence.first.voucher.body.epoch;
        let reason = format!("signed two truths about lane {lane} of epoch {epoch}");
        self.tell_penalty(Party::Node(node), taken.total(), taken, reason);
        self.exclude(node).disqualified = true;
    }
}
