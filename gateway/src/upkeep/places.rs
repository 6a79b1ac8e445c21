//! What repair and moves do alike: take note that a shard is lost, give up a place
//! that was promised.
//!
//! Not here: which shard goes where and why (`repair`, `moves`).

use protocol::keys::random;
use protocol::tree::GROUP;
use protocol::{NodeId, ShardId};

use crate::gateway::{Gateway, now_ms};
use crate::meta::{Loss, MetaError, Millis, Target};
use crate::nodes::NodeError;

/// How long a place is kept that was promised to a repair or a move.
pub(super) const LEASE_MS: Millis = 10 * 60 * 1000;

/// A group of a shard of this length that nobody can foresee.
pub(super) fn any_group(len: u64) -> u64 {
    u64::from_le_bytes(random()) % len.div_ceil(GROUP).max(1)
}

/// Whether the folder of a node is another one than metadata know, so that what is
/// missing is gone with the former: `watch` sees to that.
pub(super) async fn has_begun_again(gateway: &Gateway, node: NodeId) -> bool {
    let known = gateway.registry.view(node).and_then(|view| view.incarnation);
    gateway.nodes.status(node).await.is_ok_and(|status| known != Some(status.incarnation))
}

/// What is claimed at the ledger of a shard that a node must have and does not show;
/// nothing before the ledger was heard of.
async fn loss_of(
    gateway: &Gateway,
    node: NodeId,
    shard: ShardId,
) -> Result<Option<Loss>, MetaError> {
    let Some(info) = gateway.chain.info() else { return Ok(None) };
    let target = gateway.meta.audit_target_of(node, shard).await?;
    let loss = |Target { shard, root, len, data }| Loss {
        shard,
        node,
        epoch: info.open,
        root,
        len,
        data,
        group: any_group(len),
    };
    Ok(target.map(loss))
}

/// Has claimed that a node lost a shard which it has not shown for long, though it
/// answers.
pub(super) async fn claim(
    gateway: &Gateway,
    node: NodeId,
    shard: ShardId,
) -> Result<(), MetaError> {
    match loss_of(gateway, node, shard).await? {
        Some(loss) => gateway.meta.keep_loss(loss, now_ms()).await,
        None => Ok(()),
    }
}

/// Takes note that a node does not have a shard, and of how it showed. That is
/// claimed as if an audit had found it: who admits a loss is not better off.
pub(super) async fn lost(
    gateway: &Gateway,
    node: NodeId,
    shard: ShardId,
    error: &NodeError,
) -> Result<(), MetaError> {
    tracing::info!(?node, ?shard, %error, "shard lost");
    let meta = &gateway.meta;
    if let NodeError::Lie(_) = error {
        let text = format!("read of shard {shard:?}: {error}");
        meta.note_lie(node, text, now_ms()).await?;
    }
    if has_begun_again(gateway, node).await {
        meta.lose_shard(shard.segment, shard.index, node, now_ms()).await?;
        return Ok(());
    }
    match loss_of(gateway, node, shard).await? {
        Some(loss) => meta.lose_claimed(loss, now_ms()).await?,
        None => meta.lose_shard(shard.segment, shard.index, node, now_ms()).await?,
    };
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
