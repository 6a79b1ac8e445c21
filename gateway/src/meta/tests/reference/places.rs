//! The repair queue, and shards that change their place.

use protocol::{NodeId, SegmentId, ShardId};

use super::super::super::*;
use super::contents::stored_state;
use super::{Answer, LeftoverRow, Reference, ShardRow, ShardState, Use};

/// As in `places`.
const LATER_MS: Millis = 10 * 60 * 1000;

/// The queued shards of a segment, and where each shard is.
type Lacks = (Vec<u8>, Vec<(u8, NodeId, bool, i64)>);

impl Reference {
    pub fn queue_repair(&mut self, segment: SegmentId, index: u8) {
        if self.shard_mut(segment, index).is_some() {
            self.repairs.insert((segment, index), false);
        }
    }

    pub fn lose_shard(&mut self, segment: SegmentId, index: u8, node: NodeId) -> bool {
        let shard = self.shard_mut(segment, index);
        let Some(shard) = shard.filter(|s| s.node == node && is_stored(s)) else { return false };
        (shard.state, shard.generation) = (ShardState::Doubtful, shard.generation + 1);
        self.repairs.insert((segment, index), false);
        true
    }

    /// The shards that a node holds, in order.
    pub fn shards_of_node(&self, node: NodeId) -> Vec<(SegmentId, PlacedShard)> {
        let segments = self.contents.values().flat_map(|row| row.segments.values());
        let mut held: Vec<_> = segments
            .flat_map(|segment| segment.shards.iter().map(move |(i, s)| (segment.id, *i, s)))
            .filter_map(|(id, index, shard)| match shard.state {
                ShardState::Stored { root, len, .. } if shard.node == node => {
                    Some((id, PlacedShard { index, node, root, len }))
                }
                _ => None,
            })
            .collect();
        held.sort_by_key(|(id, shard)| (*id, shard.index));
        held
    }

    pub fn queue_node(&mut self, node: NodeId, absent: bool) -> u64 {
        let mut queued = 0;
        for (id, shard) in self.shards_of_node(node) {
            let place = self.repairs.entry((id, shard.index));
            if let std::collections::btree_map::Entry::Vacant(place) = place {
                place.insert(absent);
                queued += 1;
            }
        }
        queued
    }

    pub fn unqueue_node(&mut self, node: NodeId) -> u64 {
        let held = self.shards_of_node(node);
        let is_held = |id: &(SegmentId, u8)| held.iter().any(|(s, p)| (*s, p.index) == *id);
        let before = self.repairs.len();
        self.repairs.retain(|id, absent| !(*absent && is_held(id)));
        (before - self.repairs.len()) as u64
    }

    pub fn unqueue(&mut self, segment: SegmentId, index: u8, generation: i64) {
        let shard = self.shard_mut(segment, index);
        if shard.is_some_and(|shard| is_stored(shard) && shard.generation == generation) {
            self.repairs.remove(&(segment, index));
        }
    }

    /// What `known_segment` says of the queue and of each shard.
    pub fn damaged(&self, id: SegmentId) -> Option<Lacks> {
        let live = self.contents.values().filter(|row| row.state == ContentState::Live);
        let mut segments = live.flat_map(|row| row.segments.values());
        let segment = segments.find(|segment| segment.id == id)?;
        let queued = self.repairs.keys().filter(|(s, _)| *s == id).map(|(_, i)| *i).collect();
        let shards = segment.shards.iter().map(|(index, shard)| {
            let counts = matches!(shard.state, ShardState::Stored { incarnation, .. }
                                  if self.nodes[&shard.node] == incarnation);
            (*index, shard.node, counts, shard.generation)
        });
        Some((queued, shards.collect()))
    }

    pub fn promise_place(&mut self, node: NodeId, shard: ShardId, lease: Millis) -> bool {
        let place = (node, shard.segment, shard.index);
        if self.leftovers.get(&place).is_some_and(|row| row.use_ != Use::Returned) {
            return false;
        }
        self.leftovers.insert(place, LeftoverRow { use_: Use::Promised, not_before: lease });
        true
    }

