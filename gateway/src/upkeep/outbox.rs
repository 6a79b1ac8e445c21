//! Delivers events to webhooks: at least once, those of a bucket and target in
//! the order in which they happened, as long as the target takes them.
//!
//! One that cannot be delivered is tried again, at first after a second, later
//! every hour, for about three days; then it is dropped and counted. While a
//! target fails, what is behind waits, too, half a minute at most: order is
//! kept over short failures, and one record that a target never takes does not
//! hold up the others. Receivers order by `sequencer`.
//!
//! A write never waits for delivery and never fails because of it. When more
//! than [`WAITING_MAX`] events of a bucket wait, the oldest are dropped and
//! counted.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events::WEBHOOK_ARN;
use crate::gateway::{Gateway, now_ms};
use crate::meta::{Due, MetaError, Millis, Queue};

/// Between two looks when there was nothing.
const PAUSE: Duration = Duration::from_millis(500);

/// Queues in one round.
const QUEUES: u32 = 64;

/// Queues that are delivered at once.
const TOGETHER: usize = 16;

/// Events in one turn of a queue.
const TURN: u32 = 64;

/// How long a turn may take: a slow target must not keep others waiting.
const TURN_TIME: Duration = Duration::from_secs(10);

/// Tries before an event is given up: with the pauses between them, three days.
const TRIES_MAX: u32 = 83;

/// The longest pause between two tries.
const BACKOFF_MAX_MS: Millis = 3600 * 1000;

/// How long what is behind a failure waits at most.
const REST_MAX_MS: Millis = 30 * 1000;

/// Events of one bucket that may wait.
pub const WAITING_MAX: u32 = 100_000;

/// Between two looks at how many wait.
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut trimmed = Instant::now();
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = round(&gateway) => done,
        };
        if trimmed.elapsed() > TRIM_EVERY {
            trimmed = Instant::now();
            trim(&gateway).await;
        }
        let is_busy = done.unwrap_or_else(|error| {
            tracing::warn!(%error, "outbox: round ended early");
            false
        });
        if is_busy {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn trim(gateway: &Gateway) {
    match gateway.meta.trim_outbox(WAITING_MAX).await {
        Ok(0) => {}
        Ok(dropped) => {
            gateway.metrics.upkeep.events_dropped.inc_by(dropped);
            tracing::warn!(dropped, "outbox: too many events wait; the oldest were dropped");
        }
        Err(error) => tracing::warn!(%error, "outbox: not trimmed"),
    }
}

/// Each queue has a turn. Whether there was anything.
pub async fn round(gateway: &Gateway) -> Result<bool, MetaError> {
    let queues = gateway.meta.due_queues(now_ms(), QUEUES).await?;
    let is_busy = !queues.is_empty();
    let mut turns =
        stream::iter(queues).map(|queue| turn(gateway, queue)).buffer_unordered(TOGETHER);
    while let Some(done) = turns.next().await {
        done?;
    }
    Ok(is_busy)
}

async fn turn(gateway: &Gateway, queue: Queue) -> Result<(), MetaError> {
    let began = Instant::now();
    let mut delivered = Vec::new();
    let mut failed = None;
    for event in gateway.meta.due_events(&queue, now_ms(), TURN).await? {
        match deliver(gateway, &queue, &event.record).await {
            Ok(()) => delivered.push(event.id),
            Err(why) => {
                failed = Some((event, why));
                break;
            }
        }
        if began.elapsed() > TURN_TIME {
            break;
        }
    }
    let counters = &gateway.metrics.upkeep;
    counters.events_delivered.inc_by(delivered.len() as u64);
    if !delivered.is_empty() {
        gateway.meta.forget_events(delivered).await?;
    }
    let Some((event, why)) = failed else { return Ok(()) };
    counters.events_failed.inc();
    tracing::info!(target = queue.target, why, tries = event.tries, "outbox: not delivered");
    give_up_or_put_off(gateway, queue, &event).await
}

async fn give_up_or_put_off(gateway: &Gateway, queue: Queue, event: &Due) -> Result<(), MetaError> {
    let now = now_ms();
    let Some(pause) = backoff(event.tries) else {
        gateway.metrics.upkeep.events_dropped.inc();
        tracing::warn!(target = queue.target, "outbox: an event was given up");
        return gateway.meta.forget_events(vec![event.id]).await;
    };
    gateway.meta.put_off(queue, event.id, now + pause, now + pause.min(REST_MAX_MS)).await
}

/// How long to wait after a try failed that so many others went before; `None`
/// is for ever. Pure.
fn backoff(tries: u32) -> Option<Millis> {
    let doubled = 1000 << tries.min(12);
    (tries < TRIES_MAX).then_some(Millis::min(doubled, BACKOFF_MAX_MS))
}

async fn deliver(gateway: &Gateway, queue: &Queue, record: &str) -> Result<(), String> {
    let name = queue.target.strip_prefix(WEBHOOK_ARN).unwrap_or_default();
    let webhook = gateway.settings.upkeep.webhooks.get(name);
    let webhook = webhook.ok_or("no webhook has this name any more")?;
    webhook.send(record, now_ms() / 1000).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_spread_over_three_days() {
        assert_eq!([0, 1, 2].map(backoff), [Some(1000), Some(2000), Some(4000)]);
        assert_eq!(backoff(12), Some(BACKOFF_MAX_MS));
        assert_eq!(backoff(TRIES_MAX), None);
        let all: Millis = (0..=TRIES_MAX).map_while(backoff).sum();
        let day = 24 * 3600 * 1000;
        assert!((3 * day - day / 8..3 * day + day / 8).contains(&all), "{all}");
    }
}
