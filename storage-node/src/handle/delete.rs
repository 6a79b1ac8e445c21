//! Forgets a shard, durably. What is not there is forgotten already.

use protocol::ShardId;
use protocol::message::Deleted;

use crate::handle::Failure;
use crate::handle::stream::Stream;
use crate::{Inner, blocking};

pub(crate) async fn run(node: &Inner, shard: ShardId, stream: &mut Stream) -> Result<(), Failure> {
    let store = node.store.clone();
    let existed = blocking(move || store.delete(shard)).await?;
    stream.answer(&Deleted { existed }).await
}
