//! A storage node as a process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gateway::meta::NodeState;
use protocol::ChainId;
use protocol::registration::{Invite, NotAnInvite};
use serde::Deserialize;
use storage_node::{Node, NodeMetrics};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::cli::signals::Signals;
use crate::config::NodeConfig;
use crate::exit::Failure;
use crate::roles::status::{self, Look, Metrics, Watched};
use crate::roles::{resolve, serve, status_listener, unless_stopped};

/// Why the file of `--invite-file` cannot be used.
#[derive(Debug, Error)]
pub enum InviteFileError {
    /// It cannot be read.
    #[error(
        "cannot read the invite {path}: {source}; write what `stratos node invite` prints into it",
        path = path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{path}: {source}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it is not.
        source: NotAnInvite,
    },
}

/// Serves shards until a signal. The invite in `invite_file` goes before the
/// one in the configuration.
pub async fn run(mut config: NodeConfig, invite_file: Option<PathBuf>) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    if let Some(file) = invite_file {
        config.invite = invite_from(&file, joined(&config.dir))?.or(config.invite);
    }
    let opened = unless_stopped(&mut signals, async {
        let listener = status_listener(config.metrics_listen).await?;
        Ok((open(config).await?, listener))
    });
    let Some((node, listener)) = opened.await? else { return Ok(()) };
    let (listen, advertised) = (node.addr(), node.advertised());
    tracing::info!(%listen, %advertised, id = %node.id(), "ready");

    let stop = CancellationToken::new();
    let (stopping, watching) = (stop.child_token(), stop.child_token());
    let node = Arc::new(node);
    let watched = WatchedNode { node: node.clone(), heard: AtomicBool::new(false) };
    serve(signals, stop, async move {
        tokio::select! {
            ended = node.run(stopping) => Ok(ended?),
            never = status::serve(listener, watched, watching) => match never {},
        }
    })
    .await
}

async fn open(config: NodeConfig) -> Result<Node, Failure> {
    let ledger = match &config.ledger {
        Some(ledger) => {
            Some(storage_node::LedgerAddr { id: ledger.id, addr: resolve(&ledger.addr).await? })
        }
        None => None,
    };
    let advertise = match &config.advertise {
        Some(address) => Some(resolve(address).await?),
        None => None,
    };
    Ok(Node::open(storage_node::Settings {
        dir: config.dir,
        listen: config.listen,
        advertise,
        ledger,
        invite: config.invite,
        zone: config.zone,
        operator: config.operator,
        capacity: config.capacity,
        reserve: config.reserve,
        credit_limit: config.credit_limit,
        poll: None,
        volumes: storage_node::VolumeSettings {
            scrub_rate: config.scrub_rate,
            compact_rate: config.compact_rate,
            ..storage_node::VolumeSettings::default()
        },
    })
    .await?)
}

/// The network that a node's folder belongs to. A folder that cannot be read is
/// looked at more closely when it is opened.
fn joined(dir: &Path) -> Option<ChainId> {
    #[derive(Deserialize)]
    struct Superblock {
        chain: Option<ChainId>,
    }
    let text = fs::read(dir.join("superblock.json")).ok()?;
    serde_json::from_slice::<Superblock>(&text).ok()?.chain
}

/// The invite in a file. Once the folder has joined a network, the file may be
/// gone, spoilt or for another one: it has done its work.
fn invite_from(path: &Path, joined: Option<ChainId>) -> Result<Option<Invite>, InviteFileError> {
    match (read_invite(path), joined) {
        (Ok(invite), Some(chain)) => Ok(Some(invite).filter(|invite| invite.chain == chain)),
        (Err(error), Some(_)) => {
            tracing::debug!(%error, "not needed any more");
            Ok(None)
        }
        (read, None) => read.map(Some),
    }
}

fn read_invite(path: &Path) -> Result<Invite, InviteFileError> {
    let text = fs::read_to_string(path)
        .map_err(|source| InviteFileError::Read { path: path.into(), source })?;
    text.parse().map_err(|source| InviteFileError::Content { path: path.into(), source })
}

struct WatchedNode {
    node: Arc<Node>,
    /// Whether the ledger was heard since the start. A node serves on while the
    /// ledger is away, so from then on it stays ready.
    heard: AtomicBool,
}

impl Watched for WatchedNode {
    async fn look(&self) -> Look {
        let metrics = self.node.metrics();
        let reachable = metrics.ledger_reachable;
        let heard = self.heard.fetch_or(reachable, Ordering::Relaxed) || reachable;
        let missing = match (metrics.disk_failed, heard, metrics.registered) {
            (true, ..) => Some("the disk failed, so no more shards are taken".to_owned()),
            (false, false, _) => Some("the ledger was not heard yet".to_owned()),
            (false, true, false) => {
                Some("the ledger does not list this node: look at its invite".to_owned())
            }
            (false, true, true) => None,
        };
        Look { missing, metrics: render(&metrics) }
    }
}