    /// A promised place is given up for good, or back.
    pub fn end_promise(&mut self, node: NodeId, shard: ShardId, use_: Use, not_before: Millis) {
        let place = self.leftovers.get_mut(&(node, shard.segment, shard.index));
        if let Some(row) = place.filter(|row| row.use_ == Use::Promised) {
            *row = LeftoverRow { use_, not_before };
        }
    }

    pub fn settle_place(&mut self, replaced: &Replaced) -> bool {
        let StoredShard { placed, .. } = &replaced.stored;
        let settled = self.transaction(|all| all.settle(replaced));
        if settled.is_err() {
            let shard = ShardId { segment: replaced.segment, index: placed.index };
            let place = (placed.node, shard.segment, shard.index);
            let row = self.leftovers.get(&place);
            if row.is_some_and(|row| row.not_before == replaced.lease) {
                self.end_promise(placed.node, shard, Use::Doomed, 0);
            }
        }
        settled.is_ok()
    }

    fn settle(&mut self, replaced: &Replaced) -> Answer<()> {
        let StoredShard { placed, incarnation } = &replaced.stored;
        let (id, index) = (replaced.segment, placed.index);
        let promised = self.leftovers.remove(&(placed.node, id, index));
        let is_mine = promised
            .is_some_and(|row| row.use_ == Use::Promised && row.not_before == replaced.lease)
            && self.nodes.get(&placed.node) == Some(incarnation)
            && self.content_state(replaced.content) == ContentState::Live;
        let segment = self.segment_mut(id).filter(|_| is_mine).ok_or(MetaError::NotOpen)?;
        let is_shared = segment
            .shards
            .iter()
            .any(|(other, shard)| *other != index && shard.node == placed.node && is_stored(shard));
        let before = segment.shards.get(&index).cloned();
        let is_same = before.as_ref().map(|shard| shard.generation) == replaced.generation;
        if is_shared || !is_same {
            return Err(MetaError::NotOpen);
        }
        let generation = replaced.generation.map_or(0, |generation| generation + 1);
        let state = stored_state(placed, *incarnation);
        segment.shards.insert(index, ShardRow { node: placed.node, state, generation });
        if let Some(before) = before.filter(|before| before.node != placed.node) {
            let row = LeftoverRow { use_: Use::Returned, not_before: replaced.not_before };
            let place = (before.node, id, index);
            let known = self.leftovers.get_mut(&place);
            match known {
                Some(known) => known.use_ = Use::Doomed,
                None => _ = self.leftovers.insert(place, row),
            }
        }
        self.repairs.remove(&(id, index));
        Ok(())
    }

    /// In order.
    pub fn take_leftovers(&mut self, now: Millis) -> Vec<(NodeId, ShardId)> {
        let due = self.leftovers.iter().filter(|(_, row)| row.not_before <= now);
        let due: Vec<_> = due.map(|(place, _)| *place).collect();
        let mut taken = Vec::new();
        for (node, segment, index) in due {
            let shard = self.shard_mut(segment, index).filter(|shard| shard.node == node);
            let counts = |shard: &ShardRow| is_stored(shard) || shard.state == ShardState::Doubtful;
            if shard.is_some_and(|shard| counts(shard)) {
                self.leftovers.remove(&(node, segment, index));
                continue;
            }
            let place = (node, segment, index);
            if self.repairs.keys().any(|(lacking, _)| *lacking == segment) {
                let row = self.leftovers.get_mut(&place).expect("it is due");
                if row.use_ != Use::Doomed {
                    row.use_ = Use::Returned;
                    continue;
                }
            }
            if let Some(shard) = self.shard_mut(segment, index).filter(|shard| shard.node == node) {
                shard.generation += 1;
            }
            let row = LeftoverRow { use_: Use::Doomed, not_before: now + LATER_MS };
            self.leftovers.insert((node, segment, index), row);
            taken.push((node, ShardId { segment, index }));
        }
        taken
    }

    pub fn forget_leftover(&mut self, node: NodeId, shard: ShardId) {
        let place = (node, shard.segment, shard.index);
        if self.leftovers.get(&place).is_some_and(|row| row.use_ == Use::Doomed) {
            self.leftovers.remove(&place);
        }
    }
}

fn is_stored(shard: &ShardRow) -> bool {
    matches!(shard.state, ShardState::Stored { .. })
}
