//! Rebuilding a gateway whose folder is lost, from storage nodes: those of
//! `stratos up` are started on their folders for as long as it takes, those on
//! other machines are dialled.
//!
//! Not here: what is rebuilt and how (`gateway::vault::recover`).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway::nodes::quic::QuicNodes;
use gateway::nodes::registry::Registry;
use gateway::vault::key::RecoveryKey;
use gateway::vault::pay::Payer;
use gateway::vault::recover::{RecoverError, Recovery, Report, Step};
use gateway::vault::sealed::VaultKeys;
use ledger::LedgerAddr;
use ledger::client::LedgerClient;
use protocol::ledger_api::{ChainInfo, NodeRecord};
use protocol::{NodeId, SecretKey};
use thiserror::Error;
use tokio::time::timeout;

use crate::cluster::{Fixed, FolderError, NetworkFolder};
use crate::offline::OfflineNodes;

/// How long the ledger may take to say what things cost.
const LEDGER: Duration = Duration::from_secs(5);

/// Why nothing was recovered.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// The folder of the network.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is no network in it.
    #[error(
        "{0} is no folder of `stratos up`: give it by --data, or the gateway's folder by --out"
    )]
    NoNetwork(String),
    /// The key is that of another network.
    #[error(
        "this recovery key belongs to another network: its ledger is {key}, the one in the folder \
         is {folder}"
    )]
    OtherNetwork {
        /// The ledger in the key.
        key: String,
        /// The ledger in the folder.
        folder: String,
    },
    /// No socket to reach nodes from.
    #[error("cannot open a UDP socket: {0}")]
    Socket(std::io::Error),
    /// The nodes, or what they hold.
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

/// Told how far it is.
pub type Progress<'a> = &'a (dyn Fn(Step) + Sync);

/// Rebuilds `DIR/gateway` from `DIR/nodes`; the network must not run. Which
/// nodes' folders are gone does not matter as long as enough are there.
pub async fn network(
    dir: &Path,
    key: &RecoveryKey,
    progress: Progress<'_>,
) -> Result<Report, RecoveryError> {
    if !dir.join("network.json").exists() {
        return Err(RecoveryError::NoNetwork(dir.display().to_string()));
    }
    let folder = NetworkFolder::open(dir, &Fixed::default())?;
    let ledger = SecretKey::load(&dir.join("ledger").join("ledger.key"));
    if let Ok(ledger) = ledger.map(|key| key.public())
        && ledger != key.peers.ledger.into()
    {
        let (key, folder) = (key.peers.ledger.to_string(), ledger.to_string());
        return Err(RecoveryError::OtherNetwork { key, folder });
    }
    let offline = OfflineNodes::start(&folder).await;
    let done = from_nodes(&dir.join("gateway"), key, &offline.nodes, None, progress).await;
    offline.stop().await;
    done
}

/// Rebuilds the gateway's folder `out` from these nodes, which are paid for it.
pub async fn gateway(
    out: &Path,
    key: &RecoveryKey,
    nodes: &[(NodeId, SocketAddr)],
    progress: Progress<'_>,
) -> Result<Report, RecoveryError> {
    let ledger = LedgerAddr { id: key.peers.ledger, addr: key.peers.ledger_addr };
    let client = LedgerClient::new(key.secret_key(), ledger);
    let info = match timeout(LEDGER, client.chain_info()).await {
        Ok(Ok(info)) => Some(info),
        _ => {
            tracing::warn!("without the ledger nodes send no more than their credit");
            None
        }
    };
    let done = from_nodes(out, key, nodes, info, progress).await;
    client.close().await;
    done
}

async fn from_nodes(
    out: &Path,
    key: &RecoveryKey,
    nodes: &[(NodeId, SocketAddr)],
    info: Option<ChainInfo>,
    progress: Progress<'_>,
) -> Result<Report, RecoveryError> {
    let registry = Arc::new(Registry::default());
    let record = |&(node, addr)| {
        let (zone, operator) = (String::new(), String::new());
        NodeRecord { node, addr, zone, operator }
    };
    registry.set_members(nodes.iter().map(record).collect());
    let quic = Arc::new(QuicNodes::new(key.secret_key(), registry).map_err(RecoveryError::Socket)?);
    let keys = VaultKeys::new(&key.master());
    let members = nodes.iter().map(|(node, _)| *node).collect();
    let payer = info.map(|info| Payer::new(quic.clone(), key.secret_key(), info));
    let recovery = Recovery::new(quic.clone(), members, keys).paying(payer);
    let done = recovery.run(key, out, progress).await;
    quic.close();
    Ok(done?)
}
