//! Who the nodes are and how they do: addresses from the ledger, state from
//! their own answers, experience from our requests.
//!
//! Not here: talking to them ([`super::quic`]), and who decides what follows
//! from it (`object::placement`, `object::download`).

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use protocol::ledger_api::NodeRecord;
use protocol::message::Status;
use protocol::{Incarnation, NodeId};

use super::hedge::Hedges;
use crate::meta::{KnownNode, Millis, NodeState};

/// Failures in a row after which a node counts as down until it answers again.
const DOWN_AFTER: u32 = 2;

/// Weight of the newest sample in moving averages.
const NEWEST: f64 = 0.1;

/// Prior of the score: as many good outcomes are assumed at the start.
const SCORE_PRIOR: f64 = 1000.0;

/// Each outcome makes the earlier ones count this much less.
const SCORE_MEMORY: f64 = 0.999;

/// What we know of one node.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// What the ledger says.
    pub record: NodeRecord,
    /// How it stands.
    pub state: NodeState,
    /// The score of its audits, in millionths.
    pub audit_score: u32,
    /// When it last answered; 0 before the first time. Time in which nobody
    /// looked does not count: it is added.
    pub seen_ms: Millis,
    /// The present life of its folder; `None` before its first answer.
    pub incarnation: Option<Incarnation>,
    /// Bytes it will still take.
    pub free: u64,
    /// Bytes of shards that it says it holds.
    pub stored: u64,
    /// Number of shards that it says it holds.
    pub shards: u64,
    /// Requests that failed since the last that did not.
    pub failures: u32,
    /// Moving average of the time to the first window of a read.
    pub first_window: Duration,
    /// Good outcomes, forgetting old ones.
    alpha: f64,
    /// Bad outcomes: wrong bytes, or a shard that should be there and is not.
    beta: f64,
}

impl NodeView {
    fn new(record: NodeRecord, standing: Standing) -> Self {
        Self {
            record,
            state: standing.state,
            audit_score: standing.audit_score,
            seen_ms: standing.seen_ms,
            incarnation: None,
            free: 0,
            stored: 0,
            shards: 0,
            failures: 0,
            first_window: Duration::from_millis(20),
            alpha: SCORE_PRIOR,
            beta: 0.0,
        }
    }

    /// Whether it is worth asking.
    pub fn is_up(&self) -> bool {
        self.incarnation.is_some() && self.failures < DOWN_AFTER
    }

    /// Whether it is there with what it holds for us: such time is paid.
    pub fn is_keeping(&self) -> bool {
        self.is_up() && self.state.keeps_shards()
    }

    /// How long it has not answered; `None` while it does, and for a node that
    /// never did.
    pub fn absent_for(&self, now: Millis) -> Option<Duration> {
        if self.is_up() || self.seen_ms == 0 {
            return None;
        }
        Some(Duration::from_millis(u64::try_from(now - self.seen_ms).unwrap_or(0)))
    }

    /// The share of our requests for its shards that it served right, from 0
    /// to 1. Being offline does not count, only wrong or missing bytes do.
    pub fn score(&self) -> f64 {
        self.alpha / (self.alpha + self.beta)
    }
}

/// How a request for a shard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Experience {
    /// Right bytes.
    Good,
    /// Wrong bytes, or none where there should be some.
    Bad,
    /// No answer.
    Unreachable,
}

/// What metadata say of a node, whether the ledger lists it or not.
#[derive(Clone, Copy, Debug)]
struct Standing {
    state: NodeState,
    audit_score: u32,
    seen_ms: Millis,
}

impl Default for Standing {
    fn default() -> Self {
        Self { state: NodeState::Vetting, audit_score: 1_000_000, seen_ms: 0 }
    }
}

#[derive(Debug, Default)]
struct Known {
    views: HashMap<NodeId, NodeView>,
    standings: HashMap<NodeId, Standing>,
}

/// All known nodes.
#[derive(Debug, Default)]
pub struct Registry {
    /// When a read asks one more node.
    pub hedges: Hedges,
    nodes: RwLock<Known>,
    /// Held by who decides how nodes stand: a decision looks at all of them.
    pub deciding: tokio::sync::Mutex<()>,
}

