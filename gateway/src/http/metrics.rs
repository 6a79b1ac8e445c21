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

use super::listener::HttpStats;
use crate::gateway::Gateway;
use crate::nodes::registry::NodeView;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct NodeLabel {
    node: String,
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
        counter("access_log_lines_dropped", "Lines of access logs lost", &self.log_lines_dropped);
    }
}

/// All metrics of a gateway.
pub struct Metrics {
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
    node_up: Family<NodeLabel, Gauge>,
    node_free: Family<NodeLabel, Gauge>,
    node_stored: Family<NodeLabel, Gauge>,
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
        let node_up = Family::<NodeLabel, Gauge>::default();
        let node_free = Family::<NodeLabel, Gauge>::default();
        let node_stored = Family::<NodeLabel, Gauge>::default();
        registry.register("node_up", "Whether a node answers", node_up.clone());
        registry.register("node_free_bytes", "Bytes a node will still take", node_free.clone());
        registry.register("node_stored_bytes", "Bytes of shards on a node", node_stored.clone());
        let upkeep = UpkeepCounters::default();
        upkeep.register(&mut registry);
        Self {
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
            node_up,
            node_free,
            node_stored,
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

    /// All metrics as text, as they are now.
    pub async fn render(&self, gateway: &Gateway, http: &HttpStats) -> String {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.connections.set(signed(http.open.load(Ordering::Relaxed)));
        self.requests.set(signed(http.requests.load(Ordering::Relaxed)));
        self.refused.set(signed(http.refused.load(Ordering::Relaxed)));
        self.panics.set(signed(http.panics.load(Ordering::Relaxed)));
        self.buffer_free.set(signed(gateway.buffer.available_permits() as u64));
        self.epoch.set(signed(gateway.meter.snapshot().epoch.0));
        if let Ok(waiting) = gateway.meta.repairs_waiting().await {
            self.repairs.set(signed(waiting));
        }
        for family in [&self.node_up, &self.node_free, &self.node_stored] {
            // Nodes that left must not stay in the text.
            family.clear();
        }
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
    }
}
