//! `stratos node add|status|drain|...`: nodes that come, go, and how they stand.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::Instant;

use crate::admin::AdminClient;
use crate::admin::answers::{Node, NodeStatus};
use crate::cli::Reach;
use crate::cli::output::print;
use crate::cli::table::{Table, facts};
use crate::config::Address;
use crate::exit::Failure;
use crate::units::{parse_duration, show_size};

/// Between two looks at a node that drains.
const LOOK: Duration = Duration::from_secs(1);

/// A drain that does not get on for so long may wait for something to be done.
const STUCK: Duration = Duration::from_secs(30);

/// One node of a network.
#[derive(Debug, Args)]
pub struct NodeName {
    /// The node: its id, or a unique beginning of it.
    node: String,
    /// The network.
    #[command(flatten)]
    reach: Reach,
}

impl NodeName {
    /// Changes how the node stands.
    pub async fn act(self, action: &str) -> Result<(), Failure> {
        show(&self.reach, &self.reach.client()?.node_action(&self.node, action).await?)
    }
}

/// What a new node is told.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Where gateways dial it, as they see it.
    #[arg(long, value_name = "HOST:PORT", default_value = "HOST:4433")]
    advertise: Address,
    /// What it fails together with: a room, a site.
    #[arg(long, default_value = "")]
    zone: String,
    /// Who runs it.
    #[arg(long, default_value = "")]
    operator: String,
    /// How long the invite is good, such as 24h. Without it the gateway decides.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// The network.
    #[command(flatten)]
    reach: Reach,
}

/// What `stratos node add --json` prints.
#[derive(Serialize)]
struct Added {
    invite: String,
    expires: String,
    node_toml: String,
    command: &'static str,
}

impl AddArgs {
    /// Makes an invite and shows what to do with it.
    pub async fn run(self) -> Result<(), Failure> {
        let invite = self.reach.client()?.invite(self.ttl).await?;
        let added = Added {
            node_toml: self.node_toml(&invite.invite),
            invite: invite.invite,
            expires: invite.expires,
            command: "stratos node -c node.toml",
        };
        print(self.reach.json, &added, || {
            let Added { node_toml, expires, command, .. } = &added;
            let flags = self.reach.as_flags();
            format!(
                "# On the new machine, as node.toml; the invite is good for one node until \
                 {expires}:\n{node_toml}\n# Then there:\n{command}\n\n# And here, to see it \
                 come:\nstratos node status{flags}\n"
            )
        })
    }

    fn node_toml(&self, invite: &str) -> String {
        let port = self.advertise.to_string();
        let port = port.rsplit(':').next().unwrap_or("4433");
        // Strings of TOML are those of JSON here.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut toml = String::new();
        for (key, value) in [
            ("dir", "/var/lib/stratos/node"),
            ("listen", &format!("0.0.0.0:{port}")),
            ("advertise", &self.advertise.to_string()),
            ("zone", &self.zone),
            ("operator", &self.operator),
            ("invite", invite),
        ] {
            writeln!(toml, "{key} = {}", quoted(value)).expect("a String takes everything");
        }
        toml
    }
}

/// A node to be emptied.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The node: its id, or a unique beginning of it.
    node: String,
    /// Wait until nothing is left on it, and show how far it is.
    #[arg(long)]
    wait: bool,
    /// The network.
    #[command(flatten)]
    reach: Reach,
}

impl DrainArgs {
    /// Begins to empty the node.
    pub async fn run(self) -> Result<(), Failure> {
        let admin = self.reach.client()?;
        let mut status = admin.node_action(&self.node, "drain").await?;
        if self.wait {
            status = wait_until_left(&admin, status, &self.reach.as_flags()).await?;
        }
        show(&self.reach, &status)
    }
}

