//! Forgets a shard of the asking gateway, durably. What is not there is kept from
//! coming later.

use protocol::ShardId;
use protocol::message::Deleted;

use crate::handle::Failure;
use crate::handle::stream::Stream;
use crate::{Inner, Peer, blocking};

pub(crate) async fn run(
    node: &Inner,
    peer: Peer,
    shard: ShardId,
    stream: &mut Stream,
) -> Result<(), Failure> {
    let store = node.store.clone();
    let existed = blocking(move || store.delete(peer.gateway, shard)).await?;
    stream.answer(&Deleted { existed }).await
}
