//! Stores a shard. The network fills one buffer while a blocking thread hashes
//! and writes the other, so that a stream holds at most two. A shard that fits
//! one buffer costs one trip to a blocking thread for everything: it is hashed
//! there, and its buffer goes on to the disk with those of others.
//!
//! A body may come as slowly as somebody far away sends it. A put that waits has
//! written what came and holds no buffer, so that it keeps nobody from working.

use std::mem;

use protocol::message::{PutTrailer, SHARD_LEN_MAX, Stored};
use protocol::refusal::Refusal;
use protocol::{Root, ShardId};
use tokio::task::JoinHandle;

use crate::handle::Failure;
use crate::handle::body::Body;
use crate::handle::stream::{IN_HAND, Stream, UPLOADER};
use crate::store::StoreError;
use crate::store::writer::Writer;
use crate::turns::Turn;
use crate::{Inner, Peer, blocking, finished};

/// Bytes that go to the disk at once.
const BUFFER: usize = 512 * 1024;

/// What is to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub shard: ShardId,
    pub max_len: u64,
    pub chosen_ms: u64,
}

pub(crate) async fn run(
    node: &Inner,
    peer: Peer,
    Order { shard, max_len, chosen_ms }: Order,
    turn: &mut Turn<'_>,
    stream: &mut Stream,
) -> Result<(), Failure> {
    if max_len > SHARD_LEN_MAX {
        return Err(Failure::Refused(Refusal::Malformed));
    }
    if !node.lanes.has_credit(peer.gateway, node.chain.open_epoch()) {
        return Err(Failure::Refused(Refusal::CreditExceeded));
    }
    let writer = node.store.put(peer.gateway, shard, max_len)?.chosen(chosen_ms);

    let (pipeline, last) = receive(turn, stream, writer, max_len).await?;
    let PutTrailer { len, root } = stream.message().await?;
    pipeline.finish(last, len, root).await?;

    node.metrics.put(len);
    node.lanes.serve(peer.gateway, node.chain.open_epoch(), len);
    stream.answer(&Stored { incarnation: node.incarnation, shard, root, len }).await
}

/// Takes in the body. What did not fill a buffer comes back, to be written with
/// the end.
async fn receive(
    turn: &mut Turn<'_>,
    stream: &mut Stream,
    writer: Writer,
    max_len: u64,
) -> Result<(Pipeline, Vec<u8>), Failure> {
    let size = usize::try_from(max_len).map_or(BUFFER, |most| most.min(BUFFER));
    let mut body = Body::new(max_len);
    let mut pipeline = Pipeline::new(writer);
    let (mut buffer, mut filled) = (vec![0; size], 0);
    while !body.has_ended() {
        let space = body.space(&mut buffer[filled..]);
        if space.is_empty() {
            buffer = pipeline.write(buffer).await?;
            buffer.resize(size, 0);
            filled = 0;
        } else if let Some(got) = stream.read(space, IN_HAND).await? {
            filled += body.take(got)?;
        } else {
            buffer.truncate(filled);
            pipeline.rest(buffer).await?;
            let first = wait(turn, stream, &mut body).await?;
            filled = first.len();
            buffer = first;
            buffer.resize(size, 0);
        }
    }
    buffer.truncate(filled);
    Ok((pipeline, buffer))
}

/// Waits, with neither turn nor buffer, for a peer that sends nothing. The first
/// bytes of the body that come.
async fn wait(
    turn: &mut Turn<'_>,
    stream: &mut Stream,
    body: &mut Body,
) -> Result<Vec<u8>, Failure> {
    turn.lend();
    let mut first = [0; 64];
    let got = stream.read(body.space(&mut first), UPLOADER).await?;
    let filled = body.take(got.ok_or(Failure::Stalled)?)?;
    turn.take_back().await?;
    Ok(first[..filled].to_vec())
}

/// The disk's side: a writer, and the buffer that it is done with.
///
/// Dropping it while a write is under way lets the write end; then the writer
/// is dropped and what it wrote goes away.
struct Pipeline {
    work: Work,
}

/// A writer at rest, and a buffer to fill. Boxed, since the state of a hash is
/// large and this moves between threads.
type Idle = (Box<Writer>, Vec<u8>);

enum Work {
    Idle(Idle),
    Writing(JoinHandle<Result<Idle, StoreError>>),
    /// An earlier write failed.
    Over,
}

impl Pipeline {
    fn new(writer: Writer) -> Self {
        Self { work: Work::Idle((Box::new(writer), Vec::new())) }
    }

    /// Waits for the last write, starts the next, and gives a buffer to fill.
    async fn write(&mut self, full: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let (mut writer, spare) = self.idle().await?;
        self.work = Work::Writing(tokio::task::spawn_blocking(move || {
            writer.append(&full)?;
            Ok((writer, full))
        }));
        Ok(spare)
    }

    /// Writes what there is, and keeps no buffer.
    async fn rest(&mut self, last: Vec<u8>) -> Result<(), StoreError> {
        if !last.is_empty() {
            self.write(last).await?;
        }
        let (writer, _) = self.idle().await?;
        self.work = Work::Idle((writer, Vec::new()));
        Ok(())
    }

    async fn finish(mut self, last: Vec<u8>, len: u64, root: Root) -> Result<(), StoreError> {
        let (writer, _) = self.idle().await?;
        blocking(move || writer.finish(last, len, root)).await
    }

    async fn idle(&mut self) -> Result<Idle, StoreError> {
        match mem::replace(&mut self.work, Work::Over) {
            Work::Idle(idle) => Ok(idle),
            Work::Writing(write) => finished(write).await,
            Work::Over => Err(StoreError::Failed),
        }
    }
}
