//! Claims that this node lost a shard: asked for at each poll, and refuted with
//! the very bytes, as an audit would be answered. A poll refutes some of them and
//! the next goes on from there, so that many claims do not keep the node from
//! its other duties.
//!
//! What cannot be refuted stands against us; the log says so once for each
//! claim. Not here: what a claim costs (the ledger).

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use protocol::claim::{LossClaim, LossRebuttal};
use protocol::ledger_api::Submission;
use protocol::statement::UNSIGNED;
use protocol::{Epoch, GatewayId, NodeId, Root, SegmentId, ShardId};
use serde::Deserialize;
use serde_json::json;

use crate::blocking;
use crate::chain::client::{LedgerClient, LedgerError};
use crate::chain::view::View;
use crate::metrics::Metrics;
use crate::store::range::RangeReader;
use crate::store::{ShardStore, StoreError};

/// Rebuttals in one submission: their frame has room for as many of the longest.
const TOGETHER: usize = 48;

/// Rebuttals of one poll.
const REBUTTALS_MAX: usize = 4 * TOGETHER;

/// The answer to the query.
#[derive(Debug, Deserialize)]
struct Answer {
    claims: Vec<Line>,
    /// Where to go on, if there are more.
    next: Option<String>,
}

/// A claim, as the ledger tells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Line {
    /// Its id, in hex.
    claim: String,
    gateway: GatewayId,
    segment: SegmentId,
    index: u8,
    root: Root,
    len: u64,
    group: u64,
    open: bool,
}

impl Line {
    fn id(&self) -> Option<[u8; 32]> {
        let mut id = [0; 32];
        hex::decode_to_slice(&self.claim, &mut id).ok()?;
        Some(id)
    }

    fn shard(&self) -> ShardId {
        ShardId { segment: self.segment, index: self.index }
    }

    /// Whether these bytes refute it, as the ledger will see it.
    fn is_refuted_by(&self, view: &View, node: NodeId, proof: &Bytes) -> bool {
        let claim = LossClaim {
            chain: view.info.chain,
            gateway: self.gateway,
            node,
            epoch: Epoch::default(),
            shard: self.shard(),
            root: self.root,
            len: self.len,
            data: 1,
            group: self.group,
            signature: UNSIGNED,
        };
        claim.is_refuted_by(proof)
    }
}

/// Answers claims.
#[derive(Debug)]
pub(super) struct Claims {
    node: NodeId,
    store: Arc<ShardStore>,
    metrics: Arc<Metrics>,
    /// Claims of which the log says already that they stand.
    standing: HashSet<[u8; 32]>,
    /// Those that were found to stand since the first page.
    found: HashSet<[u8; 32]>,
    /// The claim that was looked at last.
    after: Option<String>,
}

impl Claims {
    pub fn new(node: NodeId, store: Arc<ShardStore>, metrics: Arc<Metrics>) -> Self {
        let (standing, found) = (HashSet::new(), HashSet::new());
        Self { node, store, metrics, standing, found, after: None }
    }

    /// Refutes some of what can be refuted of the claims that are open.
    pub async fn answer(
        &mut self,
        view: &View,
        ledger: &mut LedgerClient,
    ) -> Result<(), LedgerError> {
        let Some(page) = self.page(self.after.clone(), ledger).await? else { return Ok(()) };
        let mut next = page.next;
        let mut rebuttals = Vec::new();
        for claim in page.claims.iter().filter(|claim| claim.open) {
            let Some(id) = claim.id() else { continue };
            match self.rebuttal(view, claim, id).await {
                Ok(rebuttal) => rebuttals.push((claim, rebuttal)),
                Err(reason) => self.stands(claim, id, &reason),
            }
            if rebuttals.len() == REBUTTALS_MAX {
                next = Some(claim.claim.clone());
                break;
            }
        }
        for some in rebuttals.chunks(TOGETHER) {
            self.refute(some, ledger).await?;
        }
        self.after = next;
        if self.after.is_none() {
            self.standing = std::mem::take(&mut self.found);
            self.metrics.claims_standing(self.standing.len());
        }
        Ok(())
    }

    /// Claims that come after this one, if the ledger tells of any.
    async fn page(
        &self,
        after: Option<String>,
        ledger: &mut LedgerClient,
    ) -> Result<Option<Answer>, LedgerError> {
        let query = json!({ "query": "claims", "node": self.node, "after": after });
        let answer = match ledger.query(query).await {
            // An older ledger answers gateways only.
            Err(LedgerError::Frame(error)) if error.refusal().is_some() => return Ok(None),
            answer => answer?,
        };
        // Or knows no claims.
        let page = serde_json::from_slice(&answer.0)
            .inspect_err(|error| tracing::debug!(%error, "the ledger tells of no claims"));
        Ok(page.ok())
    }

    /// The bytes that the claim asks for, if they are here.
    async fn rebuttal(
        &self,
        view: &View,
        claim: &Line,
        id: [u8; 32],
    ) -> Result<LossRebuttal, StoreError> {
        let (store, shard, group) = (self.store.clone(), claim.shard(), claim.group);
        let read = blocking(move || RangeReader::open_group(&store, shard, group)?.next()).await;
        let proof = read?.encoded;
        if !claim.is_refuted_by(view, self.node, &proof) {
            return Err(StoreError::BadRange);
        }
        Ok(LossRebuttal { chain: view.info.chain, claim: id, proof })
    }

    /// Shows the bytes to the ledger.
    async fn refute(
        &self,
        rebuttals: &[(&Line, LossRebuttal)],
        ledger: &mut LedgerClient,
    ) -> Result<(), LedgerError> {
        let said =
            |(_, rebuttal): &(_, LossRebuttal)| Submission::Rebuttal(Box::new(rebuttal.clone()));
        let outcomes = ledger.submit(rebuttals.iter().map(said).collect()).await?;
        for ((claim, _), outcome) in rebuttals.iter().zip(outcomes.0) {
            let (gateway, shard) = (claim.gateway, claim.shard());
            match outcome {
                Ok(()) => {
                    tracing::info!(?gateway, ?shard, "the claim that a shard was lost is refuted");
                    self.metrics.claim_refuted();
                }
                Err(reason) => {
                    tracing::warn!(?gateway, ?shard, reason, "the ledger took no rebuttal");
                }
            }
        }
        Ok(())
    }

    fn stands(&mut self, claim: &Line, id: [u8; 32], reason: &StoreError) {
        if !self.standing.contains(&id) && self.found.insert(id) {
            let (gateway, shard) = (claim.gateway, claim.shard());
            tracing::error!(?gateway, ?shard, %reason, "a shard is claimed lost and is not here");
        }
        self.found.insert(id);
    }
}
