//! What repair and moves do alike: take note that a shard is lost, give up a place
//! that was promised.
//!
//! Not here: which shard goes where and why (`repair`, `moves`).

use protocol::{NodeId, ShardId};

use crate::gateway::{Gateway, now_ms};
use crate::meta::{MetaError, Millis};
use crate::nodes::NodeError;

/// How long a place is kept that was promised to a repair or a move.
pub(super) const LEASE_MS: Millis = 10 * 60 * 1000;

/// Takes note that a node does not have a shard, and of how it showed.
pub(super) async fn lost(
    gateway: &Gateway,
    node: NodeId,
    shard: ShardId,
    error: &NodeError,
) -> Result<(), MetaError> {
    tracing::info!(?node, ?shard, %error, "shard lost");
    if let NodeError::Lie(_) = error {
        let text = format!("read of shard {shard:?}: {error}");
        gateway.meta.note_lie(node, text, now_ms()).await?;
    }
    gateway.meta.lose_shard(shard.segment, shard.index, node, now_ms()).await?;
    Ok(())
}

/// Gives up a place whose node was to store a shard and did not say that it has.
pub(super) async fn give_up(
    gateway: &Gateway,
    node: NodeId,
    shard: ShardId,
    error: &NodeError,
) -> Result<(), MetaError> {
    // A reader may be there since before the place was chosen anew.
    let later = gateway.not_before().max(now_ms() + LEASE_MS);
    match error {
        // It will not have it: another node is tried next time.
        NodeError::Refused(_) => gateway.meta.leave_place(node, shard, later).await,
        _ => gateway.meta.return_place(node, shard, later).await,
    }
}
