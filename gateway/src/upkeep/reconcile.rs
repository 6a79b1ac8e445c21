//! Acts on what a census finds: shards that are missing go to repair, shards
//! that nobody knows into quarantine.
//!
//! A census is taken every day and whenever the repair queue has run empty: a
//! heal is done when the count says so, not when the queue does. Nothing is
//! deleted here. Shards that nobody knows may be known to metadata that are
//! newer than ours (after a recovery), so only an operator deletes them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::audit::Outcome;
use protocol::{NodeId, ShardId};
use tokio_util::sync::CancellationToken;

use super::places::{any_group, lost};
use crate::census::{self, Census, Depth, Findings};
use crate::gateway::{Gateway, now_ms};
use crate::meta::{MetaError, Millis, Stray, Target};
use crate::object::audit::{group_len, outcome_of};

/// How often it is looked whether a census is due.
const TICK: Duration = Duration::from_secs(2);

/// Where it is written down when the last census was taken.
const SETTING: &str = "reconciled_ms";

/// Between two censuses that are taken because something was repaired.
const HEAL_PAUSE_MS: Millis = 10 * 60 * 1000;

/// Strays that are looked through at once.
const STRAYS: u32 = 100_000;

/// A stray is deleted, on request, when it has been one for this long: an upload
/// that was cut off may still be on its way into metadata.
const QUARANTINE_MS: Millis = 3600 * 1000;

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, stop: CancellationToken) {
    let mut was_healing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = look(&gateway, &mut was_healing) => done,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "reconcile: ended early");
        }
    }
}

async fn look(gateway: &Arc<Gateway>, was_healing: &mut bool) -> Result<(), MetaError> {
    let is_healing = gateway.meta.repairs_waiting().await? > 0;
    *was_healing |= is_healing;
    let has_healed = *was_healing && !is_healing;
    let last = gateway.meta.setting(SETTING).await?.and_then(|text| text.parse().ok());
    let every = i64::try_from(gateway.settings.upkeep.reconcile_every.as_millis());
    let Some(last): Option<Millis> = last else {
        // A new gateway has nothing to count yet.
        return gateway.meta.keep_setting(SETTING, now_ms().to_string()).await;
    };
    // Clocks go back, too: what lies ahead is no reason to wait.
    let since = now_ms() - last;
    let is_due = since < 0 || since >= every.unwrap_or(i64::MAX);
    if is_due || (has_healed && since >= HEAL_PAUSE_MS) {
        *was_healing = false;
        let census = reconcile(gateway, Depth::List).await?;
        gateway.meta.keep_setting(SETTING, now_ms().to_string()).await?;
        tell(&census);
    }
    Ok(())
}

fn tell(census: &Census) {
    let Census { segments, full, degraded, lost, orphans, .. } = census;
    if *lost > 0 {
        tracing::error!(segments, full, degraded, lost, orphans, "census: segments are lost");
    } else {
        tracing::info!(segments, full, degraded, lost, orphans, "census");
    }
}

/// Takes a census and acts on it.
pub async fn reconcile(gateway: &Arc<Gateway>, depth: Depth) -> Result<Census, MetaError> {
    let findings = census::take(gateway, depth).await?;
    let mut hidden = BTreeMap::<NodeId, u64>::new();
    for &(node, shard) in &findings.missing {
        if look_for(gateway, depth, node, shard).await? {
            *hidden.entry(node).or_default() += 1;
        }
    }
    for (node, shards) in hidden {
        let text = format!("it did not list {shards} shards, and proved them");
        gateway.meta.note_lie(node, text, now_ms()).await?;
    }
    gateway.meta.queue_unstored(findings.unstored.clone(), now_ms()).await?;
    quarantine(gateway, &findings).await?;
    gateway.metrics.repair.census(&findings.census);
    Ok(findings.census)
}

/// Has a node prove a shard that it does not list, or that could not be read. A list
/// alone is no loss: a node that is refilled whenever it leaves something out of
/// its list would be paid for that again and again. Says whether it has it after all.
async fn look_for(
    gateway: &Gateway,
    depth: Depth,
    node: NodeId,
    shard: ShardId,
) -> Result<bool, MetaError> {
    let meta = &gateway.meta;
    // It may have been moved or deleted since.
    let Some(target) = meta.audit_target_of(node, shard).await? else { return Ok(false) };
    let Target { root, len, .. } = target;
    let group = any_group(len);
    let answer = gateway.nodes.prove(node, shard, root, len, group).await;
    match (&answer, outcome_of(&answer)) {
        (Err(error), Outcome::Failed) => lost(gateway, node, shard, error).await?,
        (Ok(()), _) if depth == Depth::List => {
            gateway.meter.audit(node, gateway.own_account(), group_len(len, group));
            return Ok(true);
        }
        // It is listed and could not be read, or does not answer: repair looks again.
        _ => meta.queue_repair(shard.segment, shard.index, now_ms()).await?,
    }
    Ok(false)
}

