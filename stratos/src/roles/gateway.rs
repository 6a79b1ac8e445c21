//! A gateway as a process.

use std::collections::BTreeMap;
use std::time::Duration;

use erasure::Engine;
use gateway::webhook::{self, Webhook};
use gateway::{GatewayServer, NodeSettings, UpkeepSettings};
use tokio_util::sync::CancellationToken;

use crate::cli::signals::Signals;
use crate::config::{GatewayConfig, Hook};
use crate::endpoint::Endpoint;
use crate::exit::Failure;
use crate::roles::{resolve, serve, unless_stopped};

/// How long what was deleted or replaced is kept for readers under way.
const DELETE_GRACE: Duration = Duration::from_secs(3600);

/// How long an upload may stand still before it counts as abandoned.
const UPLOAD_LEASE: Duration = Duration::from_secs(6 * 3600);

/// Serves S3 until a signal. `--data DIR` of the gateway's folder finds it.
pub async fn run(config: GatewayConfig) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let dir = config.dir.clone();
    let opened = unless_stopped(&mut signals, open(config)).await?;
    let Some((server, endpoint)) = opened else { return Ok(()) };
    endpoint.write(&dir).map_err(|error| {
        Failure::operation(format!("cannot write the endpoint file in {}: {error}", dir.display()))
    })?;
    tracing::info!(
        s3 = %server.s3_addr()?,
        admin = %server.admin_addr()?,
        id = %server.gateway().id(),
        "ready"
    );
    let stop = CancellationToken::new();
    let stopping = stop.child_token();
    let served = serve(signals, stop, async {
        server
            .run(stopping)
            .await
            .map_err(|error| Failure::operation(format!("the gateway stopped: {error}")))
    });
    let ended = served.await;
    if let Err(error) = Endpoint::remove(&dir) {
        tracing::warn!(%error, "endpoint file not removed");
    }
    ended
}

async fn open(config: GatewayConfig) -> Result<(GatewayServer, Endpoint), Failure> {
    let addr = resolve(&config.ledger.addr).await?;
    let ledger = ledger::LedgerAddr { id: config.ledger.id, addr };
    let server = GatewayServer::open(settings(config, ledger)?).await?;
    let first = server.first_key().await?;
    let endpoint = Endpoint::of(&server, first)?;
    Ok((server, endpoint))
}

fn settings(
    config: GatewayConfig,
    ledger: ledger::LedgerAddr,
) -> Result<gateway::Settings, Failure> {
    let too_large = |_| Failure::usage("buffer_mib does not fit this machine: write less");
    Ok(gateway::Settings {
        dir: config.dir,
        listen: config.listen,
        tls: config.tls,
        tls_listen: config.tls_listen,
        admin_listen: config.admin_listen,
        region: config.region,
        scheme: config.scheme,
        write_quorum: config.write_quorum,
        engine: Engine::default(),
        domains: config.domains,
        website_domains: config.website_domains,
        cors_origins: config.cors_origins,
        allow_form_signature_v2: config.allow_form_signature_v2,
        kms_keys: config.kms_keys,
        upkeep: UpkeepSettings {
            webhooks: webhooks(config.webhooks)?,
            repair_rate: config.repair_rate,
            absent_after: config.absent_after,
            reconcile_every: config.census_every,
            freeze_after: config.freeze_after,
            ..UpkeepSettings::default()
        },
        nodes: NodeSettings { require_domains: config.require_domains, ..NodeSettings::default() },
        max_connections: usize::try_from(config.max_connections).map_err(too_large)?,
        buffer_bytes: usize::try_from(config.buffer_bytes).map_err(too_large)?,
        inline_max: usize::try_from(config.inline_max_bytes).map_err(too_large)?,
        delete_grace: DELETE_GRACE,
        upload_lease: UPLOAD_LEASE,
        ledger,
    })
}

/// Reads the secrets of webhooks.
fn webhooks(hooks: BTreeMap<String, Hook>) -> Result<BTreeMap<String, Webhook>, Failure> {
    let mut webhooks = BTreeMap::new();
    for (name, hook) in hooks {
        let mut options = webhook::Options { secret: None, may_be_private: hook.private };
        if let Some(path) = &hook.secret_file {
            let secret = std::fs::read_to_string(path).map_err(|error| {
                let path = path.display();
                Failure::usage(format!("the secret of webhook {name} in {path}: {error}"))
            })?;
            options.secret = Some(secret.trim_end().to_owned().into());
        }
        let webhook = Webhook::parse(&hook.url, options)
            .map_err(|error| Failure::usage(format!("webhook {name}: {error}")))?;
        webhooks.insert(name, webhook);
    }
    Ok(webhooks)
}
