//! The book: every atto-credit is on one account, and moves from one account
//! to another. It is made by [`Book::mint`] alone.
//!
//! Double-entry: a transfer names both sides, so the sum of all balances
//! changes only when money is minted, and [`Book::is_conserved`] holds
//! after every entry. Not here: who may move what (`state`), and which
//! transfers were made before (`state` keeps their ids).

use std::collections::BTreeMap;

use protocol::price::Amount;
use protocol::wire::{Wire, Writer};
use protocol::{AccountId, GatewayId, NodeId};
use thiserror::Error;

/// Someone who is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// For keeping and moving bytes.
    Node(NodeId),
    /// For metadata and routing.
    Gateway(GatewayId),
}

/// A place where money is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// A customer's, free to be reserved.
    Available(AccountId),
    /// A customer's, set aside for one gateway to spend.
    Reserved(GatewayId, AccountId),
    /// Earned, and not yet to be withdrawn.
    Immature(Party),
    /// Earned, and free.
    Mature(Party),
    /// Pays for rebuilding what was lost.
    RepairFund,
    /// The chain's share and what divisions leave over.
    Treasury,
    /// Holds the debits of an epoch while it is settled; empty otherwise.
    Clearing,
    /// What a node stakes.
    Deposit(NodeId),
    /// What a gateway stakes.
    Bond(GatewayId),
    /// A node's pay that is held back until it has served long enough.
    Held(NodeId),
    /// All that ever left the network for somebody. It stays on the book, so
    /// that the supply is all that was ever minted.
    Withdrawn(Party),
}

/// Why money cannot move.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BookError {
    /// More than there is.
    #[error("{wanted} atto-credits are wanted, {have} are there")]
    Insufficient {
        /// The balance.
        have: Amount,
        /// The amount.
        wanted: Amount,
    },
    /// More money than can be counted.
    #[error("the supply would exceed what can be counted")]
    Overflow,
}

/// All balances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Accounts that hold something. Empty ones are left out, so that equal
    /// books have equal encodings.
    balances: BTreeMap<Account, u128>,
    supply: u128,
    /// What is set aside with each gateway, of all accounts together.
    reserved: BTreeMap<GatewayId, u128>,
}

impl Book {
    /// What is on `account`.
    pub fn balance(&self, account: Account) -> Amount {
        Amount(self.balances.get(&account).copied().unwrap_or_default())
    }

    /// All the money there is.
    pub fn supply(&self) -> Amount {
        Amount(self.supply)
    }

    /// Every account that holds something.
    pub fn balances(&self) -> impl Iterator<Item = (Account, Amount)> + '_ {
        self.balances.iter().map(|(&account, &balance)| (account, Amount(balance)))
    }

    /// What all accounts together have set aside with a gateway.
    pub fn reserved_with(&self, gateway: GatewayId) -> Amount {
        Amount(self.reserved.get(&gateway).copied().unwrap_or_default())
    }

    /// What every account has set aside with a gateway.
    pub fn reserves(&self, gateway: GatewayId) -> impl Iterator<Item = (AccountId, Amount)> + '_ {
        // Accounts sort by gateway first, so its reserves are neighbours.
        let first = Account::Reserved(gateway, AccountId([0; 16]));
        self.balances.range(first..).map_while(move |(&account, &balance)| match account {
            Account::Reserved(of, id) if of == gateway => Some((id, Amount(balance))),
            _ => None,
        })
    }

    /// Whether `amount` can be minted.
    pub fn check_mint(&self, amount: Amount) -> Result<(), BookError> {
        self.supply.checked_add(amount.0).map(|_| ()).ok_or(BookError::Overflow)
    }

    /// Makes money. The only way money comes to be.
    pub fn mint(&mut self, to: Account, amount: Amount) -> Result<(), BookError> {
        self.supply = self.supply.checked_add(amount.0).ok_or(BookError::Overflow)?;
        self.credit(to, amount.0);
        Ok(())
    }

    /// Whether `amount` can leave `from`.
    pub fn check_transfer(&self, from: Account, amount: Amount) -> Result<(), BookError> {
        let have = self.balance(from);
        if have < amount {
            return Err(BookError::Insufficient { have, wanted: amount });
        }
        Ok(())
    }

    /// Moves money.
    pub fn transfer(
        &mut self,
        from: Account,
        to: Account,
        amount: Amount,
    ) -> Result<(), BookError> {
        self.check_transfer(from, amount)?;
        let left = self.balance(from).0 - amount.0; // Checked just above.
        if left == 0 {
            self.balances.remove(&from);
        } else {
            self.balances.insert(from, left);
        }
        if let Account::Reserved(gateway, _) = from {
            *self.reserved.entry(gateway).or_default() -= amount.0; // A part of it.
        }
        self.credit(to, amount.0);
        Ok(())
    }

    fn credit(&mut self, to: Account, amount: u128) {
        if amount == 0 {
            return;
        }
        let balance = self.balances.entry(to).or_default();
        *balance = balance.checked_add(amount).expect("no balance exceeds the supply");
        if let Account::Reserved(gateway, _) = to {
            *self.reserved.entry(gateway).or_default() += amount; // At most the supply.
        }
    }

    /// The sum of all balances is the supply, and nothing is left in clearing.
    pub fn is_conserved(&self) -> bool {
        let sum = self.balances.values().try_fold(0u128, |sum, &balance| sum.checked_add(balance));
        sum == Some(self.supply) && self.balance(Account::Clearing) == Amount::ZERO
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u128(self.supply);
        out.u64(self.balances.len() as u64);
        for (account, &balance) in &self.balances {
            write_account(*account, out);
            out.u128(balance);
        }
    }
}

