//! Names the shards that the asking gateway stored here, in order of id.
//!
//! Answered beyond the credit too, like an audit: what a node holds is not for
//! sale. A page is read while nothing else is held, so a list of any length
//! costs the memory of one frame.

use protocol::ShardId;
use protocol::message::{INVENTORY_MAX, Inventory, LIST_MAX};
use protocol::refusal::Refusal;

use crate::handle::Failure;
use crate::handle::stream::Stream;
use crate::{Inner, Peer, blocking};

pub(crate) async fn run(
    node: &Inner,
    peer: Peer,
    from: ShardId,
    limit: u32,
    stream: &mut Stream,
) -> Result<(), Failure> {
    if limit > LIST_MAX {
        return Err(Failure::Refused(Refusal::Malformed));
    }
    let mut left = usize::try_from(limit).expect("a limit fits in memory");
    let mut next = Some(from);
    let mut begun = false;
    while let Some(from) = next.filter(|_| left > 0) {
        let store = node.store.clone();
        let most = left.min(INVENTORY_MAX);
        let page = blocking(move || store.list(peer.gateway, from, most)).await;
        let held = page.map_err(|error| Failure::from(error).cut_if(begun))?;
        next = held.last().and_then(|last| last.shard.next());
        left -= held.len();
        if held.is_empty() {
            break;
        }
        stream.answer(&Inventory { held }).await?;
        begun = true;
    }
    stream.answer(&Inventory { held: Vec::new() }).await
}
