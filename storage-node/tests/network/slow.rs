//! Puts and gets in slow motion: a test decides when they go on.

use std::ops::Range;

use protocol::frame::{self, NODE_FRAME_MAX};
use protocol::message::{GetHeader, PutTrailer, Request, Stored, WINDOW};
use protocol::{Root, ShardId};
use quinn::{RecvStream, SendStream};

use super::{Answer, Gateway, soon, told, verified};

/// A put. A node that refuses stops reading, so writing may fail; the answer
/// says why.
pub struct Put {
    pub send: SendStream,
    recv: RecvStream,
}

impl Put {
    pub async fn start(gateway: &Gateway, shard: ShardId, max_len: u64) -> Answer<Self> {
        let (send, recv) = gateway.ask(&Request::Put { shard, max_len, chosen_ms: 0 }).await?;
        Ok(Self { send, recv })
    }

    pub async fn chunk(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let _ = self.send.write_all(&len).await;
        let _ = self.send.write_all(bytes).await;
    }

    pub async fn end(mut self, len: u64, root: Root) -> Answer<Stored> {
        self.chunk(b"").await;
        let _ = frame::write_message(&mut self.send, &PutTrailer { len, root }).await;
        let _ = self.send.finish();
        self.answer().await
    }

    pub async fn answer(mut self) -> Answer<Stored> {
        told(soon("an answer", frame::read_answer(&mut self.recv, NODE_FRAME_MAX)).await)
    }
}

/// A get whose header has come, and of which nothing else was read.
pub struct Get {
    recv: RecvStream,
    range: Range<u64>,
    shard_len: u64,
}

impl Get {
    pub async fn start(gateway: &Gateway, shard: ShardId, range: Range<u64>) -> Answer<Self> {
        let (start, end) = (range.start, range.end);
        let (mut send, mut recv) = gateway.ask(&Request::Get { shard, start, end }).await?;
        send.finish().map_err(|_| None)?;
        let header: GetHeader = told(frame::read_answer(&mut recv, NODE_FRAME_MAX).await)?;
        Ok(Self { recv, range, shard_len: header.shard_len })
    }

    /// Reads the range and verifies every window of it.
    pub async fn rest(mut self, root: &Root) -> Answer<Vec<u8>> {
        let (start, end) = (self.range.start, self.range.end);
        let mut out = Vec::new();
        for at in (start..end).step_by(usize::try_from(WINDOW).unwrap()) {
            let window = at..end.min(at + WINDOW);
            let most = usize::try_from(2 * WINDOW).unwrap();
            let encoded = told(soon("a window", frame::read_frame(&mut self.recv, most)).await)?;
            out.extend(verified(root, self.shard_len, &window, encoded));
        }
        assert_eq!(self.recv.read_to_end(1).await.unwrap(), b"", "nothing follows");
        Ok(out)
    }
}
