//! Customers' money before it is spent: accounts, deposits, reservations.

use protocol::price::Amount;
use protocol::sign;
use protocol::statement::{AccountOpening, Reservation, TransferId};
use protocol::{AccountId, GatewayId};

use super::{Customer, Rejection, State};
use crate::account::Account;
use crate::entry::{Deposit, Entry};
use crate::hash::Hash;

impl State {
    pub(super) fn check_opening(&self, opening: &AccountOpening) -> Result<(), Rejection> {
        match self.customers.get(&opening.account) {
            Some(customer) if customer.gateway == opening.gateway => Err(Rejection::Known),
            // Whoever could open it a second time could reserve its money.
            Some(_) => Err(Rejection::OtherGateway(opening.account)),
            None => Ok(self.book.check_mint(self.genesis.params.opening_balance)?),
        }
    }

    pub(super) fn open_account(&mut self, opening: &AccountOpening) {
        let customer = Customer { gateway: opening.gateway, spent: Amount::ZERO };
        self.customers.insert(opening.account, customer);
        self.book
            .mint(Account::Available(opening.account), self.genesis.params.opening_balance)
            .expect("check made sure that it can be counted");
    }

    /// The account, if `gateway` may spend from it.
    pub(super) fn check_served(
        &self,
        gateway: GatewayId,
        account: AccountId,
    ) -> Result<(), Rejection> {
        let customer = self.customers.get(&account).ok_or(Rejection::UnknownAccount(account))?;
        if customer.gateway != gateway {
            return Err(Rejection::OtherGateway(account));
        }
        Ok(())
    }

    fn check_transfer_id(
        &self,
        by: Option<GatewayId>,
        id: TransferId,
        content: Hash,
    ) -> Result<(), Rejection> {
        match self.transfers.get(&(by, id)) {
            None => Ok(()),
            Some(&earlier) if earlier == content => Err(Rejection::Known),
            Some(_) => Err(Rejection::TransferReused),
        }
    }

    pub(super) fn check_reservation(&self, reservation: &Reservation) -> Result<(), Rejection> {
        let Reservation { gateway, account, id, amount, .. } = reservation;
        self.check_transfer_id(Some(*gateway), *id, Hash(sign::digest(reservation)))?;
        self.check_served(*gateway, *account)?;
        if *amount == Amount::ZERO {
            return Err(Rejection::Nothing);
        }
        Ok(self.book.check_transfer(Account::Available(*account), *amount)?)
    }

    pub(super) fn reserve(&mut self, reservation: &Reservation) {
        let Reservation { gateway, account, id, amount, .. } = reservation;
        let reserved = Account::Reserved(*gateway, *account);
        self.book
            .transfer(Account::Available(*account), reserved, *amount)
            .expect("check made sure that the account has it");
        self.keep_transfer(Some(*gateway), *id, Hash(sign::digest(reservation)));
    }

    pub(super) fn check_deposit(&self, deposit: &Deposit) -> Result<(), Rejection> {
        self.check_transfer_id(None, deposit.id, deposit_hash(deposit))?;
        if !self.customers.contains_key(&deposit.account) {
            return Err(Rejection::UnknownAccount(deposit.account));
        }
        if deposit.amount == Amount::ZERO {
            return Err(Rejection::Nothing);
        }
        Ok(self.book.check_mint(deposit.amount)?)
    }

    pub(super) fn deposit(&mut self, deposit: &Deposit) {
        self.book
            .mint(Account::Available(deposit.account), deposit.amount)
            .expect("check made sure that it can be counted");
        self.keep_transfer(None, deposit.id, deposit_hash(deposit));
    }

    fn keep_transfer(&mut self, by: Option<GatewayId>, id: TransferId, content: Hash) {
        let earlier = self.transfers.insert((by, id), content);
        assert!(earlier.is_none(), "check lets a transfer id be used once");
        self.remember("transfer", content);
    }
}

fn deposit_hash(deposit: &Deposit) -> Hash {
    Entry::Deposit(deposit.clone()).hash()
}