impl Registry {
    fn update(&self, node: NodeId, change: impl FnOnce(&mut NodeView)) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = nodes.views.get_mut(&node) {
            change(view);
        }
    }

    /// Takes over what the ledger lists.
    pub fn set_members(&self, records: Vec<NodeRecord>) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let Known { views, standings } = &mut *nodes;
        let listed: HashSet<NodeId> = records.iter().map(|record| record.node).collect();
        views.retain(|id, _| listed.contains(id));
        for record in records {
            match views.get_mut(&record.node) {
                Some(view) => view.record = record,
                None => {
                    let standing = standings.get(&record.node).copied().unwrap_or_default();
                    views.insert(record.node, NodeView::new(record, standing));
                }
            }
        }
    }

    /// Takes over what metadata say of nodes.
    pub fn set_known(&self, known: &[KnownNode]) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let Known { views, standings } = &mut *nodes;
        for known in known {
            let standing = standings.entry(known.node).or_default();
            standing.state = known.state;
            standing.audit_score = known.score();
            // What is in memory is newer: it is written once a minute.
            standing.seen_ms = standing.seen_ms.max(known.seen_ms);
            if let Some(view) = views.get_mut(&known.node) {
                view.state = standing.state;
                view.audit_score = standing.audit_score;
                view.seen_ms = view.seen_ms.max(standing.seen_ms);
            }
        }
    }

    /// Takes over a node's state, which is in the metadata by now.
    pub fn set_state(&self, node: NodeId, state: NodeState) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.standings.entry(node).or_default().state = state;
        if let Some(view) = nodes.views.get_mut(&node) {
            view.state = state;
        }
    }

    /// Takes over the score of a node's audits.
    pub fn set_audit_score(&self, node: NodeId, score: u32) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.standings.entry(node).or_default().audit_score = score;
        if let Some(view) = nodes.views.get_mut(&node) {
            view.audit_score = score;
        }
    }

    /// A node answered.
    pub fn seen(&self, node: NodeId, now: Millis) {
        self.update(node, |view| view.seen_ms = view.seen_ms.max(now));
    }

    /// Nobody looked for so long: that is not the nodes' absence.
    pub fn forgive(&self, gap: Millis) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        for view in nodes.views.values_mut().filter(|view| view.seen_ms > 0) {
            view.seen_ms += gap;
        }
    }

    /// Takes in a node's own account of itself.
    pub fn set_status(&self, node: NodeId, status: &Status) {
        self.update(node, |view| {
            view.incarnation = Some(status.incarnation);
            view.free = status.free;
            view.stored = status.stored;
            view.shards = status.shards;
            view.failures = 0;
        });
    }

    /// Counts how a request ended.
    pub fn experience(&self, node: NodeId, experience: Experience) {
        self.update(node, |view| match experience {
            Experience::Good => {
                view.failures = 0;
                view.alpha = view.alpha * SCORE_MEMORY + 1.0;
                view.beta *= SCORE_MEMORY;
            }
            Experience::Bad => {
                view.alpha *= SCORE_MEMORY;
                view.beta = view.beta * SCORE_MEMORY + 1.0;
            }
            Experience::Unreachable => view.failures = view.failures.saturating_add(1),
        });
    }

    /// Counts how long the first window of a read took.
    pub fn first_window(&self, node: NodeId, took: Duration) {
        self.update(node, |view| {
            view.first_window = view.first_window.mul_f64(1.0 - NEWEST) + took.mul_f64(NEWEST);
            self.hedges.answered(&view.record.zone, took);
        });
    }

    /// Where a node listens.
    pub fn addr(&self, node: NodeId) -> Option<SocketAddr> {
        self.view(node).map(|view| view.record.addr)
    }

    /// What we know of one node.
    pub fn view(&self, node: NodeId) -> Option<NodeView> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.views.get(&node).cloned()
    }

    /// What we know of all, by id.
    pub fn views(&self) -> Vec<NodeView> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        let mut views: Vec<_> = nodes.views.values().cloned().collect();
        views.sort_by_key(|view| view.record.node);
        views
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    fn registry() -> Registry {
        let registry = Registry::default();
        let addr = "127.0.0.1:1".parse().unwrap();
        let record = NodeRecord { node: NODE, addr, zone: "z".into(), operator: "o".into() };
        registry.set_members(vec![record]);
        registry
    }

    fn status() -> Status {
        let incarnation = Incarnation([2; 16]);
        Status { incarnation, free: 10, stored: 0, shards: 0, vouchers: Vec::new() }
    }

    #[test]
    fn a_node_is_up_from_its_first_answer_until_it_fails_twice() {
        let registry = registry();
        let is_up = || registry.view(NODE).unwrap().is_up();
        assert!(!is_up());
        registry.set_status(NODE, &status());
        assert!(is_up());
        registry.experience(NODE, Experience::Unreachable);
        assert!(is_up());
        registry.experience(NODE, Experience::Unreachable);
        assert!(!is_up());
        registry.experience(NODE, Experience::Good);
        assert!(is_up());
    }

    #[test]
    fn who_is_away_or_given_up_is_not_paid_for_keeping() {
        let registry = registry();
        let is_keeping = || registry.view(NODE).unwrap().is_keeping();
        assert!(!is_keeping(), "never seen");
        registry.set_status(NODE, &status());
        assert!(is_keeping());
        for (state, paid) in [
            (NodeState::Draining, true),
            (NodeState::Suspended, true),
            (NodeState::Disqualified, false),
            (NodeState::Lost, false),
            (NodeState::Left, false),
            (NodeState::Active, true),
        ] {
            registry.set_state(NODE, state);
            assert_eq!(is_keeping(), paid, "{state:?}");
        }
        for _ in 0..2 {
            registry.experience(NODE, Experience::Unreachable);
        }
        assert!(!is_keeping());
    }

    #[test]
    fn wrong_bytes_lower_the_score_and_silence_does_not() {
        let registry = registry();
        let score = || registry.view(NODE).unwrap().score();
        for _ in 0..100 {
            registry.experience(NODE, Experience::Unreachable);
        }
        assert!(score() >= 1.0);
        for _ in 0..100 {
            registry.experience(NODE, Experience::Bad);
        }
        assert!(score() < 0.96);
    }

    #[test]
    fn who_leaves_the_ledger_is_forgotten() {
        let registry = registry();
        registry.set_members(Vec::new());
        assert!(registry.view(NODE).is_none());
    }
}
