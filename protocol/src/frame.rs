//! Length-limited frames on a QUIC stream: a u32 length and that many bytes.
//!
//! The limit is the reader's, checked before anything is allocated, so a
//! hostile peer cannot make us hold more than we asked for.

use bytes::Bytes;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt, WriteError};
use thiserror::Error;

use crate::refusal::Refusal;
use crate::wire::{Reader, Wire, WireError, Writer};

/// Largest request or response frame of a node.
pub const NODE_FRAME_MAX: usize = 4 * 1024;

/// Largest request frame of the ledger.
pub const LEDGER_FRAME_MAX: usize = 1024 * 1024;

/// Largest response frame of the ledger: a whole network, each name as long as
/// names can be.
pub const LEDGER_ANSWER_MAX: usize = 2 * 1024 * 1024;

/// Largest chunk of a shard's body.
pub const CHUNK_MAX: usize = 1024 * 1024;

/// Why a frame did not arrive.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The peer announced more than we take.
    #[error("a frame of {got} bytes was announced, at most {max} are taken")]
    TooLong {
        /// Announced length.
        got: usize,
        /// Our limit.
        max: usize,
    },
    /// The stream ended or failed.
    #[error("stream: {0}")]
    Read(#[from] ReadExactError),
    /// The stream failed.
    #[error("stream: {0}")]
    Stream(#[from] ReadError),
    /// The stream failed while we wrote.
    #[error("stream: {0}")]
    Write(#[from] WriteError),
    /// The bytes are not a message.
    #[error("message: {0}")]
    Wire(#[from] WireError),
    /// The peer refused.
    #[error("refused: {0}")]
    Refused(Refusal),
}

impl FrameError {
    /// The peer's reason, if it gave one.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(refusal) => Some(*refusal),
            _ => None,
        }
    }
}

/// Writes one frame.
pub async fn write_frame(send: &mut SendStream, content: &[u8]) -> Result<(), FrameError> {
    let len = u32::try_from(content.len()).expect("a frame is far below 4 GiB");
    let mut frame = Vec::with_capacity(4 + content.len());
    frame.extend_from_slice(&len.to_le_bytes());
    frame.extend_from_slice(content);
    send.write_chunk(Bytes::from(frame)).await?;
    Ok(())
}

/// Reads one frame of at most `max` bytes.
pub async fn read_frame(recv: &mut RecvStream, max: usize) -> Result<Vec<u8>, FrameError> {
    let mut len = [0; 4];
    recv.read_exact(&mut len).await?;
    let got = u32::from_le_bytes(len) as usize;
    if got > max {
        return Err(FrameError::TooLong { got, max });
    }
    let mut content = Vec::with_capacity(got);
    while content.len() < got {
        // Chunks come as they arrived: copied once, and nothing is zeroed before.
        match recv.read_chunk(got - content.len(), true).await? {
            Some(chunk) => content.extend_from_slice(&chunk.bytes),
            None => return Err(ReadExactError::FinishedEarly(content.len()).into()),
        }
    }
    Ok(content)
}

/// Writes `message` as one frame.
pub async fn write_message<T: Wire>(send: &mut SendStream, message: &T) -> Result<(), FrameError> {
    write_frame(send, &message.to_wire()).await
}

/// Reads one frame as a message.
pub async fn read_message<T: Wire>(recv: &mut RecvStream, max: usize) -> Result<T, FrameError> {
    Ok(T::from_wire(&read_frame(recv, max).await?)?)
}

const ANSWER_OK: u8 = 0;
const ANSWER_REFUSED: u8 = 1;

/// Writes an answer: 0 and the message, or 1 and the refusal.
pub async fn write_answer<T: Wire>(
    send: &mut SendStream,
    answer: Result<&T, Refusal>,
) -> Result<(), FrameError> {
    let mut out = Writer::default();
    match answer {
        Ok(message) => {
            out.u8(ANSWER_OK);
            message.write(&mut out);
        }
        Err(refusal) => {
            out.u8(ANSWER_REFUSED);
            refusal.write(&mut out);
        }
    }
    write_frame(send, &out.0).await
}

/// Reads an answer. A refusal is an error.
pub async fn read_answer<T: Wire>(recv: &mut RecvStream, max: usize) -> Result<T, FrameError> {
    let bytes = read_frame(recv, max).await?;
    let mut from = Reader(&bytes);
    match from.u8()? {
        ANSWER_OK => {
            let message = T::read(&mut from)?;
            from.end()?;
            Ok(message)
        }
        ANSWER_REFUSED => Err(FrameError::Refused(Refusal::read(&mut from)?)),
        value => Err(WireError::Unknown { what: "answer", value: u64::from(value) }.into()),
    }
}

/// Tells the peer that we will not read the rest of what it sends.
pub fn stop_reading(recv: &mut RecvStream, refusal: Refusal) {
    // An error means that the stream has ended already, which is as good.
    let _ = recv.stop(VarInt::from_u32(u32::from(refusal.code())));
}
