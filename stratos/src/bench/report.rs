//! What a benchmark found, as JSON and as a table.

use std::time::Duration;

use serde::Serialize;

use crate::bench::histogram::Histogram;
use crate::bench::process::Memory;
use crate::bench::{Op, Usage};
use crate::cli::table::Table;
use crate::units::{GIB, MIB, show_size};

/// The whole benchmark.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was measured.
    pub endpoint: String,
    /// Operations in flight at a time.
    pub concurrency: usize,
    /// What each phase found, in the order they ran.
    pub phases: Vec<Phase>,
    /// The server's memory after the last phase; `null` unless it runs here.
    pub server: Option<Server>,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// The server's process.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Its id.
    pub pid: u32,
    /// The most memory it ever had.
    pub peak_bytes: u64,
    /// The memory it has now.
    pub resident_bytes: u64,
}

/// One operation with one size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// The operation.
    pub op: Op,
    /// Bytes of one object.
    pub size: u64,
    /// Operations that succeeded.
    pub count: u64,
    /// Operations that failed.
    pub errors: u64,
    /// Why the first one failed.
    pub first_error: Option<String>,
    /// How long the phase took.
    pub seconds: f64,
    /// Successes in a second.
    pub ops_per_second: f64,
    /// Payload in a second; `null` for operations that carry none.
    pub mib_per_second: Option<f64>,
    /// Half of the operations took at most this.
    pub p50_ms: f64,
    /// 99 of 100 operations took at most this.
    pub p99_ms: f64,
    /// The slowest operation.
    pub max_ms: f64,
    /// CPU time of the server; `null` unless it runs here.
    pub cpu_seconds: Option<f64>,
    /// The same for one operation.
    pub cpu_ms_per_op: Option<f64>,
    /// The same for one GiB of payload.
    pub cpu_seconds_per_gib: Option<f64>,
}

/// What the workers of a phase measured together.
#[derive(Default)]
pub struct Tally {
    /// Latencies of the successes.
    pub latencies: Histogram,
    /// How many operations failed.
    pub errors: u64,
    /// Why the first one failed.
    pub first_error: Option<String>,
}

impl Tally {
    /// Adds what another worker measured.
    pub fn merge(&mut self, other: Tally) {
        self.latencies.merge(&other.latencies);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

impl Phase {
    /// Sums a phase up.
    pub fn new(op: Op, size: u64, tally: Tally, took: Duration, usage: Usage) -> Self {
        let count = tally.latencies.count();
        let seconds = took.as_secs_f64().max(1e-9);
        let carried = if op.carries_payload() { Some(count as f64 * size as f64) } else { None };
        let cpu = usage.cpu.map(|cpu| cpu.as_secs_f64());
        let per = |what: f64| cpu.filter(|_| what > 0.0).map(|cpu| cpu / what);
        Self {
            op,
            size,
            count,
            errors: tally.errors,
            first_error: tally.first_error,
            seconds,
            ops_per_second: count as f64 / seconds,
            mib_per_second: carried.map(|bytes| bytes / MIB as f64 / seconds),
            p50_ms: millis(tally.latencies.quantile(500)),
            p99_ms: millis(tally.latencies.quantile(990)),
            max_ms: millis(tally.latencies.max()),
            cpu_seconds: cpu,
            cpu_ms_per_op: per(count as f64).map(|seconds| seconds * 1000.0),
            cpu_seconds_per_gib: per(carried.unwrap_or(0.0) / GIB as f64),
        }
    }
}

impl Server {
    /// The process with its memory.
    pub fn new(pid: u32, memory: Memory) -> Self {
        Self { pid, peak_bytes: memory.peak, resident_bytes: memory.resident }
    }
}

impl Report {
    /// Operations that failed, in all phases.
    pub fn errors(&self) -> u64 {
        self.phases.iter().map(|phase| phase.errors).sum()
    }

    /// Why the first operation failed.
    pub fn first_error(&self) -> Option<&str> {
        self.phases.iter().find_map(|phase| phase.first_error.as_deref())
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut table = Table::new(&[
            "OP",
            "<SIZE",
            "<OPS",
            "<ERRORS",
            "<OP/S",
            "<MIB/S",
            "<P50 MS",
            "<P99 MS",
            "<MAX MS",
            "<CPU MS/OP",
            "<CPU S/GIB",
        ]);
        for phase in &self.phases {
            table.row([
                phase.op.name().to_owned(),
                show_size(phase.size),
                phase.count.to_string(),
                phase.errors.to_string(),
                format!("{:.1}", phase.ops_per_second),
                optional(phase.mib_per_second, 1),
                format!("{:.2}", phase.p50_ms),
                format!("{:.2}", phase.p99_ms),
                format!("{:.2}", phase.max_ms),
                optional(phase.cpu_ms_per_op, 2),
                optional(phase.cpu_seconds_per_gib, 2),
            ]);
        }
        let mut text = table.to_string();
        if let Some(server) = &self.server {
            text.push_str(&format!(
                "server {}: memory {} now, {} at its peak\n",
                server.pid,
                show_size(server.resident_bytes),
                show_size(server.peak_bytes)
            ));
        }
        text
    }
}

fn millis(latency: Duration) -> f64 {
    latency.as_secs_f64() * 1000.0
}

fn optional(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(op: Op, size: u64, cpu: Option<Duration>) -> Phase {
        let mut tally = Tally { errors: 1, first_error: Some("no".into()), ..Tally::default() };
        for _ in 0..16 {
            tally.latencies.record(Duration::from_millis(10));
        }
        Phase::new(op, size, tally, Duration::from_secs(2), Usage { cpu })
    }

    #[test]
    fn rates_follow_from_what_was_counted() {
        let put = phase(Op::Put, 64 * MIB, Some(Duration::from_secs(4)));
        assert_eq!((put.count, put.errors), (16, 1));
        assert_eq!(put.ops_per_second, 8.0);
        assert_eq!(put.mib_per_second, Some(512.0));
        assert_eq!(put.cpu_ms_per_op, Some(250.0));
        assert_eq!(put.cpu_seconds_per_gib, Some(4.0));
        assert_eq!((put.p50_ms, put.p99_ms, put.max_ms), (10.0, 10.0, 10.0));
    }

    #[test]
    fn what_cannot_be_told_is_left_out() {
        let head = phase(Op::Head, 4096, None);
        assert_eq!((head.mib_per_second, head.cpu_seconds), (None, None));
        let empty = phase(Op::Put, 0, Some(Duration::from_secs(1)));
        assert_eq!(empty.cpu_seconds_per_gib, None);
        let nothing = Phase::new(Op::Get, 1, Tally::default(), Duration::ZERO, Usage { cpu: None });
        assert_eq!((nothing.count, nothing.ops_per_second), (0, 0.0));
    }

    #[test]
    fn the_table_names_the_memory() {
        let report = Report {
            endpoint: "http://x".into(),
            concurrency: 8,
            phases: vec![phase(Op::Put, 4096, None)],
            server: Some(Server { pid: 7, peak_bytes: 2 * MIB, resident_bytes: MIB }),
            interrupted: false,
        };
        let text = report.table();
        assert!(text.starts_with("OP      SIZE  OPS  ERRORS"), "{text}");
        assert!(text.contains("put  4.0 KiB   16       1"), "{text}");
        assert!(text.ends_with("server 7: memory 1.0 MiB now, 2.0 MiB at its peak\n"), "{text}");
        assert_eq!((report.errors(), report.first_error()), (1, Some("no")));
    }
}
