//! Ships metadata to the nodes, step by step: see [`crate::vault`].

use std::sync::Arc;
use std::time::Duration;

use protocol::ledger_api::ChainInfo;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Gateway, now_ms};
use crate::vault::key::Peers;
use crate::vault::ship::{Limits, Pace, ShipError, Shipper};

/// Between two looks at what was committed.
const TICK: Duration = Duration::from_secs(1);

/// What is not shipped after this long is worth a warning.
const LATE_MS: u64 = 30_000;

/// How long the last commits may take when stopping.
const LAST: Duration = Duration::from_secs(5);

/// Runs until `stop`, then ships what was committed last.
pub async fn run(
    gateway: Arc<Gateway>,
    mut news: watch::Receiver<Option<ChainInfo>>,
    stop: CancellationToken,
) {
    let mut shipper = Shipper::open(gateway.clone(), Limits::default());
    let mut has_warned = false;
    loop {
        let pace = {
            let step = shipper.step(now());
            tokio::pin!(step);
            loop {
                tokio::select! {
                    pace = &mut step => break pace,
                    () = stop.cancelled() => {
                        // One that is given up leaves nothing half done that the
                        // next process would believe. But if it moves the log
                        // into the database, the chain would end there.
                        break match timeout(LAST, &mut step).await {
                            Ok(pace) => pace,
                            Err(_) => Ok(Pace::Idle),
                        };
                    }
                    () = tokio::time::sleep(Duration::from_millis(LATE_MS)) => {
                        has_warned = tell(&gateway, &Ok(Pace::Busy), has_warned);
                    }
                }
            }
        };
        if stop.is_cancelled() {
            break;
        }
        has_warned = tell(&gateway, &pace, has_warned);
        if matches!(pace, Ok(Pace::Busy)) {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(TICK) => {}
            Ok(()) = news.changed() => {
                let info = news.borrow_and_update().clone();
                if let Some(info) = info
                    && let Err(error) = Peers::of(&gateway, &info).keep(&gateway.settings.dir)
                {
                    tracing::warn!(%error, "addresses for the recovery key were not written down");
                }
            }
        }
    }
    match timeout(LAST, shipper.finish(now())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the last commits are not on the nodes yet"),
        Err(_) => tracing::warn!("the last commits could not be shipped in time"),
    }
}

fn now() -> u64 {
    u64::try_from(now_ms()).unwrap_or_default()
}

/// Warns once when commits wait for long, and says once that they do no more.
fn tell(gateway: &Gateway, pace: &Result<Pace, ShipError>, has_warned: bool) -> bool {
    let behind = gateway.vault.progress().behind_since_ms;
    let late_ms = behind.map_or(0, |since| now().saturating_sub(since));
    match (has_warned, late_ms > LATE_MS) {
        (false, true) => {
            let why = pace.as_ref().err().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(seconds = late_ms / 1000, why, "metadata is not on the nodes yet");
            true
        }
        (true, _) if late_ms == 0 => {
            tracing::info!("all metadata is on the nodes again");
            false
        }
        (warned, _) => {
            if let Err(error) = pace {
                tracing::debug!(%error, "metadata: step ended early");
            }
            warned
        }
    }
}
