//! Counters for operators, in the text format of Prometheus.

use std::sync::atomic::Ordering;
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use protocol::audit::Outcome;

use super::listener::HttpStats;
use crate::census::Census;
use crate::gateway::{Gateway, now_ms};
use crate::nodes::registry::NodeView;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NodeLabel {
    node: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AccountLabel {
    account: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    node: String,
    state: &'static str,
}

/// What the loops behind lifecycles, events and access logs did.
#[derive(Default)]
pub struct UpkeepCounters {
    /// Versions and uploads that lifecycle rules changed.
    pub lifecycle_actions: Counter,
    /// Events that a target took.
    pub events_delivered: Counter,
    /// Times that a target did not.
    pub events_failed: Counter,
    /// Events that were given up.
    pub events_dropped: Counter,
    /// Lines of access logs that were written.
    pub log_lines: Counter,
    /// Lines of access logs that were lost.
    pub log_lines_dropped: Counter,
    /// Loops that panicked and were started again.
    pub panics: Counter,
    /// Claims of lost shards that the ledger took.
    pub losses_claimed: Counter,
}

impl UpkeepCounters {
    fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("lifecycle_actions", "Lifecycle actions carried out", &self.lifecycle_actions);
        counter("events_delivered", "Events that a target took", &self.events_delivered);
        counter("events_failed", "Deliveries of events that failed", &self.events_failed);
        counter("events_dropped", "Events that were given up", &self.events_dropped);
        counter("access_log_lines", "Lines of access logs written", &self.log_lines);
        let help = "Claims of lost shards that the ledger took";
        counter("losses_claimed", help, &self.losses_claimed);
        counter("upkeep_panics", "Loops that panicked and were started again", &self.panics);
        counter("access_log_lines_dropped", "Lines of access logs lost", &self.log_lines_dropped);
    }
}

/// What repair and its relatives did.
#[derive(Default)]
pub struct RepairCounters {
    shards: Counter,
    bytes: Counter,
    moved: Counter,
    storm: Gauge,
    full: Gauge,
    degraded: Gauge,
    lost: Gauge,
    orphans: Gauge,
}

impl RepairCounters {
    fn register(&self, registry: &mut Registry) {
        registry.register("repaired_shards", "Lost shards stored anew", self.shards.clone());
        registry.register("repaired_bytes", "Bytes of lost shards stored anew", self.bytes.clone());
        registry.register("moved_shards", "Shards moved to another node", self.moved.clone());
        let mut gauge = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(name, help, gauge.clone());
        };
        gauge("census_full", "Segments with all shards, by the last census", &self.full);
        gauge("census_degraded", "Segments that lack shards, by the last census", &self.degraded);
        gauge("census_lost", "Segments that cannot be read, by the last census", &self.lost);
        gauge("census_orphans", "Shards nobody knows, by the last census", &self.orphans);
        let help = "Whether so many nodes are silent that only urgent repairs go on";
        registry.register("repair_storm", help, self.storm.clone());
    }

    /// Counts a lost shard that is stored anew.
    pub fn repaired(&self, bytes: u64) {
        self.shards.inc();
        self.bytes.inc_by(bytes);
    }

    /// Counts a shard that changed its node.
    pub fn moved(&self) {
        self.moved.inc();
    }

    /// Takes note of what a census counted.
    pub fn census(&self, census: &Census) {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.full.set(signed(census.full));
        self.degraded.set(signed(census.degraded));
        self.lost.set(signed(census.lost));
        self.orphans.set(signed(census.orphans));
    }

    /// Takes note of whether there is a storm; says whether it has just begun.
    pub fn storm(&self, is_storm: bool) -> bool {
        self.storm.set(i64::from(is_storm)) == 0 && is_storm
    }
}