/// Looks until the node has left; says on stderr how far it is.
async fn wait_until_left(
    admin: &AdminClient,
    first: NodeStatus,
    flags: &str,
) -> Result<NodeStatus, Failure> {
    let began = Instant::now();
    let (node, bytes) = (first.node.clone(), first.bytes);
    let mut status = first;
    let mut said = String::new();
    let (mut left, mut moved_at) = (status.shards, began);
    while status.state == "draining" {
        let line = progress(bytes, &status, began.elapsed());
        if line != said {
            say(&line);
            said = line;
        }
        if status.shards != left {
            (left, moved_at) = (status.shards, Instant::now());
        } else if status.shards > 0 && moved_at.elapsed() >= STUCK {
            say(&stuck(&status, &admin.nodes().await?.nodes, flags));
            moved_at = Instant::now();
        }
        tokio::time::sleep(LOOK).await;
        status = admin.node(&node).await?;
    }
    if status.state == "left" {
        return Ok(status);
    }
    Err(Failure::operation(format!(
        "the node does not drain any more: it is {} ({})",
        status.state, status.reason
    )))
}

/// A closed stderr must not stop what is told about.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Why a drain may not get on, and what to do.
fn stuck(status: &NodeStatus, nodes: &[Node], flags: &str) -> String {
    if !status.up {
        return "the node does not answer: what it holds is rebuilt elsewhere once it has been \
                away for long enough; bring it back, or wait"
            .to_owned();
    }
    let targets = nodes.iter().filter(|node| node.node != status.node && is_target(node));
    format!(
        "nothing has moved for {} s. A shard can go to a node that is up, has room and has no \
         other shard of its segment, and {} other nodes are up and take shards. If this goes \
         on: add one (`stratos node add{flags}`), bring one back, or end the drain (`stratos node \
         undrain {}{flags}`)",
        STUCK.as_secs(),
        targets.count(),
        status.node.chars().take(8).collect::<String>()
    )
}

fn is_target(node: &Node) -> bool {
    node.state == "up" && matches!(node.standing.as_str(), "vetting" | "active")
}

/// How far a drain is that began with `bytes`.
fn progress(bytes: u64, status: &NodeStatus, elapsed: Duration) -> String {
    let moved = bytes.saturating_sub(status.bytes);
    let percent = (moved * 100).checked_div(bytes).unwrap_or(100);
    let mut line =
        format!("{percent:>3} %  {} shards, {} left", status.shards, show_size(status.bytes));
    let seconds = elapsed.as_secs();
    if let Some(rate) = moved.checked_div(seconds)
        && let Some(left) = status.bytes.checked_div(rate)
    {
        let _ = write!(line, ", {}/s, about {left} s to go", show_size(rate));
    }
    line
}

/// Prints how a node stands.
pub fn show(reach: &Reach, status: &NodeStatus) -> Result<(), Failure> {
    print(reach.json, status, || text(status))
}

fn text(status: &NodeStatus) -> String {
    let recent = &status.audits.recent;
    let up = match status.absent_seconds {
        _ if status.up => "up".to_owned(),
        Some(seconds) => format!("not answering for {seconds} s"),
        None => "down".to_owned(),
    };
    let mut text = facts([
        ("node", status.node.clone()),
        ("address", format!("{} ({up})", status.addr)),
        ("zone", status.zone.clone()),
        ("operator", status.operator.clone()),
        ("state", format!("{} since {}: {}", status.state, status.since, status.reason)),
        ("score", status.score.to_string()),
        ("online", status.online.as_ref().map_or("-".to_owned(), ToString::to_string)),
        (
            "audits",
            format!(
                "{} passed; recently {} ok, {} offline, {} contained, {} failed",
                status.audits.passed, recent.ok, recent.offline, recent.contained, recent.failed
            ),
        ),
        ("shards", format!("{} ({})", status.shards, show_size(status.bytes))),
        ("free", status.free.map_or("-".to_owned(), show_size)),
    ]);
    for event in &status.events {
        let _ = writeln!(text, "{}  {}: {}", event.at, event.kind, event.text);
    }
    text
}

