//! Keeps up with the ledger: who the gateways are, which epoch is open, what
//! things cost; registers the node and submits what it is owed.
//!
//! One loop around pure decisions. While the ledger is away the node serves
//! those it knew last; the log says so once, and once when the ledger is back.

mod claims;
mod client;
mod duty;
pub(crate) mod view;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use protocol::ids::PublicKey;
use protocol::ledger_api::ChainInfo;
use protocol::{Epoch, GatewayId};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::client::LedgerClient;
use self::duty::Duty;
pub(crate) use self::duty::Presence;
use self::view::View;
use crate::error::RunError;
use crate::store::folder::Superblock;
use crate::{Inner, blocking};

/// Bounds of the time between two polls, unless the settings name one.
const POLL_MIN: Duration = Duration::from_millis(200);
const POLL_MAX: Duration = Duration::from_secs(10);

/// Polls that somebody waits for are at least this far apart, so that a gateway
/// cannot make us knock at the ledger's door all day.
const HURRY_MIN: Duration = Duration::from_millis(50);

/// The network as known now, for all who ask.
#[derive(Debug)]
pub(crate) struct Chain {
    view: watch::Sender<Option<Arc<View>>>,
    hurry: Notify,
    reachable: AtomicBool,
}

impl Chain {
    pub fn new(known: Option<View>) -> Self {
        let (view, _) = watch::channel(known.map(Arc::new));
        Self { view, hurry: Notify::new(), reachable: AtomicBool::new(false) }
    }

    /// The network, if the ledger was ever heard of.
    pub fn view(&self) -> Option<Arc<View>> {
        self.view.borrow().clone()
    }

    /// Whether a key is that of a registered gateway.
    pub fn admits(&self, key: PublicKey) -> bool {
        self.view.borrow().as_ref().is_some_and(|view| view.admits(GatewayId::from(key)))
    }

    /// The epoch in which bytes move now.
    pub fn open_epoch(&self) -> Epoch {
        self.view.borrow().as_ref().map(|view| view.info.open).unwrap_or_default()
    }

    /// Whether the ledger answered when it was last asked.
    pub fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// Waits until `key` is no registered gateway's any more.
    pub async fn left(&self, key: PublicKey) {
        let mut view = self.view.subscribe();
        let gone = |view: &Option<Arc<View>>| {
            !view.as_ref().is_some_and(|view| view.admits(GatewayId::from(key)))
        };
        // The sender lives as long as we are borrowed.
        let _ = view.wait_for(gone).await;
    }

    /// Asks the ledger now if `epoch` may have opened, and waits for it.
    ///
    /// A gateway may learn of a new epoch a moment before the node does.
    pub async fn catch_up(&self, epoch: Epoch, most: Duration) {
        let open = self.open_epoch();
        if epoch != open.next() {
            return;
        }
        let mut view = self.view.subscribe();
        self.hurry.notify_one();
        let opened = view.wait_for(|view| view.as_ref().is_some_and(|v| v.info.open >= epoch));
        // Too late or not: the caller looks at what is known by then.
        let _ = tokio::time::timeout(most, opened).await;
    }
}

/// Polls the ledger until `stop`.
pub(crate) async fn run(node: Arc<Inner>, stop: CancellationToken) -> Result<(), RunError> {
    let client = LedgerClient::new(node.key.clone(), node.ledger).map_err(RunError::Dialler)?;
    let mut poller = Poller { duty: Duty::new(&node), node, client, silent: false };
    loop {
        let began = Instant::now();
        let round = tokio::select! {
            round = poller.round() => round,
            () = stop.cancelled() => break,
        };
        round?;
        let pause = poller.pause();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = poller.node.chain.hurry.notified() => {
                tokio::time::sleep_until(began + HURRY_MIN).await;
            }
            () = stop.cancelled() => break,
        }
    }
    poller.client.close();
    Ok(())
}

struct Poller {
    node: Arc<Inner>,
    client: LedgerClient,
    duty: Duty,
    /// Whether the log says already that the ledger is not heard.
    silent: bool,
}

impl Poller {
    /// Time until the next poll: a tenth of an epoch, within reason.
    fn pause(&self) -> Duration {
        self.node.poll.unwrap_or_else(|| match self.node.chain.view() {
            Some(view) => Duration::from_millis(view.info.epoch_ms / 10).clamp(POLL_MIN, POLL_MAX),
            None => POLL_MIN,
        })
    }

    async fn round(&mut self) -> Result<(), RunError> {
        match self.client.chain_info().await {
            Ok(info) => match self.learn(info).await? {
                Ok(()) => self.heard(),
                Err(error) => self.not_heard(&error),
            },
            Err(error) => self.not_heard(&error),
        }
        let Some(view) = self.node.chain.view() else { return Ok(()) };
        self.node.lanes.prune(&view);
        if self.node.chain.is_reachable()
            && let Err(error) = self.duty.fulfil(&view, &mut self.client).await
        {
            self.not_heard(&error);
        }
        Ok(())
    }

    /// Takes in an answer, and keeps it if it says something new.
    async fn learn(&mut self, info: ChainInfo) -> Result<Result<(), view::NotBelieved>, RunError> {
        let before = self.node.chain.view();
        if before.as_ref().is_some_and(|view| view.info == info) {
            return Ok(Ok(()));
        }
        let view = match View::after(before.as_deref(), info, self.node.ledger.id) {
            Ok(view) => Arc::new(view),
            Err(error) => return Ok(Err(error)),
        };
        let (node, kept) = (self.node.clone(), view.clone());
        blocking(move || node.remember(&kept)).await?;
        self.node.chain.view.send_replace(Some(view));
        Ok(Ok(()))
    }

    fn heard(&mut self) {
        self.silent = false;
        if !self.node.chain.reachable.swap(true, Ordering::Relaxed) {
            tracing::info!(ledger = %self.node.ledger.addr, "the ledger answers");
        }
    }

    fn not_heard(&mut self, error: &dyn std::error::Error) {
        self.node.chain.reachable.store(false, Ordering::Relaxed);
        // Once for each change, not once for each poll.
        if !std::mem::replace(&mut self.silent, true) {
            let ledger = self.node.ledger.addr;
            tracing::warn!(%ledger, %error, "the ledger does not answer; serving those known last");
        }
    }
}

impl Inner {
    /// Keeps a view in the folder, and the network when it is first heard of.
    fn remember(&self, view: &View) -> Result<(), RunError> {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = view.info.chain;
        if let Some(known) = folder.superblock.chain
            && known != answered
        {
            return Err(RunError::OtherNetwork { known, answered });
        }
        let joined = Superblock {
            chain: Some(answered),
            ledger: Some(self.ledger.id),
            ledger_addr: Some(self.ledger.addr),
            ..folder.superblock.clone()
        };
        if let Err(error) = folder.join(joined).and_then(|()| view.save(&folder.path)) {
            // A full disk must not end the reads.
            tracing::warn!(%error, "what the ledger said could not be kept for the next start");
        }
        Ok(())
    }
}
