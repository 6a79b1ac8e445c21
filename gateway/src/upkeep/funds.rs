//! Who can pay. A gateway spends only what an account has set aside for it, so
//! it reserves ahead of what it meters.
//!
//! An account that has nothing left may read what it has stored and delete it,
//! but not write.

use std::collections::{BTreeMap, HashMap};
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

/// What an account has and spends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Means {
    /// What it has.
    pub balance: Balance,
    /// What was metered and is not settled.
    pub owed: Amount,
    /// Over how long that was metered.
    pub owed_seconds: u64,
}

impl Means {
    /// How long what is left lasts at the rate at which `owed` grew; `None`
    /// when nothing is spent. Pure.
    pub fn runway_seconds(&self) -> Option<u64> {
        let have = self.balance.available.0.saturating_add(self.balance.reserved.0);
        let left = have.saturating_sub(self.owed.0);
        // Rounded up, so that a slow rate is not taken for none.
        let per_second = self.owed.0.div_ceil(u128::from(self.owed_seconds.max(1)));
        (per_second > 0).then(|| u64::try_from(left / per_second).unwrap_or(u64::MAX))
    }
}

/// What is known of the accounts' means.
#[derive(Debug, Default)]
pub struct Funds {
    known: RwLock<HashMap<AccountId, Means>>,
}

impl Funds {
    /// Takes over what was found out.
    pub fn set(&self, found: BTreeMap<AccountId, Means>) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = found.into_iter().collect();
    }

    fn of(&self, account: AccountId) -> Option<Means> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&account).copied()
    }

    /// How long an account's balance lasts at the present rate.
    pub fn runway_seconds(&self, account: AccountId) -> Option<u64> {
        self.of(account)?.runway_seconds()
    }

    /// Refuses writes of an account that cannot pay.
    pub fn check(&self, account: AccountId) -> S3Result<()> {
        if self.of(account).is_none_or(|means| can_pay(means.balance, means.owed)) {
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
        assert_eq!(
            to_reserve(balance(u64::MAX.into(), 0), Amount(u128::MAX)),
            owed(u64::MAX.into())
        );
    }

    #[test]
    fn who_owes_all_it_has_may_not_write() {
        let ann = AccountId([1; 16]);
        let funds = Funds::default();
        assert!(funds.check(ann).is_ok(), "nothing is known yet");
        let means = |balance| Means { balance, owed: Amount(CREDIT), owed_seconds: 10 };
        funds.set([(ann, means(balance(1, 1)))].into());
        assert!(funds.check(ann).is_ok());
        assert_eq!(funds.runway_seconds(ann), Some(10));
        funds.set([(ann, means(balance(0, 1)))].into());
        assert_eq!(funds.check(ann).unwrap_err().code(), &S3ErrorCode::AccountProblem);
    }
}
