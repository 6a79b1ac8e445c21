//! Who can pay. A gateway spends only what an account has set aside for it, so
//! it reserves ahead of what it meters.
//!
//! An account that has nothing left may read what it has stored and delete it,
//! but not write. After a time of grace it is frozen: then it may only list and
//! delete. Nothing is deleted by itself, and a deposit ends it at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use protocol::AccountId;
use protocol::price::{Amount, CREDIT};
use s3s::{S3ErrorCode, S3Result};

use crate::error::refuse;
use crate::meta::Millis;

/// What an account has at the ledger: atto-credits, or traffic units in a
/// network where those are bought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Free to be set aside.
    pub available: Amount,
    /// Set aside for this gateway.
    pub reserved: Amount,
}

/// How much more to set aside, when `owed` is metered and not yet settled:
/// `step` at least, if there is as much. Pure.
pub fn to_reserve(balance: Balance, owed: Amount, step: Amount) -> Amount {
    // Twice what is owed leaves room until the next look.
    let wanted = owed.0.saturating_mul(2).saturating_add(step.0);
    if balance.reserved.0 >= wanted / 2 && balance.reserved.0 >= owed.0 {
        return Amount::ZERO;
    }
    Amount(wanted.saturating_sub(balance.reserved.0).min(balance.available.0))
}

/// How much more is set aside than is needed, so that it is worth to give it
/// back: it binds a part of the gateway's bond. Pure.
pub fn to_release(balance: Balance, owed: Amount, step: Amount) -> Amount {
    let wanted = owed.0.saturating_mul(2).saturating_add(step.0);
    let spare = balance.reserved.0.saturating_sub(wanted);
    Amount(if spare / 4 >= wanted { spare } else { 0 })
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
    /// More cannot be set aside now, whatever it has: the gateway's bond is not
    /// good for more.
    pub is_bond_used: bool,
}

impl Means {
    /// Whether what it has is more than what it owes. Pure.
    pub fn can_pay(&self) -> bool {
        can_pay(self.balance, self.owed)
    }

    /// Whether more would be at the gateway's own risk. Pure.
    fn is_blocked(&self) -> bool {
        self.is_bond_used && self.balance.reserved <= self.owed
    }

    /// Whether it owes so much more than it has that the gateway, which pays for
    /// it, lends no more. Pure.
    fn is_overdrawn(&self) -> bool {
        let have = self.balance.available.0.saturating_add(self.balance.reserved.0);
        self.owed.0.saturating_sub(have) > LENT_MAX
    }

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

/// What changes in the records of who cannot pay, and since when. Pure.
pub fn short_changes(
    found: &BTreeMap<AccountId, Means>,
    since: &HashMap<AccountId, Millis>,
    now: Millis,
) -> Vec<(AccountId, Option<Millis>)> {
    let change = |(account, means): (&AccountId, &Means)| match (
        means.can_pay(),
        since.contains_key(account),
    ) {
        (false, false) => Some((*account, Some(now))),
        (true, true) => Some((*account, None)),
        (true, false) | (false, true) => None,
    };
    found.iter().filter_map(change).collect()
}

/// Most that is read at the gateway's cost by an account that cannot pay, until
/// it is settled: a credit, or as many units.
const LENT_MAX: u128 = CREDIT;

/// Accounts of which the runway is shown at most, the shortest first: there may
/// be any number of accounts.
const SHOWN_MAX: usize = 20;

/// An account whose money lasts less than this is short.
const SHORT: u64 = 7 * 24 * 3600;

/// What is known of the accounts' means.
#[derive(Debug, Default)]
pub struct Funds {
    known: RwLock<HashMap<AccountId, Means>>,
    /// Since when accounts cannot pay.
    short_since: RwLock<HashMap<AccountId, Millis>>,
}

impl Funds {
    /// Takes over what was found out.
    pub fn set(&self, found: BTreeMap<AccountId, Means>) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = found.into_iter().collect();
    }

