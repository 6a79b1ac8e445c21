//! Usage statements: who pays for the receipts of an epoch, when it is over.

use std::collections::{BTreeMap, HashSet};

use protocol::ledger_api::{ChainInfo, Submission};
use protocol::price::{Amount, Counters, Prices};
use protocol::statement::{Revision, UNSIGNED, UsageStatement};
use protocol::{AccountId, Epoch};

use super::{SettleError, Settler, sheet_of};

impl Settler {
    /// Usage statements that add up to the receipts of an epoch.
    pub(super) async fn state(
        &mut self,
        info: &ChainInfo,
        epoch: Epoch,
    ) -> Result<(), SettleError> {
        // Receipts are final by now, so once is enough.
        if self.stated.contains_key(&epoch) {
            return Ok(());
        }
        // Until it is known who is served, and what was used is written down.
        let Some(served) = &self.served else { return Ok(()) };
        let is_written = self.gateway.meter.snapshot().epoch > epoch
            && !self.ended.iter().any(|ended| ended.epoch == epoch && ended.unwritten.is_some());
        if !is_written {
            return Ok(());
        }
        let gateway = self.gateway.id();
        let query =
            serde_json::json!({ "query": "receipts_total", "epoch": epoch, "gateway": gateway });
        let answer = self.client.query(query).await?;
        let (receipts, stated) = (amount(&answer, "sum")?, amount(&answer, "stated")?);
        if stated == Amount::ZERO {
            self.take_over(epoch, served).await?;
        }
        let used: BTreeMap<AccountId, Counters> =
            self.gateway.meta.metered_accounts(epoch).await?.into_iter().collect();
        // Said before the last stop, it stands: all of it, or all that there is when
        // the metadata of that time are lost. More than the receipts would be a lie.
        if stated >= receipts || (stated > Amount::ZERO && used.is_empty()) {
            self.stated.insert(epoch, receipts);
            return Ok(());
        }
        let prices = sheet_of(info, epoch).prices;
        let shares = share_out(receipts, &used, &prices, self.gateway.own_account());
        // Said again after a restart it is the same, and changes nothing.
        let revision = Revision(1);
        let statement = |(account, amount): (AccountId, Amount)| {
            let statement = UsageStatement {
                chain: info.chain,
                gateway,
                account,
                epoch,
                revision,
                counters: used.get(&account).copied().unwrap_or_default(),
                amount,
                signature: UNSIGNED,
            };
            Submission::Usage(Box::new(statement.signed(&self.gateway.key)))
        };
        match self.submit(shares.into_iter().map(statement).collect()).await {
            // Said again it would be refused again: the gateway pays.
            Err(SettleError::Refused(reason)) => {
                tracing::warn!(%epoch, reason, "not every statement was taken");
            }
            done => done?,
        }
        self.stated.insert(epoch, receipts);
        Ok(())
    }

    /// What accounts used that are not served is the gateway's own from now on.
    /// Written down before anything is stated: who is served may change, and what
    /// is said again after a restart must be the same.
    async fn take_over(
        &self,
        epoch: Epoch,
        served: &HashSet<AccountId>,
    ) -> Result<(), SettleError> {
        let own = self.gateway.own_account();
        let used = self.gateway.meta.metered_accounts(epoch).await?;
        let changed = taken_over(used.into_iter().collect(), served, own);
        self.gateway.meta.keep_metered(epoch, Vec::new(), changed).await?;
        Ok(())
    }
}

fn amount(answer: &serde_json::Value, name: &'static str) -> Result<Amount, SettleError> {
    let found = answer.get(name).cloned().ok_or(SettleError::Answer(name))?;
    serde_json::from_value(found).map_err(|_| SettleError::Answer(name))
}

