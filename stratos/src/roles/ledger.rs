//! The ledger as a process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ledger::{DEFAULT_PRICES, Ledger, LedgerAddr, LedgerClient, Params};
use protocol::SecretKey;
use protocol::ledger_api::ChainInfo;
use tokio_util::sync::CancellationToken;

use crate::cli::signals::Signals;
use crate::config::LedgerConfig;
use crate::exit::Failure;
use crate::roles::status::{self, Look, Metrics, Watched};
use crate::roles::{serve, status_listener, unless_stopped};

/// How long the ledger may take to answer the one who asks how it is.
const ANSWER: Duration = Duration::from_secs(2);

/// Serves the ledger until a signal.
pub async fn run(config: LedgerConfig) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let metrics_listen = config.metrics_listen;
    let opened = unless_stopped(&mut signals, async {
        let listener = status_listener(metrics_listen).await?;
        Ok((Ledger::open(settings(&config)).await?, listener))
    });
    let Some((ledger, listener)) = opened.await? else { return Ok(()) };
    let watched = WatchedLedger::new(ledger.id(), ledger.addr());
    tracing::info!(addr = %ledger.addr(), id = %ledger.id(), chain = %ledger.chain(), "ready");

    let stop = CancellationToken::new();
    let (stopping, watching) = (stop.child_token(), stop.child_token());
    serve(signals, stop, async move {
        tokio::select! {
            ended = ledger.run(stopping) => Ok(ended?),
            never = status::serve(listener, watched, watching) => match never {},
        }
    })
    .await
}

fn settings(config: &LedgerConfig) -> ledger::Settings {
    let epoch_ms = u64::try_from(config.epoch.as_millis()).unwrap_or(u64::MAX);
    ledger::Settings {
        dir: config.dir.clone(),
        listen: config.listen,
        gateways: config.gateways.clone(),
        params: Params::for_epoch(epoch_ms, config.opening_balance),
        economy: config.economy.clone(),
        prices: DEFAULT_PRICES,
        witnesses: config.witnesses.clone(),
    }
}

/// Asks the ledger over its own port, as everybody does: what answers here
/// answers there.
struct WatchedLedger {
    client: LedgerClient,
    /// Whether it ever answered. Strangers at the port may delay us later, and
    /// that must not take the ledger away from its members.
    answered: AtomicBool,
}

impl WatchedLedger {
    fn new(id: protocol::LedgerId, bound: SocketAddr) -> Self {
        let addr = LedgerAddr { id, addr: SocketAddr::new(dialled(bound.ip()), bound.port()) };
        let client = LedgerClient::new(SecretKey::generate(), addr);
        Self { client, answered: AtomicBool::new(false) }
    }
}

/// A wildcard is dialled on loopback.
pub(crate) fn dialled(bound: IpAddr) -> IpAddr {
    match bound {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

impl Watched for WatchedLedger {
    async fn look(&self) -> Look {
        let answer = tokio::time::timeout(ANSWER, self.client.chain_info()).await;
        let info = answer.ok().and_then(Result::ok);
        let answered = self.answered.fetch_or(info.is_some(), Ordering::Relaxed) || info.is_some();
        let missing = (!answered).then(|| "the ledger does not answer yet".to_owned());
        Look { missing, metrics: metrics(info.as_ref()) }
    }
}

fn metrics(info: Option<&ChainInfo>) -> String {
    let mut text = Metrics::default();
    text.gauge("ledger_up", "Whether the ledger answers at its port", info.is_some().into());
    let Some(info) = info else { return text.finish() };
    text.gauge("epoch", "The open epoch", info.open.0);
    text.gauge("epoch_opened_ms", "When it began, in milliseconds since 1970", info.opened_ms);
    text.gauge("epoch_length_ms", "How long an epoch lasts, in milliseconds", info.epoch_ms);
    let taking = info.taking_receipts.len() as u64;
    text.gauge("epochs_taking_receipts", "Closed epochs that still take receipts", taking);
    text.gauge("gateways", "Registered gateways", info.gateways.len() as u64);
    text.gauge("nodes", "Registered nodes", info.nodes.len() as u64);
    text.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_dialled_on_loopback() {
        let check = |bound: &str, want: &str| {
            let ip = |text: &str| text.parse::<IpAddr>().expect("an IP");
            assert_eq!(dialled(ip(bound)), ip(want), "{bound}");
        };
        check("0.0.0.0", "127.0.0.1");
        check("::", "::1");
        check("10.0.0.7", "10.0.0.7");
    }

    #[test]
    fn a_ledger_that_does_not_answer_is_counted_as_down() {
        assert!(metrics(None).ends_with("stratos_ledger_up 0\n"), "{}", metrics(None));
    }
}
