//! Removes shards that nothing refers to: of uploads that were given up, and of
//! objects that were deleted or replaced, after their grace.
//!
//! The state decides, never the clock alone: an abandoned upload is condemned
//! by a compare-and-set, after which its commit cannot win. A content is
//! forgotten only when every node that was meant to hold a shard has said that
//! it does not.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use protocol::ShardId;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Gateway, now_ms};
use crate::meta::{Condemned, MetaError};

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(5);

/// Contents of one round.
const ROUND: u32 = 100;

/// Deletes under way.
const TOGETHER: usize = 16;

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        if let Err(error) = round(&gateway).await {
            tracing::warn!(%error, "collect: round ended early");
        }
    }
}

/// One round. Returns how many contents were forgotten.
pub async fn round(gateway: &Gateway) -> Result<usize, MetaError> {
    let now = now_ms();
    let abandoned = gateway.meta.abandon_expired(now, gateway.grace_ms()).await?;
    if abandoned > 0 {
        tracing::info!(abandoned, "uploads gave up");
    }
    let mut forgotten = 0;
    for condemned in gateway.meta.condemned(now, ROUND).await? {
        if delete(gateway, &condemned).await {
            gateway.meta.forget(condemned.content).await?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

/// Whether all shards are gone.
async fn delete(gateway: &Gateway, condemned: &Condemned) -> bool {
    let delete_one = |(segment, index, node)| async move {
        let shard = ShardId { segment, index };
        let deleted = gateway.nodes.delete(node, shard).await;
        if let Err(error) = &deleted {
            tracing::debug!(?node, ?shard, %error, "shard not deleted yet");
        }
        deleted.is_ok()
    };
    let deletes: Vec<_> = condemned.shards.iter().copied().map(delete_one).collect();
    stream::iter(deletes).buffer_unordered(TOGETHER).all(|gone| async move { gone }).await
}
