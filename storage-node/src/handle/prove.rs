//! Shows that a shard is held: one group of it, with its path to the root.
//!
//! Answered beyond the credit too: an audit is about the node, and a node that
//! could refuse it would choose what it is asked.

use protocol::ShardId;
use protocol::message::GetHeader;

use crate::handle::Failure;
use crate::handle::stream::{Frame, Stream};
use crate::store::StoreError;
use crate::store::range::RangeReader;
use crate::{Inner, Peer, blocking};

pub(crate) async fn run(
    node: &Inner,
    peer: Peer,
    shard: ShardId,
    group: u64,
    stream: &mut Stream,
) -> Result<(), Failure> {
    let store = node.store.clone();
    let (shard_len, proof) = blocking(move || {
        let mut reader = RangeReader::open_group(&store, shard, group)?;
        let proof = reader.next()?;
        Ok::<_, StoreError>((reader.shard_len(), proof))
    })
    .await?;
    stream.answer(&GetHeader { shard_len }).await?;
    stream.frame(&mut Frame::new(proof.encoded)).await.map_err(Failure::cut)?;
    node.metrics.audited(proof.payload);
    node.lanes.serve(peer.gateway, node.chain.open_epoch(), proof.payload);
    Ok(())
}
