//! Moves nodes from one state to the next when it is time, and keeps what the
//! registry knows of them in step with the metadata.
//!
//! The decisions are `nodes::lifecycle`'s. Not here: audits, which change
//! scores, and what becomes of the shards of a node (repair and moves).

use std::sync::Arc;
use std::time::Duration;

use protocol::NodeId;
use protocol::message::Standing;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Gateway, now_ms};
use crate::meta::{KnownNode, MetaError, Millis, NodeState};
use crate::nodes::lifecycle::{self, Facts, is_storm};
use crate::nodes::registry::NodeView;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// How often it is written down who answered.
const KEEP_SEEN: Millis = 60_000;

/// The setting that says when nodes were last watched.
const WATCHED: &str = "nodes_watched_ms";

/// Decides until `stop`.
pub async fn run(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut watched = match begin(&gateway).await {
        Ok(now) => now,
        Err(error) => {
            tracing::error!(%error, "how nodes stand could not be read");
            now_ms()
        }
    };
    let mut kept = 0;
    loop {
        let now = now_ms();
        // The machine slept: nobody looked.
        if now - watched > 2 * KEEP_SEEN {
            gateway.registry.forgive(now - watched);
        }
        watched = now;
        if let Err(error) = look(&gateway, now).await {
            tracing::warn!(%error, "nodes stay as they are for now");
        }
        if now - kept >= KEEP_SEEN {
            match keep_seen(&gateway, now).await {
                Ok(()) => kept = now,
                Err(error) => tracing::warn!(%error, "who answered is not written down"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    if let Err(error) = keep_seen(&gateway, now_ms()).await {
        tracing::debug!(%error, "who answered is not written down");
    }
}

/// The time in which no gateway ran is not the nodes' absence: it is taken off
/// first.
async fn begin(gateway: &Gateway) -> Result<Millis, MetaError> {
    let now = now_ms();
    let before = gateway.meta.setting(WATCHED).await?;
    let before: Option<Millis> = before.and_then(|text| text.parse().ok());
    let gap = before.map_or(0, |before| (now - before).max(0));
    gateway.meta.forgive_absence(gap, now, WATCHED).await?;
    refresh(gateway).await?;
    Ok(now)
}

async fn keep_seen(gateway: &Gateway, now: Millis) -> Result<(), MetaError> {
    let views = gateway.registry.views();
    let seen = views.iter().filter(|view| view.seen_ms > 0);
    let seen = seen.map(|view| (view.record.node, view.seen_ms)).collect();
    gateway.meta.keep_seen(seen, now, WATCHED).await
}

/// Takes what metadata say of nodes, and what follows from it, to the registry.
pub async fn refresh(gateway: &Gateway) -> Result<(), MetaError> {
    look(gateway, now_ms()).await
}

async fn look(gateway: &Gateway, now: Millis) -> Result<(), MetaError> {
    let _turn = gateway.registry.deciding.lock().await;
    let mut known = gateway.meta.nodes().await?;
    gateway.registry.set_known(&known);
    let views = gateway.registry.views();
    // Who has left, or is given up, tells nothing of our own network.
    let used: Vec<_> = views.iter().filter(|view| view.state.keeps_shards()).collect();
    let absent = used.iter().filter(|view| view.absent_for(now).is_some()).count();
    let is_storm = is_storm(absent, used.len());
    for place in 0..known.len() {
        let active = known.iter().filter(|known| known.state == NodeState::Active).count();
        let node = &mut known[place];
        let view = views.iter().find(|view| view.record.node == node.node);
        let facts = facts(gateway, node, view, (active, is_storm), now).await?;
        let Some((to, reason)) = lifecycle::next(&gateway.settings.nodes.lifecycle, &facts) else {
            continue;
        };
        if set(gateway, node.node, vec![node.state], to, reason).await? {
            node.state = to;
        }
    }
    Ok(())
}

/// Moves a node to another state, in metadata and for everyone who asks the
/// registry; says whether it was in one of `from`.
pub async fn set(
    gateway: &Gateway,
    node: NodeId,
    from: Vec<NodeState>,
    to: NodeState,
    reason: String,
) -> Result<bool, MetaError> {
    let moved = gateway.meta.set_node_state(node, from, to, reason.clone(), now_ms()).await?;
    if moved {
        gateway.registry.set_state(node, to);
        tracing::info!(?node, state = to.name(), reason, "a node stands differently");
        tell(gateway, node, to, reason).await?;
    }
    Ok(moved)
}

/// Lets the node know, if it can be reached; nobody waits for it.
async fn tell(
    gateway: &Gateway,
    node: NodeId,
    state: NodeState,
    reason: String,
) -> Result<(), MetaError> {
    let known = gateway.meta.nodes().await?.into_iter().find(|known| known.node == node);
    let Some(known) = known else { return Ok(()) };
    let (score, passed, state) = (known.score(), known.passed, state.name().to_owned());
    let standing = Standing { state, score, passed, outcome: None, reason };
    let nodes = gateway.nodes.clone();
    tokio::spawn(async move {
        if let Err(error) = nodes.standing(node, standing).await {
            tracing::debug!(?node, %error, "the node was not told how it stands");
        }
    });
    Ok(())
}

async fn facts(
    gateway: &Gateway,
    known: &KnownNode,
    view: Option<&NodeView>,
    (active, is_storm): (usize, bool),
    now: Millis,
) -> Result<Facts, MetaError> {
    let drains = known.state == NodeState::Draining;
    let in_state = u64::try_from(now - known.since_ms).unwrap_or(0);
    Ok(Facts {
        state: known.state,
        excluded: gateway.chain.is_excluded(known.node),
        in_state: Duration::from_millis(in_state),
        passed: known.passed,
        score: known.score(),
        absent: view.and_then(|view| view.absent_for(now)),
        is_up: view.is_some_and(NodeView::is_up),
        is_storm,
        holds_shards: !drains || gateway.meta.holds_shards(known.node).await?,
        active,
        wanted: gateway.settings.scheme.total().into(),
    })
}
