//! Removes shards that nothing refers to: of uploads that were given up, and of
//! objects that were deleted or replaced, after their grace.
//!
//! The state decides, never the clock alone: an abandoned upload is condemned
//! by a compare-and-set, after which its commit cannot win. Places that shards
//! left, or never came to count in, are emptied likewise. A content is
//! forgotten only when every node that was meant to hold a shard has said that
//! it does not, or is given up. While metadata do not reach the nodes, nothing
//! is deleted that an older copy of them would miss.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use protocol::{NodeId, ShardId};
use tokio_util::sync::CancellationToken;

use crate::gateway::{Gateway, now_ms};
use crate::meta::{Condemned, ContentId, Leftover, MetaError, Millis};
use crate::nodes::NodeError;

/// Between two rounds that found little to do.
const PAUSE: Duration = Duration::from_secs(5);

/// Contents of one round.
const ROUND: u32 = 500;

/// Contents whose shards are deleted at once.
const TOGETHER: usize = 16;

/// A content whose nodes do not all answer is looked at again after this.
const LATER_MS: Millis = 10 * 60 * 1000;

/// How long the answer to a completed upload is kept for repeats.
const REPEATS_MS: Millis = 24 * 3600 * 1000;

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut is_busy = false;
    loop {
        if !is_busy {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = round(&gateway) => done,
        };
        is_busy = match done {
            Ok(looked_at) => looked_at == ROUND as usize,
            Err(error) => {
                tracing::warn!(%error, "collect: round ended early");
                false
            }
        };
    }
}

/// One round. Returns how many contents were looked at.
pub async fn round(gateway: &Arc<Gateway>) -> Result<usize, MetaError> {
    if gateway.registry.views().is_empty() {
        return Ok(0); // Nobody knows yet who is a node and who is not.
    }
    let now = now_ms();
    let abandoned = gateway.meta.abandon_expired(now, gateway.grace_ms()).await?;
    if abandoned > 0 {
        tracing::info!(abandoned, "uploads gave up");
    }
    gateway.meta.forget_uploads(now - REPEATS_MS).await?;
    // What a recovered gateway may still refer to stays: only deletes that are
    // safe on the nodes themselves are carried out.
    let shipped = gateway.vault.progress().shipped_ms;
    let Some(shipped) = shipped.and_then(|ms| Millis::try_from(ms).ok()) else {
        return Ok(0); // Since the start nothing was seen to be there.
    };
    let until = now.min(shipped.saturating_add(gateway.grace_ms()));
    let left = empty_places(gateway, until).await?;
    let condemned = gateway.meta.condemned(until, ROUND).await?;
    let looked_at = condemned.len().max(left);
    let outcomes: Vec<(ContentId, bool)> = stream::iter(condemned)
        .map(|condemned| {
            let gateway = gateway.clone();
            async move { (condemned.content, delete(gateway, condemned).await) }
        })
        .buffer_unordered(TOGETHER)
        .collect()
        .await;
    let (gone, held): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(_, gone)| *gone);
    let ids = |outcomes: Vec<(ContentId, bool)>| outcomes.into_iter().map(|(id, _)| id).collect();
    gateway.meta.forget(ids(gone)).await?;
    gateway.meta.postpone(ids(held), now + LATER_MS).await?;
    Ok(looked_at)
}

/// Deletes shards from places that nothing refers to any more. Returns how many
/// places were looked at.
async fn empty_places(gateway: &Arc<Gateway>, now: Millis) -> Result<usize, MetaError> {
    let places = gateway.meta.take_leftovers(now, ROUND).await?;
    let looked_at = places.len();
    let gone: Vec<Option<Leftover>> =
        stream::iter(places)
            .map(|place| async move {
                is_emptied(gateway, place.node, place.shard).await.then_some(place)
            })
            .buffer_unordered(TOGETHER)
            .collect()
            .await;
    gateway.meta.forget_leftovers(gone.into_iter().flatten().collect()).await?;
    Ok(looked_at)
}

/// Whether all shards are gone. Each is asked for, whatever becomes of others.
async fn delete(gateway: Arc<Gateway>, condemned: Condemned) -> bool {
    let mut all_gone = true;
    for (segment, index, node) in condemned.shards {
        all_gone &= is_emptied(&gateway, node, ShardId { segment, index }).await;
    }
    all_gone
}

/// Deletes a shard, and says whether nobody needs to ask for it again. Nodes that
/// do not answer are not dialled; of those that are given up, nothing is
/// expected any more.
async fn is_emptied(gateway: &Gateway, node: NodeId, shard: ShardId) -> bool {
    let Some(view) = gateway.registry.view(node) else { return true };
    if !view.is_up() {
        return !view.state.keeps_shards();
    }
    match gateway.nodes.delete(node, shard).await {
        Ok(_) | Err(NodeError::Unknown) => true,
        Err(error) => {
            tracing::debug!(?node, ?shard, %error, "shard not deleted yet");
            false
        }
    }
}