    /// Takes over since when accounts cannot pay, which is in the metadata.
    pub fn set_short(&self, since: HashMap<AccountId, Millis>) {
        *self.short_since.write().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Since when an account cannot pay.
    pub fn short_since(&self, account: AccountId) -> Option<Millis> {
        let since = self.short_since.read().unwrap_or_else(PoisonError::into_inner);
        since.get(&account).copied()
    }

    /// Whether an account could not pay for longer than `grace`.
    pub fn is_frozen(&self, account: AccountId, grace: Duration, now: Millis) -> bool {
        let waited = self.short_since(account).and_then(|since| u64::try_from(now - since).ok());
        waited.is_some_and(|waited| Duration::from_millis(waited) >= grace)
    }

    /// How many accounts are frozen.
    pub fn frozen(&self, grace: Duration, now: Millis) -> usize {
        let since = self.short_since.read().unwrap_or_else(PoisonError::into_inner).clone();
        since.keys().filter(|account| self.is_frozen(**account, grace, now)).count()
    }

    /// Accounts whose money is about to end, with the seconds until then.
    pub fn short_runways(&self) -> Vec<(AccountId, u64)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let runway = |(account, means): (&AccountId, &Means)| {
            let seconds = means.runway_seconds().filter(|seconds| *seconds < SHORT)?;
            Some((*account, seconds))
        };
        let mut short: Vec<_> = known.iter().filter_map(runway).collect();
        short.sort_by_key(|(account, seconds)| (*seconds, *account));
        short.truncate(SHOWN_MAX);
        short
    }

    /// Refuses reads of an account that could not pay for longer than `grace`.
    pub fn check_read(&self, account: AccountId, grace: Duration, now: Millis) -> S3Result<()> {
        let is_overdrawn = self.of(account).is_some_and(|means| means.is_overdrawn());
        if !is_overdrawn && !self.is_frozen(account, grace, now) {
            return Ok(());
        }
        Err(refuse(
            S3ErrorCode::AccountProblem,
            "The account is frozen: it has had no balance for too long, or read too much without. \
             What is stored is kept and can be listed and deleted; it can be read again once the \
             account is topped up.",
        ))
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
        let Some(means) = self.of(account) else { return Ok(()) };
        if !can_pay(means.balance, means.owed) {
            return Err(refuse(
                S3ErrorCode::AccountProblem,
                "The account has no balance left that this gateway may spend. Writes are refused \
                 until it is topped up, or its owner grants more; what is stored can still be read.",
            ));
        }
        if means.is_blocked() {
            return Err(refuse(
                S3ErrorCode::SlowDown,
                "The gateway's bond is not good for more traffic until some of it is settled. \
                 Reads go on.",
            ));
        }
        Ok(())
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
        let wanted = |balance, owed| to_reserve(balance, owed, Amount(CREDIT));
        let owed = |credits: u128| Amount(credits * CREDIT);
        assert_eq!(wanted(balance(100, 0), owed(0)), owed(1));
        assert_eq!(wanted(balance(100, 1), owed(0)), owed(0));
        assert_eq!(wanted(balance(100, 1), owed(3)), owed(6));
        assert_eq!(wanted(balance(2, 1), owed(3)), owed(2));
        assert_eq!(wanted(balance(0, 0), owed(3)), owed(0));
        assert_eq!(wanted(balance(u64::MAX.into(), 0), Amount(u128::MAX)), owed(u64::MAX.into()));
    }

