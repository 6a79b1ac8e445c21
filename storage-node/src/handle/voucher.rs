//! Takes a voucher, and keeps it before it says so.

use std::time::Duration;

use protocol::message::VoucherTaken;
use protocol::refusal::Refusal;
use protocol::voucher::Voucher;

use crate::handle::Failure;
use crate::handle::stream::Stream;
use crate::{Inner, Peer};

/// How long a voucher of the next epoch waits until the node hears of it.
const NEWS_PATIENCE: Duration = Duration::from_secs(3);

pub(crate) async fn run(
    node: &Inner,
    peer: Peer,
    voucher: Voucher,
    stream: &mut Stream,
) -> Result<(), Failure> {
    node.chain.catch_up(voucher.body.epoch, NEWS_PATIENCE).await;
    let view = node.chain.view().ok_or(Failure::Refused(Refusal::NotPermitted))?;
    node.lanes.take(voucher, peer.gateway, view).await?;
    stream.answer(&VoucherTaken {}).await
}
