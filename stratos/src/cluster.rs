//! A whole network in one process: ledger, storage nodes, gateway. `stratos up`
//! runs one; the tests start and break them.
//!
//! The parts know each other by QUIC only, as they would on many machines.
//! Folders: `DIR/ledger`, `DIR/nodes/1` to `DIR/nodes/N`, `DIR/gateway`, `DIR/tls`;
//! `DIR/network.json` says what was fixed at the first start.

mod certificate;
mod folder;

use std::fs::{File, TryLockError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use erasure::{Engine, Scheme};
use futures::TryFutureExt;
use gateway::GatewayServer;
use gateway::http::listener::TlsFiles;
use gateway::settings::{NodeSettings, UpkeepSettings};
use ledger::{DEFAULT_PRICES, Economy, Ledger, LedgerAddr, Params};
use protocol::SecretKey;
use protocol::price::{Amount, CREDIT};
use protocol::registration::Invite;
use protocol::statement::UNSIGNED;
use storage_node::{Node, NodeMetrics};
use thiserror::Error;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use certificate::{CertificateError, is_name as is_tls_name};
pub use folder::{Fixed, FolderError, NetworkFolder};

use crate::endpoint::Endpoint;

/// What the first account has at genesis, in credits: for development.
pub const OPENING_CREDITS: u128 = 1_000_000;

/// How long the nodes may take to show up.
const READY: Duration = Duration::from_secs(30);

/// Between two looks at whether they have.
const LOOK: Duration = Duration::from_millis(10);

/// Until a node that ended is started again.
const AGAIN: Duration = Duration::from_secs(5);

/// How long an invite for our own nodes is good.
const INVITE: Duration = Duration::from_secs(3600);

/// How long deleted objects are kept for readers under way, on one machine.
const DELETE_GRACE: Duration = Duration::from_secs(3600);

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How a network is run.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Its folder.
    pub dir: PathBuf,
    /// Where S3 is served.
    pub listen: SocketAddr,
    /// Serve HTTPS, with a certificate for this machine and these names.
    pub tls: Option<Vec<String>>,
    /// Keys for SSE-KMS besides the default one.
    pub kms_keys: Vec<String>,
    /// Lifecycles, access logs and events.
    pub upkeep: UpkeepSettings,
    /// How nodes are chosen and judged.
    pub nodes: NodeSettings,
    /// What is fixed at the first start; `None` is the default, or what the
    /// folder has.
    pub fixed: Fixed,
}

impl ClusterOptions {
    /// A network in `dir` that serves S3 at `listen`, without TLS.
    pub fn new(dir: PathBuf, listen: SocketAddr) -> Self {
        Self {
            dir,
            listen,
            tls: None,
            kms_keys: Vec::new(),
            upkeep: UpkeepSettings::default(),
            nodes: NodeSettings::default(),
            fixed: Fixed::default(),
        }
    }
}

/// Why a network could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The folder, or what was asked of it.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The S3 port.
    #[error(
        "cannot listen on {0}: {1}; choose another address with --listen, or stop what uses it"
    )]
    Listen(SocketAddr, io::Error),
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::OpenError),
    /// A node.
    #[error("node {0}: {1}")]
    Node(usize, storage_node::OpenError),
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] gateway::OpenError),
    /// Its key.
    #[error(transparent)]
    Key(#[from] protocol::keys::KeyFileError),
    /// Too few nodes came up.
    #[error("only {up} of {needed} nodes that a write needs came up within {} s", READY.as_secs())]
    NotReady {
        /// How many did.
        up: usize,
        /// How many must.
        needed: usize,
    },
    /// The endpoint file cannot be written.
    #[error("cannot write the endpoint file: {0}")]
    Endpoint(io::Error),
    /// A part ended while the others started.
    #[error("the network stopped while it started: {0}")]
    Stopped(String),
}

/// One storage node of a running network.
struct RunningNode {
    /// `None` while it is started again.
    node: Arc<Mutex<Option<Arc<Node>>>>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), String>>,
}

