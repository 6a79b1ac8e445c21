//! The roles as processes of their own: from a checked configuration to a
//! process that serves until it is told to stop.
//!
//! What they share is here: looking up names, the service manager, and how a
//! signal becomes an end in good order. Not here: what a role does (its crate),
//! its command line (`cli`) and its file (`config`).

pub mod gateway;
pub mod ledger;
pub mod node;
pub mod status;
pub mod witness;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cli::signals::Signals;
use crate::config::{Address, ResolveError};
use crate::exit::Failure;
use crate::notify;

/// How long a name may stay unknown: the roles of a network start together, and
/// names appear when their machines do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two look-ups; it doubles up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Does what comes before serving. `None` if a signal came first.
async fn unless_stopped<T>(
    signals: &mut Signals,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    tokio::select! {
        done = work => done.map(Some),
        () = signals.next() => Ok(None),
    }
}

/// Serves until a signal: the first cancels `stop`, the second ends at once.
/// Requests are answered from here on, so the service manager is told.
async fn serve(
    mut signals: Signals,
    stop: CancellationToken,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    tokio::pin!(work);
    tell(notify::ready());
    tokio::select! {
        ended = &mut work => {
            ended?;
            return Err(Failure::operation("it ended without being told to; the log says more"));
        }
        () = signals.next() => {}
    }
    tell(notify::stopping());
    tracing::info!("stopping: requests under way are finished; a second signal ends at once");
    stop.cancel();
    tokio::select! {
        ended = work => ended,
        () = signals.next() => {
            tracing::warn!("ended at once");
            Ok(())
        }
    }
}

/// A service manager that does not listen is no reason to stop serving.
fn tell(told: io::Result<()>) {
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager in NOTIFY_SOCKET was not told");
    }
}

/// Looks a name up, again and again for a while if nobody knows it yet.
async fn resolve(address: &Address) -> Result<SocketAddr, ResolveError> {
    let mut pauses = pauses();
    loop {
        let error = match address.resolve().await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let Some(pause) = pauses.next() else { return Err(error) };
        tracing::warn!(%error, "trying again");
        tokio::time::sleep(pause).await;
    }
}

/// The pauses between look-ups; together they are no longer than [`PATIENCE`].
fn pauses() -> impl Iterator<Item = Duration> {
    let mut left = PATIENCE;
    std::iter::successors(Some(PAUSE.0), |pause| Some((*pause * 2).min(PAUSE.1))).map_while(
        move |pause| {
            left = left.checked_sub(pause)?;
            Some(pause)
        },
    )
}

/// Opens the port of `metrics_listen`, if there is one.
async fn status_listener(addr: Option<SocketAddr>) -> Result<Option<TcpListener>, Failure> {
    let Some(addr) = addr else { return Ok(None) };
    let listener = TcpListener::bind(addr).await.map_err(|error| {
        Failure::operation(format!(
            "cannot listen on {addr}: {error}; choose another metrics_listen or stop what uses it"
        ))
    })?;
    tracing::info!(addr = %listener.local_addr()?, "health and metrics");
    Ok(Some(listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_for_a_while_and_ever_less_often() {
        let pauses: Vec<Duration> = pauses().collect();
        assert_eq!(pauses[..3], [100, 200, 400].map(Duration::from_millis));
        assert_eq!(pauses.last(), Some(&PAUSE.1));
        let all: Duration = pauses.iter().sum();
        assert!(PATIENCE - PAUSE.1 < all && all <= PATIENCE, "{all:?}");
    }

    #[tokio::test]
    async fn an_ip_is_not_waited_for() {
        let address: Address = "127.0.0.1:4400".parse().expect("an address");
        assert_eq!(resolve(&address).await.expect("an address").port(), 4400);
    }

    #[tokio::test]
    async fn work_that_ends_by_itself_is_a_failure() {
        let serve = |result| {
            let signals = Signals::listen().expect("signals");
            serve(signals, CancellationToken::new(), std::future::ready(result))
        };
        let error = serve(Ok(())).await.unwrap_err();
        assert!(error.to_string().starts_with("it ended without being told to"), "{error}");
        let error = serve(Err(Failure::operation("the disk is gone"))).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.code()), ("the disk is gone", 1));
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = taken.local_addr().expect("bound");
        let error = status_listener(Some(addr)).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {addr}: ")), "{error}");
        assert!(error.contains("metrics_listen"), "{error}");
    }
}
