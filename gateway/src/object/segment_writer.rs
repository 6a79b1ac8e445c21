//! Sends the shards of one segment and counts who stored theirs.
//!
//! A shard that fails is counted, not raised: the number of durable shards
//! decides. Dropping a writer gives up the sends under way; a node that had
//! stored its shard already then holds an orphan, which `upkeep::collect`
//! removes because the intent names it.

use std::sync::Arc;
use std::time::Duration;

use protocol::message::Stored;
use protocol::{AccountId, Incarnation, NodeId, SegmentId, ShardId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::encoder::{SegmentEnd, ShardPieces};
use super::upload::UploadError;
use crate::gateway::Gateway;
use crate::meta::{PlacedShard, StoredSegment, StoredShard};
use crate::nodes::registry::Experience;
use crate::nodes::{NewShard, NodeError, ShardPiece};

/// A node that takes nothing for this long is left behind.
const PROGRESS: Duration = Duration::from_secs(10);

/// How long the slowest nodes are waited for once the quorum is reached.
const STRAGGLERS: Duration = Duration::from_millis(500);

/// How long a quorum may take after the last byte.
const QUORUM: Duration = Duration::from_secs(60);

/// Pieces on their way to one node.
const PIECES: usize = 2;

/// How the put of one shard ended.
type Put = (u8, NodeId, Result<Stored, NodeError>);

/// The sends of one segment.
pub(super) struct SegmentWriter {
    segment: SegmentId,
    quorum: usize,
    /// The way to each node; `None` once it has failed.
    ways: Vec<Option<mpsc::Sender<ShardPiece>>>,
    puts: JoinSet<Put>,
}

impl SegmentWriter {
    /// Begins to send to `nodes`, of which some may be missing.
    pub(super) fn start(
        gateway: &Arc<Gateway>,
        segment: SegmentId,
        nodes: &[Option<(NodeId, Incarnation)>],
        max_len: u64,
    ) -> Self {
        let mut puts = JoinSet::new();
        let mut ways = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            let index = u8::try_from(index).expect("a scheme has at most 255 shards");
            let way = node.map(|(node, _)| {
                let (way, body) = mpsc::channel(PIECES);
                let (gateway, shard) = (gateway.clone(), ShardId { segment, index });
                let new = NewShard { shard, max_len, chosen_ms: None };
                puts.spawn(async move { (index, node, gateway.nodes.put(node, new, body).await) });
                way
            });
            ways.push(way);
        }
        Self { segment, quorum: usize::from(gateway.settings.write_quorum), ways, puts }
    }

    /// Hands the next bytes to every node that still takes some.
    pub(super) async fn send(&mut self, pieces: ShardPieces) -> Result<(), UploadError> {
        self.send_all(pieces.into_iter().map(ShardPiece::Bytes).collect()).await
    }

    async fn send_all(&mut self, pieces: Vec<ShardPiece>) -> Result<(), UploadError> {
        let deadline = Instant::now() + PROGRESS;
        for (slot, piece) in self.ways.iter_mut().zip(pieces) {
            let Some(way) = slot else { continue };
            // Those that wait share one deadline: a slow node costs ten
            // seconds once, then it is left behind.
            if !matches!(timeout_at(deadline, way.send(piece)).await, Ok(Ok(()))) {
                *slot = None;
            }
        }
        let taking = self.ways.iter().flatten().count();
        if taking < self.quorum {
            return Err(UploadError::TooFewNodes { stored: taking, quorum: self.quorum });
        }
        Ok(())
    }

    /// Ends all shards and waits until enough of them are durable, then a
    /// little for the rest.
    pub(super) async fn finish(
        mut self,
        gateway: &Arc<Gateway>,
        account: AccountId,
        end: SegmentEnd,
    ) -> Result<StoredSegment, UploadError> {
        let ends = end.roots.iter().map(|&root| ShardPiece::End { len: end.shard_len, root });
        self.send_all(ends.collect()).await?;
        self.ways.clear();

        let mut shards = Vec::with_capacity(end.roots.len());
        let mut deadline = Instant::now() + QUORUM;
        while let Ok(Some(joined)) = timeout_at(deadline, self.puts.join_next()).await {
            let Ok(put) = joined else { continue };
            shards.extend(durable(gateway, account, &end, put));
            if shards.len() == self.quorum {
                deadline = Instant::now() + STRAGGLERS;
            }
        }
        if shards.len() < self.quorum {
            let (stored, quorum) = (shards.len(), self.quorum);
            return Err(UploadError::TooFewNodes { stored, quorum });
        }
        let segment = StoredSegment { id: self.segment, len: end.len, shards };
        if !self.puts.is_empty() {
            tokio::spawn(await_stragglers(gateway.clone(), self.puts, account, self.segment, end));
        }
        Ok(segment)
    }
}

/// The nodes that are slower than the grace have all of their shard and will
/// store it: it is paid for, and once it is durable it need not be repaired.
async fn await_stragglers(
    gateway: Arc<Gateway>,
    mut puts: JoinSet<Put>,
    account: AccountId,
    segment: SegmentId,
    end: SegmentEnd,
) {
    while let Some(joined) = puts.join_next().await {
        let Ok(put) = joined else { continue };
        let Some(stored) = durable(&gateway, account, &end, put) else { continue };
        if let Err(error) = gateway.meta.late_shard(account, segment, stored).await {
            tracing::debug!(%error, ?segment, "a late shard is left to repair");
        }
    }
}

/// The shard, if the put ended well; it is counted.
fn durable(
    gateway: &Gateway,
    account: AccountId,
    end: &SegmentEnd,
    (index, node, result): Put,
) -> Option<StoredShard> {
    let stored = judge(gateway, node, result)?;
    gateway.meter.put(node, account, end.shard_len);
    let root = end.roots[usize::from(index)];
    let placed = PlacedShard { index, node, root, len: end.shard_len };
    Some(StoredShard { placed, incarnation: stored.incarnation })
}

/// Takes note of how a put ended.
fn judge(gateway: &Gateway, node: NodeId, result: Result<Stored, NodeError>) -> Option<Stored> {
    match result {
        Ok(stored) => {
            gateway.registry.experience(node, Experience::Good);
            Some(stored)
        }
        Err(error) => {
            // One slow or broken node is ordinary; the shard count decides.
            tracing::debug!(?node, %error, "shard not stored");
            let experience = match error {
                NodeError::Lie(_) => Experience::Bad,
                NodeError::Abandoned | NodeError::Refused(_) | NodeError::Busy => return None,
                _ => Experience::Unreachable,
            };
            gateway.registry.experience(node, experience);
            None
        }
    }
}