/// The counters that change when `own` pays for those who are not served. Pure.
fn taken_over(
    used: BTreeMap<AccountId, Counters>,
    served: &HashSet<AccountId>,
    own: AccountId,
) -> Vec<(AccountId, Counters)> {
    let before = used.get(&own).copied().unwrap_or_default();
    let others = used.into_iter().filter(|(account, counters)| {
        *account != own && !served.contains(account) && *counters != Counters::default()
    });
    let (mut changed, mut sum) = (Vec::new(), before);
    for (account, counters) in others {
        sum = sum.plus(&counters);
        changed.push((account, Counters::default()));
    }
    if !changed.is_empty() {
        changed.push((own, sum));
    }
    changed
}

/// Who pays how much of `receipts`: what they used, scaled down if the nodes
/// claimed less; what is left over is paid by `own`. What an account has not
/// reserved the ledger does not charge it. Pure.
fn share_out(
    receipts: Amount,
    used: &BTreeMap<AccountId, Counters>,
    prices: &Prices,
    own: AccountId,
) -> BTreeMap<AccountId, Amount> {
    let amounts: BTreeMap<AccountId, u128> =
        used.iter().map(|(account, counters)| (*account, counters.amount(prices).0)).collect();
    let total = amounts.values().fold(0u128, |sum, amount| sum.saturating_add(*amount));
    let mut shares: BTreeMap<AccountId, Amount> = BTreeMap::new();
    let mut left = receipts.0;
    for (account, amount) in amounts {
        let share = if total <= receipts.0 { amount } else { scaled(amount, receipts.0, total) };
        let share = share.min(left);
        left -= share;
        if share > 0 {
            shares.insert(account, Amount(share));
        }
    }
    if left > 0 {
        let own = shares.entry(own).or_default();
        own.0 += left;
    }
    shares
}

/// `amount * part / whole`, rounded down, for `part < whole`.
fn scaled(amount: u128, part: u128, whole: u128) -> u128 {
    match amount.checked_mul(part) {
        Some(product) => product / whole,
        // Beyond 128 bits the last digits do not matter: what is lost here is
        // paid by the gateway.
        None => amount / (whole / part.max(1)).max(1).saturating_add(1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: AccountId = AccountId([255; 16]);

    #[test]
    fn who_is_not_served_is_paid_for_once_and_for_all() {
        let bytes = |put_bytes| Counters { put_bytes, ..Counters::default() };
        let [ann, bob] = [1, 2].map(|n| AccountId([n; 16]));
        let mut used: BTreeMap<_, _> = [(ann, bytes(60)), (bob, bytes(40)), (OWN, bytes(1))].into();
        let only_ann = HashSet::from([ann]);
        let changed = taken_over(used.clone(), &only_ann, OWN);
        assert_eq!(changed, [(bob, bytes(0)), (OWN, bytes(41))]);
        used.extend(changed);
        // After a restart bob is served: his part stays the gateway's.
        assert_eq!(taken_over(used.clone(), &HashSet::from([ann, bob]), OWN), []);
        assert_eq!(taken_over(used, &only_ann, OWN), []);
    }

    proptest! {
        /// Whatever was used and claimed, the shares add up to the receipts,
        /// and nobody pays more than was metered for them.
        #[test]
        fn shares_add_up(
            used in prop::collection::btree_map(0u8..20, 0u64..u64::MAX, 0..10),
            receipts in 0u128..(1 << 100),
        ) {
            let prices = Prices { put_bytes: 3, ..Prices::default() };
            let used: BTreeMap<_, _> = used
                .into_iter()
                .map(|(n, bytes)| {
                    (AccountId([n; 16]), Counters { put_bytes: bytes, ..Counters::default() })
                })
                .collect();
            let shares = share_out(Amount(receipts), &used, &prices, OWN);
            prop_assert_eq!(shares.values().map(|share| share.0).sum::<u128>(), receipts);
            for (account, share) in shares {
                if account != OWN {
                    prop_assert!(share <= used[&account].amount(&prices));
                }
            }
        }
    }
}