    #[test]
    fn who_owes_all_it_has_may_not_write() {
        let ann = AccountId([1; 16]);
        let funds = Funds::default();
        assert!(funds.check(ann).is_ok(), "nothing is known yet");
        let owed = Amount(CREDIT);
        let means = |balance| Means { balance, owed, owed_seconds: 10, ..Means::default() };
        funds.set([(ann, means(balance(1, 1)))].into());
        assert!(funds.check(ann).is_ok());
        assert_eq!(funds.runway_seconds(ann), Some(10));
        funds.set([(ann, means(balance(0, 1)))].into());
        assert_eq!(funds.check(ann).unwrap_err().code(), &S3ErrorCode::AccountProblem);
        // It has money, and the gateway cannot take it.
        let blocked = Means { is_bond_used: true, ..means(balance(9, 1)) };
        funds.set([(ann, blocked)].into());
        assert_eq!(funds.check(ann).unwrap_err().code(), &S3ErrorCode::SlowDown);
        funds.set([(ann, Means { balance: balance(9, 2), ..blocked })].into());
        assert!(funds.check(ann).is_ok());
    }

    #[test]
    fn what_is_set_aside_and_not_needed_is_given_back() {
        let spare = |reserved, owed: u128| {
            to_release(balance(0, reserved), Amount(owed * CREDIT), Amount(CREDIT)).0 / CREDIT
        };
        assert_eq!(spare(5, 0), 4);
        assert_eq!(spare(4, 0), 0, "it is not worth it");
        assert_eq!(spare(100, 10), 0);
        assert_eq!(spare(200, 10), 179);
        assert_eq!(to_release(balance(0, 9), Amount(u128::MAX), Amount(1)), Amount::ZERO);
    }

    #[test]
    fn a_gateway_lends_no_more_than_so_much() {
        let (ann, grace) = (AccountId([1; 16]), Duration::from_secs(9));
        let funds = Funds::default();
        let means = |owed| Means { owed: Amount(owed), ..Means::default() };
        funds.set([(ann, means(LENT_MAX))].into());
        assert!(funds.check_read(ann, grace, 0).is_ok());
        funds.set([(ann, means(LENT_MAX + 1))].into());
        let refused = funds.check_read(ann, grace, 0).unwrap_err();
        assert_eq!(refused.code(), &S3ErrorCode::AccountProblem);
    }

    #[test]
    fn who_cannot_pay_for_long_is_frozen_until_it_can() {
        let ann = AccountId([1; 16]);
        let (funds, grace) = (Funds::default(), Duration::from_millis(100));
        let poor = Means { owed: Amount(1), ..Means::default() };
        let rich = Means { balance: balance(1, 0), ..poor };
        let changes = |means, since: &[(AccountId, Millis)], now| {
            short_changes(&[(ann, means)].into(), &since.iter().copied().collect(), now)
        };
        assert_eq!(changes(poor, &[], 7), [(ann, Some(7))]);
        assert_eq!(changes(poor, &[(ann, 7)], 8), [], "the time goes on from the first");
        assert_eq!(changes(rich, &[(ann, 7)], 9), [(ann, None)]);
        assert_eq!(changes(rich, &[], 9), []);

        funds.set_short([(ann, 7)].into());
        assert!(funds.check_read(ann, grace, 106).is_ok());
        let refused = funds.check_read(ann, grace, 107).unwrap_err();
        assert_eq!(refused.code(), &S3ErrorCode::AccountProblem);
        assert_eq!((funds.frozen(grace, 106), funds.frozen(grace, 107)), (0, 1));
        funds.set_short(HashMap::new());
        assert!(funds.check_read(ann, grace, 107).is_ok());
    }

    #[test]
    fn only_those_that_are_about_to_end_are_shown_and_not_too_many() {
        let funds = Funds::default();
        let means = |credits| Means {
            balance: balance(credits, 0),
            owed: Amount(CREDIT),
            owed_seconds: 3600,
            ..Means::default()
        };
        let many = (0..200u8).map(|n| (AccountId([n; 16]), means(300 - u128::from(n))));
        funds.set(many.collect());
        let shown = funds.short_runways();
        assert_eq!(shown.len(), SHOWN_MAX);
        assert_eq!(shown[0], (AccountId([199; 16]), 100 * 3600 - 1));
        funds.set([(AccountId([0; 16]), means(2000))].into());
        assert_eq!(funds.short_runways(), []);
    }
}