fn render(metrics: &NodeMetrics) -> String {
    let mut text = Metrics::default();
    text.family("node_requests", "counter", "Requests by kind");
    for (kind, count) in &metrics.requests {
        text.labelled("node_requests_total", "kind", kind, *count);
    }
    text.family("node_refusals", "counter", "Refusals by reason");
    for (reason, count) in &metrics.refusals {
        text.labelled("node_refusals_total", "reason", &format!("{reason:?}"), *count);
    }
    text.counter("node_broken", "Requests that ended without an answer", metrics.broken);
    text.counter("node_put_bytes", "Bytes of shards made durable", metrics.put_bytes);
    text.counter("node_get_bytes", "Bytes of shards sent", metrics.get_bytes);
    text.counter("node_audit_bytes", "Bytes of answers to audits", metrics.audit_bytes);
    text.family("node_audits", "counter", "Audits by how they ended, as gateways said");
    for (outcome, count) in &metrics.audits {
        text.labelled("node_audits_total", "outcome", outcome, *count);
    }
    text.family("node_audit_score", "gauge", "Score of audits by gateway, in millionths");
    for (gateway, standing) in &metrics.standings {
        let score = u64::from(standing.score);
        text.labelled("node_audit_score", "gateway", &gateway.to_string(), score);
    }
    text.family("node_standing", "gauge", "Whether it has this state with some gateway");
    for state in NodeState::ALL.map(NodeState::name) {
        let of = metrics.standings.iter().filter(|(_, standing)| standing.state == state);
        text.labelled("node_standing", "state", state, of.count() as u64);
    }
    let accepted = metrics.receipts_accepted;
    text.counter("node_receipts_accepted", "Receipts that the ledger accepted", accepted);
    let help = "Claims of lost shards that were refuted";
    text.counter("node_claims_refuted", help, metrics.claims_refuted);
    let help = "Open claims of lost shards that cannot be refuted";
    text.gauge("node_claims_standing", help, metrics.claims_standing);
    text.gauge("node_working", "Requests being worked on", metrics.working);
    text.gauge("node_connections", "Connections that are open", metrics.connections);
    text.gauge("node_stored_bytes", "Bytes of shards held", metrics.stored);
    text.gauge("node_shards", "Shards held", metrics.shards);
    text.gauge("node_free_bytes", "Bytes that will still be taken", metrics.free);
    text.gauge("node_dead_bytes", "Bytes that compaction will win back", metrics.dead);
    text.gauge("node_tombstones", "Tombstones of deleted shards", metrics.tombstones);
    text.gauge("node_damaged_shards", "Shards that were found damaged", metrics.damaged);
    text.gauge("node_disk_failed", "Whether a sync failed", metrics.disk_failed.into());
    let reachable = metrics.ledger_reachable.into();
    text.gauge("node_ledger_reachable", "Whether the ledger answered when last asked", reachable);
    text.gauge("node_registered", "Whether the ledger lists it", metrics.registered.into());
    text.finish()
}

#[cfg(test)]
mod tests {
    use protocol::SecretKey;
    use protocol::statement::UNSIGNED;

    use super::*;

    fn invite(chain: ChainId) -> Invite {
        let (gateway, ledger) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
        Invite {
            chain,
            ledger: ledger.public().into(),
            ledger_addr: "127.0.0.1:4400".parse().expect("an address"),
            gateway: gateway.public().into(),
            nonce: [3; 16],
            expires_ms: 4,
            signature: UNSIGNED,
        }
        .signed(&gateway)
    }

    #[test]
    fn the_invite_file_matters_until_the_folder_has_joined() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("invite");
        let (ours, other) = (ChainId([5; 16]), ChainId([6; 16]));

        let error = invite_from(&file, None).unwrap_err().to_string();
        assert!(error.starts_with("cannot read the invite "), "{error}");
        assert_eq!(invite_from(&file, Some(ours)).expect("not needed"), None);

        fs::write(&file, "no invite").expect("written");
        let error = invite_from(&file, None).unwrap_err().to_string();
        assert!(error.contains("invite: this is not an invite: copy all of the text"), "{error}");
        assert_eq!(invite_from(&file, Some(ours)).expect("not needed"), None);

        fs::write(&file, format!("{}\n", invite(ours))).expect("written");
        assert_eq!(invite_from(&file, None).expect("read"), Some(invite(ours)));
        assert_eq!(invite_from(&file, Some(ours)).expect("read"), Some(invite(ours)));
        assert_eq!(invite_from(&file, Some(other)).expect("read"), None);
    }

    #[test]
    fn metrics_are_prometheus_text() {
        let metrics = NodeMetrics {
            requests: vec![("put", 3)],
            refusals: vec![(protocol::refusal::Refusal::ALL[0], 2)],
            stored: 7,
            ..NodeMetrics::default()
        };
        let text = render(&metrics);
        assert!(text.contains("stratos_node_requests_total{kind=\"put\"} 3\n"), "{text}");
        assert!(text.contains("# TYPE stratos_node_stored_bytes gauge\n"), "{text}");
        assert!(text.contains("stratos_node_stored_bytes 7\n"), "{text}");
    }
}
