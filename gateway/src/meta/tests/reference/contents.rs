//! Contents, shards, nodes and repairs.

use std::collections::BTreeMap;

use protocol::{AccountId, Incarnation, NodeId, SegmentId};

use super::super::super::*;
use super::{Answer, ContentRow, Reference, SegmentRow, ShardRow, ShardState};

impl Reference {
    pub fn intend(&mut self, intent: &Intent) -> Answer<()> {
        if intent.ordinal == 0 {
            let content = Content {
                id: intent.content,
                size: 0,
                scheme: intent.scheme,
                codec: intent.codec,
                key_commit: intent.key_commit,
                inline: None,
            };
            let row = ContentRow {
                state: ContentState::Open,
                account: intent.account,
                content,
                lease: 0,
                not_before: 0,
                segments: BTreeMap::new(),
            };
            self.contents.insert(intent.content, row);
        }
        let row = self.contents.get_mut(&intent.content).filter(|r| r.state == ContentState::Open);
        let row = row.ok_or(MetaError::NotOpen)?;
        row.lease = intent.lease_ms;
        let places = intent.nodes.iter().enumerate();
        let shards = places.filter_map(|(index, node)| {
            let shard = ShardRow { node: (*node)?.0, state: ShardState::Pending, generation: 0 };
            Some((index as u8, shard))
        });
        let segment = SegmentRow { id: intent.segment, len: 0, shards: shards.collect() };
        row.segments.insert(intent.ordinal, segment);
        Ok(())
    }

    /// Records those shards that were stored where the intent says, in the life
    /// that the node has now.
    pub fn keep_segment(&mut self, content: ContentId, stored: &StoredSegment) -> Answer<()> {
        let row = self.contents.get_mut(&content).ok_or(MetaError::NotOpen)?;
        let segment = row.segments.values_mut().find(|segment| segment.id == stored.id);
        let segment = segment.ok_or(MetaError::NotOpen)?;
        segment.len = stored.len;
        for StoredShard { placed, incarnation } in &stored.shards {
            let is_present = self.nodes.get(&placed.node) == Some(incarnation);
            if let Some(shard) = segment.shards.get_mut(&placed.index)
                && (shard.node, &shard.state) == (placed.node, &ShardState::Pending)
                && is_present
            {
                shard.state = stored_state(placed, *incarnation);
            }
        }
        Ok(())
    }

    /// What a commit does with a content that was written for it.
    pub fn make_live(&mut self, written: &Written) -> Answer<()> {
        if let Some(inline) = &written.inline {
            let content = Content {
                id: written.content,
                size: written.size,
                scheme: written.scheme,
                codec: written.codec,
                key_commit: written.key_commit,
                inline: Some(inline.clone()),
            };
            let row = ContentRow {
                state: ContentState::Live,
                account: written.account,
                content,
                lease: 0,
                not_before: 0,
                segments: BTreeMap::new(),
            };
            self.contents.insert(written.content, row);
            return Ok(());
        }
        let row = self.contents.get_mut(&written.content);
        let row = row.filter(|r| r.state == ContentState::Open).ok_or(MetaError::NotOpen)?;
        row.state = ContentState::Live;
        row.content.size = written.size;
        if let Some(segment) = &written.last_segment {
            self.keep_segment(written.content, segment)?;
        }
        let nodes = &self.nodes;
        let row = self.contents.get_mut(&written.content).expect("it is there");
        let is_safe = |segment: &&SegmentRow| {
            let counts = |shard: &&ShardRow| {
                matches!(shard.state, ShardState::Stored { incarnation, .. }
                         if nodes[&shard.node] == incarnation)
            };
            segment.len > 0
                && segment.shards.values().filter(counts).count() >= usize::from(written.quorum)
        };
        if row.segments.values().filter(is_safe).count() != written.segments as usize {
            return Err(MetaError::Quorum);
        }
        for segment in row.segments.values_mut() {
            for index in 0..written.scheme.total() {
                let shard = segment.shards.get_mut(&index);
                if !shard.is_some_and(|s| matches!(s.state, ShardState::Stored { .. })) {
                    self.repairs.entry((segment.id, index)).or_insert(false);
                }
            }
            for shard in segment.shards.values_mut() {
                if shard.state == ShardState::Pending {
                    shard.state = ShardState::Missing;
                }
            }
        }
        Ok(())
    }

    pub fn check_live(&self, content: ContentId) -> Answer<()> {
        let is_live = self.content_state(content) == ContentState::Live;
        if is_live { Ok(()) } else { Err(MetaError::SourceGone) }
    }

    /// A straggler counts where it was meant to be, as long as nothing else was
    /// done about it.
    pub fn late_shard(&mut self, id: SegmentId, stored: &StoredShard) {
        let StoredShard { placed, incarnation } = stored;
        let is_present = self.nodes.get(&placed.node) == Some(incarnation);
        let is_leftover = self.leftovers.contains_key(&(placed.node, id, placed.index));
        let Some(shard) = self.shard_mut(id, placed.index) else { return };
        let is_missing =
            (shard.node, &shard.state, shard.generation) == (placed.node, &ShardState::Missing, 0);
        if is_missing && is_present && !is_leftover {
            shard.state = stored_state(placed, *incarnation);
            self.repairs.remove(&(id, placed.index));
        }
    }

