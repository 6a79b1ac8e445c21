//! Starting and stopping a gateway.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use erasure::{Codec, self_test};
use futures::FutureExt;
use ledger::client::LedgerClient;
use protocol::keys::{KeyFileError, random, write_private};
use protocol::{AccountId, GatewayId, SecretKey};
use thiserror::Error;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access_log::{AccessLog, Logger};
use crate::auth::credentials::Credentials;
use crate::chain::Chain;
use crate::gateway::{Gateway, now_ms};
use crate::http::admin::{self, Admin, Desk};
use crate::http::door::Door;
use crate::http::form::Forms;
use crate::http::guard::{Domains, Guard, GuardSettings, Guarded};
use crate::http::health;
use crate::http::inside::Inside;
use crate::http::listener::{HttpLimits, HttpStats, LOOK_EVERY, Port, Tls, TlsError, serve};
use crate::http::metrics::Metrics;
use crate::http::web::Web;
use crate::master::{self, MasterKeyError};
use crate::meta::{Account, Meta, MetaError, MetaOpenError};
use crate::meter::Meter;
use crate::nodes::quic::QuicNodes;
use crate::nodes::registry::Registry;
use crate::object::keyring;
use crate::ops::encryption::DEFAULT_KMS_KEY;
use crate::s3;
use crate::settings::{Settings, SettingsError};
use crate::upkeep::funds::Funds;
use crate::upkeep::pace::Pace;
use crate::upkeep::{
    audit, collect, lifecycle, logs, moves, outbox, reconcile, repair, settle, standing, vault,
    watch as watching,
};
use crate::vault::Vault;

/// The account that a new gateway has.
pub const FIRST_ACCOUNT: &str = "default";

