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
use protocol::voucher::VoucherBody;
use protocol::{GatewayId, NodeId, SecretKey};
use tokio::sync::Mutex;

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
        let gateway: GatewayId = self.key.public().into();
        let (epoch, sheet) = (self.info.open, &self.info.prices.sheet);
        let status = self.nodes.status(node).await?;
        let same = status
            .vouchers
            .iter()
            .map(|voucher| &voucher.body)
            .find(|body| (body.gateway, body.epoch, body.lane) == (gateway, epoch, 0));
        let counters = same.map_or(*owed, |body| body.counters.plus(owed));
        let voucher = VoucherBody {
            chain: self.info.chain,
            gateway,
            node,
            epoch,
            lane: 0,
            counters,
            amount: counters.amount(&sheet.prices),
            price_sheet: sheet.id(),
        };
        self.nodes.voucher(node, voucher.signed(&self.key)).await
    }
}