    pub fn segment_mut(&mut self, id: SegmentId) -> Option<&mut SegmentRow> {
        let mut segments = self.contents.values_mut().flat_map(|row| row.segments.values_mut());
        segments.find(|segment| segment.id == id)
    }

    pub fn shard_mut(&mut self, id: SegmentId, index: u8) -> Option<&mut ShardRow> {
        self.segment_mut(id)?.shards.get_mut(&index)
    }

    pub fn see_node(&mut self, node: NodeId, incarnation: Incarnation) {
        if self.nodes.insert(node, incarnation).is_some_and(|before| before != incarnation) {
            self.leftovers.retain(|(of, ..), row| *of != node || row.use_ == super::Use::Promised);
        }
        for segment in self.contents.values_mut().flat_map(|row| row.segments.values_mut()) {
            for (index, shard) in &mut segment.shards {
                if let ShardState::Stored { incarnation: of, .. } = shard.state
                    && shard.node == node
                    && of != incarnation
                {
                    (shard.state, shard.generation) = (ShardState::Missing, shard.generation + 1);
                    self.repairs.entry((segment.id, *index)).or_insert(false);
                }
            }
        }
    }

    pub fn content_state(&self, content: ContentId) -> ContentState {
        self.contents.get(&content).map_or(ContentState::Absent, |row| row.state)
    }

    pub fn content(&self, content: ContentId) -> Answer<Content> {
        let row = self.contents.get(&content).filter(|r| r.state != ContentState::Open);
        Ok(row.ok_or(MetaError::NoSuchKey)?.content.clone())
    }

    pub fn segment(&self, content: ContentId, ordinal: u32) -> Answer<Segment> {
        let row = self.contents.get(&content).and_then(|row| row.segments.get(&ordinal));
        let row = row.ok_or(MetaError::NoSuchKey)?;
        let stored = row.shards.iter().filter_map(|(&index, shard)| match shard.state {
            ShardState::Stored { root, len, .. } => {
                Some(PlacedShard { index, node: shard.node, root, len })
            }
            _ => None,
        });
        Ok(Segment { ordinal, id: row.id, len: row.len, shards: stored.collect() })
    }

    pub fn abandon(&mut self, content: ContentId, not_before: Millis) -> bool {
        let row = self.contents.get_mut(&content).filter(|r| r.state == ContentState::Open);
        row.map(|row| (row.state, row.not_before) = (ContentState::Condemned, not_before)).is_some()
    }

    /// Gives up what is open and has a lease below `before`.
    pub fn abandon_below(&mut self, before: Millis, not_before: Millis) -> u64 {
        let open = self.contents.iter().filter(|(_, row)| row.state == ContentState::Open);
        let over: Vec<_> = open.filter(|(_, row)| row.lease < before).map(|(id, _)| *id).collect();
        over.into_iter().filter(|id| self.abandon(*id, not_before)).count() as u64
    }

    /// By content, its shards in order.
    pub fn condemned(&self, now: Millis) -> Vec<Condemned> {
        let due = |row: &&ContentRow| row.state == ContentState::Condemned && row.not_before <= now;
        let condemned = self.contents.values().filter(due).map(|row| {
            let segments = row.segments.values();
            let shards = segments.flat_map(|segment| {
                segment.shards.iter().map(|(index, shard)| (segment.id, *index, shard.node))
            });
            Condemned { content: row.content.id, shards: shards.collect() }
        });
        condemned.collect()
    }

    pub fn forget(&mut self, contents: &[ContentId]) -> Answer<()> {
        self.transaction(|all| {
            for content in contents {
                if all.content_state(*content) != ContentState::Condemned {
                    return Err(MetaError::NotOpen);
                }
                let row = all.contents.remove(content).expect("it is condemned");
                for segment in row.segments.values() {
                    all.repairs.retain(|(id, _), _| *id != segment.id);
                }
            }
            Ok(())
        })
    }

    pub fn postpone(&mut self, contents: &[ContentId], not_before: Millis) {
        for content in contents {
            if let Some(row) = self.contents.get_mut(content)
                && row.state == ContentState::Condemned
            {
                row.not_before = not_before;
            }
        }
    }

    /// What each node holds for each account.
    pub fn stored(&self) -> BTreeMap<(NodeId, AccountId), u64> {
        let mut stored = BTreeMap::new();
        for row in self.contents.values() {
            for shard in row.segments.values().flat_map(|segment| segment.shards.values()) {
                if let ShardState::Stored { len, .. } = shard.state {
                    *stored.entry((shard.node, row.account)).or_default() += len;
                }
            }
        }
        stored
    }
}

pub(super) fn stored_state(placed: &PlacedShard, incarnation: Incarnation) -> ShardState {
    ShardState::Stored { incarnation, root: placed.root, len: placed.len }
}
