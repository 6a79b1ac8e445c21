//! The parts of a stopped network that are needed to look at it: nodes that
//! serve its gateway alone, and the gateway without its loops and ports.
//!
//! Used where a running network would change what is looked at, or cannot run:
//! a census of a stopped network, and the recovery of a lost gateway. No shard is
//! touched; opening a gateway still does what any start does to its own folder
//! (an older format is brought up to date, uploads that were cut off are given
//! up). Not here: a whole network (`cluster`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use gateway::GatewayServer;
use gateway::census::{Census, Depth};
use ledger::LedgerAddr;
use protocol::ledger_api::NodeRecord;
use protocol::{LedgerId, NodeId};
use storage_node::Node;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::{ClusterOptions, Fixed, FolderError, NetworkFolder, gateway_settings};

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Nodes of a folder of `stratos up` that run without their ledger.
pub struct OfflineNodes {
    /// Their ids and where they listen.
    pub nodes: Vec<(NodeId, SocketAddr)>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl OfflineNodes {
    /// Starts those nodes whose folders are there.
    pub async fn start(folder: &NetworkFolder) -> Self {
        let stop = CancellationToken::new();
        let (mut tasks, mut nodes) = (JoinSet::new(), Vec::new());
        for number in 1..=folder.nodes() {
            let dir = folder.dir().join("nodes").join(number.to_string());
            if !dir.join("node.key").exists() {
                continue; // Its disk is gone: the others will do.
            }
            match Node::open(settings(&dir, number)).await {
                Ok(node) => {
                    nodes.push((node.id(), node.addr()));
                    let stop = stop.child_token();
                    tasks.spawn(async move {
                        if let Err(error) = node.run(stop).await {
                            tracing::warn!(number, %error, "a node stopped");
                        }
                    });
                }
                Err(error) => tracing::warn!(number, %error, "a node cannot be started"),
            }
        }
        Self { nodes, stop, tasks }
    }

    /// Stops them.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A node that serves us alone: nobody pays while a network is looked at.
fn settings(dir: &Path, number: u8) -> storage_node::Settings {
    storage_node::Settings {
        dir: dir.to_owned(),
        listen: ANY_PORT,
        advertise: None,
        ledger: None,
        invite: None,
        zone: format!("up-{number}"),
        operator: "up".to_owned(),
        capacity: None,
        reserve: 0,
        credit_limit: u64::MAX,
        poll: None,
        volumes: storage_node::VolumeSettings::default(),
    }
}

/// Why a stopped network could not be counted.
#[derive(Debug, Error)]
pub enum CensusError {
    /// The folder of the network.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The gateway's folder.
    #[error(transparent)]
    Gateway(#[from] gateway::OpenError),
    /// Its metadata.
    #[error("the gateway's metadata: {0}")]
    Meta(#[from] gateway::meta::MetaError),
    /// There is no network in the folder.
    #[error("{0} is no folder of `stratos up`, and no gateway runs there")]
    NoNetwork(String),
}

/// Counts the shards of a network that does not run.
pub async fn census(dir: &Path, depth: Depth) -> Result<Census, CensusError> {
    if !dir.join("network.json").exists() || !dir.join("gateway").join("meta.sqlite").exists() {
        return Err(CensusError::NoNetwork(dir.display().to_string()));
    }
    let folder = NetworkFolder::open(dir, &Fixed::default())?;
    let ledger = LedgerAddr { id: LedgerId([0; 32]), addr: ANY_PORT };
    let options = ClusterOptions::new(dir.to_owned(), ANY_PORT);
    let server = GatewayServer::open(gateway_settings(&folder, &options, None, ledger)).await?;
    let gateway = server.gateway().clone();
    let offline = OfflineNodes::start(&folder).await;
    let record = |&(node, addr)| {
        let (zone, operator) = (String::new(), String::new());
        NodeRecord { node, addr, zone, operator }
    };
    gateway.registry.set_members(offline.nodes.iter().map(record).collect());
    for (node, _) in &offline.nodes {
        match gateway.nodes.status(*node).await {
            Ok(status) => gateway.registry.set_status(*node, &status),
            Err(error) => tracing::warn!(?node, %error, "a node does not answer"),
        }
    }
    let counted = gateway::census::take(&gateway, depth).await;
    offline.stop().await;
    Ok(counted?.census)
}
