//! Moves shards: off nodes that are being drained, and to nodes that hold less
//! than their share.
//!
//! A move is a copy whose commit compares and sets the generation: until then
//! the old place counts, and it is emptied only after the grace for readers.
//! Not here: lost shards (`repair`), and when a drained node has left
//! (`standing`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use protocol::{NodeId, SegmentId, ShardId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::places::{LEASE_MS, give_up, lost};
use crate::gateway::{Gateway, now_ms};
use crate::meta::{KnownSegment, MetaError, Millis, NodeState, PlacedShard, Replaced, StoredShard};
use crate::nodes::registry::NodeView;
use crate::nodes::{NewShard, NodeError, ShardPiece, ShardRange};
use crate::object::placement::{Candidate, candidates, has_other, placed, replace_elsewhere};

/// Between two rounds that found nothing to do.
const PAUSE: Duration = Duration::from_secs(1);

/// Shards that one round looks at.
const ROUND: u32 = 64;

/// Shards that are moved at once.
const TOGETHER: usize = 4;

/// A node with less than this share of what it should hold is filled, in
/// percent.
const STARVED: u128 = 80;

/// From nodes with more than this share, in percent.
const LADEN: u128 = 105;

/// Nothing is moved for less than this.
const WORTH_IT: u64 = 1024 * 1024;

/// What a node may hold: a pebibyte.
const NODE_MAX: u64 = 1 << 50;

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, pace: Arc<Pace>, stop: CancellationToken) {
    let mut cursors = BTreeMap::new();
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = round(&gateway, &pace, &mut cursors) => done,
        };
        let is_busy = done.unwrap_or_else(|error| {
            tracing::warn!(%error, "moves: round ended early");
            0
        }) > 0;
        if !is_busy {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// One round. Returns how many shards were moved. `cursors` remembers how far
/// each node was gone through.
pub async fn round(
    gateway: &Arc<Gateway>,
    pace: &Pace,
    cursors: &mut BTreeMap<NodeId, ShardId>,
) -> Result<usize, MetaError> {
    let views = gateway.registry.views();
    let mut moved = 0;
    let draining = |view: &&NodeView| view.state == NodeState::Draining && view.is_up();
    for view in views.iter().filter(draining) {
        moved += from_node(gateway, pace, view.record.node, None, cursors).await?;
    }
    if moved == 0 {
        let stored = gateway.meta.stored_by_node().await?;
        if let Some(shift) = imbalance(&views, &stored) {
            moved = from_node(gateway, pace, shift.from, Some(&shift), cursors).await?;
        }
    }
    Ok(moved)
}

/// What is to be moved so that nodes hold about their share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shift {
    from: NodeId,
    to: NodeId,
    /// At most: a quarter of the difference, or a round would turn the scales.
    bytes: u64,
}

/// Moves some shards off `from`: as `shift` says, or to wherever they fit best.
async fn from_node(
    gateway: &Arc<Gateway>,
    pace: &Pace,
    from: NodeId,
    shift: Option<&Shift>,
    cursors: &mut BTreeMap<NodeId, ShardId>,
) -> Result<usize, MetaError> {
    let after = cursors.get(&from).copied();
    let mut page = gateway.meta.shards_of_node(from, after, ROUND).await?;
    if let Some(shift) = shift {
        keep_within(&mut page, shift.bytes);
    }
    let to = shift.map(|shift| shift.to);
    match page.last() {
        Some((segment, shard)) => {
            cursors.insert(from, ShardId { segment: *segment, index: shard.index });
        }
        // From the start again: who stayed for want of a place is tried anew.
        None => drop(cursors.remove(&from)),
    }
    let moves = page.into_iter().map(|(segment, shard)| async move {
        match move_one(gateway, pace, segment, shard, to).await {
            Ok(is_moved) => is_moved,
            Err(error) => {
                tracing::info!(?segment, %error, "shard not moved");
                false
            }
        }
    });
    let moved: Vec<bool> = stream::iter(moves).buffer_unordered(TOGETHER).collect().await;
    Ok(moved.into_iter().filter(|is_moved| *is_moved).count())
}