/// Prints how all nodes stand.
pub async fn show_all(reach: &Reach) -> Result<(), Failure> {
    let admin = reach.client()?;
    let mut all = Vec::new();
    for node in admin.nodes().await?.nodes {
        all.push(admin.node(&node.node).await?);
    }
    print(reach.json, &serde_json::json!({ "nodes": all }), || {
        let head = ["NODE", "STATE", "UP", "<SCORE", "<PASSED", "<SHARDS", "<BYTES", "REASON"];
        let mut table = Table::new(&head);
        for status in &all {
            table.row([
                status.node.chars().take(8).collect(),
                status.state.clone(),
                if status.up { "yes" } else { "no" }.to_owned(),
                status.score.to_string(),
                status.audits.passed.to_string(),
                status.shards.to_string(),
                show_size(status.bytes),
                status.reason.clone(),
            ]);
        }
        table.to_string()
    })
}

#[cfg(test)]
mod tests {
    use protocol::price::Amount;

    use super::*;
    use crate::admin::answers::{AuditCounts, NodeAudits};

    fn status(shards: u64, bytes: u64) -> NodeStatus {
        NodeStatus {
            node: "ab".repeat(32),
            addr: "10.0.0.7:4433".into(),
            zone: "z".into(),
            operator: "o".into(),
            up: true,
            absent_seconds: None,
            state: "draining".into(),
            reason: "the operator drains it".into(),
            since: "t".into(),
            score: 1.into(),
            online: None,
            audits: NodeAudits {
                passed: 7,
                recent: AuditCounts { ok: 3, offline: 0, contained: 0, failed: 0 },
            },
            shards,
            bytes,
            free: Some(1024),
            events: Vec::new(),
        }
    }

    #[test]
    fn progress_says_what_is_left_and_how_long_it_takes() {
        let at = |left, seconds| progress(10 << 20, &status(4, left), Duration::from_secs(seconds));
        assert_eq!(at(10 << 20, 0), "  0 %  4 shards, 10.0 MiB left");
        assert_eq!(at(5 << 20, 5), " 50 %  4 shards, 5.0 MiB left, 1.0 MiB/s, about 5 s to go");
        assert_eq!(progress(0, &status(0, 0), LOOK), "100 %  0 shards, 0 B left");
    }

    #[test]
    fn a_drain_that_cannot_go_on_says_what_to_do() {
        let other = |n: u8, state: &str, standing: &str| Node {
            node: hex::encode([n; 32]),
            addr: "10.0.0.8:4433".into(),
            zone: "z".into(),
            operator: "o".into(),
            state: state.into(),
            standing: standing.into(),
            earned: Amount(0),
            immature: Amount(0),
            mature: Amount(0),
            stored: 0,
            free: None,
            shards: 0,
            score: 1.into(),
        };
        let nodes = [
            other(0xab, "up", "draining"),
            other(1, "up", "active"),
            other(2, "up", "vetting"),
            other(3, "down", "active"),
            other(4, "up", "suspended"),
        ];
        let text = stuck(&status(4, 1024), &nodes, " --data d");
        assert!(text.contains("and 2 other nodes are up"), "{text}");
        assert!(text.contains("`stratos node undrain abababab --data d`"), "{text}");
        let away = NodeStatus { up: false, ..status(4, 1024) };
        assert!(stuck(&away, &nodes, "").contains("does not answer"));
    }

    #[test]
    fn a_status_is_told_in_words() {
        let text = text(&status(4, 1024));
        assert!(text.contains("draining since t: the operator drains it"), "{text}");
        assert!(text.contains("10.0.0.7:4433 (up)"), "{text}");
        assert!(text.contains("7 passed; recently 3 ok"), "{text}");
    }

    #[test]
    fn what_add_prints_is_a_configuration() {
        let args = AddArgs {
            advertise: "10.0.0.7:4500".parse().expect("an address"),
            zone: "cellar \"2\"".into(),
            operator: "ann".into(),
            ttl: None,
            reach: Reach { data: None, admin: None, json: false },
        };
        let toml: toml::Table = args.node_toml("stratos-invite-00").parse().expect("TOML");
        assert_eq!(toml["zone"].as_str(), Some("cellar \"2\""));
        assert_eq!(toml["listen"].as_str(), Some("0.0.0.0:4500"));
        assert_eq!(toml["advertise"].as_str(), Some("10.0.0.7:4500"));
        assert_eq!(toml["invite"].as_str(), Some("stratos-invite-00"));
    }
}
