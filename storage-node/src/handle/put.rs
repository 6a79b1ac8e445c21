//! Stores a shard. The network fills one buffer while a blocking thread hashes
//! and writes the other, so that a stream holds at most two. A shard that fits
//! one buffer costs one trip to a blocking thread for everything: hash, write,
//! sync, rename, sync.

use std::mem;

use protocol::frame::CHUNK_MAX;
use protocol::message::{PutTrailer, SHARD_LEN_MAX, Stored};
use protocol::refusal::Refusal;
use protocol::{Root, ShardId};
use tokio::task::JoinHandle;

use crate::handle::Failure;
use crate::handle::stream::Stream;
use crate::store::StoreError;
use crate::store::writer::Writer;
use crate::{Inner, Peer, blocking, joined};

/// Bytes that go to the disk at once.
const BUFFER: usize = 512 * 1024;

pub(crate) async fn run(
    node: &Inner,
    peer: Peer,
    shard: ShardId,
    max_len: u64,
    stream: &mut Stream,
) -> Result<(), Failure> {
    if max_len > SHARD_LEN_MAX {
        return Err(Failure::Refused(Refusal::Malformed));
    }
    if !node.lanes.has_credit(peer.gateway, node.chain.open_epoch()) {
        return Err(Failure::Refused(Refusal::CreditExceeded));
    }
    let writer = node.store.put(shard, max_len)?;

    let (pipeline, last) = receive(stream, writer, max_len).await?;
    let PutTrailer { len, root } = stream.message().await?;
    pipeline.finish(last, len, root).await?;

    node.metrics.put(len);
    node.lanes.serve(peer.gateway, node.chain.open_epoch(), len);
    stream.answer(&Stored { incarnation: node.incarnation, shard, root, len }).await
}

/// Takes in the body. What did not fill a buffer comes back, to be written with
/// the end.
async fn receive(
    stream: &mut Stream,
    writer: Writer,
    max_len: u64,
) -> Result<(Pipeline, Vec<u8>), Failure> {
    let size = usize::try_from(max_len).map_or(BUFFER, |most| most.min(BUFFER));
    let mut body = Body { max_len, announced: 0, left: 0, ended: false };
    let mut pipeline = Pipeline::new(writer);
    let mut buffer = vec![0; size];
    loop {
        let filled = body.fill(stream, &mut buffer).await?;
        buffer.truncate(filled);
        if body.ended {
            return Ok((pipeline, buffer));
        }
        buffer = pipeline.write(buffer).await?;
        buffer.resize(size, 0);
    }
}

/// The chunks of a body, on their way in.
struct Body {
    max_len: u64,
    /// Bytes of all chunks so far.
    announced: u64,
    /// Bytes of the current chunk that have not come.
    left: usize,
    ended: bool,
}

impl Body {
    /// Fills `buffer` until it is full or the body ended; how far.
    async fn fill(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> Result<usize, Failure> {
        let mut filled = 0;
        loop {
            // Looked at even when the buffer is full: it may have been the end.
            if self.left == 0 {
                self.next_chunk(stream).await?;
            }
            let room = self.left.min(buffer.len() - filled);
            if self.ended || room == 0 {
                return Ok(filled);
            }
            let got = stream.read(&mut buffer[filled..filled + room]).await?;
            self.left -= got;
            filled += got;
        }
    }

    async fn next_chunk(&mut self, stream: &mut Stream) -> Result<(), Failure> {
        let len = stream.number().await?;
        self.announced += u64::from(len);
        self.left = usize::try_from(len).unwrap_or(usize::MAX);
        self.ended = len == 0;
        if self.left > CHUNK_MAX || self.announced > self.max_len {
            return Err(Failure::Refused(Refusal::Malformed));
        }
        Ok(())
    }
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

    async fn finish(mut self, last: Vec<u8>, len: u64, root: Root) -> Result<(), StoreError> {
        let (writer, _) = self.idle().await?;
        blocking(move || writer.finish(&last, len, root)).await
    }

    async fn idle(&mut self) -> Result<Idle, StoreError> {
        match mem::replace(&mut self.work, Work::Over) {
            Work::Idle(idle) => Ok(idle),
            Work::Writing(write) => joined(write).await,
            Work::Over => Err(StoreError::Failed),
        }
    }
}