/// Leaves so many of the first shards as have no more than `most` bytes, and one
/// at least.
fn keep_within(page: &mut Vec<(SegmentId, PlacedShard)>, most: u64) {
    let mut sum = 0;
    let fits = |(_, shard): &&(SegmentId, PlacedShard)| {
        sum += shard.len;
        sum <= most
    };
    let count = page.iter().take_while(fits).count();
    page.truncate(count.max(1));
}

/// Why a shard stays where it is.
#[derive(Debug, thiserror::Error)]
enum Stays {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error("node: {0}")]
    Node(#[from] NodeError),
}

/// Moves one shard. `false` when there is no better place for it, or it was
/// changed meanwhile.
async fn move_one(
    gateway: &Arc<Gateway>,
    pace: &Pace,
    segment: SegmentId,
    shard: PlacedShard,
    to: Option<NodeId>,
) -> Result<bool, Stays> {
    let Some(whole) = gateway.meta.known_segment(segment).await? else { return Ok(false) };
    let here = whole.shards.iter().find(|known| known.index == shard.index);
    let Some(here) = here.filter(|here| here.stored && here.node == shard.node) else {
        return Ok(false);
    };
    let Some(target) = target(gateway, &whole, &shard, to) else { return Ok(false) };
    let id = ShardId { segment, index: shard.index };
    pace.take(shard.len * 2).await;
    let chosen_ms = now_ms();
    let lease = chosen_ms + LEASE_MS;
    if !gateway.meta.promise_place(target, id, lease).await? {
        return Ok(false);
    }
    let incarnation = match copy(gateway, id, &shard, (target, chosen_ms)).await {
        Ok(stored) => stored.incarnation,
        Err(CopyError::Target(error)) => {
            give_up(gateway, target, id, &error).await?;
            return Err(error.into());
        }
        Err(CopyError::Source(error)) => {
            gateway.meta.return_place(target, id, lease).await?;
            if error.means_lost() {
                lost(gateway, shard.node, id, &error).await?;
            }
            return Err(error.into());
        }
    };
    let replaced = Replaced {
        content: whole.content,
        account: whole.account,
        segment,
        generation: Some(here.generation),
        stored: StoredShard { placed: PlacedShard { node: target, ..shard }, incarnation },
        lease,
        not_before: gateway.not_before(),
    };
    let is_moved = gateway.meta.settle_place(replaced).await?;
    if is_moved {
        gateway.metrics.repair.moved();
    }
    Ok(is_moved)
}

/// Where a shard goes.
fn target(
    gateway: &Gateway,
    whole: &KnownSegment,
    shard: &PlacedShard,
    to: Option<NodeId>,
) -> Option<NodeId> {
    let views = gateway.registry.views();
    let others = whole.shards.iter().filter(|known| known.stored && known.index != shard.index);
    let holders: Vec<NodeId> = others.map(|known| known.node).collect();
    let mut losers = whole.losers(shard.index);
    losers.retain(|node| *node != shard.node);
    let is_open = |&Candidate { node, .. }: &Candidate| {
        // Nobody is filled up with what it lost.
        node != shard.node && to.is_none_or(|to| to == node && !losers.contains(&node))
    };
    let mut open = candidates(&views, shard.len);
    open.retain(is_open);
    let rules = gateway.placement_rules(whole.scheme);
    let (held, lost) = (placed(&views, &holders), placed(&views, &losers));
    let known = [holders, losers, vec![shard.node]].concat();
    let elsewhere = (lost.as_slice(), !has_other(&views, &known, &[]));
    replace_elsewhere(whole.segment, rules, &held, &open, elsewhere).map(|(node, _)| node)
}

