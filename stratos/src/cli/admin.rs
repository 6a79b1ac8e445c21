//! `stratos admin`: what an operator needs on bad days.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::{Args, Subcommand};
use gateway::vault::key::{KeyError, RecoveryKey};
use gateway::vault::recover::{Report, Step};
use protocol::NodeId;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use crate::cli::census::{CensusArgs, QuarantineArgs};
use crate::cli::output::{print, print_text};
use crate::cli::table::facts;
use crate::exit::Failure;
use crate::recovery::{self, RecoveryError};
use crate::units::{show_duration, show_size};

/// Count what is stored; keep the recovery key of a gateway, and recover one whose folder is lost.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:
  stratos admin census --data ./data --json
  stratos admin recovery-key --data ./data > /media/safe/stratos.key
  stratos admin recover --key /media/safe/stratos.key --data ./data
  stratos admin recover --key stratos.key --out /var/lib/stratos/gateway"
)]
pub struct AdminArgs {
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Print the recovery key: with it and the nodes, a lost gateway is rebuilt.
    ///
    /// Whoever has it can read everything. It goes to stdout and nowhere else. Print it once
    /// the nodes have joined, and again when most of them have moved.
    RecoveryKey {
        /// The folder of `stratos up`, or of a gateway.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
    /// Rebuild the folder of a gateway from its nodes and its recovery key.
    ///
    /// Nothing may be in its place. With --data the network of `stratos up` must not run; with
    /// --out the nodes must. What the gateway committed in its last seconds may be missing; how
    /// many is said at the end.
    Recover(RecoverArgs),
    Census(CensusArgs),
    Quarantine(QuarantineArgs),
}

#[derive(Debug, Args)]
struct RecoverArgs {
    /// The file with the recovery key; - reads it from standard input.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// The folder of `stratos up`, in which `gateway` is missing.
    #[arg(long, value_name = "DIR", required_unless_present = "out", conflicts_with = "out")]
    data: Option<PathBuf>,

    /// The gateway's folder, as `dir` in gateway.toml says.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// A node to ask, besides those that the key knows; may be repeated. Needed for nodes that
    /// joined or moved after the key was printed.
    #[arg(long, value_name = "ID@IP:PORT", value_parser = parse_node, conflicts_with = "data")]
    node: Vec<(NodeId, SocketAddr)>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn parse_node(text: &str) -> Result<(NodeId, SocketAddr), String> {
    let (id, addr) = text.split_once('@').ok_or("write ID@IP:PORT")?;
    let id = id.parse().map_err(|error: protocol::ids::IdError| error.to_string())?;
    let addr = addr.parse().map_err(|_| format!("{addr:?} is not IP:PORT"))?;
    Ok((id, addr))
}

impl AdminArgs {
    /// Does it.
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            AdminCommand::RecoveryKey { data } => {
                let inside = data.join("gateway");
                let dir = if inside.is_dir() { inside } else { data };
                print_text(&RecoveryKey::of_folder(&dir)?.to_text())
            }
            AdminCommand::Recover(args) => args.run().await,
            AdminCommand::Census(args) => args.run().await,
            AdminCommand::Quarantine(args) => args.run().await,
        }
    }
}

impl RecoverArgs {
    async fn run(self) -> Result<(), Failure> {
        let key = read_key(&self.key)?;
        let progress = Lines::default();
        let tell = |step| progress.tell(step);
        let report = match (&self.data, &self.out) {
            (Some(dir), _) => recovery::network(dir, &key, &tell).await?,
            (None, Some(out)) => {
                let mut nodes = self.node.clone();
                let known = &key.peers.nodes;
                nodes.extend(
                    known.iter().filter(|(id, _)| self.node.iter().all(|(named, _)| named != id)),
                );
                recovery::gateway(out, &key, &nodes, &tell).await?
            }
            (None, None) => return Err(Failure::usage("give --data or --out")),
        };
        let now = OffsetDateTime::now_utc();
        let answer = json!({
            "gateway": key.gateway().to_string(),
            "nodes_asked": report.nodes_asked,
            "nodes_answered": report.nodes_answered,
            "snapshot": time(report.snapshot_ms),
            "snapshot_bytes": report.snapshot_bytes,
            "snapshots_spoilt": report.snapshots_spoilt,
            "logs": report.logs,
            "pages": report.pages,
            "recovered_to": time(report.recovered_to_ms),
            "last_sign": time(report.last_sign_ms),
            "seconds_ago": seconds_ago(report.last_sign_ms, now),
            "logs_beyond_gap": report.logs_beyond_gap,
        });
        print(self.json, &answer, || text(&key, &report, now))
    }
}