/// A running network.
pub struct Cluster {
    folder: NetworkFolder,
    endpoint: Endpoint,
    gateway: std::sync::Arc<gateway::gateway::Gateway>,
    ledger: LedgerAddr,
    chain: protocol::ChainId,
    key: SecretKey,
    nodes: Vec<Option<RunningNode>>,
    /// The gateway and the ledger: if one of them ends, all is over.
    core: JoinSet<Result<(), String>>,
    stop_gateway: CancellationToken,
    stop_ledger: CancellationToken,
}

impl Cluster {
    /// Starts a network and waits until it takes writes.
    pub async fn start(options: ClusterOptions) -> Result<Self, StartError> {
        // Looked at first: a command that is refused makes no folder.
        if let Err(error) = std::net::TcpListener::bind(options.listen) {
            return Err(taken(&options, error));
        }
        let folder = NetworkFolder::open(&options.dir, &options.fixed)?;
        let tls_dir = folder.dir().join("tls");
        let tls = options.tls.as_ref().map(|names| certificate::load_or_create(&tls_dir, names));
        let tls = tls.transpose()?;
        let gateway_dir = folder.dir().join("gateway");
        let is_begun = folder.dir().join("ledger").join("ledger.sqlite").exists();
        if is_begun && !gateway_dir.join("gateway.key").exists() {
            return Err(FolderError::GatewayLost(gateway_dir).into());
        }
        let id = gateway::run::identity(&gateway_dir)?;
        let key = SecretKey::load(&gateway_dir.join("gateway.key"))?;

        let opening = Amount(OPENING_CREDITS * CREDIT);
        let epoch_ms = u64::try_from(folder.epoch().as_millis()).unwrap_or(u64::MAX);
        let ledger = open_ledger(ledger::Settings {
            dir: folder.dir().join("ledger"),
            listen: ANY_PORT,
            gateways: vec![id],
            params: Params::for_epoch(epoch_ms, opening),
            economy: Economy::for_epoch(epoch_ms, opening),
            prices: DEFAULT_PRICES,
            witnesses: Vec::new(),
        })
        .await?;
        let at = LedgerAddr { id: ledger.id(), addr: ledger.addr() };
        let chain = ledger.chain();
        let server = GatewayServer::open(gateway_settings(&folder, &options, tls, at)).await?;
        let first = server.first_key().await?;
        let endpoint = Endpoint::of(&server, first).map_err(StartError::Endpoint)?;

        let (stop_gateway, stop_ledger) = (CancellationToken::new(), CancellationToken::new());
        let mut core = JoinSet::new();
        let (shared, stop) = (server.gateway().clone(), stop_ledger.child_token());
        core.spawn(ledger.run(stop).map_err(|error| error.to_string()));
        let stop = stop_gateway.child_token();
        core.spawn(async move { server.run(stop).await.map_err(|error| error.to_string()) });
        let count = usize::from(folder.nodes());
        let mut cluster = Self {
            folder,
            endpoint,
            gateway: shared,
            ledger: at,
            chain,
            key,
            nodes: (0..count).map(|_| None).collect(),
            core,
            stop_gateway,
            stop_ledger,
        };
        match cluster.bring_up().await {
            Ok(()) => Ok(cluster),
            Err(error) => {
                cluster.stop().await;
                Err(error)
            }
        }
    }

    async fn bring_up(&mut self) -> Result<(), StartError> {
        for index in 0..self.nodes.len() {
            self.start_node(index).await?;
        }
        self.wait_until_ready().await?;
        self.endpoint.write(self.folder.dir()).map_err(StartError::Endpoint)
    }

    /// Starts one node more than the network was begun with; says its index.
    pub async fn add_node(&mut self) -> Result<usize, StartError> {
        let index = self.nodes.len();
        self.nodes.push(None);
        self.start_node(index).await?;
        Ok(index)
    }