/// Which side of a copy failed.
#[derive(Debug)]
enum CopyError {
    Source(NodeError),
    Target(NodeError),
}

/// Copies a shard, verified on the way.
async fn copy(
    gateway: &Gateway,
    id: ShardId,
    shard: &PlacedShard,
    (target, chosen_ms): (NodeId, Millis),
) -> Result<protocol::message::Stored, CopyError> {
    let range = ShardRange { shard: id, root: shard.root, len: shard.len, bytes: 0..shard.len };
    let (window_way, mut windows) = mpsc::channel(2);
    let (piece_way, pieces) = mpsc::channel(2);
    let read = gateway.nodes.get(shard.node, range, window_way);
    let pass_on = async move {
        let mut sent = 0;
        while let Some(window) = windows.recv().await {
            sent += window.iter().map(|group| group.len() as u64).sum::<u64>();
            if piece_way.send(ShardPiece::Bytes(window)).await.is_err() {
                return;
            }
        }
        // Half a shard is not ended: the target stores nothing then.
        if sent == shard.len {
            let end = ShardPiece::End { len: shard.len, root: shard.root };
            let _ = piece_way.send(end).await; // The put says why it is gone.
        }
    };
    let new = NewShard { shard: id, max_len: shard.len, chosen_ms: Some(chosen_ms) };
    let put = gateway.nodes.put(target, new, pieces);
    let (read, (), put) = tokio::join!(read, pass_on, put);
    match (read, put) {
        // A target that stopped taking makes the read give up.
        (Err(NodeError::Abandoned), Err(error)) => Err(CopyError::Target(error)),
        (Err(error), _) => Err(CopyError::Source(error)),
        (Ok(()), Err(error)) => Err(CopyError::Target(error)),
        (Ok(()), Ok(stored)) => {
            let account = gateway.own_account();
            gateway.meter.repair(shard.node, account, shard.len);
            gateway.meter.repair(target, account, shard.len);
            Ok(stored)
        }
    }
}

/// Moves from the node that holds the most above its share of what all hold to the
/// one that holds the least, if that is much less than its share. Shares follow
/// from the room that each has, so they are the same whether disks are nearly
/// empty or nearly full.
fn imbalance(views: &[NodeView], stored: &HashMap<NodeId, u64>) -> Option<Shift> {
    let open: Vec<_> =
        views.iter().filter(|view| view.state == NodeState::Active && view.is_up()).collect();
    let held = |view: &NodeView| stored.get(&view.record.node).copied().unwrap_or(0);
    // What a node says of its space is believed as far as by placement: one that boasts
    // would be filled first, and then end all moves to others.
    let mut free: Vec<u64> = open.iter().map(|view| view.free.min(NODE_MAX)).collect();
    free.sort_unstable();
    let most = free.get(free.len() / 2).map_or(0, |median| median.saturating_mul(4));
    let room =
        |view: &NodeView| u128::from(held(view).min(NODE_MAX)) + u128::from(view.free.min(most));
    let sum: u128 = open.iter().map(|view| u128::from(held(view).min(NODE_MAX))).sum();
    let all: u128 = open.iter().map(|view| room(view)).sum();
    // In percent of what it should hold; a node without room should hold nothing.
    let filled = |view: &NodeView| {
        let share = (sum * room(view)).checked_div(all)?;
        (u128::from(held(view)) * 100).checked_div(share)
    };
    let ranked = || open.iter().filter_map(|view| Some((filled(view)?, view)));
    let (least, to) = ranked().min_by_key(|(filled, view)| (*filled, view.record.node))?;
    let (most, from) = ranked().max_by_key(|(filled, view)| (*filled, view.record.node))?;
    let difference = held(from).saturating_sub(held(to));
    (least < STARVED && most > LADEN && difference >= WORTH_IT).then_some(Shift {
        from: from.record.node,
        to: to.record.node,
        bytes: difference / 4,
    })
}

#[cfg(test)]
mod tests;
