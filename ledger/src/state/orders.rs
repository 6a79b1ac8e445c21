//! What nodes and gateways order: money that leaves the network, tops up an
//! account or becomes a stake, an exit, and who is paid on an EVM chain.
//!
//! An order's id makes it idempotent. Money is ordered over once it is mature;
//! what an order moves never comes back by itself.

use std::collections::BTreeMap;

use protocol::ids::PublicKey;
use protocol::order::{Action, EvmAddress, Order};
use protocol::price::Amount;
use protocol::sign;
use protocol::{GatewayId, NodeId};

use super::{Rejection, State};
use crate::account::{Account, Party};
use crate::hash::Hash;

impl State {
    /// Who is paid on an EVM chain. A party that named nobody has no entry.
    pub fn bindings(&self) -> &BTreeMap<Party, EvmAddress> {
        &self.law.bindings
    }

    fn party_of(&self, key: PublicKey) -> Option<Party> {
        let (node, gateway) = (NodeId::from(key), GatewayId::from(key));
        if self.nodes.contains_key(&node) {
            return Some(Party::Node(node));
        }
        // One that was revoked still has what it earned.
        self.is_known_gateway(gateway).then_some(Party::Gateway(gateway))
    }

    pub(super) fn check_order(&self, order: &Order) -> Result<(), Rejection> {
        let party = self.party_of(order.party).ok_or(Rejection::UnknownParty(order.party))?;
        match self.law.orders.get(&(order.party, order.id)) {
            Some(&earlier) if earlier == Hash(sign::digest(order)) => return Err(Rejection::Known),
            Some(_) => return Err(Rejection::OrderReused),
            None => {}
        }
        match order.action {
            Action::Withdraw(amount) => self.check_mature(party, amount),
            Action::Spend { account, .. } if !self.customers.contains_key(&account) => {
                Err(Rejection::UnknownAccount(account))
            }
            Action::Spend { amount, .. } => self.check_mature(party, amount),
            Action::Stake(amount) => {
                self.check_staker(party)?;
                self.check_mature(party, amount)
            }
            Action::Exit => self.check_exit(party),
            Action::BindEvm(_) => Ok(()),
        }
    }

    fn check_mature(&self, party: Party, amount: Amount) -> Result<(), Rejection> {
        if amount == Amount::ZERO {
            return Err(Rejection::Nothing);
        }
        Ok(self.book.check_transfer(Account::Mature(party), amount)?)
    }

    /// A node that goes, or may not work any more, would stake for nothing.
    fn check_staker(&self, party: Party) -> Result<(), Rejection> {
        match party {
            Party::Node(node) if self.law.leaving.contains_key(&node) => {
                Err(Rejection::Leaving(node))
            }
            Party::Node(node) if self.law.excluded.contains_key(&node) => {
                Err(Rejection::Excluded(node))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn take_order(&mut self, order: &Order) {
        let party = self.party_of(order.party).expect("check looked the party up");
        match order.action {
            Action::Withdraw(amount) => self.spend_mature(party, Account::Withdrawn(party), amount),
            Action::Spend { account, amount } => {
                self.spend_mature(party, Account::Available(account), amount);
            }
            Action::Stake(amount) => {
                let stake = match party {
                    Party::Node(node) => Account::Deposit(node),
                    Party::Gateway(gateway) => Account::Bond(gateway),
                };
                self.spend_mature(party, stake, amount);
            }
            Action::Exit => self.begin_exit(party),
            Action::BindEvm(address) => {
                self.law.bindings.insert(party, address);
            }
        }
        if let Party::Node(node) = party {
            self.saw(node);
        }
        let content = Hash(sign::digest(order));
        self.law.orders.insert((order.party, order.id), content);
        self.remember("order", content);
    }

    fn spend_mature(&mut self, party: Party, to: Account, amount: Amount) {
        self.book
            .transfer(Account::Mature(party), to, amount)
            .expect("check made sure that the party has it");
    }
}
