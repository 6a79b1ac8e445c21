//! One metadata segment onto the nodes.
//!
//! A segment counts as stored when the write quorum of nodes has it. What was
//! stored is remembered, so that another try sends only what is missing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::frame::CHUNK_MAX;
use protocol::message::Stored;
use protocol::refusal::Refusal;
use protocol::{Incarnation, NodeId, Root, ShardId};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::ids::VaultId;
use crate::gateway::Gateway;
use crate::nodes::registry::Experience;
use crate::nodes::{NewShard, NodeError, ShardPiece};
use crate::object::placement::{RequireDomains, Rules, candidates, place};

/// How long a segment may take to reach the quorum.
const QUORUM: Duration = Duration::from_secs(30);

/// How long the slowest nodes are waited for after that.
const STRAGGLERS: Duration = Duration::from_millis(500);

/// Why a segment does not count as stored.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NotStored {
    /// Too few nodes have it.
    #[error("{stored} of {quorum} nodes that are needed have it")]
    TooFew {
        /// How many have.
        stored: usize,
        /// How many must.
        quorum: usize,
    },
    /// Its name is taken.
    #[error("a node holds something else under its name")]
    NameTaken,
}

/// A segment on its way.
pub(super) struct Outgoing {
    /// Its name.
    pub id: VaultId,
    shards: Vec<Bytes>,
    /// Who has which shard by now.
    pub stored: BTreeMap<u8, (NodeId, Incarnation)>,
}

impl Outgoing {
    /// The segment of a payload.
    pub fn new(gateway: &Gateway, id: VaultId, payload: &[u8]) -> Self {
        let shards = gateway.vault.keys().encode(id, payload);
        Self { id, shards, stored: BTreeMap::new() }
    }

    /// Bytes of each of its shards.
    pub fn shard_len(&self) -> u64 {
        self.shards[0].len() as u64
    }

    /// Sends what no node has yet.
    pub async fn send(&mut self, gateway: &Arc<Gateway>) -> Result<(), NotStored> {
        let segment = gateway.vault.keys().ids().segment(self.id);
        let quorum = usize::from(gateway.settings.write_quorum);
        let len = self.shard_len();
        let busy: HashSet<NodeId> = self.stored.values().map(|(node, _)| *node).collect();
        let mut free = candidates(&gateway.registry.views(), len);
        free.retain(|candidate| !busy.contains(&candidate.node));
        let total = u8::try_from(self.shards.len()).expect("a scheme has at most 255 shards");
        // Spread as far as possible; badly spread is better than not at all.
        let rules = Rules { parity: self.id.parity, require: RequireDomains::None };
        let places = place(segment, total, rules, &free).unwrap_or_default();
        let missing: Vec<u8> = (0..total).filter(|at| !self.stored.contains_key(at)).collect();
        let mut puts = JoinSet::new();
        for (index, (node, _)) in missing.into_iter().zip(places.into_iter().flatten()) {
            let (gateway, bytes) = (gateway.clone(), self.shards[usize::from(index)].clone());
            let shard = ShardId { segment, index };
            puts.spawn(async move { (index, node, put(&gateway, node, shard, bytes).await) });
        }
        let mut deadline = Instant::now() + QUORUM;
        if self.stored.len() >= quorum {
            deadline = Instant::now() + STRAGGLERS;
        }
        let mut is_taken = false;
        while let Ok(Some(joined)) = timeout_at(deadline, puts.join_next()).await {
            let Ok((index, node, result)) = joined else { continue };
            match result {
                Ok(stored) => {
                    gateway.registry.experience(node, Experience::Good);
                    gateway.meter.put(node, gateway.own_account(), len);
                    gateway.vault.count_stored(node, |bytes| bytes.saturating_add(len));
                    self.stored.insert(index, (node, stored.incarnation));
                }
                Err(NodeError::Refused(Refusal::Conflict | Refusal::Forgotten)) => is_taken = true,
                Err(error) => {
                    tracing::debug!(?node, %error, "metadata shard not stored");
                    if matches!(error, NodeError::Offline(_) | NodeError::Timeout) {
                        gateway.registry.experience(node, Experience::Unreachable);
                    }
                }
            }
            if self.stored.len() == quorum {
                deadline = deadline.min(Instant::now() + STRAGGLERS);
            }
        }
        match self.stored.len() {
            stored if stored >= quorum => Ok(()),
            _ if is_taken => Err(NotStored::NameTaken),
            stored => Err(NotStored::TooFew { stored, quorum }),
        }
    }

    /// Deletes it again: what comes after it has taken its place.
    pub async fn delete(self, gateway: &Gateway) {
        let segment = gateway.vault.keys().ids().segment(self.id);
        let len = self.shard_len();
        for (index, (node, _)) in self.stored {
            match gateway.nodes.delete(node, ShardId { segment, index }).await {
                Ok(_) => gateway.vault.count_stored(node, |bytes| bytes.saturating_sub(len)),
                Err(error) => tracing::debug!(?node, %error, "metadata shard not deleted yet"),
            }
        }
    }
}

async fn put(
    gateway: &Gateway,
    node: NodeId,
    shard: ShardId,
    bytes: Bytes,
) -> Result<Stored, NodeError> {
    let len = bytes.len() as u64;
    let root = Root(*blake3::hash(&bytes).as_bytes());
    let (way, body) = mpsc::channel(2);
    let feed = async move {
        for at in (0..bytes.len()).step_by(CHUNK_MAX) {
            let chunk = bytes.slice(at..(at + CHUNK_MAX).min(bytes.len()));
            if way.send(ShardPiece::Bytes(vec![chunk])).await.is_err() {
                return; // The node said no; its answer says why.
            }
        }
        let _ = way.send(ShardPiece::End { len, root }).await;
    };
    let new = NewShard { shard, max_len: len, chosen_ms: None };
    tokio::join!(gateway.nodes.put(node, new, body), feed).0
}
