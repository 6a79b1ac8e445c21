//! Who can pay. A gateway spends only what an account has set aside for it, so
//! it reserves ahead of what it meters.
//!
//! An account that has nothing left may read what it has stored and delete it,
//! but not write.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

use protocol::AccountId;
use protocol::price::{Amount, CREDIT};
use s3s::{S3ErrorCode, S3Result};

use crate::error::refuse;

/// What an account has at the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Free to be set aside.
    pub available: Amount,
    /// Set aside for this gateway.
    pub reserved: Amount,
}

/// The least that is set aside at once: one credit.
const STEP: u128 = CREDIT;

/// How much more to set aside, when `owed` is metered and not yet settled.
/// Pure.
pub fn to_reserve(balance: Balance, owed: Amount) -> Amount {
    // Twice what is owed leaves room until the next look.
    let wanted = owed.0.saturating_mul(2).saturating_add(STEP);
    if balance.reserved.0 >= wanted / 2 && balance.reserved.0 >= owed.0 {
        return Amount::ZERO;
    }
    Amount(wanted.saturating_sub(balance.reserved.0).min(balance.available.0))
}

/// Whether an account that owes `owed` may write. Pure.
pub fn can_pay(balance: Balance, owed: Amount) -> bool {
    balance.available.0.saturating_add(balance.reserved.0) > owed.0
}

/// What is known of the accounts' means.
#[derive(Debug, Default)]
pub struct Funds {
    broke: RwLock<HashSet<AccountId>>,
    balances: RwLock<HashMap<AccountId, (Balance, Amount)>>,
}

impl Funds {
    /// Takes over what was found out: balances and what is owed.
    pub fn set(&self, found: BTreeMap<AccountId, (Balance, Amount)>) {
        let broke = found
            .iter()
            .filter(|(_, (balance, owed))| !can_pay(*balance, *owed))
            .map(|(account, _)| *account)
            .collect();
        *self.broke.write().unwrap_or_else(PoisonError::into_inner) = broke;
        *self.balances.write().unwrap_or_else(PoisonError::into_inner) =
            found.into_iter().collect();
    }

    /// The balance of an account and what it owes, as far as is known.
    pub fn of(&self, account: AccountId) -> Option<(Balance, Amount)> {
        let balances = self.balances.read().unwrap_or_else(PoisonError::into_inner);
        balances.get(&account).copied()
    }

    /// Refuses writes of an account that cannot pay.
    pub fn check(&self, account: AccountId) -> S3Result<()> {
        let broke = self.broke.read().unwrap_or_else(PoisonError::into_inner);
        if !broke.contains(&account) {
            return Ok(());
        }
        Err(refuse(
            S3ErrorCode::AccountProblem,
            "The account has no balance left. Writes are refused until it is topped up; what is \
             stored can still be read.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(available: u128, reserved: u128) -> Balance {
        Balance { available: Amount(available * CREDIT), reserved: Amount(reserved * CREDIT) }
    }

    #[test]
    fn more_is_set_aside_before_it_is_needed_and_never_more_than_there_is() {
        let owed = |credits: u128| Amount(credits * CREDIT);
        assert_eq!(to_reserve(balance(100, 0), owed(0)), owed(1));
        assert_eq!(to_reserve(balance(100, 1), owed(0)), owed(0));
        assert_eq!(to_reserve(balance(100, 1), owed(3)), owed(6));
        assert_eq!(to_reserve(balance(2, 1), owed(3)), owed(2));
        assert_eq!(to_reserve(balance(0, 0), owed(3)), owed(0));
        assert_eq!(to_reserve(balance(u64::MAX.into(), 0), Amount(u128::MAX)), owed(u64::MAX.into()));
    }

    #[test]
    fn who_owes_all_it_has_may_not_write() {
        let ann = AccountId([1; 16]);
        let funds = Funds::default();
        assert!(funds.check(ann).is_ok(), "nothing is known yet");
        funds.set([(ann, (balance(1, 1), Amount(CREDIT)))].into());
        assert!(funds.check(ann).is_ok());
        funds.set([(ann, (balance(0, 1), Amount(CREDIT)))].into());
        assert_eq!(funds.check(ann).unwrap_err().code(), &S3ErrorCode::AccountProblem);
    }
}