/// All metrics of a gateway.
pub struct Metrics {
    /// Counted by repair and moves.
    pub repair: RepairCounters,
    /// Counted by loops.
    pub upkeep: UpkeepCounters,
    registry: Registry,
    operations: Family<OperationLabel, Counter>,
    seconds: Family<OperationLabel, Histogram>,
    connections: Gauge,
    requests: Gauge,
    refused: Gauge,
    panics: Gauge,
    buffer_free: Gauge,
    repairs: Gauge,
    epoch: Gauge,
    frozen: Gauge,
    runway: Family<AccountLabel, Gauge>,
    unshipped: Gauge,
    shipped: Gauge,
    node_up: Family<NodeLabel, Gauge>,
    node_free: Family<NodeLabel, Gauge>,
    node_stored: Family<NodeLabel, Gauge>,
    node_score: Family<NodeLabel, Gauge>,
    node_state: Family<StateLabel, Gauge>,
    audits: Family<OutcomeLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("stratos");
        let operations = Family::<OperationLabel, Counter>::default();
        let seconds = Family::<OperationLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 4.0, 9))
        });
        registry.register("s3_operations", "S3 operations begun", operations.clone());
        registry.register("s3_operation_seconds", "Time until the answer begins", seconds.clone());
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let connections = gauge("http_connections", "S3 connections that are open");
        let requests = gauge("http_requests", "S3 requests since the start");
        let refused = gauge("http_connections_refused", "Connections refused since the start");
        let panics = gauge("http_panics", "Requests that panicked since the start");
        let buffer_free = gauge("buffer_free_bytes", "Buffer space that is left");
        let repairs = gauge("repairs_waiting", "Shards that wait for repair");
        let epoch = gauge("epoch", "The open epoch");
        let frozen = gauge("accounts_frozen", "Accounts that could not pay for too long");
        let unshipped = gauge(
            "metadata_unshipped_seconds",
            "How long the oldest commit waits that is not on the nodes; 0 if all are",
        );
        let shipped = gauge(
            "metadata_shipped_timestamp_seconds",
            "When all metadata was last seen to be on the nodes",
        );
        let runway = Family::<AccountLabel, Gauge>::default();
        let help = "How long the money of accounts lasts that is about to end";
        registry.register("account_runway_seconds", help, runway.clone());
        let node_up = Family::<NodeLabel, Gauge>::default();
        let node_free = Family::<NodeLabel, Gauge>::default();
        let node_stored = Family::<NodeLabel, Gauge>::default();
        registry.register("node_up", "Whether a node answers", node_up.clone());
        registry.register("node_free_bytes", "Bytes a node will still take", node_free.clone());
        registry.register("node_stored_bytes", "Bytes of shards on a node", node_stored.clone());
        let node_score = Family::<NodeLabel, Gauge>::default();
        let node_state = Family::<StateLabel, Gauge>::default();
        let audits = Family::<OutcomeLabel, Counter>::default();
        registry.register("node_audit_score", "Score of audits, in millionths", node_score.clone());
        registry.register("node_state", "1 for the state that a node is in", node_state.clone());
        registry.register("audits", "Audits by how they ended", audits.clone());
        let upkeep = UpkeepCounters::default();
        upkeep.register(&mut registry);
        let repair = RepairCounters::default();
        repair.register(&mut registry);
        Self {
            repair,
            upkeep,
            registry,
            operations,
            seconds,
            connections,
            requests,
            refused,
            panics,
            buffer_free,
            repairs,
            epoch,
            frozen,
            runway,
            unshipped,
            shipped,
            node_up,
            node_free,
            node_stored,
            node_score,
            node_state,
            audits,
        }
    }
}

/// Measures one operation until it is dropped.
pub struct Timer {
    began: Instant,
    seconds: Histogram,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.seconds.observe(self.began.elapsed().as_secs_f64());
    }
}

impl Metrics {
    /// Counts an operation and begins to measure it.
    pub fn operation(&self, operation: &'static str) -> Timer {
        let label = OperationLabel { operation };
        self.operations.get_or_create(&label).inc();
        let seconds = self.seconds.get_or_create(&label).clone();
        Timer { began: Instant::now(), seconds }
    }

    /// Counts an audit.
    pub fn audited(&self, outcome: Outcome) {
        self.audits.get_or_create(&OutcomeLabel { outcome: outcome.name() }).inc();
    }

    /// All metrics as text, as they are now.
    pub async fn render(&self, gateway: &Gateway, http: &HttpStats) -> String {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.connections.set(signed(http.open.load(Ordering::Relaxed)));
        self.requests.set(signed(http.requests.load(Ordering::Relaxed)));
        self.refused.set(signed(http.refused.load(Ordering::Relaxed)));
        self.panics.set(signed(http.panics.load(Ordering::Relaxed)));
        self.buffer_free.set(signed(gateway.buffer.available_permits() as u64));
        self.epoch.set(signed(gateway.meter.snapshot().epoch.0));
        let grace = gateway.settings.upkeep.freeze_after;
        self.frozen.set(signed(gateway.funds.frozen(grace, now_ms()) as u64));
        self.runway.clear();
        for (account, seconds) in gateway.funds.short_runways() {
            let label = AccountLabel { account: account.to_string() };
            self.runway.get_or_create(&label).set(signed(seconds));
        }
        let now = u64::try_from(now_ms()).unwrap_or_default();
        let vault = gateway.vault.progress();
        let waits =
            vault.behind_since_ms.map_or(0, |since| now.saturating_sub(since).div_ceil(1000));
        self.unshipped.set(signed(waits));
        self.shipped.set(signed(vault.shipped_ms.unwrap_or(0) / 1000));
        if let Ok(waiting) = gateway.meta.repairs_waiting().await {
            self.repairs.set(signed(waiting));
        }
        for family in [&self.node_up, &self.node_free, &self.node_stored, &self.node_score] {
            // Nodes that left must not stay in the text.
            family.clear();
        }
        self.node_state.clear();
        for view in gateway.registry.views() {
            self.node(&view);
        }
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(std::fmt::Error) => String::new(),
        }
    }

    fn node(&self, view: &NodeView) {
        let label = NodeLabel { node: view.record.node.to_string() };
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.node_up.get_or_create(&label).set(i64::from(view.is_up()));
        self.node_free.get_or_create(&label).set(signed(view.free));
        self.node_stored.get_or_create(&label).set(signed(view.stored));
        self.node_score.get_or_create(&label).set(view.audit_score.into());
        let label = StateLabel { node: label.node, state: view.state.name() };
        self.node_state.get_or_create(&label).set(1);
    }
}
