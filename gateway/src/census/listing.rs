//! What one node holds for us, in order, a page at a time.

use std::collections::VecDeque;

use protocol::message::Held;
use protocol::{NodeId, SegmentId, ShardId};

use crate::nodes::{NodeError, Nodes};

/// Shards in one page; a node that lists more sends them in further pages.
const PAGE: u32 = 16 * 1024;

/// Shards of a node that lie between two segments of metadata, or among a page of
/// them; one that names more makes them up.
const TAKEN_MAX: usize = 1_000_000;

/// A node's list, read as far as it was needed.
pub(super) struct Listing {
    pub node: NodeId,
    page: VecDeque<Held>,
    /// Where the next page begins; `None` when there is none.
    next: Option<ShardId>,
    /// Why the node could not be listed (to the end).
    pub failed: Option<NodeError>,
}

impl Listing {
    pub fn new(node: NodeId) -> Self {
        let first = ShardId { segment: SegmentId([0; 16]), index: 0 };
        Self { node, page: VecDeque::new(), next: Some(first), failed: None }
    }

    /// All shards of segments up to `last`, that were not taken yet.
    pub async fn take_to(&mut self, nodes: &dyn Nodes, last: SegmentId) -> Vec<Held> {
        let mut taken = Vec::new();
        loop {
            if taken.len() > TAKEN_MAX {
                self.failed = Some(NodeError::Lie("more shards than there can be".into()));
                return taken;
            }
            while let Some(held) = self.page.pop_front_if(|held| held.shard.segment <= last) {
                taken.push(held);
            }
            if !self.page.is_empty() || self.failed.is_some() {
                return taken;
            }
            let Some(from) = self.next else { return taken };
            match nodes.list(self.node, from, PAGE).await {
                Ok(page) => {
                    let is_full = page.len() == PAGE as usize;
                    let after = page.last().and_then(|last| last.shard.next());
                    self.next = after.filter(|_| is_full);
                    self.page = page.into();
                    if self.page.is_empty() {
                        return taken;
                    }
                }
                Err(error) => self.failed = Some(error),
            }
        }
    }
}
