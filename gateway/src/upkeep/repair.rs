//! Repairs segments that lack shards, the most endangered first.
//!
//! A thin loop around `object::health::plan`: doubtful shards are looked at,
//! lost ones computed anew, stored where `object::placement` says, and count
//! from the compare-and-set of `meta` on. What goes wrong is put off and tried
//! again; nothing is deleted here.
//!
//! While a tenth of the nodes and more is silent, only what the next losses
//! would destroy is repaired: then it is our own network that is suspected.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use protocol::{NodeId, SegmentId, ShardId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::places::{LEASE_MS, claim, give_up, lost};
use crate::gateway::{Gateway, now_ms};
use crate::meta::{KnownSegment, KnownShard, MetaError, PlacedShard, Replaced, StoredShard};
use crate::nodes::registry::NodeView;
use crate::nodes::{NodeError, ShardRange};
use crate::object::health::{Plan, Slot, Standing, is_storm, plan};
use crate::object::placement::{candidates, has_other, placed, replace_elsewhere};
use crate::object::rebuild::{Order, Rebuilt, rebuild};
use crate::object::shard_reader::read_whole;

/// Between two rounds that found nothing to do.
const PAUSE: Duration = Duration::from_millis(500);

/// Shards of the queue that one round looks at: what becomes urgent meanwhile waits
/// for no more than these.
const ROUND: u32 = 32;

/// Segments that are repaired at once; each holds a few windows of each of its
/// shards in memory.
const TOGETHER: usize = 4;

/// How often a node may put off a look at a doubtful shard before that shard is
/// rebuilt elsewhere: some minutes in all.
const TRIES: i64 = 8;

/// How often it is tried to place a shard with another node than the one that lost it,
/// if there is one that is down or has no room: some seconds in all. After that its
/// safety comes first.
const PATIENCE: i64 = 4;

/// Shards of a node that is gone or absent are queued again after this: some may
/// have come to it since.
const AGAIN: Duration = Duration::from_secs(1800);

