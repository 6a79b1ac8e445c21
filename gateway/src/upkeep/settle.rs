//! Vouchers to the nodes while an epoch is open, usage statements to the ledger
//! when it is over.
//!
//! Counters are written down before they are signed, so that a gateway that
//! stops never signs less than before. At the end of an epoch statements must
//! add up to the receipts that the ledger accepted: what accounts used is
//! scaled to that sum, and what nobody used is paid by the gateway's own
//! account.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ledger::client::LedgerClient;
use protocol::ledger_api::{ChainInfo, Submission};
use protocol::price::{Amount, Counters, Prices};
use protocol::statement::{
    AccountOpening, Reservation, Revision, TransferId, UNSIGNED, UsageStatement,
};
use protocol::voucher::VoucherBody;
use protocol::{AccountId, Epoch, NodeId};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::funds::{Balance, Means, to_reserve};
use crate::gateway::{Gateway, now_ms};
use crate::meta::MetaError;
use crate::meter::Metered;

/// How often counters are looked at.
const TICK: Duration = Duration::from_millis(250);

/// A node gets a voucher after this much traffic.
const TRAFFIC_STEP: u64 = 64 * 1024 * 1024;

/// Or after this time, if anything moved at all.
const TIME_STEP: Duration = Duration::from_secs(1);

/// How often kept bytes are counted, and balances looked at.
const SLOW_TICK: Duration = Duration::from_secs(2);