fn read_key(file: &Path) -> Result<RecoveryKey, Failure> {
    let text = match file == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(file),
    };
    let shown = file.display();
    let text = text.map(Zeroizing::new).map_err(|error| {
        Failure::usage(format!("cannot read the recovery key {shown}: {error}"))
    })?;
    RecoveryKey::parse(&text)
        .map_err(|error| Failure::usage(format!("the recovery key {shown}: {error}")))
}

/// RFC 3339, in UTC.
fn time(ms: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(ms / 1000).unwrap_or(0));
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

fn seconds_ago(ms: u64, now: OffsetDateTime) -> u64 {
    u64::try_from(now.unix_timestamp()).unwrap_or(0).saturating_sub(ms / 1000)
}

fn text(key: &RecoveryKey, report: &Report, now: OffsetDateTime) -> String {
    let ago = |ms| format!("{} ({} ago)", time(ms), show_duration(seconds_ago(ms, now)));
    let Report { nodes_asked, nodes_answered, logs, pages, .. } = report;
    let size = show_size(report.snapshot_bytes);
    let mut text = facts([
        ("gateway", key.gateway().to_string()),
        ("nodes", format!("{nodes_answered} of {nodes_asked} answered")),
        ("snapshot", format!("{size} of {}", ago(report.snapshot_ms))),
        ("logs", format!("{logs} with {pages} pages")),
        ("recovered to", ago(report.recovered_to_ms)),
        ("last sign of life", ago(report.last_sign_ms)),
    ]);
    if report.snapshots_spoilt > 0 {
        text += &format!("{} newer snapshots could not be read.\n", report.snapshots_spoilt);
    }
    if report.logs_beyond_gap > 0 {
        text += &format!(
            "A log is missing: {} after it could not be used, so that what was committed between \
             the two times above is lost. With more nodes it may be there.\n",
            report.logs_beyond_gap
        );
    } else {
        text += "All that was on the nodes is recovered: what the gateway committed in its last \
                 seconds may be missing.\n";
    }
    text
}

/// Lines on stderr, few enough to read.
#[derive(Default)]
struct Lines {
    /// Tenths that were told.
    told: Mutex<Option<(&'static str, usize)>>,
}

impl Lines {
    fn tell(&self, step: Step) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let (what, done, of) = match step {
            Step::Listed { shards } => {
                eprintln!("a node has {shards} shards of metadata");
                return;
            }
            Step::Checking => {
                eprintln!("checking the database");
                return;
            }
            Step::Snapshot { done, of } => ("snapshot", done, of),
            Step::Log { done, of } => ("logs", done, of),
        };
        let tenth = done * 10 / of.max(1);
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *told != Some((what, tenth)) {
            *told = Some((what, tenth));
            eprintln!("{what}: {}0 %", tenth);
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::operation(error)
    }
}

impl From<RecoveryError> for Failure {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::NoNetwork(_) => Self::usage(error),
            other => Self::operation(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_id_and_address() {
        let id = "ab".repeat(32);
        let (node, addr) = parse_node(&format!("{id}@10.0.0.7:4433")).unwrap();
        assert_eq!((node.to_string(), addr.port()), (id, 4433));
        assert!(parse_node("10.0.0.7:4433").is_err());
        assert!(parse_node("ab@10.0.0.7:4433").unwrap_err().contains("64 hex digits"));
    }

    #[test]
    fn a_gap_is_told() {
        let now = OffsetDateTime::from_unix_timestamp(1_000_100).unwrap();
        let report = Report {
            recovered_to_ms: 1_000_000_000,
            last_sign_ms: 1_000_090_000,
            logs_beyond_gap: 3,
            ..Report::default()
        };
        assert_eq!(seconds_ago(report.last_sign_ms, now), 10);
        assert_eq!(time(report.last_sign_ms), "1970-01-12T13:48:10Z");
    }
}
