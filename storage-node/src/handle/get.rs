//! Reads a range of a shard with proofs, a window at a time; the next window is
//! read while the last one is sent. A small range costs one trip to a blocking
//! thread.
//!
//! A gateway beyond its credit is refused before anything is read; one that
//! gets there in the middle of a range is paused until it vouches. A reader that
//! pauses by itself is waited for without the turn that others could use.

use std::sync::Arc;
use std::time::Duration;

use protocol::message::GetHeader;
use protocol::refusal::Refusal;
use protocol::{Epoch, GatewayId, ShardId};

use crate::handle::Failure;
use crate::handle::stream::{Frame, IN_HAND, READER, Stream};
use crate::lanes::Lanes;
use crate::store::StoreError;
use crate::store::range::{RangeReader, Window};
use crate::turns::Turn;
use crate::{Inner, Peer, blocking, finished};

/// How long a range waits in its middle for the gateway to vouch.
const CREDIT_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that were sent for one range. Unless the peer took all of it, they
/// count as given up.
#[derive(Debug)]
pub(crate) struct Serving {
    lanes: Arc<Lanes>,
    gateway: GatewayId,
    epoch: Epoch,
    sent: u64,
}

impl Serving {
    /// The peer took all of it.
    pub fn complete(mut self) {
        self.sent = 0;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.sent > 0 {
            self.lanes.abandon(self.gateway, self.epoch, self.sent);
        }
    }
}

pub(crate) async fn run(
    node: &Inner,
    peer: Peer,
    shard: ShardId,
    (start, end): (u64, u64),
    turn: &mut Turn<'_>,
    stream: &mut Stream,
) -> Result<Serving, Failure> {
    let epoch = node.chain.open_epoch();
    if !node.lanes.has_credit(peer.gateway, epoch) {
        return Err(Failure::Refused(Refusal::CreditExceeded));
    }
    let store = node.store.clone();
    let (reader, first) = blocking(move || {
        let mut reader = RangeReader::open(&store, shard, start..end)?;
        let first = reader.next()?;
        Ok::<_, StoreError>((reader, first))
    })
    .await?;

    stream.answer(&GetHeader { shard_len: reader.shard_len() }).await?;
    let mut serving = Serving { lanes: node.lanes.clone(), gateway: peer.gateway, epoch, sent: 0 };
    send(node, reader, first, &mut serving, turn, stream).await.map_err(Failure::cut)?;
    Ok(serving)
}

async fn send(
    node: &Inner,
    mut reader: RangeReader,
    mut window: Window,
    serving: &mut Serving,
    turn: &mut Turn<'_>,
    stream: &mut Stream,
) -> Result<(), Failure> {
    loop {
        let more = !reader.is_done();
        let ahead = more.then(|| {
            tokio::task::spawn_blocking(move || {
                let next = reader.next()?;
                Ok::<_, StoreError>((reader, next))
            })
        });
        let Window { payload, encoded } = window;
        let open = || node.chain.open_epoch();
        if !node.lanes.spend(serving.gateway, open, payload, CREDIT_PATIENCE).await {
            return Err(Failure::Refused(Refusal::CreditExceeded));
        }
        serving.sent += payload;
        deliver(Frame::new(encoded), turn, stream).await?;
        node.metrics.sent(payload);
        let Some(ahead) = ahead else { return Ok(()) };
        (reader, window) = finished(ahead).await?;
    }
}

/// Sends a window, at the pace of who reads it.
async fn deliver(
    mut frame: Frame,
    turn: &mut Turn<'_>,
    stream: &mut Stream,
) -> Result<(), Failure> {
    if stream.push(&mut frame, IN_HAND).await? {
        return Ok(());
    }
    turn.lend();
    if !stream.push(&mut frame, READER).await? {
        return Err(Failure::Stalled);
    }
    turn.take_back().await
}
