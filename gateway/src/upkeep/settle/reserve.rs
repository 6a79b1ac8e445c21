//! Money set aside ahead of what is metered, and accounts that the ledger does
//! not know yet.
//!
//! In a network with a curve all that is compared is units (`upkeep::curve`):
//! what is set aside are the units that are left in what was bought.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ledger_api::{ChainInfo, CurvePrice, Submission};
use protocol::price::{Amount, CREDIT, Counters};
use protocol::statement::{
    AccountOpening, OwnedOpening, Release, Reservation, TransferId, UNSIGNED,
};
use protocol::{AccountId, ChainId};
use serde::Deserialize;

use super::{SettleError, Settler, sheet_of};
use crate::gateway::now_ms;
use crate::meta::{Account, MetaError};
use crate::upkeep::curve::{money_for, units_for};
use crate::upkeep::funds::{Balance, Means, short_changes, to_release, to_reserve};

/// Set aside ahead of what is metered: a tenth of a credit, for it binds a part
/// of the gateway's bond.
const STEP: Amount = Amount(CREDIT / 10);

/// What an account has, as the ledger says it.
#[derive(Debug, Deserialize)]
struct Line {
    account: AccountId,
    /// What the gateway may still set aside of it: less than is available where
    /// a wallet granted less.
    spendable: Amount,
    reserved: Amount,
    /// What the gateway's bond is still good for.
    bond_left: Amount,
    /// Units that are left in what was bought, where units are bought.
    units: Option<Amount>,
}

impl Line {
    /// In what is vouched for: money, or units. Pure.
    fn balance(&self, curve: Option<CurvePrice>) -> Balance {
        match curve {
            None => Balance { available: self.spendable, reserved: self.reserved },
            Some(curve) => Balance {
                available: units_for(curve, self.spendable),
                reserved: self.units.unwrap_or_default(),
            },
        }
    }

    /// The money to set aside, when `owed` is metered and not settled. Pure.
    fn to_set_aside(&self, owed: Amount, curve: Option<CurvePrice>) -> Amount {
        let balance = self.balance(curve);
        let Some(curve) = curve else { return to_reserve(balance, owed, STEP) };
        let short = to_reserve(balance, owed, units_for(curve, STEP));
        money_for(curve, short).min(self.spendable)
    }
}

/// What an account has and owes. Pure.
fn means(line: &Line, owed: Amount, owed_seconds: u64, curve: Option<CurvePrice>) -> Means {
    let is_bond_used = line.bond_left == Amount::ZERO;
    Means { balance: line.balance(curve), owed, owed_seconds, is_bond_used }
}

impl Settler {
    /// Tells the ledger of accounts that it does not know yet.
    pub(super) async fn open_accounts(&mut self, info: &ChainInfo) -> Result<(), SettleError> {
        let accounts = self.gateway.meta.accounts().await?;
        let is_new = |account: &Account| !self.opened.contains(&account.id);
        let new: Vec<Account> = accounts.into_iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let openings = new.iter().map(|account| self.opening(info.chain, account));
        let outcomes = self.client.submit(openings.collect()).await?;
        let mut refused = Vec::new();
        for (account, outcome) in new.into_iter().map(|account| account.id).zip(outcomes) {
            match outcome {
                Ok(()) => drop(self.opened.insert(account)),
                Err(reason) => refused.push((account, reason)),
            }
        }
        // One line for all: it comes again with each round.
        if let Some((account, reason)) = refused.first() {
            tracing::warn!(accounts = refused.len(), ?account, reason, "accounts not opened");
        }
        Ok(())
    }

    fn opening(&self, chain: ChainId, account: &Account) -> Submission {
        let (gateway, key) = (self.gateway.id(), &self.gateway.key);
        let Some(owner) = account.owner else {
            let account = account.id;
            let opening = AccountOpening { chain, gateway, account, signature: UNSIGNED };
            return Submission::OpenAccount(Box::new(opening.signed(key)));
        };
        let (account, signature) = (account.id, UNSIGNED);
        let opening = OwnedOpening { chain, gateway, account, owner, signature };
        Submission::OpenOwned(Box::new(opening.signed(key)))
    }

    /// Looks at balances, sets money aside where it gets short.
    pub(super) async fn reserve(&mut self, info: &ChainInfo) -> Result<(), SettleError> {
        let owed = self.owed(info).await?;
        let owed_seconds = self.owed_seconds(info).await?;
        let lines = self.lines().await?;
        self.served = Some(lines.keys().copied().collect());
        let mut found = BTreeMap::new();
        let mut moves = Vec::new();
        let own = self.gateway.own_account();
        // One that is new and not opened yet is nobody's debtor.
        let known: BTreeSet<AccountId> =
            lines.keys().copied().chain(self.opened.iter().copied()).chain([own]).collect();
        for account in known {
            let owes = owed.get(&account).copied().unwrap_or_default();
            // A wallet's that granted nothing: it cannot pay.
            let Some(line) = lines.get(&account) else {
                found.insert(account, Means { owed: owes, owed_seconds, ..Means::default() });
                continue;
            };
            found.insert(account, means(line, owes, owed_seconds, info.curve));
            moves.extend(self.to_move(info, line, owes));
        }
        self.keep_short(&found).await?;
        self.gateway.funds.set(found);
        self.submit(moves).await
    }

