//! A ledger in a folder: opens it, serves it, stops it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use protocol::ids::PublicKey;
use protocol::keys::{KeyFileError, random};
use protocol::ledger_api::Outcome;
use protocol::price::Prices;
use protocol::tls::Admission;
use protocol::{ChainId, GatewayId, LedgerId, SecretKey, quic, sign};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::block::Block;
use crate::chain::{BeginError, Chain};
use crate::clock::Timing;
use crate::economy::Economy;
use crate::entry::Deposit;
use crate::genesis::{Genesis, GenesisError, Params};
use crate::halt::Halt;
use crate::notary::Notary;
use crate::replay::{ReplayError, replay};
use crate::server::{self, Service};
use crate::store::{self, Reader, Store, StoreError};
use crate::writer::{Handle, Shared, Stopped, WriteError, Writer};

/// How to run a ledger.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its key, its database and its lock are.
    pub dir: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The network's gateways. Used at the first start alone, like the
    /// parameters, the economy and the prices.
    pub gateways: Vec<GatewayId>,
    /// How long things take and how money is shared.
    pub params: Params,
    /// Who is paid when, and what misbehaving costs.
    pub economy: Economy,
    /// What things cost.
    pub prices: Prices,
    /// Keys of the witnesses whose cosignatures are served. They may change at
    /// every start.
    pub witnesses: Vec<PublicKey>,
}

/// Why a ledger could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The folder cannot be used.
    #[error("the ledger's folder {0} cannot be used: {1}")]
    Folder(PathBuf, io::Error),
    /// Another process has it open.
    #[error("the ledger's folder {0} is in use by another process: stop it first")]
    InUse(PathBuf),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// There is a ledger, but its key is gone.
    #[error("{0} is missing, and no other key can continue this ledger: restore it from a backup")]
    KeyMissing(PathBuf),
    /// There is a ledger, and it has another key.
    #[error("{path} is the key of {found}, the ledger belongs to {wanted}: restore the right key")]
    KeyMismatch {
        /// The key file.
        path: PathBuf,
        /// Whose it is.
        found: LedgerId,
        /// Whose it should be.
        wanted: LedgerId,
    },
    /// The settings make no network.
    #[error("the network cannot begin: {0}")]
    Genesis(#[from] GenesisError),
    /// The genesis makes no network.
    #[error("the network cannot begin: {0}")]
    Begin(#[from] BeginError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored does not follow from the genesis.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The address cannot be listened on.
    #[error("the ledger cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
}

/// Why a ledger stopped that should not.
#[derive(Debug, Error)]
pub enum RunError {
    /// The disk failed.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// An open ledger.
pub struct Ledger {
    endpoint: quinn::Endpoint,
    addr: SocketAddr,
    key: SecretKey,
    chain: ChainId,
    shared: Arc<Shared>,
    writer: Writer,
    handle: Handle,
    reader: Reader,
    witnesses: Vec<PublicKey>,
    /// Held as long as the ledger is open.
    lock: File,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("id", &self.id()).field("addr", &self.addr).finish()
    }
}

/// Brings money in, as whoever runs the ledger.
#[derive(Clone, Debug)]
pub struct Operator(Handle);

impl Operator {
    /// Credits an account. When this returns `Ok(Ok(()))`, it is on disk; the
    /// same deposit again changes nothing.
    pub async fn deposit(&self, deposit: Deposit) -> Result<Outcome, Stopped> {
        self.0.deposit(deposit).await
    }
}

impl Ledger {
    /// Opens the ledger in a folder, or begins one there.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        Self::open_with(settings, Timing::default()).await
    }

    /// Like [`Ledger::open`], with another clock or pace.
    pub async fn open_with(settings: Settings, timing: Timing) -> Result<Self, OpenError> {
        let lock = lock_folder(&settings.dir)?;
        let key = load_key(&settings.dir)?;
        let (mut store, reader) = store::open(&settings.dir.join(DATABASE)).await?;
        let chain = match reader.genesis().await? {
            None => begin(&settings, &key, (timing.now_ms)(), &mut store).await?,
            Some(genesis) => resume(&settings, &key, genesis, &mut store, &reader).await?,
        };
        let endpoint = quic::listen(settings.listen, &key, Admission::new(is_welcome))
            .map_err(|error| OpenError::Listen(settings.listen, error))?;
        let addr =
            endpoint.local_addr().map_err(|error| OpenError::Listen(settings.listen, error))?;

        let id = chain.head().chain;
        let halt = Halt::look(&settings.dir);
        let halt = halt.map_err(|error| OpenError::Folder(settings.dir.clone(), error))?;
        let shared = Shared::new(chain, halt);
        let (writer, handle) = Writer::new(shared.clone(), store, key.clone(), timing);
        let witnesses = settings.witnesses;
        Ok(Self { endpoint, addr, key, chain: id, shared, writer, handle, reader, witnesses, lock })
    }

    /// Its key, as nodes and gateways pin it.
    pub fn id(&self) -> LedgerId {
        self.key.public().into()
    }

    /// The network.
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// Where it listens: the real port, if any was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A way to bring money in while the ledger runs.
    pub fn operator(&self) -> Operator {
        Operator(self.handle.clone())
    }

    /// Serves until `stop`, or until the disk fails. What was taken in by then
    /// is answered and on disk.
    //
    // Boxed: outside of this crate the compiler cannot tell that the future is
    // `Send`.
    pub fn run(self, stop: CancellationToken) -> BoxFuture<'static, Result<(), RunError>> {
        Box::pin(self.serve(stop))
    }

    async fn serve(self, stop: CancellationToken) -> Result<(), RunError> {
        let Self { endpoint, key, shared, writer, handle, reader, witnesses, lock, .. } = self;
        // The writer outlives the server, which drains through it. Whoever
        // drops this future stops both.
        let (serving, writing) = (stop.child_token(), CancellationToken::new());
        let (_serve, write) = (serving.clone().drop_guard(), writing.clone().drop_guard());
        let service = Service::new(shared, handle, reader.clone(), key, Notary::new(witnesses));
        let server = tokio::spawn(server::serve(endpoint, service, serving.clone()));
        let writer = tokio::spawn(async move {
            let _held = lock;
            // Without a writer there is nothing to serve.
            let _serve = serving.drop_guard();
            writer.run(writing).await
        });
        server.await.expect("the server does not panic");
        drop(write);
        let written = writer.await.expect("the writer does not panic");
        reader.close().await;
        Ok(written?)
    }
}

