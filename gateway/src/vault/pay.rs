//! Nodes are paid for what they send to a recovery, like for any other read:
//! beyond their credit they would stop.
//!
//! Vouchers go on from the highest that a node holds. A gateway that runs
//! meanwhile, since this is only a rehearsal, hears of them from the nodes and
//! goes on from there.

use std::collections::HashMap;
use std::sync::Arc;

use protocol::ledger_api::ChainInfo;
use protocol::message::WINDOW;
use protocol::price::Counters;
use protocol::voucher::{Voucher, VoucherBody};
use protocol::{GatewayId, NodeId, SecretKey};
use tokio::sync::Mutex;

use crate::meter::LANE;
use crate::nodes::{NodeError, Nodes};

/// A node gets a voucher after this many bytes.
const STEP: u64 = 32 * 1024 * 1024;

/// Pays nodes.
pub struct Payer {
    nodes: Arc<dyn Nodes>,
    key: SecretKey,
    info: ChainInfo,
    /// What was not vouched for yet. Locked while a voucher is on its way, since
    /// the next must go on from it.
    owed: Mutex<HashMap<NodeId, Counters>>,
}

impl Payer {
    /// Pays as the gateway of `key`, by the prices of `info`.
    pub fn new(nodes: Arc<dyn Nodes>, key: SecretKey, info: ChainInfo) -> Self {
        Self { nodes, key, info, owed: Mutex::default() }
    }

    /// A node sent a shard of this length.
    pub(super) async fn owe(&self, node: NodeId, len: u64) {
        let mut owed = self.owed.lock().await;
        let counters = owed.entry(node).or_default();
        let operations = len.div_ceil(WINDOW);
        let more = Counters { get_bytes: len, operations, ..Counters::default() };
        *counters = counters.plus(&more);
        if counters.get_bytes >= STEP {
            self.vouch(node, counters).await;
        }
    }

    /// Vouches for the rest.
    pub(super) async fn finish(&self) {
        let mut owed = self.owed.lock().await;
        for (node, counters) in owed.iter_mut() {
            if *counters != Counters::default() {
                self.vouch(*node, counters).await;
            }
        }
    }

    async fn vouch(&self, node: NodeId, owed: &mut Counters) {
        match self.try_vouch(node, owed).await {
            Ok(()) => *owed = Counters::default(),
            Err(error) => tracing::debug!(?node, %error, "voucher not taken"),
        }
    }

    async fn try_vouch(&self, node: NodeId, owed: &Counters) -> Result<(), NodeError> {
        let (epoch, sheet) = (self.info.open, &self.info.prices.sheet);
        let status = self.nodes.status(node).await?;
        let counters = self.owed_before(node, &status.vouchers).plus(owed);
        let voucher = VoucherBody {
            chain: self.info.chain,
            gateway: self.key.public().into(),
            node,
            epoch,
            lane: LANE,
            counters,
            amount: counters.amount(&sheet.prices),
            price_sheet: sheet.id(),
        };
        self.nodes.voucher(node, voucher.signed(&self.key)).await
    }

    /// What was vouched for in this epoch already. Only our own signature says
    /// it: a node may show anything.
    fn owed_before(&self, node: NodeId, shown: &[Voucher]) -> Counters {
        let gateway: GatewayId = self.key.public().into();
        let before = shown.iter().find(|voucher| {
            let body = &voucher.body;
            (body.epoch, body.lane) == (self.info.open, LANE)
                && voucher.is_owed(self.info.chain, gateway, node)
        });
        before.map_or_else(Counters::default, |voucher| voucher.body.counters)
    }
}

#[cfg(test)]
mod tests {
    use protocol::Epoch;

    use super::*;
    use crate::testing::{MemoryNodes, chain_info, node};

    #[test]
    fn a_node_is_owed_what_we_signed_for_it_and_nothing_that_it_made_up() {
        let key = SecretKey::from_seed([9; 32]);
        let info = chain_info(key.public().into());
        let payer = Payer::new(Arc::new(MemoryNodes::default()), key.clone(), info.clone());
        let body = VoucherBody {
            chain: info.chain,
            gateway: key.public().into(),
            node: node(1),
            epoch: info.open,
            lane: LANE,
            counters: Counters { get_bytes: 1 << 60, ..Counters::default() },
            amount: protocol::price::Amount(0),
            price_sheet: [0; 32],
        };
        let before = |body: &VoucherBody, by: &SecretKey| {
            payer.owed_before(node(1), &[body.clone().signed(by)])
        };
        assert_eq!(before(&body, &key), body.counters);
        let nothing = Counters::default();
        assert_eq!(before(&body, &SecretKey::from_seed([8; 32])), nothing, "it signed itself");
        assert_eq!(before(&VoucherBody { node: node(2), ..body.clone() }, &key), nothing);
        assert_eq!(before(&VoucherBody { epoch: Epoch(6), ..body.clone() }, &key), nothing);
        assert_eq!(before(&VoucherBody { lane: 1, ..body }, &key), nothing);
    }
}
