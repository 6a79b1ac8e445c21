//! Reads one whole shard, to see whether it is sound.
//!
//! Not here: reading a segment (`segment_reader`).

use bytes::Bytes;
use protocol::NodeId;
use tokio::sync::mpsc;

use crate::gateway::Gateway;
use crate::nodes::{NodeError, ShardRange};

/// Reads and verifies a whole shard; the gateway itself pays for it.
pub async fn read_whole(
    gateway: &Gateway,
    node: NodeId,
    range: ShardRange,
) -> Result<(), NodeError> {
    let (way, mut windows) = mpsc::channel::<Vec<Bytes>>(1);
    let count = async {
        while let Some(window) = windows.recv().await {
            let len: usize = window.iter().map(Bytes::len).sum();
            gateway.meter.repair(node, gateway.own_account(), len as u64);
        }
    };
    let (read, ()) = tokio::join!(gateway.nodes.get(node, range, way), count);
    read
}
