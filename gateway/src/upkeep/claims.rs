//! Shards that failed their audits are claimed at the ledger, where the node may
//! refute it.
//!
//! A loss is written down before the shard is given up, and said again until
//! the ledger has it: the same words are the same claim. Each round says some of
//! them and the next goes on from there, so that claims which are refused do not
//! stand before others. Not here: what an audit is (`audit`), and what a claim
//! costs (the ledger).

use ledger::client::LedgerClient;
use protocol::claim::LossClaim;
use protocol::ledger_api::{ChainInfo, Submission};
use protocol::statement::UNSIGNED;
use protocol::{Epoch, NodeId, ShardId};
use thiserror::Error;

use crate::gateway::{Gateway, now_ms};
use crate::meta::{Loss, MetaError};

/// Claims in one submission.
const TOGETHER: u32 = 256;

/// A claim that the ledger refuses may still be early: bytes count once their
/// epoch is settled, and others may have to end first. So many epochs later what
/// the node earned is mature, and it never will be taken.
const LATE_MAX: u64 = 4096;

/// Why claims were not made.
#[derive(Debug, Error)]
pub(super) enum ClaimError {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error("ledger: {0}")]
    Ledger(#[from] ledger::client::ClientError),
}

/// Says some of what is not on the ledger yet, and from where the next round
/// goes on.
pub(super) async fn submit(
    gateway: &Gateway,
    client: &LedgerClient,
    info: &ChainInfo,
    after: Option<(ShardId, NodeId)>,
) -> Result<Option<(ShardId, NodeId)>, ClaimError> {
    let losses = gateway.meta.losses(after, TOGETHER).await?;
    let Some(last) = losses.last().map(|loss| (loss.shard, loss.node)) else { return Ok(None) };
    let claim = |loss: &Loss| Submission::Loss(Box::new(claim(gateway, info, loss)));
    let outcomes = client.submit(losses.iter().map(claim).collect()).await?;
    for (loss, outcome) in losses.iter().zip(outcomes) {
        let Loss { shard, node, epoch, .. } = *loss;
        match outcome {
            Ok(()) => {
                tracing::info!(?node, ?shard, %epoch, "the ledger took the claim of a loss");
                gateway.metrics.upkeep.losses_claimed.inc();
            }
            Err(reason) if epoch.0.saturating_add(LATE_MAX) < oldest(info).0 => {
                tracing::warn!(?node, ?shard, %epoch, reason, "the claim of a loss is given up");
            }
            Err(reason) => {
                tracing::debug!(?node, ?shard, %epoch, reason, "claimed again later");
                continue;
            }
        }
        gateway.meta.claimed_loss(shard, node, now_ms()).await?;
    }
    Ok(Some(last))
}

/// The oldest epoch that is not settled: receipts of it may still come.
fn oldest(info: &ChainInfo) -> Epoch {
    let taking = info.taking_receipts.iter().chain(&info.taking_statements);
    taking.copied().min().unwrap_or(info.open).min(info.open)
}

/// What is claimed. Pure: said again it is the same.
fn claim(gateway: &Gateway, info: &ChainInfo, loss: &Loss) -> LossClaim {
    LossClaim {
        chain: info.chain,
        gateway: gateway.id(),
        node: loss.node,
        epoch: loss.epoch,
        shard: loss.shard,
        root: loss.root,
        len: loss.len,
        data: loss.data,
        group: loss.group,
        signature: UNSIGNED,
    }
    .signed(&gateway.key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Target;
    use crate::testing::{COUNT, World, chain_info, eventually, node, sample};
    use crate::upkeep::audit::{Question, audit};

    /// Audits everything on a node once.
    async fn audit_all(world: &World, n: u8) {
        for number in 0..4 {
            let challenge = crate::object::audit::Challenge::draw(&[n; 32], node(n), number);
            audit(&world.gateway, node(n), Epoch(6), Question::New(challenge)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_shard_that_is_not_proved_is_claimed_once_and_in_the_same_words() {
        let world = World::start().await;
        world.put("holiday", &sample(200_000)).await.unwrap();
        let on = world.holders("holiday").await;
        let (&index, &n) = on.first_key_value().unwrap();
        let shard = world.segment("holiday").await;
        let shard = protocol::ShardId { segment: shard.id, index };
        let meta = &world.gateway.meta;
        let target: Target = meta.audit_target_of(node(n), shard).await.unwrap().unwrap();
        audit_all(&world, n).await;
        let losses = async || meta.losses(None, 9).await.unwrap();
        assert_eq!(losses().await, [], "it is there");

        world.empty(n);
        audit_all(&world, n).await;
        eventually(async || losses().await.len() == 1).await;
        let loss = losses().await[0];
        assert_eq!((loss.shard, loss.node, loss.root), (shard, node(n), target.root));
        assert_eq!((loss.epoch, loss.len, loss.data), (Epoch(6), target.len, 4));

        // Another audit of the same shard does not change the claim.
        let other = Loss { epoch: Epoch(7), group: loss.group + 1, ..loss };
        meta.keep_loss(other, now_ms()).await.unwrap();
        assert_eq!(losses().await, [loss]);
        let info = chain_info(world.gateway.id());
        let said = claim(&world.gateway, &info, &loss);
        assert!(said.is_sound() && said.verify().is_ok());
        assert_eq!(claim(&world.gateway, &info, &loss).id(), said.id());
        // The shard may have been on another node since, and lost there, too.
        let elsewhere = Loss { node: node(COUNT + 1), ..loss };
        meta.keep_loss(elsewhere, now_ms()).await.unwrap();
        let mut both = vec![loss, elsewhere];
        both.sort_by_key(|loss| loss.node);
        assert_eq!(losses().await, both);
        let first = Some((shard, both[0].node));
        assert_eq!(meta.losses(first, 9).await.unwrap(), both[1..]);
        let now = now_ms();
        meta.claimed_loss(shard, node(n), now).await.unwrap();
        assert_eq!(losses().await, [elsewhere]);
        meta.claimed_loss(shard, elsewhere.node, now).await.unwrap();
        assert_eq!(losses().await, []);
        // One loss is not claimed twice; of what came back since and is lost again it
        // is another one.
        let again = Loss { epoch: Epoch(9), ..loss };
        meta.keep_loss(again, now + 3_600_000).await.unwrap();
        assert_eq!(losses().await, []);
        meta.keep_loss(again, now + 49 * 3_600_000).await.unwrap();
        assert_eq!(losses().await, [again]);
    }
}