async fn quarantine(gateway: &Gateway, findings: &Findings) -> Result<(), MetaError> {
    let Census { orphans, shards, .. } = findings.census;
    if orphans > 100 && orphans * 100 > shards {
        tracing::error!(
            orphans,
            shards,
            "nodes hold many shards that metadata do not know: are these metadata an old copy?"
        );
    }
    gateway.meta.keep_strays(findings.strays.clone(), now_ms()).await?;
    let is_whole = findings.strays.len() as u64 == orphans;
    let found: HashSet<&Stray> = findings.strays.iter().collect();
    for (stray, _) in gateway.meta.strays(STRAYS).await? {
        let is_silent = findings.census.silent.contains(&stray.node.to_string());
        if is_whole && !is_silent && !found.contains(&stray) {
            gateway.meta.forget_stray(stray).await?;
        }
    }
    Ok(())
}

/// Has deleted what has been in quarantine for long enough and is still unknown.
/// Returns how many shards that are, and their bytes; `collect` deletes them.
pub async fn delete_strays(gateway: &Arc<Gateway>) -> Result<(u64, u64), MetaError> {
    let (mut deleted, mut bytes) = (0, 0);
    let before = now_ms() - QUARANTINE_MS;
    for (stray, first_ms) in gateway.meta.strays(STRAYS).await? {
        if gateway.vault.is_ours(stray.shard.segment) {
            gateway.meta.forget_stray(stray).await?;
        } else if first_ms < before && gateway.meta.doom_stray(stray).await? {
            deleted += 1;
            bytes += stray.len;
        }
    }
    Ok((deleted, bytes))
}

#[cfg(test)]
mod tests {
    use protocol::{Epoch, SegmentId};

    use super::*;
    use crate::testing::{Fault, World, chain_info, node, sample};

    const STRANGER: ShardId = ShardId { segment: SegmentId([0xfe; 16]), index: 2 };

    async fn world() -> World {
        let world = World::start().await;
        for n in 0..3 {
            world.put(&format!("key{n}"), &sample(50_000 + n)).await.unwrap();
        }
        world
    }

    #[tokio::test]
    async fn what_a_node_lost_without_a_word_goes_to_repair() {
        let world = world().await;
        world.empty(3);
        let census = reconcile(&world.gateway, Depth::List).await.unwrap();
        assert_eq!((census.degraded, census.missing), (3, 3));
        assert_eq!(world.gateway.meta.repairs_waiting().await.unwrap(), 3);
    }

    #[tokio::test]
    async fn who_admits_a_loss_is_claimed_for_it_all_the_same() {
        let world = world().await;
        world.gateway.chain.set(chain_info(world.gateway.id()));
        world.empty(3);
        reconcile(&world.gateway, Depth::List).await.unwrap();
        let losses = world.gateway.meta.losses(None, 9).await.unwrap();
        assert_eq!(losses.len(), 3);
        assert!(losses.iter().all(|loss| loss.node == node(3) && loss.epoch == Epoch(7)));
    }

    #[tokio::test]
    async fn what_is_left_out_of_a_list_is_not_lost_as_long_as_it_is_proved() {
        let world = world().await;
        world.set(3, Fault::Hides);
        let census = reconcile(&world.gateway, Depth::List).await.unwrap();
        assert_eq!(census.missing, 3);
        assert_eq!(world.gateway.meta.repairs_waiting().await.unwrap(), 0, "nothing is refilled");
        let events = world.gateway.meta.node_events(node(3), 9).await.unwrap();
        let lies: Vec<_> = events.iter().filter(|event| event.kind == "lie").collect();
        assert_eq!(lies.len(), 1);
        assert!(lies[0].text.contains("3 shards"), "{:?}", lies[0]);
    }

    #[tokio::test]
    async fn a_silent_node_has_lost_nothing() {
        let world = world().await;
        world.set(3, Fault::Offline);
        reconcile(&world.gateway, Depth::List).await.unwrap();
        assert_eq!(world.gateway.meta.repairs_waiting().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn strangers_are_kept_until_an_operator_says_so() {
        let world = world().await;
        let meta = &world.gateway.meta;
        world.nodes.shards.lock().unwrap().insert((node(0), STRANGER), sample(100).into());
        reconcile(&world.gateway, Depth::List).await.unwrap();
        assert_eq!(meta.strays(10).await.unwrap().len(), 1);
        assert_eq!(delete_strays(&world.gateway).await.unwrap(), (0, 0), "too young");
        let stray = meta.strays(10).await.unwrap()[0].0;
        meta.forget_stray(stray).await.unwrap();
        meta.keep_strays(vec![stray], 5).await.unwrap();
        assert_eq!(delete_strays(&world.gateway).await.unwrap(), (1, 100));
        assert_eq!(meta.strays(10).await.unwrap(), []);
        crate::upkeep::collect::round(&world.gateway).await.unwrap();
        assert!(!world.nodes.shards.lock().unwrap().contains_key(&(node(0), STRANGER)));
    }

    #[tokio::test]
    async fn a_stranger_that_went_away_is_forgotten() {
        let world = world().await;
        world.nodes.shards.lock().unwrap().insert((node(0), STRANGER), sample(100).into());
        reconcile(&world.gateway, Depth::List).await.unwrap();
        world.set(0, Fault::Offline);
        reconcile(&world.gateway, Depth::List).await.unwrap();
        assert_eq!(world.gateway.meta.strays(10).await.unwrap().len(), 1, "nobody looked");
        world.nodes.faults.lock().unwrap().clear();
        world.nodes.shards.lock().unwrap().remove(&(node(0), STRANGER));
        reconcile(&world.gateway, Depth::List).await.unwrap();
        assert_eq!(world.gateway.meta.strays(10).await.unwrap(), []);
    }
}