const KEY: &str = "ledger.key";
const DATABASE: &str = "ledger.sqlite";
const LOCK: &str = "lock";

fn is_welcome(key: PublicKey) -> bool {
    sign::is_sound_key(key)
}

pub(crate) fn lock_folder(dir: &Path) -> Result<File, OpenError> {
    let failed = |error| OpenError::Folder(dir.into(), error);
    fs::create_dir_all(dir).map_err(failed)?;
    let open = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK));
    let lock = open.map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir.into())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// A new key would only hide that the old one is gone, so none is made next
/// to a ledger that exists.
fn load_key(dir: &Path) -> Result<SecretKey, OpenError> {
    let path = dir.join(KEY);
    let has_ledger = fs::metadata(dir.join(DATABASE)).is_ok_and(|file| file.len() > 0);
    if has_ledger && !path.exists() {
        return Err(OpenError::KeyMissing(path));
    }
    Ok(SecretKey::load_or_create(&path)?)
}

async fn begin(
    settings: &Settings,
    key: &SecretKey,
    now_ms: u64,
    store: &mut Store,
) -> Result<Chain, OpenError> {
    let genesis = Genesis::new(
        ChainId(random()),
        key,
        settings.gateways.clone(),
        now_ms,
        settings.params.clone(),
        settings.economy.clone(),
        settings.prices,
    )?;
    let chain = Chain::new(genesis.clone())?;
    let header = chain.head().clone();
    let finality = header.signed(key);
    store.begin(&genesis, &Block { header, entries: Vec::new(), finality }).await?;
    tracing::info!(chain = %genesis.chain, gateways = genesis.gateways.len(), "a network begins");
    Ok(chain)
}

async fn resume(
    settings: &Settings,
    key: &SecretKey,
    genesis: Genesis,
    store: &mut Store,
    reader: &Reader,
) -> Result<Chain, OpenError> {
    let found = key.public().into();
    if genesis.sequencer != found {
        let (path, wanted) = (settings.dir.join(KEY), genesis.sequencer);
        return Err(OpenError::KeyMismatch { path, found, wanted });
    }
    warn_about_changes(settings, &genesis);
    let (chain, _) = replay(Chain::new(genesis)?, store, reader).await?;
    Ok(chain)
}

/// Only the genesis counts; whoever changed the settings should know.
fn warn_about_changes(settings: &Settings, genesis: &Genesis) {
    for gateway in &settings.gateways {
        if !genesis.gateways.contains(gateway) {
            tracing::warn!(%gateway, "not a gateway of this network: gateways are set at its first start");
        }
    }
    if settings.params != genesis.params {
        tracing::warn!(
            "the parameters of the first start stay in force, not those of the settings"
        );
    }
    if settings.prices != genesis.prices {
        tracing::warn!("the prices of the first start stay in force, not those of the settings");
    }
}
