//! What the node owes to itself on the ledger: to be registered under the
//! address where it can be dialled, to claim what its receipts are worth, and to
//! refute claims that it lost something.
//!
//! All are tried again at each poll until the ledger has them; the ledger
//! takes the same thing twice without harm.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::ledger_api::{NodeRecord, SUBMISSIONS_MAX, Submission};
use protocol::registration::{Invite, Registration};
use protocol::statement::UNSIGNED;
use protocol::voucher::Voucher;
use protocol::{NodeId, SecretKey};
use tokio::time::Instant;

use crate::Inner;
use crate::chain::claims::Claims;
use crate::chain::client::{LedgerClient, LedgerError};
use crate::chain::view::View;
use crate::lanes::Lanes;
use crate::metrics::Metrics;

/// A node registers anew this often though nothing changed: one that no gateway
/// uses signs nothing else, and would be taken for gone.
const SIGN_OF_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How a node presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presence {
    pub node: NodeId,
    pub addr: SocketAddr,
    pub zone: String,
    pub operator: String,
}

impl Presence {
    /// Whether the ledger says the same.
    fn is_known(&self, nodes: &[NodeRecord]) -> bool {
        nodes.iter().any(|known| {
            (known.node, known.addr) == (self.node, self.addr)
                && (&known.zone, &known.operator) == (&self.zone, &self.operator)
        })
    }

    /// Whether the ledger knows the node, wherever it was when it registered.
    pub fn is_member(&self, nodes: &[NodeRecord]) -> bool {
        nodes.iter().any(|known| known.node == self.node)
    }
}

/// The node's standing work with the ledger.
pub(crate) struct Duty {
    key: SecretKey,
    presence: Presence,
    invite: Option<Invite>,
    lanes: Arc<Lanes>,
    metrics: Arc<Metrics>,
    claims: Claims,
    /// Why we are not registered, as it stands in the log already.
    unregistered: Option<String>,
    /// When the ledger should hear of us again.
    heard_from_at: Instant,
}

impl Duty {
    pub fn new(node: &Inner) -> Self {
        Self {
            key: node.key.clone(),
            presence: node.presence.clone(),
            invite: node.invite.clone(),
            lanes: node.lanes.clone(),
            metrics: node.metrics.clone(),
            claims: Claims::new(node.presence.node, node.store.clone(), node.metrics.clone()),
            unregistered: None,
            heard_from_at: Instant::now() + SIGN_OF_LIFE,
        }
    }

    /// Does what is left to do.
    pub async fn fulfil(
        &mut self,
        view: &View,
        ledger: &mut LedgerClient,
    ) -> Result<(), LedgerError> {
        self.register(view, ledger).await?;
        self.claim(view, ledger).await?;
        self.claims.answer(view, ledger).await
    }

    async fn register(
        &mut self,
        view: &View,
        ledger: &mut LedgerClient,
    ) -> Result<(), LedgerError> {
        let is_known = self.presence.is_known(&view.info.nodes);
        if is_known {
            self.unregistered = None;
            if Instant::now() < self.heard_from_at {
                return Ok(());
            }
            self.heard_from_at = Instant::now() + SIGN_OF_LIFE;
        }
        let member = self.presence.is_member(&view.info.nodes);
        if !member && self.invite.is_none() {
            self.not_registered("the ledger does not know this node: start it with an invite");
            return Ok(());
        }
        let registration = self.registration(view, member);
        let outcomes = ledger.submit(vec![Submission::Register(Box::new(registration))]).await?;
        match outcomes.0.first() {
            Some(Ok(())) => {
                tracing::info!(addr = %self.presence.addr, "registered with the ledger");
                self.unregistered = None;
            }
            Some(Err(reason)) => self.not_registered(reason),
            None => self.not_registered("the ledger gave no outcome"),
        }
        Ok(())
    }

    fn registration(&self, view: &View, member: bool) -> Registration {
        let Presence { node, addr, zone, operator } = self.presence.clone();
        Registration {
            chain: view.info.chain,
            node,
            addr,
            zone,
            operator,
            serial: now_ms(),
            invite: if member { None } else { self.invite.clone() },
            signature: UNSIGNED,
        }
        .signed(&self.key)
    }

    fn not_registered(&mut self, reason: &str) {
        // Once for each reason, not once for each poll.
        if self.unregistered.as_deref() != Some(reason) {
            tracing::warn!(reason, "this node is not registered");
            self.unregistered = Some(reason.to_owned());
        }
    }

    /// Counter-signs and submits the vouchers of closed epochs.
    async fn claim(&mut self, view: &View, ledger: &mut LedgerClient) -> Result<(), LedgerError> {
        let due = self.lanes.due(&view.info.taking_receipts);
        for batch in due.chunks(SUBMISSIONS_MAX) {
            let receipt = |voucher: &Voucher| {
                Submission::Receipt(Box::new(voucher.clone().countersigned(&self.key)))
            };
            let outcomes = ledger.submit(batch.iter().map(receipt).collect()).await?;
            for (voucher, outcome) in batch.iter().zip(outcomes.0) {
                if outcome.is_ok() {
                    self.metrics.receipt_accepted();
                }
                self.lanes.claimed(voucher, outcome);
            }
        }
        Ok(())
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
