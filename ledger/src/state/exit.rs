//! How nodes go: in order, by waiting until they keep nothing any more; or by
//! staying away, which costs what is held back.
//!
//! A node that ordered its exit keeps serving while its bytes are moved away.
//! Once no epoch pays it for keeping any more, for long enough, it gets its
//! deposit and what was held back. From then on, as from a disqualification on,
//! it is excluded: receipts of epochs that open later are refused.

use std::collections::BTreeMap;

use protocol::price::{Amount, Counters};
use protocol::wire::{Wire, Writer};
use protocol::{Epoch, NodeId};

use super::{Rejection, State};
use crate::account::{Account, Party};
use crate::entry::Entry;
use crate::event::Event;

/// A node that takes part no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// The last epoch in which it could earn.
    pub last: Epoch,
    /// It left in order.
    pub left: bool,
    /// It was disqualified.
    pub disqualified: bool,
}

impl Excluded {
    pub(super) fn write(&self, out: &mut Writer) {
        self.last.write(out);
        out.u8(u8::from(self.left));
        out.u8(u8::from(self.disqualified));
    }
}

impl State {
    /// Nodes that begin to leave, and since when each keeps nothing.
    pub fn leaving(&self) -> &BTreeMap<NodeId, u64> {
        &self.law.leaving
    }

    /// Nodes that take part no more.
    pub fn excluded(&self) -> &BTreeMap<NodeId, Excluded> {
        &self.law.excluded
    }

    pub(super) fn check_exit(&self, party: Party) -> Result<(), Rejection> {
        let Party::Node(node) = party else { return Err(Rejection::NotANode) };
        let has_left = self.law.excluded.get(&node).is_some_and(|excluded| excluded.left);
        if has_left || self.law.leaving.contains_key(&node) {
            return Err(Rejection::Known);
        }
        Ok(())
    }

    pub(super) fn begin_exit(&mut self, party: Party) {
        if let Party::Node(node) = party {
            self.law.leaving.insert(node, self.time_ms);
        }
    }

    pub(super) fn check_not_excluded(&self, node: NodeId, epoch: Epoch) -> Result<(), Rejection> {
        match self.law.excluded.get(&node) {
            Some(excluded) if epoch > excluded.last => Err(Rejection::Excluded(node)),
            _ => Ok(()),
        }
    }

    /// The node's entry among those that take part no more.
    pub(super) fn exclude(&mut self, node: NodeId) -> &mut Excluded {
        let last = self.open.epoch;
        let new = Excluded { last, left: false, disqualified: false };
        self.law.excluded.entry(node).or_insert(new)
    }

    /// Notes that the node signed something.
    pub(super) fn saw(&mut self, node: NodeId) {
        let member = self.nodes.get_mut(&node).expect("check looked the node up");
        member.seen_ms = self.time_ms;
    }

    /// After the ledger was away for whole epochs: what waits for somebody's word
    /// waits from now on, since nobody could have given it.
    pub(super) fn wait_anew(&mut self) {
        self.extend_claims();
        for member in self.nodes.values_mut() {
            member.seen_ms = self.time_ms;
        }
        self.law.leaving.values_mut().for_each(|quiet_ms| *quiet_ms = self.time_ms);
    }

    /// Notes that a node was paid for keeping something.
    pub(super) fn note_kept(&mut self, node: NodeId, counters: &Counters) {
        if counters.stored_byte_seconds == 0 {
            return;
        }
        if let Some(quiet_ms) = self.law.leaving.get_mut(&node) {
            *quiet_ms = self.time_ms;
        }
    }

    /// The next node that has left.
    pub(super) fn release_due(&self) -> Option<Entry> {
        let exit_ms = self.genesis.economy().exit_ms;
        let is_free = |node: NodeId| !self.is_claimed(node) && !self.claims_to_keep(node);
        let due = self.law.leaving.iter();
        let mut due = due.filter(|&(_, &quiet_ms)| self.since(quiet_ms) >= exit_ms);
        due.find(|&(&node, _)| is_free(node)).map(|(&node, _)| Entry::Release(node))
    }

    /// Whether a receipt that waits to be settled says that the node keeps
    /// something.
    fn claims_to_keep(&self, node: NodeId) -> bool {
        let mut waiting = self.intake.values().flat_map(|intake| intake.lanes.values());
        waiting.any(|body| body.node == node && body.counters.stored_byte_seconds > 0)
    }

    pub(super) fn release(&mut self, node: NodeId) {
        let [held, deposit] = [Account::Held(node), Account::Deposit(node)].map(|from| {
            let amount = self.book.balance(from);
            let to = Account::Mature(Party::Node(node));
            self.book.transfer(from, to, amount).expect("all of it is there");
            amount
        });
        self.law.leaving.remove(&node);
        self.exclude(node).left = true;
        self.events.push(Event::Released { node, held, deposit });
    }

    /// The next node that was away too long. One that leaves in order may be
    /// silent.
    pub(super) fn forfeit_due(&self) -> Option<Entry> {
        let offline_ms = self.genesis.economy().offline_ms;
        let is_due = |node: &NodeId, seen_ms: u64| {
            self.since(seen_ms) >= offline_ms
                && !self.law.leaving.contains_key(node)
                && self.book.balance(Account::Held(*node)) > Amount::ZERO
        };
        let due = self.nodes.iter().find(|(node, member)| is_due(node, member.seen_ms));
        due.map(|(&node, _)| Entry::Forfeit(node))
    }

    pub(super) fn forfeit(&mut self, node: NodeId) {
        let amount = self.book.balance(Account::Held(node));
        self.book
            .transfer(Account::Held(node), Account::RepairFund, amount)
            .expect("all of it is there");
        self.events.push(Event::Forfeited { node, amount });
    }
}