    /// Starts node `index` (from 0) on its folder.
    pub async fn start_node(&mut self, index: usize) -> Result<(), StartError> {
        let failed = |error| StartError::Node(index + 1, error);
        let settings = storage_node::Settings {
            dir: self.node_dir(index),
            listen: ANY_PORT,
            advertise: None,
            ledger: Some(storage_node::LedgerAddr { id: self.ledger.id, addr: self.ledger.addr }),
            invite: Some(self.invite()),
            zone: format!("up-{}", index + 1),
            operator: "up".to_owned(),
            capacity: None,
            reserve: storage_node::Settings::RESERVE,
            credit_limit: storage_node::Settings::CREDIT_LIMIT,
            poll: None,
            volumes: storage_node::VolumeSettings::default(),
        };
        let node = Arc::new(Node::open(settings.clone()).await.map_err(failed)?);
        let (node, stop) = (Arc::new(Mutex::new(Some(node))), CancellationToken::new());
        let task = tokio::spawn(keep_running(index, settings, node.clone(), stop.child_token()));
        self.nodes[index] = Some(RunningNode { node, stop, task });
        Ok(())
    }

    /// Stops node `index` (from 0); its folder stays.
    pub async fn stop_node(&mut self, index: usize) {
        if let Some(node) = self.nodes[index].take() {
            node.stop.cancel();
            log_end("node", node.task.await.map_err(|error| error.to_string()).and_then(|end| end));
        }
    }

    /// What node `index` (from 0) did, and how it is, if it runs.
    pub fn node_metrics(&self, index: usize) -> Option<NodeMetrics> {
        let node = lock(&self.nodes[index].as_ref()?.node).clone();
        node.map(|node| node.metrics())
    }

    /// The folder of node `index` (from 0).
    pub fn node_dir(&self, index: usize) -> PathBuf {
        self.folder.dir().join("nodes").join((index + 1).to_string())
    }

    fn invite(&self) -> Invite {
        let now = u64::try_from(gateway::gateway::now_ms()).unwrap_or_default();
        let ttl = u64::try_from(INVITE.as_millis()).unwrap_or_default();
        Invite {
            chain: self.chain,
            ledger: self.ledger.id,
            ledger_addr: self.ledger.addr,
            gateway: self.key.public().into(),
            nonce: protocol::keys::random(),
            expires_ms: now + ttl,
            signature: UNSIGNED,
        }
        .signed(&self.key)
    }

