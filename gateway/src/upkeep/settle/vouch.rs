//! Vouchers: what nodes did, signed, while an epoch is open, and once more when
//! it is over. They are cumulative, and by the prices of their epoch.

use std::time::Duration;

use protocol::ledger_api::ChainInfo;
use protocol::price::Counters;
use protocol::voucher::VoucherBody;
use protocol::{Epoch, NodeId};
use tokio::time::Instant;

use super::{SettleError, Settler, sheet_of};
use crate::meter::LANE;

/// A node gets a voucher after this much traffic.
const TRAFFIC_STEP: u64 = 64 * 1024 * 1024;

/// Or after this time, if anything moved at all.
const TIME_STEP: Duration = Duration::from_secs(1);

/// A node that takes longer gets the next one, which makes up for it: one that
/// is gone must not keep the others waiting, nor statements.
const PATIENCE: Duration = Duration::from_secs(1);

impl Settler {
    /// Vouchers to those nodes that are owed enough, or for long enough.
    pub(super) async fn vouch(&mut self, info: &ChainInfo, all: bool) -> Result<(), SettleError> {
        let metered = self.gateway.meter.snapshot();
        let is_time = all || self.vouched_at.elapsed() >= TIME_STEP;
        let due: Vec<(NodeId, Counters)> = metered
            .nodes
            .iter()
            .filter(|(node, counters)| {
                let since = counters.since(&self.vouched.get(node).copied().unwrap_or_default());
                since != Counters::default() && (is_time || since.traffic() >= TRAFFIC_STEP)
            })
            .map(|(node, counters)| (*node, *counters))
            .collect();
        if is_time {
            self.vouched_at = Instant::now();
        }
        if due.is_empty() {
            return Ok(());
        }
        self.keep(&metered).await?;
        self.send_vouchers(info, metered.epoch, &due).await;
        Ok(())
    }

    /// Sends vouchers; says which were not taken.
    pub(super) async fn send_vouchers(
        &mut self,
        info: &ChainInfo,
        epoch: Epoch,
        due: &[(NodeId, Counters)],
    ) -> Vec<(NodeId, Counters)> {
        let sheet = sheet_of(info, epoch);
        let sends = due.iter().map(|&(node, counters)| {
            let voucher = VoucherBody {
                chain: info.chain,
                gateway: self.gateway.id(),
                node,
                epoch,
                lane: LANE,
                counters,
                amount: counters.amount(&sheet.prices),
                price_sheet: sheet.id(),
            }
            .signed(&self.gateway.key);
            let gateway = self.gateway.clone();
            async move {
                let sent = gateway.nodes.voucher(node, voucher);
                (node, counters, tokio::time::timeout(PATIENCE, sent).await)
            }
        });
        let mut left = Vec::new();
        for (node, counters, taken) in futures::future::join_all(sends).await {
            match taken {
                Ok(Ok(())) if epoch == info.open => {
                    self.vouched.insert(node, counters);
                }
                Ok(Ok(())) => {}
                // Vouchers are cumulative: the next one makes up for it.
                not_taken => {
                    tracing::debug!(?node, ?not_taken, "voucher not taken");
                    left.push((node, counters));
                }
            }
        }
        left
    }
}
