//! A witness of the ledger as a process.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ledger::witness::Progress;
use ledger::{LedgerAddr, Witness};
use tokio_util::sync::CancellationToken;

use crate::cli::signals::Signals;
use crate::config::WitnessConfig;
use crate::exit::Failure;
use crate::roles::status::{self, Look, Metrics, Watched};
use crate::roles::{resolve, serve, status_listener, unless_stopped};

/// Follows the ledger until a signal, or until it is found false.
pub async fn run(config: WitnessConfig) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let opened = unless_stopped(&mut signals, async {
        let listener = status_listener(config.metrics_listen).await?;
        let addr = resolve(&config.ledger.addr).await?;
        let ledger = LedgerAddr { id: config.ledger.id, addr };
        Ok((Witness::open(config.dir, ledger).await?, listener))
    });
    let Some((witness, listener)) = opened.await? else { return Ok(()) };
    let watched = WatchedWitness(witness.progress());
    tracing::info!(key = %witness.key(), "ready");

    let stop = CancellationToken::new();
    let (stopping, watching) = (stop.child_token(), stop.child_token());
    serve(signals, stop, async move {
        tokio::select! {
            ended = witness.run(stopping) => Ok(ended?),
            never = status::serve(listener, watched, watching) => match never {},
        }
    })
    .await
}

struct WatchedWitness(Arc<Progress>);

impl Watched for WatchedWitness {
    async fn look(&self) -> Look {
        let get = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        let polls = get(&self.0.polls);
        let missing = (polls == 0).then(|| "the ledger was not followed yet".to_owned());
        let mut text = Metrics::default();
        text.gauge("witness_height", "The last block that was executed", get(&self.0.height));
        let cosigned = get(&self.0.cosigned);
        text.gauge("witness_cosigned_entries", "Entries of the last head cosigned", cosigned);
        text.counter("witness_polls", "How often the ledger was asked and answered", polls);
        Look { missing, metrics: text.finish() }
    }
}
