//! The node's own account of itself, with what it holds of the asking gateway.

use protocol::message::Status;

use crate::handle::Failure;
use crate::handle::stream::Stream;
use crate::{Inner, Peer};

pub(crate) async fn run(node: &Inner, peer: Peer, stream: &mut Stream) -> Result<(), Failure> {
    let stats = node.store.stats();
    let vouchers =
        node.chain.view().map(|view| node.lanes.highest(peer.gateway, &view)).unwrap_or_default();
    let status = Status {
        incarnation: node.incarnation,
        // What can be stored, not what is empty: a failed disk takes nothing.
        free: if node.store.has_failed() { 0 } else { stats.free },
        stored: stats.stored,
        shards: stats.shards,
        vouchers,
    };
    stream.answer(&status).await
}
