//! Watches the network: members from the ledger, state from the nodes.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use ledger::client::LedgerClient;
use protocol::NodeId;
use protocol::ledger_api::{ChainInfo, NodeRecord};
use protocol::message::Status;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chain::REVOKED;
use crate::gateway::{Gateway, now_ms};
use crate::meter::LANE;
use crate::nodes::registry::{Experience, NodeView};
use crate::upkeep::standing;

/// Between two looks at the ledger: a tenth of an epoch, within these bounds.
const LEDGER_POLL: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Between two looks at the nodes.
const NODE_POLL: Duration = Duration::from_secs(5);

/// While something is missing we look more often.
const EAGER_POLL: Duration = Duration::from_millis(100);

/// Members that did not change for this long are looked at less often.
const SETTLED: Duration = Duration::from_secs(3);

/// Nodes that are asked at once.
const TOGETHER: usize = 64;

/// Follows the ledger; what it says is handed on.
pub async fn ledger(
    gateway: Arc<Gateway>,
    client: Arc<LedgerClient>,
    news: watch::Sender<Option<ChainInfo>>,
    stop: CancellationToken,
) {
    let mut was_there = true;
    let mut changed_at = Instant::now();
    loop {
        let pause = match client.chain_info().await {
            Ok(info) => {
                was_there = true;
                gateway.registry.set_members(info.nodes.clone());
                hear(&gateway, &info).await;
                let tenth = Duration::from_millis(info.epoch_ms / 10);
                let is_small = info.nodes.len() < usize::from(gateway.settings.write_quorum);
                if has_other_members(news.borrow().as_ref(), &info) {
                    changed_at = Instant::now();
                }
                let is_settled = !is_small && changed_at.elapsed() > SETTLED;
                news.send_if_modified(|known| {
                    let is_news = known.as_ref() != Some(&info);
                    *known = Some(info);
                    is_news
                });
                if is_settled { tenth.clamp(LEDGER_POLL.0, LEDGER_POLL.1) } else { EAGER_POLL }
            }
            Err(error) => {
                if std::mem::replace(&mut was_there, false) {
                    tracing::warn!(%error, "the ledger does not answer; going on with what is known");
                }
                LEDGER_POLL.0
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Hands on what requests must know, and does at once what cannot wait.
async fn hear(gateway: &Gateway, info: &ChainInfo) {
    let before = gateway.chain.info();
    if before.as_deref() == Some(info) {
        return;
    }
    let was_revoked = gateway.chain.is_revoked(gateway.id());
    gateway.chain.set(info.clone());
    match (was_revoked, gateway.chain.is_revoked(gateway.id())) {
        (false, true) => tracing::error!("{REVOKED}; writes are refused"),
        (true, false) => tracing::info!("the ledger lists this gateway again"),
        _ => {}
    }
    let had_excluded = before.map(|before| before.excluded.clone()).unwrap_or_default();
    if info.excluded != had_excluded
        && let Err(error) = standing::refresh(gateway).await
    {
        tracing::warn!(%error, "the standing of excluded nodes is looked up later");
    }
}

fn has_other_members(known: Option<&ChainInfo>, info: &ChainInfo) -> bool {
    known.is_none_or(|known| known.nodes != info.nodes)
}

/// Asks every node how it is going; at once when the ledger has news.
pub async fn nodes(
    gateway: Arc<Gateway>,
    mut news: watch::Receiver<Option<ChainInfo>>,
    stop: CancellationToken,
) {
    let mut looks = JoinSet::new();
    // A node that moved is looked at where it is now, whatever becomes of the
    // look at where it was.
    let mut under_way = HashSet::new();
    let mut places = HashSet::new();
    let mut looked_at: HashMap<NodeId, Instant> = HashMap::new();
    loop {
        let mut views = gateway.registry.views();
        // Who was not looked at for longest comes first; who is up can wait.
        views.sort_by_key(|view| looked_at.get(&view.record.node).copied());
        for view in &views {
            let NodeRecord { node, addr, .. } = view.record;
            let is_due = looked_at
                .get(&node)
                .is_none_or(|at| at.elapsed() >= if view.is_up() { NODE_POLL } else { EAGER_POLL });
            let is_new_place = !places.contains(&(node, addr));
            if (is_due || is_new_place)
                && under_way.len() < TOGETHER
                && under_way.insert((node, addr))
            {
                looked_at.insert(node, Instant::now());
                places.retain(|(known, _)| *known != node);
                places.insert((node, addr));
                let gateway = gateway.clone();
                looks.spawn(async move {
                    // A look that panicked must not be the last one at its node.
                    if AssertUnwindSafe(look(gateway, node)).catch_unwind().await.is_err() {
                        tracing::error!(?node, "a look at a node panicked");
                    }
                    (node, addr)
                });
            }
        }
        looked_at.retain(|node, _| views.iter().any(|view| view.record.node == *node));
        places.retain(|(node, _)| looked_at.contains_key(node));
        let all_up = !views.is_empty() && views.iter().all(NodeView::is_up);
        let next_at = Instant::now() + if all_up { NODE_POLL / 5 } else { EAGER_POLL };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next_at) => break,
                Ok(()) = news.changed() => break,
                Some(Ok(done)) = looks.join_next() => {
                    under_way.remove(&done);
                }
            }
        }
    }
}

async fn look(gateway: Arc<Gateway>, node: NodeId) {
    match gateway.nodes.status(node).await {
        Ok(status) => take_status(&gateway, node, &status).await,
        Err(error) => {
            tracing::debug!(?node, %error, "node does not answer");
            gateway.registry.experience(node, Experience::Unreachable);
        }
    }
}

/// Takes in what a node says of itself. The only way into the registry: a new
/// incarnation that the registry knew and the metadata did not would never be
/// noticed again, and what the old one held would count as stored for ever.
async fn take_status(gateway: &Gateway, node: NodeId, status: &Status) {
    let known = gateway.registry.view(node).and_then(|view| view.incarnation);
    if known != Some(status.incarnation) {
        // Written down before the node is used: commits compare with it.
        let seen = gateway.meta.see_node(node, status.incarnation, now_ms()).await;
        if let Err(error) = seen
            && !is_recorded(gateway, node, status).await
        {
            tracing::warn!(?node, %error, "node not recorded");
            return;
        }
    }
    if let Some(info) = gateway.chain.info() {
        let ours = status.vouchers.iter().filter(|voucher| voucher.body.lane == LANE);
        for voucher in ours.filter(|voucher| voucher.is_owed(info.chain, gateway.id(), node)) {
            // Our own signature proves what we once owed.
            gateway.meter.raise(voucher.body.epoch, node, &voucher.body.counters);
        }
    }
    gateway.registry.set_status(node, status);
    gateway.registry.seen(node, now_ms());
    if known != Some(status.incarnation)
        && let Err(error) = standing::refresh(gateway).await
    {
        tracing::warn!(?node, %error, "the node's standing is looked up later");
    }
}

/// Whether metadata have this life of the node already: then it is used, though
/// nothing can be written now.
async fn is_recorded(gateway: &Gateway, node: NodeId, status: &Status) -> bool {
    let known = gateway.meta.nodes().await.unwrap_or_default();
    known.iter().any(|known| (known.node, known.incarnation) == (node, status.incarnation))
}

#[cfg(test)]
mod tests {
    use protocol::price::{Amount, Counters};
    use protocol::voucher::VoucherBody;

    use super::*;
    use crate::testing::{World, chain_info, incarnation, node};

    #[tokio::test]
    async fn a_node_is_not_owed_what_another_one_is() {
        let world = World::start().await;
        let gateway = &world.gateway;
        let info = chain_info(gateway.id());
        gateway.chain.set(info.clone());
        gateway.meter.turn(info.open);
        let body = VoucherBody {
            chain: info.chain,
            gateway: gateway.id(),
            node: node(1),
            epoch: info.open,
            lane: LANE,
            counters: Counters { put_bytes: 1 << 40, operations: 1, ..Counters::default() },
            amount: Amount(0),
            price_sheet: [0; 32],
        };
        let show = async |by: u8, body: &VoucherBody| {
            let voucher = body.clone().signed(&gateway.key);
            let status = Status {
                incarnation: incarnation(node(by)),
                free: 1 << 40,
                stored: 0,
                shards: 0,
                vouchers: vec![voucher],
            };
            take_status(gateway, node(by), &status).await;
            gateway.meter.snapshot().nodes.get(&node(by)).copied().unwrap_or_default()
        };
        assert_eq!(show(2, &body).await, Counters::default(), "it is owed to another");
        let elsewhere = VoucherBody { chain: protocol::ChainId([4; 16]), ..body.clone() };
        assert_eq!(show(1, &elsewhere).await, Counters::default(), "in another network");
        assert_eq!(show(1, &body).await, body.counters);
    }
}
