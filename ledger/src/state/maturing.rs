//! How what an epoch paid becomes free: less what was taken for penalties
//! before, and less what is held back from a node that has no deposit yet.
//!
//! ```text
//! until held_step_ms after joining    held_back[0] of what matures is held back
//! then for as long                    held_back[1], then held_back[2], then nothing
//! at held_return_ms                   half of what is held back is returned, once
//! in an orderly exit                  all that is left (exit)
//! ```

use protocol::price::Amount;
use protocol::{Epoch, NodeId};

use super::State;
use crate::account::{Account, Party};
use crate::entry::Entry;
use crate::event::Event;
use crate::fraction::share;

impl State {
    pub(super) fn mature_epoch(&mut self, epoch: Epoch) {
        let sealed = self.sealed.remove(&epoch).expect("check made sure that it is due");
        for (party, amount) in sealed.payouts {
            self.mature_payout(epoch, party, amount);
        }
        self.remember("epoch", sealed.digest);
        self.mature.insert(epoch, sealed.summary);
    }

    fn mature_payout(&mut self, epoch: Epoch, party: Party, amount: u128) {
        let taken = self.pay_debt(party, amount);
        let left = amount - taken;
        let mut held = 0;
        if let Party::Node(node) = party {
            held = share(left, self.held_parts(node));
            self.move_immature(party, Account::Held(node), held);
        }
        self.move_immature(party, Account::Mature(party), left - held);
        self.events.push(Event::Matured {
            epoch,
            party,
            free: Amount(left - held),
            held: Amount(held),
            taken: Amount(taken),
        });
    }

    fn move_immature(&mut self, party: Party, to: Account, amount: u128) {
        self.book
            .transfer(Account::Immature(party), to, Amount(amount))
            .expect("what an epoch paid is immature until it matures, less debts");
    }

    /// What was already taken from a payout of `amount`.
    fn pay_debt(&mut self, party: Party, amount: u128) -> u128 {
        let Some(debt) = self.law.debts.get_mut(&party) else { return 0 };
        let taken = amount.min(*debt);
        *debt -= taken;
        if *debt == 0 {
            self.law.debts.remove(&party);
        }
        taken
    }

    /// Parts of 10,000 that are held back from what matures for `node` now.
    fn held_parts(&self, node: NodeId) -> u16 {
        let economy = self.genesis.economy();
        let has_deposit = self.book.balance(Account::Deposit(node)) >= economy.deposit_tiers[0];
        if has_deposit || self.law.excluded.get(&node).is_some_and(|excluded| excluded.left) {
            return 0;
        }
        let step = self.since(self.nodes[&node].joined_ms).checked_div(economy.held_step_ms);
        let step = step.and_then(|step| usize::try_from(step).ok());
        step.and_then(|step| economy.held_back.get(step).copied()).unwrap_or(0)
    }

    /// The next node that served long enough to get half of what was held back.
    pub(super) fn return_due(&self) -> Option<Entry> {
        let economy = self.genesis.economy();
        if economy.held_back == [0; 3] {
            return None;
        }
        let is_due = |node: &NodeId, joined_ms: u64| {
            self.since(joined_ms) >= economy.held_return_ms
                && !self.law.returned.contains(node)
                && self.book.balance(Account::Held(*node)) > Amount::ZERO
        };
        let due = self.nodes.iter().find(|(node, member)| is_due(node, member.joined_ms));
        due.map(|(&node, _)| Entry::ReturnHeld(node))
    }

    pub(super) fn return_held(&mut self, node: NodeId) {
        let amount = Amount(self.book.balance(Account::Held(node)).0.div_ceil(2));
        self.book
            .transfer(Account::Held(node), Account::Mature(Party::Node(node)), amount)
            .expect("half of it is there");
        self.law.returned.insert(node);
        self.events.push(Event::HeldReturned { node, amount });
    }
}
