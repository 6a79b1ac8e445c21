//! What is of no use any more off the nodes, and a count of what stays there.
//!
//! A task of its own, since it takes minutes: shipping goes on meanwhile. What
//! is stored after its beginning is never deleted by it. Nodes name what they
//! hold, and may lie: they are paid for no more than was sent to them.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::NodeId;
use tokio::time::timeout_at;

use super::ids::{Kind, VaultId};
use super::pages::{ListError, Pages};
use super::sealed::shard_len_max;
use super::state::State;
use crate::gateway::Gateway;

/// What is of use on the nodes.
#[derive(Clone, Debug)]
pub(super) struct Useful {
    /// Before a snapshot of ours is complete, what others left is all there is.
    is_all: bool,
    snapshots: Vec<u64>,
    floor: u64,
    beat: u64,
    last: u64,
}

impl Useful {
    /// What recovery could need, and the snapshot that is under way.
    pub fn new(state: &State, under_way: Option<u64>, beat: Option<u64>) -> Self {
        let complete = [state.newest, state.before].into_iter().flatten();
        let snapshots = complete.map(|snapshot| snapshot.number).chain(under_way).collect();
        let is_all = state.newest.is_none();
        Self { is_all, snapshots, floor: state.floor(), beat: beat.unwrap_or(0), last: state.last }
    }

    /// Whether it is not newer than all that was known: such was stored since,
    /// or written by a gateway that knew more than we do.
    fn knew(&self, id: VaultId) -> bool {
        id.number <= self.last
    }

    /// Whether a segment stays.
    fn has(&self, id: VaultId) -> bool {
        self.is_all
            || !self.knew(id)
            || match id.kind {
                Kind::Piece | Kind::End => self.snapshots.contains(&id.number),
                Kind::Log => id.number > self.floor,
                Kind::Beat => id.number > self.floor && id.number >= self.beat,
            }
    }
}

/// One cleaning of all nodes.
pub(super) struct Cleaning {
    gateway: Arc<Gateway>,
    useful: Useful,
    /// What was sent to each node by its beginning.
    sent: HashMap<NodeId, u64>,
    /// What counted as stored on each at its beginning.
    stored: HashMap<NodeId, u64>,
}

impl Cleaning {
    /// One by what is known now.
    pub fn new(gateway: Arc<Gateway>, state: &State, useful: Useful) -> Self {
        let views = gateway.registry.views();
        let nodes = views.iter().map(|view| view.record.node);
        let sent = nodes.map(|node| (node, state.sent_to(node))).collect();
        let stored = gateway.vault.stored();
        Self { gateway, useful, sent, stored }
    }

    /// Goes through what all nodes that answer hold, deletes what is of no use,
    /// and counts the rest.
    pub async fn run(self) {
        let mut deleted = 0u64;
        for node in self.gateway.registry.views().iter().filter(|view| view.is_up()) {
            let node = node.record.node;
            match self.node(node, &mut deleted).await {
                Ok(()) => {}
                Err(error @ ListError::Endless) => {
                    tracing::warn!(?node, %error, "the rest of its metadata shards is left alone");
                }
                Err(error) => tracing::debug!(?node, %error, "old metadata shards stay for now"),
            }
        }
        if deleted > 0 {
            tracing::info!(deleted, "old metadata shards were deleted");
        }
    }

    async fn node(&self, node: NodeId, deleted: &mut u64) -> Result<(), ListError> {
        let gateway = &self.gateway;
        let (mut bytes, mut last) = (0u64, None);
        let mut pages = Pages::of(&*gateway.nodes, node);
        while let Some(page) = pages.next().await? {
            for held in page {
                let segment = held.shard.segment;
                let Some(id) = gateway.vault.keys().ids().find(segment) else { continue };
                if !self.useful.has(id) {
                    let delete = gateway.nodes.delete(node, held.shard);
                    let gone = timeout_at(pages.deadline(), delete).await;
                    *deleted += u64::from(gone.map_err(|_| ListError::Endless)??);
                } else if self.useful.knew(id) && last.replace(segment) != Some(segment) {
                    // Of each segment a node was sent one shard.
                    bytes = bytes.saturating_add(held.len.min(shard_len_max(id)));
                }
            }
        }
        let of = |map: &HashMap<NodeId, u64>| map.get(&node).copied().unwrap_or_default();
        gateway.vault.count_stored(node, |now| {
            let since = now.saturating_sub(of(&self.stored));
            bytes.min(of(&self.sent)).saturating_add(since)
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::Snapshot;
    use super::*;

    #[test]
    fn two_snapshots_and_their_logs_stay() {
        let mut state = State::default();
        for number in [10, 20, 30] {
            state.completed(Snapshot { number, base: number - 1, len: 0 });
        }
        state.last = 60;
        let useful = Useful::new(&state, Some(40), Some(50));
        let has = |kind, number| useful.has(VaultId { number, kind, piece: 0, data: 2, parity: 4 });
        let stay = [20, 30, 40, 61].map(|number| has(Kind::Piece, number));
        assert_eq!(stay, [true; 4]);
        assert!(!has(Kind::Piece, 10) && !has(Kind::End, 35));
        assert!(!has(Kind::Log, 19) && has(Kind::Log, 20) && has(Kind::Log, 60));
        assert!(!has(Kind::Beat, 49) && has(Kind::Beat, 50));
    }

    #[test]
    fn who_has_forgotten_all_deletes_nothing_of_before() {
        let mut state = State::default();
        let number = state.next_number(50);
        let useful = Useful::new(&state, Some(number), None);
        let id = VaultId { number: 20, kind: Kind::Log, piece: 0, data: 2, parity: 4 };
        assert!(useful.has(id) && useful.has(VaultId { kind: Kind::Piece, ..id }));
        // Only after a snapshot of its own is complete.
        state.completed(Snapshot { number, base: number - 1, len: 0 });
        let useful = Useful::new(&state, None, None);
        assert!(!useful.has(id) && !useful.has(VaultId { kind: Kind::Piece, ..id }));
    }
}
