//! Vouchers to the nodes while an epoch is open, usage statements to the ledger
//! when it is over.
//!
//! Counters are written down before they are signed, so that a gateway that
//! stops never signs less than before. At the end of an epoch statements must
//! add up to the receipts that the ledger accepted: what accounts used is
//! scaled to that sum, and what nobody used is paid by the gateway's own
//! account.
//!
//! Every epoch is vouched for, stated and owed by the prices of that epoch. Not
//! here: what each of it says (`vouch`, `state`, `reserve`).

mod reserve;
mod state;
mod vouch;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ledger::client::LedgerClient;
use protocol::ledger_api::{ChainInfo, Submission};
use protocol::price::{Amount, Counters, PriceSheet};
use protocol::{AccountId, Epoch, NodeId};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;
use crate::meta::MetaError;
use crate::meter::Metered;
use crate::nodes::registry::NodeView;

/// How often counters are looked at.
const TICK: Duration = Duration::from_millis(250);

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

/// An epoch that is over, and what is still to do for it.
struct Ended {
    epoch: Epoch,
    /// Not written down yet.
    unwritten: Option<Metered>,
    /// Nodes that do not have their last voucher yet.
    unvouched: Vec<(NodeId, Counters)>,
}

impl From<Metered> for Ended {
    fn from(metered: Metered) -> Self {
        let unvouched = metered.nodes.iter().map(|(node, c)| (*node, *c)).collect();
        Self { epoch: metered.epoch, unwritten: Some(metered), unvouched }
    }
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
    /// Epochs that are over and not done with.
    ended: Vec<Ended>,
    /// Accounts that the ledger knows.
    opened: HashSet<AccountId>,
    /// Accounts that the ledger lets this gateway charge, once it was asked.
    served: Option<HashSet<AccountId>>,
    /// Epochs for which statements were taken, with the sum they add up to.
    stated: HashMap<Epoch, Amount>,
    /// Whether it was told that the gateway's own account cannot pay.
    own_is_short: bool,
}

/// Runs until `stop`; then vouches for the last of what moved. It goes on from what
/// was written down, of the open epoch only the first time in a process.
pub async fn run(
    gateway: Arc<Gateway>,
    client: Arc<LedgerClient>,
    mut news: watch::Receiver<Option<ChainInfo>>,
    is_first: bool,
    stop: CancellationToken,
) {
    let now = Instant::now();
    let mut settler = Settler {
        gateway,
        client,
        vouched: HashMap::new(),
        vouched_at: now,
        stored_until: now,
        // The first round opens accounts and reserves: one that is killed every
        // few seconds must get to it, too.
        slow_at: now.checked_sub(SLOW_TICK).unwrap_or(now),
        ended: Vec::new(),
        opened: HashSet::new(),
        served: None,
        stated: HashMap::new(),
        own_is_short: false,
    };
    let Some(info) = first(&mut news, &stop).await else { return };
    if let Err(error) = settler.resume(&info, is_first).await {
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

/// The prices of an epoch. The ledger tells those of all epochs that still take
/// something; for others nothing is signed.
fn sheet_of(info: &ChainInfo, epoch: Epoch) -> &PriceSheet {
    &info.prices_of(epoch).unwrap_or(&info.prices).sheet
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
    /// Goes on from what was written down before the last stop. The meter knows it
    /// already, unless the process is new.
    async fn resume(&mut self, info: &ChainInfo, is_first: bool) -> Result<(), MetaError> {
        let meta = &self.gateway.meta;
        self.gateway.funds.set_short(meta.short_accounts().await?);
        let epoch = info.open;
        if is_first {
            let nodes: HashMap<_, _> = meta.metered_nodes(epoch).await?.into_iter().collect();
            let accounts = meta.metered_accounts(epoch).await?.into_iter().collect();
            self.gateway.meter.resume(Metered { epoch, nodes, accounts });
        }
        // Nodes that were away at the end of an epoch may lack their last voucher.
        for &epoch in info.taking_receipts.iter().filter(|before| **before < epoch) {
            let unvouched = meta.metered_nodes(epoch).await?;
            self.ended.push(Ended { epoch, unwritten: None, unvouched });
        }
        Ok(())
    }

    async fn round(&mut self, info: &ChainInfo, stopping: bool) -> Result<(), SettleError> {
        // First, since the window is as short as an epoch in development.
        for &epoch in &info.taking_statements {
            if let Err(error) = self.state(info, epoch).await {
                // The next round tries again, if there still is time.
                tracing::info!(%epoch, %error, "statements not taken");
            }
        }
        self.stated.retain(|epoch, _| info.taking_statements.contains(epoch));
        if info.open != self.gateway.meter.snapshot().epoch {
            self.turn(info).await?;
        }
        let slow = stopping || self.slow_at.elapsed() >= SLOW_TICK;
        if slow {
            self.close_ended(info).await?;
            self.slow_at = Instant::now();
            self.count_stored().await?;
        }
        self.vouch(info, stopping).await?;
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
        self.ended.push(self.gateway.meter.turn(info.open).into());
        self.vouched.clear();
        self.close_ended(info).await
    }

    /// Writes down what epochs ended with and vouches for it. What fails is
    /// tried again later, as long as the epoch takes receipts.
    async fn close_ended(&mut self, info: &ChainInfo) -> Result<(), SettleError> {
        for at in 0..self.ended.len() {
            if let Some(metered) = self.ended[at].unwritten.clone() {
                self.keep(&metered).await?;
                self.ended[at].unwritten = None;
            }
            let Ended { epoch, unvouched, .. } = &mut self.ended[at];
            let (epoch, due) = (*epoch, std::mem::take(unvouched));
            if info.taking_receipts.contains(&epoch) {
                self.ended[at].unvouched = self.send_vouchers(info, epoch, &due).await;
            }
        }
        self.ended.retain(|ended| !ended.unvouched.is_empty());
        Ok(())
    }

    async fn keep(&self, metered: &Metered) -> Result<(), MetaError> {
        let nodes = metered.nodes.iter().map(|(node, counters)| (*node, *counters)).collect();
        let accounts = metered.accounts.iter().map(|(id, counters)| (*id, *counters)).collect();
        self.gateway.meta.keep_metered(metered.epoch, nodes, accounts).await
    }

    /// Counts bytes kept since the last time, by nodes that could be asked for them:
    /// one that is away, or given up, is not paid for what it may not have.
    async fn count_stored(&mut self) -> Result<(), MetaError> {
        let seconds = self.stored_until.elapsed().as_secs();
        if seconds == 0 {
            return Ok(());
        }
        self.stored_until += Duration::from_secs(seconds);
        let own = self.gateway.own_account();
        let views = self.gateway.registry.views().into_iter().filter(NodeView::is_keeping);
        let keeping: HashSet<NodeId> = views.map(|view| view.record.node).collect();
        let vault = self.gateway.vault.stored().into_iter();
        for (node, bytes) in vault.filter(|(node, _)| keeping.contains(node)) {
            self.gateway.meter.stored(node, own, bytes.saturating_mul(seconds));
        }
        let stored = self.gateway.meta.stored().await?.into_iter();
        for stored in stored.filter(|stored| keeping.contains(&stored.node)) {
            let byte_seconds = stored.bytes.saturating_mul(seconds);
            self.gateway.meter.stored(stored.node, stored.account, byte_seconds);
        }
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
