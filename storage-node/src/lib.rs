//! A storage node: keeps shards on disk and answers gateways over QUIC.
//!
//! ```text
//! server   accepts registered gateways; one request on each stream
//!   turns    how many requests are worked on at once
//!   handle   put, get, delete, prove, status, voucher: one file each
//!     lanes    what gateways owe: vouchers, credit
//!     store    shards: volumes, durable before anyone hears of it
//! chain    keeps up with the ledger: members, epochs, prices; claims receipts
//! watch    what a node ends over by itself
//! ```
//!
//! The wire is specified in `protocol`, the files in the module docs of
//! `store`, `lanes` and `chain`. A node knows nothing of objects or erasure
//! codes, and sees only encrypted bytes.

mod chain;
mod error;
mod handle;
mod lanes;
mod metrics;
mod server;
mod store;
mod turns;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::registration::{Invite, NAME_MAX};
use protocol::tls::Admission;
use protocol::{GatewayId, Incarnation, LedgerId, NodeId, SecretKey, quic};
use quinn::Endpoint;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

pub use crate::error::{OpenError, RunError};
pub use crate::metrics::NodeMetrics;
pub use crate::store::folder::{identity, joined};
pub use crate::store::scrub::Scrubbed;

use crate::chain::view::View;
use crate::chain::{Chain, Presence};
use crate::lanes::Lanes;
use crate::metrics::Metrics;
use crate::store::core::Limits;
use crate::store::disk::real::RealDisk;
use crate::store::folder::{Folder, Superblock, volumes_path};
use crate::store::{ShardStore, StoreError, import};
use crate::turns::Turns;

/// Where the ledger is, and the key it must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerAddr {
    /// Its key.
    pub id: LedgerId,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// How a node is run.
#[derive(Clone)]
pub struct Settings {
    /// The data folder; made if it is absent.
    pub dir: PathBuf,
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where others dial; `None` is where we listen. Port 0 is the port we
    /// listen on.
    pub advertise: Option<SocketAddr>,
    /// The ledger; `None` is the one of the invite, or the one that the folder
    /// remembers.
    pub ledger: Option<LedgerAddr>,
    /// Permission to join, for the first start.
    pub invite: Option<Invite>,
    /// Machines of one zone fail together.
    pub zone: String,
    /// Who runs the node.
    pub operator: String,
    /// Bytes of shards to hold at most; `None` is what the disk holds.
    pub capacity: Option<u64>,
    /// Free bytes of the disk that are never used.
    pub reserve: u64,
    /// Bytes that a gateway is served beyond what it vouched for.
    pub credit_limit: u64,
    /// Time between two looks at the ledger; `None` is a tenth of an epoch,
    /// between 200 ms and 10 s.
    pub poll: Option<Duration>,
    /// Volumes, and the work on them that goes on by itself.
    pub volumes: VolumeSettings,
}

/// How large volumes are, and at what pace they are looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeSettings {
    /// Length of a volume. A file grows to it in steps.
    pub length: u64,
    /// Bytes that compaction moves in a second.
    pub compact_rate: u64,
    /// Bytes that a scrub reads in a second, at most.
    pub scrub_rate: u64,
}

impl Default for VolumeSettings {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self { length: 256 * MIB, compact_rate: 32 * MIB, scrub_rate: 16 * MIB }
    }
}

impl Settings {
    /// The default of [`Settings::credit_limit`]: 256 MiB.
    pub const CREDIT_LIMIT: u64 = 256 * 1024 * 1024;
    /// The default of [`Settings::reserve`]: 1 GiB.
    pub const RESERVE: u64 = 1024 * 1024 * 1024;
}

/// A storage node that listens. Dropping it unlocks its folder.
pub struct Node {
    inner: Arc<Inner>,
}

/// All that the parts of a node share.
struct Inner {
    key: SecretKey,
    presence: Presence,
    invite: Option<Invite>,
    ledger: LedgerAddr,
    poll: Option<Duration>,
    incarnation: Incarnation,
    /// Before the folder: it is unlocked when the store is closed.
    store: Arc<ShardStore>,
    folder: Mutex<Folder>,
    lanes: Arc<Lanes>,
    chain: Arc<Chain>,
    metrics: Arc<Metrics>,
    turns: Turns,
    endpoint: Endpoint,
    bound: SocketAddr,
}

/// The gateway that asks.
#[derive(Clone, Copy, Debug)]
struct Peer {
    gateway: GatewayId,
}

impl Node {
    /// Opens the folder and the socket. Nobody is answered before
    /// [`Node::run`].
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        for (name, what) in [(&settings.zone, "zone"), (&settings.operator, "operator")] {
            if name.len() > NAME_MAX {
                return Err(OpenError::Name(what));
            }
        }
        let opening = settings.clone();
        let Opened { folder, ledger, view, store, lanes } =
            blocking(move || Opened::open(&opening)).await?;

