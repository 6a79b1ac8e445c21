//! Customers' money before it is spent: accounts, deposits, what is reserved and
//! released; and stakes that come in.

use protocol::price::Amount;
use protocol::sign;
use protocol::statement::{AccountOpening, Release, Reservation, TransferId};
use protocol::{AccountId, GatewayId, NodeId};

use super::{Customer, Holder, Rejection, State};
use crate::account::Account;
use crate::entry::{Deposit, Entry, Fund};
use crate::hash::Hash;

impl State {
    pub(super) fn check_opening(&self, opening: &AccountOpening) -> Result<(), Rejection> {
        match self.customers.get(&opening.account).map(|customer| customer.holder) {
            Some(Holder::Gateway(holder)) if holder == opening.gateway => Err(Rejection::Known),
            // Whoever could open it a second time could reserve its money.
            Some(Holder::Gateway(_)) => Err(Rejection::OtherGateway(opening.account)),
            Some(Holder::Wallet(_)) => Err(Rejection::Owned(opening.account)),
            None => Ok(self.book.check_mint(self.genesis.params.opening_balance)?),
        }
    }

    pub(super) fn open_account(&mut self, opening: &AccountOpening) {
        let customer = Customer { holder: Holder::Gateway(opening.gateway), spent: Amount::ZERO };
        self.customers.insert(opening.account, customer);
        self.served.insert((opening.gateway, opening.account));
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
        match customer.holder {
            Holder::Gateway(holder) if holder == gateway => Ok(()),
            Holder::Gateway(_) => Err(Rejection::OtherGateway(account)),
            // What a gateway has set aside it may spend, whatever became of
            // the grant.
            Holder::Wallet(_) if self.law.grants.contains_key(&(account, gateway)) => Ok(()),
            Holder::Wallet(_) => Err(Rejection::NotGranted(account)),
        }
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
        self.check_within_grant(*gateway, *account, *amount)?;
        self.check_within_bond(*gateway, *account, *amount)?;
        self.book.check_transfer(Account::Available(*account), *amount)?;
        self.check_purchase(*amount)
    }

    pub(super) fn reserve(&mut self, reservation: &Reservation) {
        self.purchase(reservation);
        let Reservation { gateway, account, id, amount, .. } = reservation;
        let reserved = Account::Reserved(*gateway, *account);
        self.book
            .transfer(Account::Available(*account), reserved, *amount)
            .expect("check made sure that the account has it");
        self.use_grant(*gateway, *account, *amount);
        self.keep_transfer(Some(*gateway), *id, Hash(sign::digest(reservation)));
    }

    pub(super) fn check_release(&self, release: &Release) -> Result<(), Rejection> {
        let Release { gateway, account, id, amount, .. } = release;
        self.check_transfer_id(Some(*gateway), *id, Hash(sign::digest(release)))?;
        self.check_served(*gateway, *account)?;
        if *amount == Amount::ZERO {
            return Err(Rejection::Nothing);
        }
        if self.curve().is_some() {
            return Err(Rejection::Bought);
        }
        Ok(self.book.check_transfer(Account::Reserved(*gateway, *account), *amount)?)
    }

    pub(super) fn release_reserve(&mut self, release: &Release) {
        let Release { gateway, account, id, amount, .. } = release;
        let reserved = Account::Reserved(*gateway, *account);
        self.book
            .transfer(reserved, Account::Available(*account), *amount)
            .expect("check made sure that it is set aside");
        self.give_back_grant(*gateway, *account, *amount);
        self.keep_transfer(Some(*gateway), *id, Hash(sign::digest(release)));
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

    pub(super) fn check_fund(&self, fund: &Fund) -> Result<(), Rejection> {
        self.check_transfer_id(None, fund.id, fund_hash(fund))?;
        self.staked(fund)?;
        if fund.amount == Amount::ZERO {
            return Err(Rejection::Nothing);
        }
        Ok(self.book.check_mint(fund.amount)?)
    }

    pub(super) fn fund(&mut self, fund: &Fund) {
        let stake = self.staked(fund).expect("check looked the party up");
        self.book.mint(stake, fund.amount).expect("check made sure that it can be counted");
        self.keep_transfer(None, fund.id, fund_hash(fund));
    }

    /// Where the stake goes. No key is a node's and a gateway's at once.
    fn staked(&self, fund: &Fund) -> Result<Account, Rejection> {
        let (node, gateway) = (NodeId(fund.party.0), GatewayId(fund.party.0));
        if self.nodes.contains_key(&node) {
            Ok(Account::Deposit(node))
        } else if self.is_known_gateway(gateway) {
            Ok(Account::Bond(gateway))
        } else {
            Err(Rejection::UnknownParty(fund.party))
        }
    }

    fn keep_transfer(&mut self, by: Option<GatewayId>, id: TransferId, content: Hash) {
        let earlier = self.transfers.insert((by, id), content);
        assert!(earlier.is_none(), "check lets a transfer id be used once");
        self.remember("transfer", content);
    }
}

fn fund_hash(fund: &Fund) -> Hash {
    Entry::Fund(fund.clone()).hash()
}

fn deposit_hash(deposit: &Deposit) -> Hash {
    Entry::Deposit(deposit.clone()).hash()
}