/// What is repaired whatever the network looks like: the next loss but one
/// would lose data.
const URGENT_MARGIN: i64 = 1;

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, pace: Arc<Pace>, stop: CancellationToken) {
    let mut seen = HashMap::new();
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = round(&gateway, &pace, &mut seen) => done,
        };
        let is_busy = match done {
            Ok(repaired) => repaired > 0,
            Err(error) => {
                tracing::warn!(%error, "repair: round ended early");
                false
            }
        };
        if !is_busy {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// One round. Returns how many segments were mended.
pub async fn round(
    gateway: &Arc<Gateway>,
    pace: &Pace,
    seen: &mut Seen,
) -> Result<usize, MetaError> {
    let standings = standings(gateway);
    follow(gateway, &standings, seen).await?;
    let is_storm = is_storm(standings.values().copied());
    if gateway.metrics.repair.storm(is_storm) {
        tracing::warn!("many nodes are silent at once: only urgent repairs go on");
    }
    let most = if is_storm { URGENT_MARGIN } else { i64::MAX };
    let damaged = gateway.meta.damaged(now_ms(), most, ROUND).await?;
    let mended: Vec<bool> = stream::iter(damaged)
        .map(|(segment, _)| {
            let standings = &standings;
            async move {
                let outcome = mend(gateway, pace, standings, segment).await;
                let is_whole = outcome.unwrap_or_else(|error| {
                    tracing::info!(?segment, %error, "segment not repaired yet");
                    false
                });
                if !is_whole
                    && let Err(error) = gateway.meta.postpone_repair(segment, now_ms()).await
                {
                    tracing::debug!(%error, "repair not put off");
                }
                is_whole
            }
        })
        .buffer_unordered(TOGETHER)
        .collect()
        .await;
    Ok(mended.into_iter().filter(|is_whole| *is_whole).count())
}

/// How each node stood when something was last done about it.
pub type Seen = HashMap<NodeId, (Standing, Instant)>;

/// How far each node can be counted on now.
fn standings(gateway: &Gateway) -> HashMap<NodeId, Standing> {
    let absent_after = gateway.settings.upkeep.absent_after;
    let now = now_ms();
    let standing = |view: &NodeView| {
        if !view.state.keeps_shards() {
            Standing::Gone
        } else if view.is_up() {
            Standing::Up
        } else if view.absent_for(now).is_some_and(|silent| silent >= absent_after) {
            Standing::Absent
        } else {
            Standing::Down
        }
    };
    gateway.registry.views().iter().map(|view| (view.record.node, standing(view))).collect()
}

/// A node that is gone or absent has its shards queued; one that is back has
/// those taken back that were queued for its absence alone.
async fn follow(
    gateway: &Gateway,
    standings: &HashMap<NodeId, Standing>,
    seen: &mut Seen,
) -> Result<(), MetaError> {
    for (&node, &standing) in standings {
        let is_seen = seen.get(&node).is_some_and(|&(before, at)| {
            before == standing && (standing == Standing::Up || at.elapsed() < AGAIN)
        });
        if is_seen {
            continue;
        }
        match standing {
            Standing::Down => continue,
            Standing::Up => {
                let back = gateway.meta.unqueue_node(node).await?;
                // Who waited for a place may find one now.
                gateway.meta.hurry_repairs().await?;
                tracing::debug!(?node, back, "node is up");
            }
            Standing::Absent | Standing::Gone => {
                let is_absent = standing == Standing::Absent;
                let queued = gateway.meta.queue_node(node, is_absent, now_ms()).await?;
                if queued > 0 {
                    tracing::warn!(?node, queued, ?standing, "shards of a node are rebuilt");
                }
            }
        }
        seen.insert(node, (standing, Instant::now()));
    }
    Ok(())
}

/// Why a segment is not whole yet.
#[derive(Debug, thiserror::Error)]
enum NotYet {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error(transparent)]
    Rebuild(#[from] crate::object::rebuild::RebuildError),
    #[error("{have} shards are left and {needed} are needed")]
    TooFew { have: usize, needed: u8 },
    #[error("no node can take shard {0}")]
    NoPlace(u8),
    #[error("node: {0}")]
    Node(#[from] NodeError),
    #[error("not stored: {0}")]
    NotStored(String),
    #[error("shard {0} is not what was stored once: metadata or a source is wrong")]
    OtherRoot(u8),
    #[error("a node is silent and not given up yet")]
    Waiting,
    #[error("it was changed meanwhile")]
    Changed,
}

/// Mends one segment; `true` when it has nothing left in the queue.
async fn mend(
    gateway: &Arc<Gateway>,
    pace: &Pace,
    standings: &HashMap<NodeId, Standing>,
    segment: SegmentId,
) -> Result<bool, NotYet> {
    let Some(damaged) = gateway.meta.known_segment(segment).await? else {
        // Its content is condemned: `collect` forgets the queue with it.
        return Ok(false);
    };
    let plan = plan(damaged.scheme, &slots(&damaged, standings));
    // What is lost comes first: a node that stalls must not keep it waiting.
    let mut outcome = Ok(());
    for shard in damaged.shards.iter().filter(|shard| shard.stored) {
        // It answers and does not show it, so it is as good as lost.
        if plan.rebuild.contains(&shard.index) && standings.get(&shard.node) == Some(&Standing::Up)
        {
            claim(gateway, shard.node, ShardId { segment, index: shard.index }).await?;
        }
    }
    if !plan.rebuild.is_empty() {
        outcome = replace_lost(gateway, pace, &damaged, &plan, &plan.rebuild).await;
    }
    for &index in &plan.verify {
        outcome = outcome.and(look_at(gateway, pace, &damaged, index).await);
    }
    outcome?;
    if plan.waiting.is_empty() { Ok(true) } else { Err(NotYet::Waiting) }
}

fn slots(damaged: &KnownSegment, standings: &HashMap<NodeId, Standing>) -> Vec<Slot> {
    let slot = |shard: &KnownShard| {
        let queued = damaged.queued.iter().find(|(index, _)| *index == shard.index);
        // Whom the ledger does not list any more has left.
        let standing = standings.get(&shard.node).copied().unwrap_or(Standing::Gone);
        // In doubt for long, and never to be looked at: as good as absent.
        let evades = standing == Standing::Up && queued.is_some_and(|(_, tries)| *tries > TRIES);
        Slot {
            index: shard.index,
            stored: shard.stored,
            doubtful: shard.doubtful,
            queued: queued.is_some(),
            standing: if evades { Standing::Absent } else { standing },
        }
    };
    damaged.shards.iter().map(slot).collect()
}

/// Reads a doubtful shard whole. A sound one leaves the queue; that one is lost
/// is written down.
async fn look_at(
    gateway: &Gateway,
    pace: &Pace,
    damaged: &KnownSegment,
    index: u8,
) -> Result<(), NotYet> {
    let Some(known) = damaged.shards.iter().find(|shard| shard.index == index) else {
        return Ok(());
    };
    pace.take(known.len).await;
    let shard = ShardId { segment: damaged.segment, index };
    let range = ShardRange { shard, root: known.root, len: known.len, bytes: 0..known.len };
    match read_whole(gateway, known.node, range).await {
        Ok(()) => {
            gateway.meta.unqueue(damaged.segment, index, known.generation).await?;
            Ok(())
        }
        Err(error) if error.means_lost() => {
            lost(gateway, known.node, shard, &error).await?;
            // What the generation was is not true any more.
            Err(NotYet::Changed)
        }
        Err(error) => Err(error.into()),
    }
}

/// Computes what is lost and stores it where it is safe.
async fn replace_lost(
    gateway: &Arc<Gateway>,
    pace: &Pace,
    damaged: &KnownSegment,
    plan: &Plan,
    missing: &[u8],
) -> Result<(), NotYet> {
    let (have, needed) = (plan.sources.len(), damaged.scheme.needed());
    if have < usize::from(needed) {
        tracing::error!(segment = ?damaged.segment, have, needed, "segment cannot be read now");
        return Err(NotYet::TooFew { have, needed });
    }
    // Before places are promised: those are kept for a while only.
    let shard_len =
        erasure::Layout { scheme: damaged.scheme, segment_len: damaged.len }.shard_len();
    pace.take(shard_len * (u64::from(needed) + missing.len() as u64)).await;
    let (orders, no_place) = promise(gateway, damaged, plan.margin, missing).await?;
    let mut outcome = no_place.map_or(Ok(()), |index| Err(NotYet::NoPlace(index)));
    if orders.is_empty() {
        return outcome;
    }
    match rebuild(gateway, damaged, sources(damaged, plan), &orders).await {
        Ok(rebuilt) => {
            for one in rebuilt {
                let settled = settle(gateway, damaged, &one).await;
                outcome = outcome.and(settled);
            }
        }
        Err(error) => {
            for order in orders {
                let shard = ShardId { segment: damaged.segment, index: order.index };
                gateway.meta.return_place(order.node, shard, now_ms() + LEASE_MS).await?;
            }
            return Err(error.into());
        }
    }
    outcome
}

fn sources(damaged: &KnownSegment, plan: &Plan) -> Vec<PlacedShard> {
    let known = |index: &u8| damaged.shards.iter().find(|shard| shard.index == *index);
    let placed = |shard: &KnownShard| PlacedShard {
        index: shard.index,
        node: shard.node,
        root: shard.root,
        len: shard.len,
    };
    plan.sources.iter().filter_map(known).map(placed).collect()
}

/// A place for each lost shard, as far as there are any, written down before
/// use; and a shard for which there is none.
async fn promise(
    gateway: &Gateway,
    damaged: &KnownSegment,
    margin: i32,
    missing: &[u8],
) -> Result<(Vec<Order>, Option<u8>), MetaError> {
    let shard_len =
        erasure::Layout { scheme: damaged.scheme, segment_len: damaged.len }.shard_len();
    let rules = gateway.placement_rules(damaged.scheme);
    let mut holders: Vec<NodeId> = damaged
        .shards
        .iter()
        .filter(|shard| shard.stored && !missing.contains(&shard.index))
        .map(|shard| shard.node)
        .collect();
    let (mut orders, mut no_place) = (Vec::new(), None);
    // Who cannot have every place is served first.
    let mut missing = missing.to_vec();
    missing.sort_by_key(|index| std::cmp::Reverse(damaged.losers(*index).len()));
    for index in missing {
        let losers = damaged.losers(index);
        let mut refused = HashSet::new();
        let found = loop {
            let views = gateway.registry.views();
            let mut open = candidates(&views, shard_len);
            open.retain(|candidate| !refused.contains(&candidate.node));
            let held = placed(&views, &holders);
            let may_return = margin <= 0
                || damaged.tries(index) > PATIENCE
                || !has_other(&views, &holders, &losers);
            let lost = placed(&views, &losers);
            let elsewhere = (lost.as_slice(), may_return);
            let found = replace_elsewhere(damaged.segment, rules, &held, &open, elsewhere);
            let Some((node, _)) = found else { break None };
            let shard = ShardId { segment: damaged.segment, index };
            let chosen_ms = now_ms();
            let lease = chosen_ms + LEASE_MS;
            if gateway.meta.promise_place(node, shard, lease).await? {
                break Some(Order { index, node, chosen_ms, lease });
            }
            refused.insert(node);
        };
        match found {
            Some(order) => {
                holders.push(order.node);
                orders.push(order);
            }
            None => no_place = Some(index),
        }
    }
    Ok((orders, no_place))
}

/// Makes a computed shard count.
async fn settle(gateway: &Gateway, damaged: &KnownSegment, one: &Rebuilt) -> Result<(), NotYet> {
    let Rebuilt { order: Order { index, node, lease, .. }, root, len, stored } = one;
    let shard = ShardId { segment: damaged.segment, index: *index };
    let known = damaged.shards.iter().find(|shard| shard.index == *index);
    let wrong = known.is_some_and(|known| known.stored && known.root != *root);
    let stored = match stored {
        Ok(stored) if !wrong => stored,
        Ok(_) => {
            gateway.meta.leave_place(*node, shard, now_ms()).await?;
            return Err(NotYet::OtherRoot(*index));
        }
        Err(error) => {
            give_up(gateway, *node, shard, error).await?;
            return Err(NotYet::NotStored(error.to_string()));
        }
    };
    gateway.meter.repair(*node, gateway.own_account(), *len);
    let placed = PlacedShard { index: *index, node: *node, root: *root, len: *len };
    let replaced = Replaced {
        content: damaged.content,
        account: damaged.account,
        segment: damaged.segment,
        generation: known.map(|known| known.generation),
        stored: StoredShard { placed, incarnation: stored.incarnation },
        lease: *lease,
        not_before: gateway.not_before(),
    };
    if gateway.meta.settle_place(replaced).await? {
        gateway.metrics.repair.repaired(*len);
        Ok(())
    } else {
        Err(NotYet::Changed)
    }
}

#[cfg(test)]
mod tests;
