//! `stratos node`: a storage node as a process of its own, and the nodes of a
//! network.

mod standing;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::admin::answers::Nodes;
use crate::cli::Reach;
use crate::cli::node::standing::{AddArgs, DrainArgs, NodeName, show, show_all};
use crate::cli::output::print;
use crate::cli::role::{RoleArgs, print_id};
use crate::cli::table::{Table, facts};
use crate::config::{Address, NodeConfig, NodeFile};
use crate::exit::Failure;
use crate::units::{parse_duration, show_credits, show_size};

/// The node's key in its folder.
pub const KEY_FILE: &str = "node.key";

/// Run a storage node, or look at the nodes of a network.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    after_help = "\
A node joins by an invite of a gateway's operator:
  stratos node invite --admin http://127.0.0.1:9001   # goes into node.toml: invite = \"...\"
  stratos node -c node.toml
  stratos node -c node.toml --advertise 10.0.0.7:4433 --invite-file ./invite

  stratos node add --advertise 10.0.0.7:4433 --admin http://127.0.0.1:9001  # all of it, to paste

Examples:
  stratos node list --data ./data
  stratos node status 3fa9 --data ./data
  stratos node drain 3fa9 --wait --data ./data
  stratos node remove 3fa9 --force --data ./data
  stratos node invite --ttl 2h --data ./data --json"
)]
pub struct NodeArgs {
    /// What to ask a network.
    #[command(subcommand)]
    pub command: Option<NodeCommand>,

    /// How it is run.
    #[command(flatten)]
    pub role: Option<RoleArgs>,

    /// The address that gateways dial; goes before `advertise` of the file.
    #[arg(long, value_name = "HOST:PORT", requires = "config")]
    pub advertise: Option<Address>,

    /// A file with what `stratos node invite` printed; goes before `invite` of
    /// the configuration. Once the node has joined, it may be gone.
    #[arg(long, value_name = "FILE", requires = "config")]
    pub invite_file: Option<PathBuf>,
}

/// What an operator asks of a network's nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List the nodes: what they hold, what they earned, how far they are trusted.
    List {
        /// The network.
        #[command(flatten)]
        reach: Reach,
    },
    /// Print all that a new node needs: an invite, its node.toml and the command.
    Add(AddArgs),
    /// Show how a node stands, or all of them.
    Status {
        /// The node: its id, or a unique beginning of it.
        node: Option<String>,
        /// The network.
        #[command(flatten)]
        reach: Reach,
    },
    /// Empty a node: nothing new is stored there, and what it holds is moved away.
    Drain(DrainArgs),
    /// Take a node back into use that drains or has left.
    Undrain(NodeName),
    /// Pause a node: nothing new is stored there; what it holds stays and is read.
    Suspend(NodeName),
    /// End the pause of a node.
    Resume(NodeName),
    /// Use a new node in full at once, without waiting until it has proved itself.
    Trust(NodeName),
    /// End the use of a node for good. Without --force it must have left, be lost
    /// or disqualified. What is on it is rebuilt elsewhere; refused where something
    /// could not be read without it.
    Remove {
        /// The node: its id, or a unique beginning of it.
        node: String,
        /// Whatever its state.
        #[arg(long)]
        force: bool,
        /// The network.
        #[command(flatten)]
        reach: Reach,
    },
    /// Make an invite that lets one node join.
    Invite {
        /// How long it is good, such as 24h. Without it the gateway decides.
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        ttl: Option<Duration>,
        /// The network.
        #[command(flatten)]
        reach: Reach,
    },
}

impl NodeArgs {
    /// Answers `--print-id`, or returns the checked configuration to run with.
    pub fn prepare(&self, role: &RoleArgs) -> Result<Option<NodeConfig>, Failure> {
        let mut file = NodeFile::read(&role.config)?;
        if role.print_id {
            print_id(&file.dir, KEY_FILE)?;
            return Ok(None);
        }
        if let Some(advertise) = &self.advertise {
            file.advertise = advertise.to_string();
        }
        Ok(Some(file.check(&role.config)?))
    }
}

