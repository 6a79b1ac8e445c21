//! What one node says it holds, page by page. A node may name shards without
//! end: it is cut off by time and by count.

use std::time::Duration;

use protocol::message::{Held, LIST_MAX};
use protocol::{NodeId, ShardId};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::nodes::{NodeError, Nodes};

/// Shards that a node names at once.
const PAGE: u32 = if LIST_MAX < 4096 { LIST_MAX } else { 4096 };

/// Pages of one node: more than 100 million shards.
const PAGES: u32 = 1 << 15;

/// How long one node may take for all of them.
const NODE: Duration = Duration::from_secs(600);

/// Why there is no next page.
#[derive(Debug, Error)]
pub(super) enum ListError {
    /// The node did not answer well.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// It was cut off.
    #[error("it names shards for longer than any node should")]
    Endless,
}

/// The pages of one node.
pub(super) struct Pages<'a> {
    nodes: &'a dyn Nodes,
    node: NodeId,
    from: Option<ShardId>,
    left: u32,
    deadline: Instant,
}

impl<'a> Pages<'a> {
    /// From the first, from now on.
    pub fn of(nodes: &'a dyn Nodes, node: NodeId) -> Self {
        let from = Some(ShardId::FIRST);
        Self { nodes, node, from, left: PAGES, deadline: Instant::now() + NODE }
    }

    /// When it is cut off.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The next page, if there is one.
    pub async fn next(&mut self) -> Result<Option<Vec<Held>>, ListError> {
        let Some(first) = self.from else { return Ok(None) };
        self.left = self.left.checked_sub(1).ok_or(ListError::Endless)?;
        let list = self.nodes.list(self.node, first, PAGE);
        let page = timeout_at(self.deadline, list).await.map_err(|_| ListError::Endless)??;
        let is_sorted = page.is_sorted_by(|a, b| a.shard < b.shard);
        if !is_sorted || page.first().is_some_and(|held| held.shard < first) {
            return Err(NodeError::Lie("a list out of order".into()).into());
        }
        self.from = page.last().and_then(|last| last.shard.next());
        Ok((!page.is_empty()).then_some(page))
    }
}