    /// What is set aside of an account, or given back to it.
    fn to_move(&self, info: &ChainInfo, line: &Line, owed: Amount) -> Option<Submission> {
        let (chain, gateway, account) = (info.chain, self.gateway.id(), line.account);
        let (id, signature) = (TransferId(protocol::keys::random()), UNSIGNED);
        let amount = line.to_set_aside(owed, info.curve).min(line.bond_left);
        if amount > Amount::ZERO {
            let reservation = Reservation { chain, gateway, account, id, amount, signature };
            let signed = reservation.signed(&self.gateway.key);
            return Some(Submission::Reserve(Box::new(signed)));
        }
        // What was bought stays bought.
        let balance = info.curve.is_none().then(|| line.balance(None))?;
        let amount = to_release(balance, owed, STEP);
        if amount == Amount::ZERO {
            return None;
        }
        let release = Release { chain, gateway, account, id, amount, signature };
        Some(Submission::Release(Box::new(release.signed(&self.gateway.key))))
    }

    /// Writes down who cannot pay since now, and who can again: a restart must
    /// not renew the grace.
    async fn keep_short(&mut self, found: &BTreeMap<AccountId, Means>) -> Result<(), MetaError> {
        let own = self.gateway.own_account();
        self.tell_own(own, found.get(&own).is_none_or(|means| means.can_pay()));
        let meta = &self.gateway.meta;
        let changes = short_changes(found, &meta.short_accounts().await?, now_ms());
        for (account, since) in changes.into_iter().filter(|(account, _)| *account != own) {
            meta.keep_short(account, since).await?;
            match since {
                Some(_) => tracing::warn!(?account, "an account cannot pay any more"),
                None => tracing::info!(?account, "an account can pay again"),
            }
        }
        self.gateway.funds.set_short(meta.short_accounts().await?);
        Ok(())
    }

    /// The gateway's own account is nobody's customer, and without it no epoch is
    /// paid in full.
    fn tell_own(&mut self, own: AccountId, can_pay: bool) {
        if self.own_is_short != can_pay {
            return;
        }
        self.own_is_short = !can_pay;
        if can_pay {
            tracing::info!("the gateway's own account can pay again");
        } else {
            tracing::error!(
                "the gateway's own account cannot pay for what no customer does (audits, its \
                 metadata), so nodes are not paid in full: `stratos ledger deposit {own} CREDITS`"
            );
        }
    }

    /// What every account has, page by page.
    async fn lines(&self) -> Result<BTreeMap<AccountId, Line>, SettleError> {
        #[derive(Deserialize)]
        struct Page {
            accounts: Vec<Line>,
            next: Option<AccountId>,
        }
        let mut lines = BTreeMap::new();
        let mut after: Option<AccountId> = None;
        loop {
            let query = serde_json::json!({
                "query": "accounts", "after": after, "gateway": self.gateway.id(),
            });
            let answer = self.client.query(query).await?;
            let page: Page =
                serde_json::from_value(answer).map_err(|_| SettleError::Answer("accounts"))?;
            lines.extend(page.accounts.into_iter().map(|line| (line.account, line)));
            after = page.next;
            if after.is_none() {
                return Ok(lines);
            }
        }
    }

    /// What accounts used and is not settled yet, each epoch by its prices.
    async fn owed(&self, info: &ChainInfo) -> Result<BTreeMap<AccountId, Amount>, MetaError> {
        let mut owed: BTreeMap<AccountId, Amount> = BTreeMap::new();
        let mut add = |epoch, account: AccountId, counters: &Counters| {
            let sum = owed.entry(account).or_default();
            let amount = counters.amount(&sheet_of(info, epoch).prices);
            *sum = Amount(sum.0.saturating_add(amount.0));
        };
        let open = self.gateway.meter.snapshot();
        for (account, counters) in &open.accounts {
            add(open.epoch, *account, counters);
        }
        for epoch in self.gateway.meta.metered_epochs().await? {
            if epoch == open.epoch {
                continue;
            }
            for (account, counters) in self.gateway.meta.metered_accounts(epoch).await? {
                add(epoch, account, &counters);
            }
        }
        Ok(owed)
    }

    /// Over how long that was metered.
    async fn owed_seconds(&self, info: &ChainInfo) -> Result<u64, MetaError> {
        let oldest = self.gateway.meta.metered_epochs().await?.first().copied();
        let closed = oldest.map_or(0, |oldest| info.open.0.saturating_sub(oldest.0));
        let now = u64::try_from(now_ms()).unwrap_or_default();
        let open = now.saturating_sub(info.opened_ms);
        Ok((closed.saturating_mul(info.epoch_ms).saturating_add(open)) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(available: u128, units: u128) -> Line {
        Line {
            account: AccountId([1; 16]),
            spendable: Amount(available * CREDIT),
            reserved: Amount(77),
            bond_left: Amount(u128::MAX),
            units: Some(Amount(units)),
        }
    }

    #[test]
    fn on_the_curve_money_is_set_aside_for_the_units_that_are_short() {
        // A tenth of a credit buys 99 of a million units, a credit 999.
        let curve = CurvePrice { money: Amount(1000 * CREDIT), units: Amount(1_000_000) };
        let bought = |line: &Line, owed| {
            let money = line.to_set_aside(Amount(owed), Some(curve));
            units_for(curve, money).0
        };
        assert_eq!(bought(&line(100, 0), 0), 99, "ahead of what is metered");
        assert_eq!(bought(&line(100, 99), 0), 0, "it has enough");
        assert_eq!(bought(&line(100, 3000), 3000), 3099, "units short, whatever the money");
        let poor = line(1, 0);
        assert_eq!(bought(&poor, 5000), 999, "all that it can buy");
        assert_eq!(
            poor.balance(Some(curve)),
            Balance { available: Amount(999), reserved: Amount(0) }
        );
    }

    #[test]
    fn without_a_curve_units_do_not_matter() {
        let line = line(100, 5);
        assert_eq!(line.to_set_aside(Amount(0), None), Amount(STEP.0 - 77));
        assert_eq!(line.balance(None).reserved, Amount(77));
    }
}