fn write_account(account: Account, out: &mut Writer) {
    match account {
        Account::Available(id) => {
            out.u8(1);
            id.write(out);
        }
        Account::Reserved(gateway, id) => {
            out.u8(2);
            gateway.write(out);
            id.write(out);
        }
        Account::Immature(party) => {
            out.u8(3);
            write_party(party, out);
        }
        Account::Mature(party) => {
            out.u8(4);
            write_party(party, out);
        }
        Account::RepairFund => out.u8(5),
        Account::Treasury => out.u8(6),
        Account::Clearing => out.u8(7),
        Account::Deposit(node) => {
            out.u8(8);
            node.write(out);
        }
        Account::Bond(gateway) => {
            out.u8(9);
            gateway.write(out);
        }
        Account::Held(node) => {
            out.u8(10);
            node.write(out);
        }
        Account::Withdrawn(party) => {
            out.u8(11);
            write_party(party, out);
        }
    }
}

pub(crate) fn write_party(party: Party, out: &mut Writer) {
    match party {
        Party::Node(node) => {
            out.u8(1);
            node.write(out);
        }
        Party::Gateway(gateway) => {
            out.u8(2);
            gateway.write(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: Account = Account::Available(AccountId([1; 16]));

    #[test]
    fn money_moves_and_is_never_made_or_lost() {
        let mut book = Book::default();
        book.mint(ANN, Amount(10)).unwrap();
        book.transfer(ANN, Account::Treasury, Amount(4)).unwrap();
        assert_eq!(book.balance(ANN), Amount(6));
        assert_eq!(book.balance(Account::Treasury), Amount(4));
        assert_eq!(book.supply(), Amount(10));
        assert!(book.is_conserved());
    }

    #[test]
    fn a_balance_never_goes_below_zero() {
        let mut book = Book::default();
        book.mint(ANN, Amount(10)).unwrap();
        let before = book.clone();
        let error = book.transfer(ANN, Account::Treasury, Amount(11)).unwrap_err();
        assert_eq!(error, BookError::Insufficient { have: Amount(10), wanted: Amount(11) });
        assert_eq!(book, before);
    }

    #[test]
    fn a_transfer_to_oneself_changes_nothing() {
        let mut book = Book::default();
        book.mint(ANN, Amount(10)).unwrap();
        let before = book.clone();
        book.transfer(ANN, ANN, Amount(10)).unwrap();
        assert_eq!(book, before);
    }

    #[test]
    fn money_beyond_counting_is_refused() {
        let mut book = Book::default();
        book.mint(ANN, Amount(u128::MAX)).unwrap();
        assert_eq!(book.mint(ANN, Amount(1)), Err(BookError::Overflow));
        assert!(book.is_conserved());
    }

    #[test]
    fn what_is_left_in_clearing_is_noticed() {
        let mut book = Book::default();
        book.mint(Account::Clearing, Amount(1)).unwrap();
        assert!(!book.is_conserved());
    }
}