/// Why a round of settling ended early; the next one goes on.
#[derive(Debug, thiserror::Error)]
enum SettleError {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error("ledger: {0}")]
    Ledger(#[from] ledger::client::ClientError),
    #[error("the ledger refused: {0}")]
    Refused(String),
    #[error("the ledger's answer has no {0}")]
    Answer(&'static str),
}

/// The loop's memory.
struct Settler {
    gateway: Arc<Gateway>,
    client: Arc<LedgerClient>,
    /// What each node was vouched for last in the open epoch.
    vouched: HashMap<NodeId, Counters>,
    vouched_at: Instant,
    /// Kept bytes are counted up to here.
    stored_until: Instant,
    slow_at: Instant,
    /// Epochs that are over and not written down yet.
    ended: Vec<Metered>,
    /// Accounts that the ledger knows.
    opened: Vec<AccountId>,
    /// Epochs for which statements were taken, with the sum they add up to.
    stated: HashMap<Epoch, Amount>,
}

/// Runs until `stop`; then vouches for the last of what moved.
pub async fn run(
    gateway: Arc<Gateway>,
    client: Arc<LedgerClient>,
    mut news: watch::Receiver<Option<ChainInfo>>,
    stop: CancellationToken,
) {
    let now = Instant::now();
    let mut settler = Settler {
        gateway,
        client,
        vouched: HashMap::new(),
        vouched_at: now,
        stored_until: now,
        slow_at: now,
        ended: Vec::new(),
        opened: Vec::new(),
        stated: HashMap::new(),
    };
    let Some(info) = first(&mut news, &stop).await else { return };
    if let Err(error) = settler.resume(&info).await {
        tracing::error!(%error, "what was metered cannot be read");
    }
    loop {
        let stopping = tokio::select! {
            () = stop.cancelled() => true,
            () = tokio::time::sleep(TICK) => false,
        };
        let Some(info) = news.borrow_and_update().clone() else { continue };
        if let Err(error) = settler.round(&info, stopping).await {
            tracing::warn!(%error, "settling goes on in the next round");
        }
        if stopping {
            return;
        }
    }
}

async fn first(
    news: &mut watch::Receiver<Option<ChainInfo>>,
    stop: &CancellationToken,
) -> Option<ChainInfo> {
    tokio::select! {
        () = stop.cancelled() => None,
        found = news.wait_for(Option::is_some) => found.ok()?.clone(),
    }
}

impl Settler {
    /// Goes on from what was written down before the last stop.
    async fn resume(&mut self, info: &ChainInfo) -> Result<(), MetaError> {
        let meta = &self.gateway.meta;
        let epoch = info.open;
        let nodes: HashMap<_, _> = meta.metered_nodes(epoch).await?.into_iter().collect();
        let accounts = meta.metered_accounts(epoch).await?.into_iter().collect();
        self.gateway.meter.resume(Metered { epoch, nodes, accounts });
        Ok(())
    }

    async fn round(&mut self, info: &ChainInfo, stopping: bool) -> Result<(), SettleError> {
        let metered = self.gateway.meter.snapshot();
        self.close_ended(info).await?;
        if info.open != metered.epoch {
            self.turn(info).await?;
        }
        let slow = stopping || self.slow_at.elapsed() >= SLOW_TICK;
        if slow {
            self.slow_at = Instant::now();
            self.count_stored().await?;
        }
        self.vouch(info, stopping).await?;
        // Soon: the window is as short as an epoch in development.
        for &epoch in &info.taking_statements {
            if let Err(error) = self.state(info, epoch).await {
                // The next round tries again, if there still is time.
                tracing::info!(%epoch, %error, "statements not taken");
            }
        }
        self.stated.retain(|epoch, _| info.taking_statements.contains(epoch));
        if slow && !stopping {
            self.forget(info).await?;
            self.open_accounts(info).await?;
            self.reserve(info).await?;
        }
        Ok(())
    }

    /// The epoch is over: the last vouchers for it, then all counters begin
    /// anew.
    async fn turn(&mut self, info: &ChainInfo) -> Result<(), SettleError> {
        self.count_stored().await?;
        self.ended.push(self.gateway.meter.turn(info.open));
        self.vouched.clear();
        self.close_ended(info).await
    }

    /// Writes down what epochs ended with and vouches for it. What fails is
    /// tried again in the next round.
    async fn close_ended(&mut self, info: &ChainInfo) -> Result<(), SettleError> {
        while let Some(ended) = self.ended.first().cloned() {
            self.keep(&ended).await?;
            if info.taking_receipts.contains(&ended.epoch) {
                let nodes: Vec<_> = ended.nodes.iter().map(|(node, c)| (*node, *c)).collect();
                self.send_vouchers(info, ended.epoch, &nodes).await;
            }
            self.ended.remove(0);
        }
        Ok(())
    }

    async fn keep(&self, metered: &Metered) -> Result<(), MetaError> {
        let nodes = metered.nodes.iter().map(|(node, counters)| (*node, *counters)).collect();
        let accounts = metered.accounts.iter().map(|(id, counters)| (*id, *counters)).collect();
        self.gateway.meta.keep_metered(metered.epoch, nodes, accounts).await
    }

    /// Counts bytes kept since the last time.
    async fn count_stored(&mut self) -> Result<(), MetaError> {
        let seconds = self.stored_until.elapsed().as_secs();
        if seconds == 0 {
            return Ok(());
        }
        self.stored_until += Duration::from_secs(seconds);
        for stored in self.gateway.meta.stored().await? {
            let byte_seconds = stored.bytes.saturating_mul(seconds);
            self.gateway.meter.stored(stored.node, stored.account, byte_seconds);
        }
        Ok(())
    }

    /// Vouchers to those nodes that are owed enough, or for long enough.
    async fn vouch(&mut self, info: &ChainInfo, all: bool) -> Result<(), SettleError> {
        let metered = self.gateway.meter.snapshot();
        let is_time = all || self.vouched_at.elapsed() >= TIME_STEP;
        let due: Vec<(NodeId, Counters)> = metered
            .nodes
            .iter()
            .filter(|(node, counters)| {
                let since = counters.since(&self.vouched.get(node).copied().unwrap_or_default());
                since != Counters::default() && (is_time || since.traffic() >= TRAFFIC_STEP)
            })
            .map(|(node, counters)| (*node, *counters))
            .collect();
        if is_time {
            self.vouched_at = Instant::now();
        }
        if due.is_empty() {
            return Ok(());
        }
        self.keep(&metered).await?;
        self.send_vouchers(info, metered.epoch, &due).await;
        Ok(())
    }

    async fn send_vouchers(&mut self, info: &ChainInfo, epoch: Epoch, due: &[(NodeId, Counters)]) {
        let sheet = &info.prices.sheet;
        let sends = due.iter().map(|&(node, counters)| {
            let voucher = VoucherBody {
                chain: info.chain,
                gateway: self.gateway.id(),
                node,
                epoch,
                lane: 0,
                counters,
                amount: counters.amount(&sheet.prices),
                price_sheet: sheet.id(),
            }
            .signed(&self.gateway.key);
            let gateway = self.gateway.clone();
            async move { (node, counters, gateway.nodes.voucher(node, voucher).await) }
        });
        for (node, counters, taken) in futures::future::join_all(sends).await {
            match taken {
                Ok(()) if epoch == info.open => {
                    self.vouched.insert(node, counters);
                }
                Ok(()) => {}
                // Vouchers are cumulative: the next one makes up for it.
                Err(error) => tracing::debug!(?node, %error, "voucher not taken"),
            }
        }
    }

    /// Tells the ledger of accounts that it does not know yet.
    async fn open_accounts(&mut self, info: &ChainInfo) -> Result<(), SettleError> {
        let accounts = self.gateway.meta.accounts().await?;
        let new: Vec<AccountId> = accounts
            .into_iter()
            .map(|account| account.id)
            .filter(|account| !self.opened.contains(account))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let opening = |account: &AccountId| {
            let opening = AccountOpening {
                chain: info.chain,
                gateway: self.gateway.id(),
                account: *account,
                signature: UNSIGNED,
            };
            Submission::OpenAccount(Box::new(opening.signed(&self.gateway.key)))
        };
        let outcomes = self.client.submit(new.iter().map(opening).collect()).await?;
        for (account, outcome) in new.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => self.opened.push(account),
                Err(reason) => tracing::warn!(?account, reason, "account not opened"),
            }
        }
        Ok(())
    }

    /// Looks at balances, sets money aside where it gets short.
    async fn reserve(&mut self, info: &ChainInfo) -> Result<(), SettleError> {
        let owed = self.owed(&info.prices.sheet.prices).await?;
        let owed_seconds = self.owed_seconds(info).await?;
        let balances = self.balances().await?;
        let mut found = BTreeMap::new();
        let mut reservations = Vec::new();
        let own = self.gateway.own_account();
        for account in self.opened.iter().copied().chain([own]) {
            let owes = owed.get(&account).copied().unwrap_or_default();
            // One that the ledger does not know yet must not stop the others.
            let Some(&balance) = balances.get(&account) else { continue };
            found.insert(account, Means { balance, owed: owes, owed_seconds });
            let amount = to_reserve(balance, owes);
            if amount > Amount::ZERO {
                let reservation = Reservation {
                    chain: info.chain,
                    gateway: self.gateway.id(),
                    account,
                    id: TransferId(protocol::keys::random()),
                    amount,
                    signature: UNSIGNED,
                };
                let signed = reservation.signed(&self.gateway.key);
                reservations.push(Submission::Reserve(Box::new(signed)));
            }
        }
        self.gateway.funds.set(found);
        self.submit(reservations).await
    }

    /// What every account has, page by page.
    async fn balances(&self) -> Result<BTreeMap<AccountId, Balance>, SettleError> {
        #[derive(Deserialize)]
        struct Page {
            accounts: Vec<Line>,
            next: Option<AccountId>,
        }
        #[derive(Deserialize)]
        struct Line {
            account: AccountId,
            available: Amount,
            reserved: Amount,
        }
        let mut balances = BTreeMap::new();
        let mut after: Option<AccountId> = None;
        loop {
            let query = serde_json::json!({ "query": "accounts", "after": after });
            let answer = self.client.query(query).await?;
            let page: Page =
                serde_json::from_value(answer).map_err(|_| SettleError::Answer("accounts"))?;
            for Line { account, available, reserved } in page.accounts {
                balances.insert(account, Balance { available, reserved });
            }
            after = page.next;
            if after.is_none() {
                return Ok(balances);
            }
        }
    }

    /// What accounts used and is not settled yet.
    async fn owed(&self, prices: &Prices) -> Result<BTreeMap<AccountId, Amount>, MetaError> {
        let mut owed: BTreeMap<AccountId, Amount> = BTreeMap::new();
        let mut add = |account: AccountId, counters: &Counters| {
            let sum = owed.entry(account).or_default();
            *sum = Amount(sum.0.saturating_add(counters.amount(prices).0));
        };
        let open = self.gateway.meter.snapshot();
        for (account, counters) in &open.accounts {
            add(*account, counters);
        }
        for epoch in self.gateway.meta.metered_epochs().await? {
            if epoch == open.epoch {
                continue;
            }
            for (account, counters) in self.gateway.meta.metered_accounts(epoch).await? {
                add(account, &counters);
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

    /// Usage statements that add up to the receipts of an epoch.
    async fn state(&mut self, info: &ChainInfo, epoch: Epoch) -> Result<(), SettleError> {
        // Receipts are final by now, so once is enough.
        if self.stated.contains_key(&epoch) {
            return Ok(());
        }
        let gateway = self.gateway.id();
        let query =
            serde_json::json!({ "query": "receipts_total", "epoch": epoch, "gateway": gateway });
        let answer = self.client.query(query).await?;
        let sum = answer.get("sum").cloned().ok_or(SettleError::Answer("sum"))?;
        let receipts: Amount =
            serde_json::from_value(sum).map_err(|_| SettleError::Answer("sum"))?;
        if receipts == Amount::ZERO {
            self.stated.insert(epoch, receipts);
            return Ok(());
        }
        let used: BTreeMap<AccountId, Counters> =
            self.gateway.meta.metered_accounts(epoch).await?.into_iter().collect();
        let prices = info.prices.sheet.prices;
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
        self.submit(shares.into_iter().map(statement).collect()).await?;
        self.stated.insert(epoch, receipts);
        Ok(())
    }

    /// Forgets epochs that take nothing any more.
    async fn forget(&self, info: &ChainInfo) -> Result<(), MetaError> {
        for epoch in self.gateway.meta.metered_epochs().await? {
            let is_needed = epoch >= info.open
                || info.taking_receipts.contains(&epoch)
                || info.taking_statements.contains(&epoch);
            if !is_needed {
                self.gateway.meta.forget_metered(epoch).await?;
            }
        }
        Ok(())
    }

    async fn submit(&self, submissions: Vec<Submission>) -> Result<(), SettleError> {
        if submissions.is_empty() {
            return Ok(());
        }
        let mut refused = None;
        for outcome in self.client.submit(submissions).await? {
            if let Err(reason) = outcome {
                refused = Some(reason);
            }
        }
        refused.map_or(Ok(()), |reason| Err(SettleError::Refused(reason)))
    }
}

/// Who pays how much of `receipts`: what they used, scaled down if the nodes
/// claimed less; what is left over is paid by `own`. Pure.
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