        let chain = Arc::new(Chain::new(view));
        let members = chain.clone();
        let admission = Admission::new(move |key| members.admits(key));
        let failed = |source| OpenError::Listen { addr: settings.listen, source };
        let endpoint = quic::listen(settings.listen, &folder.key, admission).map_err(failed)?;
        let bound = endpoint.local_addr().map_err(failed)?;
        let presence = Presence {
            node: folder.superblock.node,
            addr: advertised(settings.advertise, bound)?,
            zone: settings.zone,
            operator: settings.operator,
        };
        let inner = Inner {
            key: folder.key.clone(),
            presence,
            invite: settings.invite,
            ledger,
            poll: settings.poll,
            incarnation: folder.superblock.incarnation,
            folder: Mutex::new(folder),
            store,
            lanes,
            chain,
            metrics: Arc::default(),
            turns: Turns::new(),
            endpoint,
            bound,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The node's identity.
    pub fn id(&self) -> NodeId {
        self.inner.presence.node
    }

    /// Where the node listens.
    pub fn addr(&self) -> SocketAddr {
        self.inner.bound
    }

    /// Where others dial the node.
    pub fn advertised(&self) -> SocketAddr {
        self.inner.presence.addr
    }

    /// The life of the data folder.
    pub fn incarnation(&self) -> Incarnation {
        self.inner.incarnation
    }

    /// What the node did, and how it is.
    pub fn metrics(&self) -> NodeMetrics {
        let Inner { store, chain, presence, turns, endpoint, metrics, .. } = &*self.inner;
        let stats = store.stats();
        let registered = chain.view().is_some_and(|view| presence.is_member(&view.info.nodes));
        NodeMetrics {
            working: turns.working() as u64,
            connections: endpoint.open_connections() as u64,
            stored: stats.stored,
            shards: stats.shards,
            free: stats.free,
            dead: stats.dead,
            tombstones: stats.tombstones,
            damaged: stats.damaged,
            disk_failed: store.has_failed(),
            ledger_reachable: chain.is_reachable(),
            registered,
            ..metrics.snapshot()
        }
    }

    /// Reads and verifies every record now, at full speed.
    pub async fn scrub(&self) -> io::Result<Scrubbed> {
        let store = self.inner.store.clone();
        blocking(move || store.scrub()).await.map_err(io::Error::from)
    }

    /// Serves until `stop`, then finishes the requests under way and closes the
    /// endpoint: a node runs once.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), RunError> {
        // A part that fails stops the other, and not those who gave us `stop`.
        let stop = stop.child_token();
        let mut tasks = JoinSet::new();
        tasks.spawn(server::run(self.inner.clone(), stop.clone()));
        tasks.spawn(chain::run(self.inner.clone(), stop.clone()));
        tasks.spawn(watch::run(self.inner.clone(), stop.clone()));

        let mut result = Ok(());
        while let Some(joined) = tasks.join_next().await {
            let ended = joined.expect("a task is never aborted, and a panic is fatal");
            stop.cancel();
            result = result.and(ended);
        }
        result
    }
}

/// What lies in the folder.
struct Opened {
    store: Arc<ShardStore>,
    folder: Folder,
    ledger: LedgerAddr,
    view: Option<View>,
    lanes: Arc<Lanes>,
}

impl Opened {
    fn open(settings: &Settings) -> Result<Self, OpenError> {
        let folder = Folder::open(&settings.dir)?;
        let ledger = ledger(settings, &folder.superblock)?;
        let failed = |source| OpenError::Folder { path: settings.dir.clone(), source };
        let VolumeSettings { length, compact_rate, scrub_rate } = settings.volumes;
        let Settings { capacity, reserve, .. } = *settings;
        let limits = Limits { capacity, reserve, volume: length, compact_rate, scrub_rate };
        let disk = Arc::new(RealDisk::new(&volumes_path(&folder.path)));
        let failed_store = |error: StoreError| failed(error.into());
        let store = ShardStore::open(disk, folder.store, limits).map_err(failed_store)?;
        import::run(&folder.path, &store).map_err(failed_store)?;
        let node = folder.superblock.node;
        let lanes = Lanes::open(&folder.path, node, settings.credit_limit).map_err(failed)?;
        let ours = |view: &View| {
            (Some(view.info.chain), view.info.ledger) == (folder.superblock.chain, ledger.id)
        };
        let view = View::load(&folder.path).map_err(failed)?.filter(ours);
        Ok(Self { folder, ledger, view, store, lanes })
    }
}

/// The ledger to ask: the settings' before the invite's before the folder's;
/// they may differ in the address alone.
fn ledger(settings: &Settings, known: &Superblock) -> Result<LedgerAddr, OpenError> {
    let invited = settings
        .invite
        .as_ref()
        .map(|invite| LedgerAddr { id: invite.ledger, addr: invite.ledger_addr });
    let remembered = known.ledger.zip(known.ledger_addr).map(|(id, addr)| LedgerAddr { id, addr });
    let asked = settings.ledger.or(invited).or(remembered).ok_or(OpenError::NoLedger)?;
    let path = settings.dir.clone();
    if let Some(known) = known.ledger.filter(|known| *known != asked.id) {
        return Err(OpenError::OtherLedger { path, known, asked: asked.id });
    }
    if let Some(invited) = invited.filter(|invited| invited.id != asked.id) {
        return Err(OpenError::OtherInvite { invited: invited.id, asked: asked.id });
    }
    let chain = settings.invite.as_ref().map(|invite| invite.chain);
    match (known.chain, chain) {
        (Some(known), Some(asked)) if known != asked => {
            Err(OpenError::OtherChain { path, known, asked })
        }
        _ => Ok(asked),
    }
}

/// The address to register.
fn advertised(asked: Option<SocketAddr>, bound: SocketAddr) -> Result<SocketAddr, OpenError> {
    let mut addr = asked.unwrap_or(bound);
    if addr.port() == 0 {
        addr.set_port(bound.port());
    }
    if addr.ip().is_unspecified() { Err(OpenError::Advertise(addr)) } else { Ok(addr) }
}

/// Runs work that waits for the disk or computes for long, off the reactor.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    finished(tokio::task::spawn_blocking(work)).await
}

/// Waits for blocking work. Its panic goes on here.
async fn finished<T>(work: JoinHandle<T>) -> T {
    match work.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