    /// Waits until every node that runs is up; after a while enough of them do.
    pub async fn wait_until_ready(&mut self) -> Result<(), StartError> {
        let all = self.nodes.iter().flatten().count();
        let needed = usize::from(self.gateway.settings.write_quorum);
        let deadline = Instant::now() + READY;
        loop {
            let up = self.gateway.registry.views().iter().filter(|view| view.is_up()).count();
            if up >= all.max(needed) {
                return Ok(());
            }
            if let Some(ended) = self.core.try_join_next() {
                let why = ended.map_err(|error| error.to_string()).and_then(|end| end);
                return Err(StartError::Stopped(why.err().unwrap_or_default()));
            }
            if Instant::now() > deadline {
                let is_enough = up >= needed;
                return if is_enough { Ok(()) } else { Err(StartError::NotReady { up, needed }) };
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// How to reach it.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.folder.dir()
    }

    /// What it is: scheme, nodes, region.
    pub fn folder(&self) -> &NetworkFolder {
        &self.folder
    }

    /// The gateway inside, for tests that look at its state.
    pub fn gateway(&self) -> &std::sync::Arc<gateway::gateway::Gateway> {
        &self.gateway
    }

    /// Waits until a part that the network cannot do without ends by itself.
    pub async fn ended(&mut self) -> String {
        match self.core.join_next().await {
            Some(Ok(Ok(()))) => "a part ended without being told to".to_owned(),
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => error.to_string(),
            None => "nothing runs".to_owned(),
        }
    }

    /// Stops in good order: requests end, last vouchers are sent, then the
    /// nodes and the ledger stop.
    pub async fn stop(mut self) {
        // Who looks for the network should not find one that is going.
        if let Err(error) = Endpoint::remove(self.folder.dir()) {
            tracing::debug!(%error, "endpoint file not removed");
        }
        self.stop_gateway.cancel();
        if self.core.len() > 1 {
            // The gateway; if the ledger ended first, the rest goes as well.
            if let Some(ended) = self.core.join_next().await {
                log_end("gateway", ended.map_err(|error| error.to_string()).and_then(|end| end));
            }
        }
        for index in 0..self.nodes.len() {
            if let Some(node) = &self.nodes[index] {
                node.stop.cancel();
            }
        }
        for index in 0..self.nodes.len() {
            self.stop_node(index).await;
        }
        self.stop_ledger.cancel();
        while let Some(ended) = self.core.join_next().await {
            log_end("ledger", ended.map_err(|error| error.to_string()).and_then(|end| end));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a node until `stop`, and starts it again when it ended over something
/// that passes, as whoever runs nodes as processes does.
async fn keep_running(
    index: usize,
    settings: storage_node::Settings,
    slot: Arc<Mutex<Option<Arc<Node>>>>,
    stop: CancellationToken,
) -> Result<(), String> {
    loop {
        let node = lock(&slot).clone();
        if let Some(node) = node {
            let Err(error) = node.run(stop.clone()).await else { return Ok(()) };
            tracing::error!(node = index + 1, %error, "a node ended");
            // Its folder is free when nobody has it any more.
            lock(&slot).take();
            if !error.is_passing() {
                return Err(error.to_string());
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(AGAIN) => {}
        }
        match Node::open(settings.clone()).await {
            Ok(node) => *lock(&slot) = Some(Arc::new(node)),
            Err(error) => tracing::warn!(node = index + 1, %error, "a node cannot start yet"),
        }
    }
}

/// Opens the ledger where it was at first, if that can be had again: witnesses and
/// wallets were told so. Its address is kept beside it.
async fn open_ledger(settings: ledger::Settings) -> Result<Ledger, ledger::OpenError> {
    let file = settings.dir.join("addr");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    if let Ok(listen) = text.trim().parse::<SocketAddr>() {
        match Ledger::open(ledger::Settings { listen, ..settings.clone() }).await {
            Err(ledger::OpenError::Listen(_, error)) => {
                tracing::warn!(%listen, %error, "the ledger has another address this time");
                return Ledger::open(settings).await;
            }
            opened => return opened,
        }
    }
    let ledger = Ledger::open(settings).await?;
    if let Err(error) = std::fs::write(&file, ledger.addr().to_string()) {
        tracing::warn!(%error, "the ledger may have another address after a restart");
    }
    Ok(ledger)
}

/// Why the port cannot be had: the network that has the folder has it, too, or
/// something else does.
fn taken(options: &ClusterOptions, error: io::Error) -> StartError {
    if is_in_use(&options.dir) {
        return FolderError::InUse(options.dir.clone()).into();
    }
    StartError::Listen(options.listen, error)
}

/// Whether a process has the folder of a network.
pub fn is_in_use(dir: &Path) -> bool {
    let lock = File::open(dir.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn log_end(part: &str, end: Result<(), String>) {
    if let Err(error) = end {
        tracing::warn!(part, %error, "did not stop in good order");
    }
}

/// How the gateway of a network in one process is run.
pub fn gateway_settings(
    folder: &NetworkFolder,
    options: &ClusterOptions,
    tls: Option<TlsFiles>,
    ledger: LedgerAddr,
) -> gateway::Settings {
    let scheme: Scheme = folder.scheme();
    gateway::Settings {
        dir: folder.dir().join("gateway"),
        listen: options.listen,
        tls,
        tls_listen: None,
        admin_listen: ANY_PORT,
        region: folder.region().to_owned(),
        scheme,
        write_quorum: gateway::Settings::default_quorum(scheme),
        engine: Engine::default(),
        domains: Vec::new(),
        // Browsers find every name under localhost on this machine.
        website_domains: vec!["web.localhost".to_owned()],
        cors_origins: Vec::new(),
        allow_form_signature_v2: true,
        kms_keys: options.kms_keys.clone(),
        upkeep: options.upkeep.clone(),
        nodes: options.nodes.clone(),
        max_connections: 1024,
        buffer_bytes: 256 * 1024 * 1024,
        inline_max: 4096,
        delete_grace: DELETE_GRACE,
        upload_lease: Duration::from_secs(6 * 3600),
        ledger,
    }
}