/// How long the last vouchers may take when stopping.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a loop that panicked rests.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// Why a gateway could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The settings make no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A domain is no domain.
    #[error("{0}")]
    Domains(String),
    /// The folder cannot be used.
    #[error("the gateway's folder {0} cannot be used: {1}")]
    Folder(PathBuf, io::Error),
    /// Another process has it.
    #[error("the gateway's folder {0} is in use by another process: stop it first")]
    InUse(PathBuf),
    /// The identity cannot be read.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The master key cannot be read.
    #[error(transparent)]
    Master(#[from] MasterKeyError),
    /// The metadata cannot be opened.
    #[error(transparent)]
    Meta(#[from] MetaOpenError),
    /// The metadata cannot be read.
    #[error("the gateway's metadata: {0}")]
    Read(#[from] MetaError),
    /// The code does not compute what it should.
    #[error("this machine computes wrong erasure codes, which would lose data: {0}")]
    SelfTest(#[from] erasure::SelfTestError),
    /// A port cannot be had.
    #[error("cannot listen on {0}: {1}; choose another address or stop what uses it")]
    Listen(SocketAddr, io::Error),
    /// Certificate and key cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// No socket to reach nodes from.
    #[error("cannot open a UDP socket: {0}")]
    Socket(io::Error),
}

/// The access key of the first account.
#[derive(Clone)]
pub struct FirstKey {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: String,
}

/// A gateway that is open and not running yet.
pub struct GatewayServer {
    gateway: Arc<Gateway>,
    nodes: Arc<QuicNodes>,
    client: Arc<LedgerClient>,
    s3: TcpListener,
    tls: Option<Arc<Tls>>,
    /// The port of HTTPS, if it is another one.
    s3_tls: Option<TcpListener>,
    admin: TcpListener,
    domains: Domains,
    sites: Domains,
    token: String,
    /// Held as long as the folder is ours.
    _lock: File,
}

/// The public key of the gateway in `dir`, made if there is none.
pub fn identity(dir: &Path) -> Result<GatewayId, OpenError> {
    make_private(dir)?;
    Ok(SecretKey::load_or_create(&dir.join("gateway.key"))?.public().into())
}

/// Makes the folder, readable by its owner alone: names and e-mail addresses
/// are in it.
fn make_private(dir: &Path) -> Result<(), OpenError> {
    let failed = |error| OpenError::Folder(dir.into(), error);
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let failed = |error| OpenError::Folder(dir.into(), error);
    let file = File::create(dir.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir.into())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The token of the admin API, made at the first start.
fn admin_token(dir: &Path) -> Result<String, OpenError> {
    let path = dir.join("admin.token");
    let failed = |error| OpenError::Folder(path.clone(), error);
    match fs::read_to_string(&path) {
        Ok(token) if token.trim().len() >= 32 => return Ok(token.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let token = hex::encode(random::<32>());
    write_private(&path, format!("{token}\n").as_bytes()).map_err(failed)?;
    Ok(token)
}

/// Runs a loop to its end, and once more after a panic: the bug of one round must
/// not end all repairs, or all collecting, without a word.
fn lasting<F>(
    loops: &mut JoinSet<()>,
    name: &'static str,
    gateway: &Arc<Gateway>,
    after: &CancellationToken,
    run: impl Fn(Arc<Gateway>, CancellationToken) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (gateway, stop) = (gateway.clone(), after.child_token());
    loops.spawn(async move {
        loop {
            let ran = AssertUnwindSafe(run(gateway.clone(), stop.clone())).catch_unwind().await;
            if ran.is_ok() {
                return;
            }
            tracing::error!(name, "a loop panicked; it is started again");
            gateway.metrics.upkeep.panics.inc();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AFTER_PANIC) => {}
            }
        }
    });
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, OpenError> {
    TcpListener::bind(addr).await.map_err(|error| OpenError::Listen(addr, error))
}

impl GatewayServer {
    /// Opens the folder and the ports.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        settings.check()?;
        self_test(settings.engine)?;
        let parse = |names: &[String]| {
            Domains::parse(names).map_err(|error| OpenError::Domains(error.to_string()))
        };
        let (domains, sites) = (parse(&settings.domains)?, parse(&settings.website_domains)?);
        let dir = settings.dir.clone();
        make_private(&dir)?;
        let lock = lock(&dir)?;
        let key = SecretKey::load_or_create(&dir.join("gateway.key"))?;
        let meta_path = dir.join("meta.sqlite");
        let is_new = !meta_path.exists();
        let master = master::load_or_create(&dir.join("master.key"), is_new)?;
        let tls = settings.tls.clone().map(Tls::load).transpose()?;
        let s3 = listen(settings.listen).await?;
        let s3_tls = match settings.tls_listen {
            Some(addr) => Some(listen(addr).await?),
            None => None,
        };
        let admin = listen(settings.admin_listen).await?;
        let meta = Meta::open(&meta_path).await?;
        // Whoever was writing when the last process ended is gone.
        let grace = i64::try_from(settings.delete_grace.as_millis()).unwrap_or(i64::MAX / 4);
        let abandoned = meta.abandon_all(now_ms() + grace).await?;
        if abandoned > 0 {
            tracing::info!(abandoned, "uploads that a stop cut off were given up");
        }
        let credentials = Credentials::load(&meta, &master).await?;
        let registry = Arc::new(Registry::default());
        let nodes =
            Arc::new(QuicNodes::new(key.clone(), registry.clone()).map_err(OpenError::Socket)?);
        let client = Arc::new(LedgerClient::new(key.clone(), settings.ledger));
        let gateway = Arc::new(Gateway {
            codec: Codec::new(settings.scheme, settings.engine),
            buffer: Arc::new(Semaphore::new(settings.buffer_bytes)),
            key,
            vault: Vault::new(&master),
            master,
            meta,
            nodes: nodes.clone(),
            registry,
            meter: Meter::default(),
            funds: Funds::default(),
            chain: Chain::default(),
            credentials,
            metrics: Metrics::default(),
            access_log: AccessLog::default(),
            settings,
        });
        let token = admin_token(&dir)?;
        keyring::make(&gateway, &[DEFAULT_KMS_KEY.to_owned()]).await?;
        keyring::make(&gateway, &gateway.settings.kms_keys).await?;
        Ok(Self {
            gateway,
            nodes,
            client,
            s3,
            tls,
            s3_tls,
            admin,
            domains,
            sites,
            token,
            _lock: lock,
        })
    }

    /// The gateway itself.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Where S3 is served.
    pub fn s3_addr(&self) -> io::Result<SocketAddr> {
        self.s3.local_addr()
    }

    /// Whether S3 is served over TLS there.
    pub fn s3_is_tls(&self) -> bool {
        self.tls.is_some() && self.s3_tls.is_none()
    }

    /// Where the admin API is served.
    pub fn admin_addr(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// What the admin API wants to see.
    pub fn admin_token(&self) -> &str {
        &self.token
    }

    /// The key of the first account; both are made if there is no account yet.
    pub async fn first_key(&self) -> Result<Option<FirstKey>, OpenError> {
        const SETTING: &str = "first_key";
        let gateway = &self.gateway;
        if let Some(id) = gateway.meta.setting(SETTING).await? {
            let found = gateway.credentials.resolve(&id, None).ok();
            return Ok(found.map(|found| FirstKey { id, secret: found.secret.to_string() }));
        }
        let account = match gateway.meta.account_named(FIRST_ACCOUNT).await {
            Ok(account) => account,
            Err(MetaError::Missing(_)) => {
                let account = Account {
                    id: AccountId(random()),
                    name: FIRST_ACCOUNT.to_owned(),
                    display_name: FIRST_ACCOUNT.to_owned(),
                    email: String::new(),
                    created_ms: now_ms(),
                    owner: None,
                };
                gateway.meta.add_account(account.clone()).await?;
                account
            }
            Err(error) => return Err(error.into()),
        };
        let made =
            gateway.credentials.create(&gateway.meta, &gateway.master, account.id, None).await?;
        gateway.meta.keep_setting(SETTING, made.id.clone()).await?;
        Ok(Some(FirstKey { id: made.id, secret: made.secret.to_string() }))
    }

    /// Serves until `stop`, then finishes what is under way.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let Self { gateway, nodes, client, s3, tls, s3_tls, admin, domains, sites, token, _lock } =
            self;
        let stats = Arc::new(HttpStats::default());
        let keys = gateway.clone();
        let guard = Guard::new(GuardSettings {
            region: gateway.settings.region.clone(),
            domains: domains.clone(),
            resolve: Arc::new(move |key, token| keys.credentials.resolve(key, token)),
            now: OffsetDateTime::now_utc,
        });
        let logger = Logger::new(gateway.clone(), domains.clone());
        let inner = s3::service(gateway.clone(), domains.clone());
        let forms = Forms::new(gateway.clone(), domains.clone(), inner);
        let service =
            Guarded::new(Arc::new(guard), Inside::new(gateway.clone(), forms, domains.clone()));
        let web = Web::new(gateway.clone(), domains, sites);
        let door = Door::new(web, service, health::router(gateway.clone(), stats.clone()), logger);
        let limits = HttpLimits {
            max_connections: gateway.settings.max_connections,
            ..HttpLimits::default()
        };
        let routes = admin::router(Admin {
            gateway: gateway.clone(),
            client: client.clone(),
            stats: stats.clone(),
            censuses: Desk::default(),
            token: token.into(),
        });

        // Loops go on until requests have ended: those move bytes that must be
        // vouched for.
        let after = CancellationToken::new();
        let (news, heard) = watch::channel(None);
        let shipped = heard.clone();
        let mut loops = JoinSet::new();
        let asked = client.clone();
        let watch =
            move |gateway, stop| watching::ledger(gateway, asked.clone(), news.clone(), stop);
        lasting(&mut loops, "watch of the ledger", &gateway, &after, watch);
        let told = heard.clone();
        let watch = move |gateway, stop| watching::nodes(gateway, told.clone(), stop);
        lasting(&mut loops, "watch of the nodes", &gateway, &after, watch);
        lasting(&mut loops, "standing", &gateway, &after, standing::run);
        lasting(&mut loops, "collect", &gateway, &after, collect::run);
        lasting(&mut loops, "reconcile", &gateway, &after, reconcile::run);
        let pace = Arc::new(Pace::new(gateway.settings.upkeep.repair_rate));
        let paced = pace.clone();
        let mend = move |gateway, stop| repair::run(gateway, paced.clone(), stop);
        lasting(&mut loops, "repair", &gateway, &after, mend);
        let shift = move |gateway, stop| moves::run(gateway, pace.clone(), stop);
        lasting(&mut loops, "moves", &gateway, &after, shift);
        lasting(&mut loops, "lifecycle", &gateway, &after, lifecycle::run);
        lasting(&mut loops, "outbox", &gateway, &after, outbox::run);
        lasting(&mut loops, "logs", &gateway, &after, logs::run);
        let (asked, told) = (client.clone(), heard.clone());
        let ask = move |gateway, stop| audit::run(gateway, asked.clone(), told.clone(), stop);
        lasting(&mut loops, "audit", &gateway, &after, ask);
        let (asked, resumed) = (client.clone(), Arc::new(AtomicBool::new(false)));
        let pay = move |gateway, stop| {
            let is_first = !resumed.swap(true, Ordering::Relaxed);
            settle::run(gateway, asked.clone(), heard.clone(), is_first, stop)
        };
        lasting(&mut loops, "settle", &gateway, &after, pay);

        // What the loops commit last is shipped, too.
        let after_all = CancellationToken::new();
        let mut shipping = JoinSet::new();
        let ship = move |gateway, stop| vault::run(gateway, shipped.clone(), stop);
        lasting(&mut shipping, "vault", &gateway, &after_all, ship);
        if let Some(tls) = tls.clone() {
            loops.spawn(tls.follow(LOOK_EVERY, after.child_token()));
        }
        let ports = match s3_tls {
            Some(other) => vec![s3.into(), Port { socket: other, tls }],
            None => vec![Port { socket: s3, tls }],
        };

        let (admin_limits, admin_stats) = (HttpLimits::default(), Arc::new(HttpStats::default()));
        let served = tokio::join!(
            serve(ports, door, limits, stats, stop.child_token()),
            serve(
                vec![admin.into()],
                admin::AdminService(routes),
                admin_limits,
                admin_stats,
                stop.child_token()
            ),
        );
        // The last lines are an upload like any other: it is vouched for, too.
        if tokio::time::timeout(LAST_WORDS, logs::flush(&gateway)).await.is_err() {
            tracing::warn!("the last access logs could not be written in time");
        }
        after.cancel();
        let ended = async { while loops.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, ended).await.is_err() {
            tracing::warn!("some loops did not end in time");
        }
        after_all.cancel();
        // It ends by itself in time.
        while shipping.join_next().await.is_some() {}
        nodes.close();
        client.close().await;
        served.0.and(served.1)
    }
}