impl NodeCommand {
    /// Does it.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { reach } => {
                let nodes = reach.client()?.nodes().await?;
                print(reach.json, &nodes, || table(&nodes))
            }
            Self::Invite { ttl, reach } => {
                let invite = reach.client()?.invite(ttl).await?;
                print(reach.json, &invite, || {
                    facts([
                        ("invite", invite.invite.clone()),
                        ("good until", invite.expires.clone()),
                    ])
                })
            }
            Self::Add(args) => args.run().await,
            Self::Status { node: Some(node), reach } => {
                show(&reach, &reach.client()?.node(&node).await?)
            }
            Self::Status { node: None, reach } => show_all(&reach).await,
            Self::Drain(args) => args.run().await,
            Self::Undrain(name) => name.act("undrain").await,
            Self::Suspend(name) => name.act("suspend").await,
            Self::Resume(name) => name.act("resume").await,
            Self::Trust(name) => name.act("trust").await,
            Self::Remove { node, force, reach } => {
                show(&reach, &reach.client()?.remove_node(&node, force).await?)
            }
        }
    }
}

fn table(nodes: &Nodes) -> String {
    let mut table = Table::new(&[
        "NODE",
        "ADDRESS",
        "ZONE",
        "OPERATOR",
        "STATE",
        "STANDING",
        "<EARNED",
        "<IMMATURE",
        "<MATURE",
        "<STORED",
        "<FREE",
        "<SHARDS",
        "<SCORE",
    ]);
    for node in &nodes.nodes {
        table.row([
            // Eight digits tell nodes apart; `--json` has them whole.
            node.node.chars().take(8).collect(),
            node.addr.clone(),
            node.zone.clone(),
            node.operator.clone(),
            node.state.clone(),
            node.standing.clone(),
            show_credits(node.earned),
            show_credits(node.immature),
            show_credits(node.mature),
            show_size(node.stored),
            node.free.map_or("-".to_owned(), show_size),
            node.shards.to_string(),
            node.score.to_string(),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use protocol::price::{Amount, CREDIT};

    use super::*;
    use crate::admin::answers::Node;

    #[test]
    fn the_flag_goes_before_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = dir.path().join("node.toml");
        std::fs::write(&config, "listen = \"0.0.0.0:4433\"").expect("written");
        let prepare = |advertise: Option<&str>| {
            let role = RoleArgs { config: config.clone(), print_id: false };
            let advertise = advertise.map(|text| text.parse().expect("an address"));
            NodeArgs { command: None, role: None, advertise, invite_file: None }.prepare(&role)
        };
        // Nobody can dial the wildcard, so without the flag the file is refused.
        assert_eq!(prepare(None).unwrap_err().code(), 2);
        let config = prepare(Some("node-1:4433")).expect("good").expect("to be run");
        assert_eq!(config.advertise.expect("given").to_string(), "node-1:4433");
    }

    #[test]
    fn nodes_are_shown_with_units() {
        let node = Node {
            node: "ab".repeat(32),
            addr: "127.0.0.1:4433".into(),
            zone: "z".into(),
            operator: "o".into(),
            state: "up".into(),
            standing: "active".into(),
            earned: Amount(CREDIT + CREDIT / 2),
            immature: Amount(CREDIT / 2),
            mature: Amount(CREDIT),
            stored: 1536,
            free: None,
            shards: 12,
            score: 1.into(),
        };
        assert_eq!(
            table(&Nodes { nodes: vec![node] }),
            "NODE      ADDRESS         ZONE  OPERATOR  STATE  STANDING  EARNED  IMMATURE  MATURE   \
             STORED  FREE  SHARDS  SCORE\n\
             abababab  127.0.0.1:4433  z     o         up     active       1.5       0.5       1  \
             1.5 KiB     -      12      1\n"
        );
    }
}
