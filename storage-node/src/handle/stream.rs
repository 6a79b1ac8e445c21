//! A stream on which no wait is endless: the peer has [`PROGRESS`] for each
//! step, however long the whole takes.

use std::time::Duration;

use bytes::Bytes;
use protocol::frame::{self, FrameError, NODE_FRAME_MAX};
use protocol::message::{Request, Stored};
use protocol::refusal::Refusal;
use protocol::wire::Wire;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::time::timeout;

use crate::handle::Failure;

/// How long a peer may take for one step of a request.
pub(crate) const PROGRESS: Duration = Duration::from_secs(30);

/// A request and its answer.
#[derive(Debug)]
pub(crate) struct Stream {
    send: SendStream,
    recv: RecvStream,
}

async fn step<T>(
    work: impl Future<Output = Result<T, impl Into<FrameError>>>,
) -> Result<T, Failure> {
    match timeout(PROGRESS, work).await {
        Ok(done) => done.map_err(|error| Failure::Broken(error.into())),
        Err(_) => Err(Failure::Stalled),
    }
}

impl Stream {
    pub fn new((send, recv): (SendStream, RecvStream)) -> Self {
        Self { send, recv }
    }

    /// What is asked. Bytes that are no request of this version are told apart
    /// from a stream that failed.
    pub async fn request(&mut self) -> Result<Request, Failure> {
        self.message().await
    }

    /// The next message from the peer.
    pub async fn message<T: Wire>(&mut self) -> Result<T, Failure> {
        step(frame::read_message(&mut self.recv, NODE_FRAME_MAX)).await
    }

    /// The next number from the peer.
    pub async fn number(&mut self) -> Result<u32, Failure> {
        let mut bytes = [0; 4];
        step(self.recv.read_exact(&mut bytes)).await?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Some of the next bytes from the peer, at least one.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        match step(self.recv.read(buffer)).await? {
            Some(got) => Ok(got),
            None => Err(Failure::Broken(quinn::ReadExactError::FinishedEarly(0).into())),
        }
    }

    /// Answers.
    pub async fn answer<T: Wire>(&mut self, answer: &T) -> Result<(), Failure> {
        step(frame::write_answer(&mut self.send, Ok(answer))).await
    }

    /// Sends one frame as it is, without copying it.
    pub async fn frame(&mut self, content: Bytes) -> Result<(), Failure> {
        let len = u32::try_from(content.len()).expect("a window is far below 4 GiB");
        let mut parts = [Bytes::copy_from_slice(&len.to_le_bytes()), content];
        step(self.send.write_all_chunks(&mut parts)).await
    }

    /// Refuses: the reason is the answer, and the rest of the body is unwanted.
    pub async fn refuse(&mut self, refusal: Refusal) -> Result<(), Failure> {
        frame::stop_reading(&mut self.recv, refusal);
        // A refusal has the same bytes whatever would have been the answer.
        step(frame::write_answer::<Stored>(&mut self.send, Err(refusal))).await
    }

    /// Cuts the answer off.
    pub fn reset(&mut self, code: u32) {
        // An error means that the stream has ended already, which is as good.
        let _ = self.send.reset(VarInt::from_u32(code));
        let _ = self.recv.stop(VarInt::from_u32(code));
    }

    /// Ends the answer, and waits until the peer has it. Whether it took all.
    pub async fn finish(&mut self) -> bool {
        // An error means that the peer wants no more; `stopped` says it again.
        let _ = self.send.finish();
        matches!(timeout(PROGRESS, self.send.stopped()).await, Ok(Ok(None)))
    }
}
