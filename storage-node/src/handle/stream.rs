//! A stream on which no wait is endless: the peer has so long for each step,
//! however long the whole takes.

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
const PROGRESS: Duration = Duration::from_secs(30);

/// How long a put waits for the next bytes of its body. A gateway passes on what
/// its client sends in batches of 512 KiB of the object, and lets the client
/// send as slowly as 1 KiB/s, so that a batch may take nearly nine minutes.
pub(crate) const UPLOADER: Duration = Duration::from_secs(600);

/// How long a get waits for room for the next bytes. A gateway lets its client,
/// such as a player that is paused, read nothing for two minutes.
pub(crate) const READER: Duration = Duration::from_secs(150);

/// How long a peer is waited for with all in hand that the work needs; after
/// that, a put or get lends its turn to others.
pub(crate) const IN_HAND: Duration = Duration::from_secs(1);

/// A request and its answer.
#[derive(Debug)]
pub(crate) struct Stream {
    send: SendStream,
    recv: RecvStream,
}

/// A frame on its way out, without a copy of its content.
#[derive(Debug)]
pub(crate) struct Frame {
    /// What was sent is taken out.
    parts: [Bytes; 2],
}

impl Frame {
    pub fn new(content: Bytes) -> Self {
        let len = u32::try_from(content.len()).expect("a window is far below 4 GiB");
        Self { parts: [Bytes::copy_from_slice(&len.to_le_bytes()), content] }
    }

    fn is_sent(&self) -> bool {
        self.parts.iter().all(Bytes::is_empty)
    }
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

    /// Some of the next bytes from the peer, at least one; `None` if nothing
    /// came in the time that it has.
    pub async fn read(
        &mut self,
        space: &mut [u8],
        most: Duration,
    ) -> Result<Option<usize>, Failure> {
        match timeout(most, self.recv.read(space)).await {
            Ok(Ok(Some(got))) => Ok(Some(got)),
            Ok(Ok(None)) => Err(Failure::Broken(quinn::ReadExactError::FinishedEarly(0).into())),
            Ok(Err(error)) => Err(Failure::Broken(error.into())),
            Err(_) => Ok(None),
        }
    }

    /// Answers.
    pub async fn answer<T: Wire>(&mut self, answer: &T) -> Result<(), Failure> {
        step(frame::write_answer(&mut self.send, Ok(answer))).await
    }

    /// Sends a frame.
    pub async fn frame(&mut self, frame: &mut Frame) -> Result<(), Failure> {
        if self.push(frame, PROGRESS).await? { Ok(()) } else { Err(Failure::Stalled) }
    }

    /// Sends of a frame what is left of it. Whether all was taken: not, if the
    /// peer takes nothing for as long as it may; then it can be gone on with.
    pub async fn push(&mut self, frame: &mut Frame, most: Duration) -> Result<bool, Failure> {
        while !frame.is_sent() {
            match timeout(most, self.send.write_chunks(&mut frame.parts)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(Failure::Broken(error.into())),
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
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
