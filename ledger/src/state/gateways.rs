//! Which gateways there are. Those of the genesis, those that were admitted,
//! and among both those that broke the rules, which only settle their past.

use std::collections::BTreeMap;

use protocol::ledger_api::MEMBERS_MAX;
use protocol::price::Amount;
use protocol::sign;
use protocol::statement::gateway_account;
use protocol::wire::{Wire, Writer};
use protocol::{AccountId, Epoch, GatewayId, LedgerId, NodeId};

use super::bills::DIVERTED;
use super::{Customer, Holder, Rejection, State};
use crate::account::Account;
use crate::genesis::Genesis;

/// Every gateway there ever was, and the open epoch in which it was revoked, if
/// it was: the last of which something is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gateways(BTreeMap<GatewayId, Option<Epoch>>);

impl Gateways {
    /// Those that a network begins with.
    pub(super) fn of(genesis: &Genesis) -> Self {
        Self(genesis.gateways.iter().map(|&gateway| (gateway, None)).collect())
    }

    /// Every one there ever was, in ascending order.
    pub(super) fn all(&self) -> impl Iterator<Item = GatewayId> + '_ {
        self.0.keys().copied()
    }

    /// Those that may take part.
    pub(super) fn active(&self) -> impl Iterator<Item = GatewayId> + '_ {
        self.0.iter().filter(|(_, revoked)| revoked.is_none()).map(|(&gateway, _)| gateway)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.u64(self.0.len() as u64);
        for (gateway, revoked) in &self.0 {
            gateway.write(out);
            out.list(revoked.as_slice());
        }
    }
}

impl State {
    /// Whether the network has this gateway, and it may take part.
    pub fn is_gateway(&self, gateway: GatewayId) -> bool {
        self.gateways.0.get(&gateway) == Some(&None)
    }

    /// Whether the network has or had this gateway: its past is settled.
    pub fn is_known_gateway(&self, gateway: GatewayId) -> bool {
        self.gateways.0.contains_key(&gateway)
    }

    pub(super) fn check_gateway(&self, gateway: GatewayId) -> Result<(), Rejection> {
        match self.gateways.0.get(&gateway) {
            None => Err(Rejection::UnknownGateway(gateway)),
            Some(Some(_)) => Err(Rejection::Revoked(gateway)),
            Some(None) => Ok(()),
        }
    }

    /// Whether something may still be settled of a gateway's `epoch`: one that
    /// was revoked has a past, and no future.
    pub(super) fn check_before_revocation(
        &self,
        gateway: GatewayId,
        epoch: Epoch,
    ) -> Result<(), Rejection> {
        match self.gateways.0.get(&gateway) {
            Some(Some(last)) if epoch > *last => Err(Rejection::Revoked(gateway)),
            _ => Ok(()),
        }
    }

    pub(super) fn check_admission(&self, gateway: GatewayId) -> Result<(), Rejection> {
        match self.gateways.0.get(&gateway) {
            None => {}
            Some(None) => return Err(Rejection::Known),
            // Whoever runs the ledger may trust it again, once its past is settled.
            Some(Some(last)) if *last < self.oldest_unsettled() => return Ok(()),
            Some(Some(_)) => return Err(Rejection::Revoked(gateway)),
        }
        let key = gateway.0;
        let taken =
            self.nodes.contains_key(&NodeId(key)) || self.genesis.sequencer == LedgerId(key);
        if taken || !sign::is_sound_key(gateway) {
            return Err(Rejection::GatewayKey);
        }
        if self.gateways.0.len() >= MEMBERS_MAX {
            return Err(Rejection::Full);
        }
        Ok(())
    }

    /// Its own account begins empty: money comes in by deposits. If another
    /// gateway opened an account of that id before, it is this one's now.
    pub(super) fn admit(&mut self, gateway: GatewayId) {
        self.gateways.0.insert(gateway, None);
        let own = gateway_account(gateway);
        let opened = self.customers.get(&own);
        let spent = opened.map_or(Amount::ZERO, |customer| customer.spent);
        if let Some(Customer { holder: Holder::Gateway(other), .. }) = opened {
            self.served.remove(&(*other, own));
        }
        self.served.insert((gateway, own));
        self.customers.insert(own, Customer { holder: Holder::Gateway(gateway), spent });
    }

    /// The oldest epoch that is not settled.
    pub(super) fn oldest_unsettled(&self) -> Epoch {
        self.intake.keys().next().copied().unwrap_or(self.open.epoch)
    }

    /// Whether gateways have to have a bond.
    pub(super) fn is_bonded(&self) -> bool {
        self.genesis.economy().gateway_bond > Amount::ZERO
    }

    /// Where gateways have a bond, customers set aside no more than a quarter of
    /// it with one: a gateway that leaves its nodes short, so that a node of its
    /// own gets their part, loses more of its bond than it can divert
    /// (`Genesis::check` sees to the shares).
    pub(super) fn check_within_bond(
        &self,
        gateway: GatewayId,
        account: AccountId,
        amount: Amount,
    ) -> Result<(), Rejection> {
        if amount <= self.bond_left(gateway, account) {
            return Ok(());
        }
        let (reserved, most) = self.reserved_and_most(gateway);
        Err(Rejection::BondTooSmall { reserved: Amount(reserved), most: Amount(most) })
    }

    /// What may still be set aside of an account with a gateway, by its bond.
    pub fn bond_left(&self, gateway: GatewayId, account: AccountId) -> Amount {
        if !self.is_bonded() || account == gateway_account(gateway) {
            return Amount(u128::MAX);
        }
        let (reserved, most) = self.reserved_and_most(gateway);
        Amount(most.saturating_sub(reserved))
    }

    /// What customers have set aside with a gateway, and what they may.
    fn reserved_and_most(&self, gateway: GatewayId) -> (u128, u128) {
        let own = Account::Reserved(gateway, gateway_account(gateway));
        let reserved = self.book.reserved_with(gateway).0 - self.book.balance(own).0;
        (reserved, self.book.balance(Account::Bond(gateway)).0 / DIVERTED)
    }

    pub(super) fn revoke(&mut self, gateway: GatewayId) {
        let last = self.open.epoch;
        self.gateways.0.entry(gateway).and_modify(|revoked| {
            revoked.get_or_insert(last);
        });
    }

    /// Gives back what accounts set aside with gateways that were revoked, once
    /// no epoch in which those served them is left to be settled.
    pub(super) fn return_reserves(&mut self) {
        let oldest = self.oldest_unsettled();
        let is_over = |revoked: &Option<Epoch>| revoked.is_some_and(|last| last < oldest);
        let over = self.gateways.0.iter().filter(|(_, revoked)| is_over(revoked));
        let over: Vec<GatewayId> = over.map(|(&gateway, _)| gateway).collect();
        for gateway in over {
            let reserves: Vec<(AccountId, Amount)> = self.book.reserves(gateway).collect();
            for (account, amount) in reserves {
                self.prepaid.give_up(gateway, account);
                self.give_back_grant(gateway, account, amount);
                self.book
                    .transfer(
                        Account::Reserved(gateway, account),
                        Account::Available(account),
                        amount,
                    )
                    .expect("all of it is there");
            }
        }
    }
}
