//! Accounts that belong to a wallet's key, and how far gateways may spend.
//!
//! A gateway opens the account, with nothing on it, and has no right to it by
//! that: strangers cannot fill the state. A gateway sets aside from it only
//! within its grant; what it has set aside it may spend, whatever becomes of the
//! grant. A wallet takes a grant back with a later one that has a lower limit or
//! ends sooner.
//!
//! A gateway that opens a wallet's id as its own keeps the wallet from it: the
//! grant is refused, and the wallet takes another key, which costs nothing. So
//! grants come before money.

use std::collections::BTreeMap;
use std::ops::Bound;

use protocol::grant::{Grant, owned_account};
use protocol::price::Amount;
use protocol::sign;
use protocol::statement::OwnedOpening;
use protocol::wire::{Wire, Writer};
use protocol::{AccountId, Epoch, GatewayId};

use super::{Customer, Holder, Rejection, State};
use crate::account::Account;
use crate::hash::Hash;

/// How far a gateway may spend from a wallet's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// All that it may ever set aside.
    pub limit: Amount,
    /// The first epoch in which it may set aside no more.
    pub until: Epoch,
    /// The number of the grant.
    pub serial: u64,
    /// All that it set aside and did not give back.
    pub reserved: Amount,
    digest: Hash,
}

impl Granted {
    pub(super) fn write(&self, out: &mut Writer) {
        self.reserved.write(out);
        self.digest.write(out); // Stands for the grant.
    }
}

impl State {
    /// The grants that hold, by account and gateway.
    pub fn grants(&self) -> &BTreeMap<(AccountId, GatewayId), Granted> {
        &self.law.grants
    }

    /// Who may spend, or once might, from `account`.
    pub fn spenders(&self, account: AccountId) -> Vec<GatewayId> {
        match self.customers.get(&account).map(|customer| customer.holder) {
            None => Vec::new(),
            Some(Holder::Gateway(gateway)) => vec![gateway],
            Some(Holder::Wallet(_)) => {
                let all = (account, GatewayId([0; 32]))..=(account, GatewayId([255; 32]));
                self.law.grants.range(all).map(|((_, gateway), _)| *gateway).collect()
            }
        }
    }

    /// Accounts after this one that a gateway may spend from, or once might.
    pub fn accounts_of(
        &self,
        gateway: GatewayId,
        after: Option<AccountId>,
    ) -> impl Iterator<Item = AccountId> + '_ {
        let first = match after {
            Some(id) => Bound::Excluded((gateway, id)),
            None => Bound::Included((gateway, AccountId([0; 16]))),
        };
        let served = self.served.range((first, Bound::Unbounded));
        served.map_while(move |&(of, id)| (of == gateway).then_some(id))
    }

    pub(super) fn check_owned_opening(&self, opening: &OwnedOpening) -> Result<(), Rejection> {
        let account = opening.account;
        if account != owned_account(opening.owner) {
            return Err(Rejection::NotOwned(account));
        }
        match self.customers.get(&account).map(|customer| customer.holder) {
            None => Ok(()),
            Some(Holder::Wallet(_)) => Err(Rejection::Known),
            Some(Holder::Gateway(_)) => Err(Rejection::NotOwned(account)),
        }
    }

    pub(super) fn open_owned(&mut self, opening: &OwnedOpening) {
        let holder = Holder::Wallet(opening.owner);
        self.customers.insert(opening.account, Customer { holder, spent: Amount::ZERO });
    }

    pub(super) fn check_grant(&self, grant: &Grant) -> Result<(), Rejection> {
        let account = grant.account();
        match self.customers.get(&account).map(|held| held.holder) {
            None => return Err(Rejection::UnknownAccount(account)),
            Some(Holder::Gateway(_)) => return Err(Rejection::NotOwned(account)),
            Some(Holder::Wallet(_)) => {}
        }
        match self.law.grants.get(&(account, grant.gateway)) {
            None => Ok(()),
            Some(held) if grant.serial > held.serial => Ok(()),
            Some(held) if grant.serial < held.serial => Err(Rejection::Older(held.serial)),
            Some(held) if held.digest == Hash(sign::digest(grant)) => Err(Rejection::Known),
            Some(_) => Err(Rejection::GrantReused(grant.serial)),
        }
    }

    pub(super) fn take_grant(&mut self, grant: &Grant) {
        let key = (grant.account(), grant.gateway);
        let reserved = self.law.grants.get(&key).map_or(Amount::ZERO, |held| held.reserved);
        let Grant { limit, until, serial, .. } = *grant;
        let digest = Hash(sign::digest(grant));
        self.served.insert((grant.gateway, grant.account()));
        self.law.grants.insert(key, Granted { limit, until, serial, reserved, digest });
    }

    /// Whether `gateway` may set `amount` aside.
    pub(super) fn check_within_grant(
        &self,
        gateway: GatewayId,
        account: AccountId,
        amount: Amount,
    ) -> Result<(), Rejection> {
        let Some(held) = self.law.grants.get(&(account, gateway)) else { return Ok(()) };
        if self.open.epoch >= held.until {
            return Err(Rejection::GrantOver { account, until: held.until });
        }
        if held.reserved.checked_add(amount).is_none_or(|sum| sum > held.limit) {
            let Granted { limit, reserved, .. } = *held;
            return Err(Rejection::GrantUsed { account, reserved, limit });
        }
        Ok(())
    }

    /// What `gateway` may still set aside of an account: by its balance and, if
    /// it is a wallet's, the grant.
    pub fn spendable(&self, gateway: GatewayId, account: AccountId) -> Amount {
        let available = self.book.balance(Account::Available(account));
        match self.customers.get(&account).map(|customer| customer.holder) {
            Some(Holder::Gateway(holder)) if holder == gateway => available,
            Some(Holder::Wallet(_)) => {
                let held = self.law.grants.get(&(account, gateway));
                let held = held.filter(|held| self.open.epoch < held.until);
                let granted = held.map_or(0, |held| held.limit.0.saturating_sub(held.reserved.0));
                available.min(Amount(granted))
            }
            Some(Holder::Gateway(_)) | None => Amount::ZERO,
        }
    }

    /// What was set aside and not spent counts no more.
    pub(super) fn give_back_grant(
        &mut self,
        gateway: GatewayId,
        account: AccountId,
        amount: Amount,
    ) {
        if let Some(held) = self.law.grants.get_mut(&(account, gateway)) {
            held.reserved.0 -= amount.0; // A part of all that ever was.
        }
    }

    pub(super) fn use_grant(&mut self, gateway: GatewayId, account: AccountId, amount: Amount) {
        if let Some(held) = self.law.grants.get_mut(&(account, gateway)) {
            held.reserved.0 += amount.0; // Check keeps it within the limit.
        }
    }
}
