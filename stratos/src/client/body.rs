//! The body of a request: bytes in memory, or a stream of known length.
//!
//! A body knows what it is signed as. Bytes in memory are hashed unless told
//! otherwise; a stream is `UNSIGNED-PAYLOAD`, because its hash would be known
//! only after it was sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use http_body::{Frame, SizeHint};
use sha2::{Digest, Sha256};

/// What the payload is signed as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadHash {
    /// Not covered by the signature.
    Unsigned,
    /// The SHA-256 of the payload.
    Sha256([u8; 32]),
}

/// The body of a request.
pub struct Body {
    hash: PayloadHash,
    left: u64,
    source: Source,
}

enum Source {
    Whole(Bytes),
    Stream(BoxStream<'static, std::io::Result<Bytes>>),
}

impl Body {
    /// No bytes at all.
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// Bytes that the signature does not cover: costs no hashing here.
    pub fn unsigned(bytes: Bytes) -> Self {
        let left = bytes.len() as u64;
        Self { hash: PayloadHash::Unsigned, left, source: Source::Whole(bytes) }
    }

    /// `len` bytes that are made while they are sent, unsigned. A stream that
    /// ends early or goes on too long is an error of the request.
    pub fn stream(
        len: u64,
        chunks: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Self {
        Self { hash: PayloadHash::Unsigned, left: len, source: Source::Stream(chunks.boxed()) }
    }

    /// `len` bytes: `buffer` over and over, unsigned, without a copy.
    pub fn repeat(buffer: Bytes, len: u64) -> Self {
        if len <= buffer.len() as u64 {
            return Self::unsigned(buffer.slice(..len as usize));
        }
        assert!(!buffer.is_empty(), "an empty buffer cannot be repeated into bytes");
        Self::stream(len, stream::iter(repeated(buffer, len).map(Ok)))
    }

    /// The same body, signed as having this hash.
    #[must_use]
    pub fn with_hash(self, hash: PayloadHash) -> Self {
        Self { hash, ..self }
    }

    /// Bytes that are still to be sent.
    pub fn len(&self) -> u64 {
        self.left
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// What the payload is signed as.
    pub fn hash(&self) -> &PayloadHash {
        &self.hash
    }

    fn next_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Bytes>>> {
        match &mut self.source {
            Source::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Whole(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Source::Stream(stream) => stream.poll_next_unpin(cx),
        }
    }
}

/// The pieces of `buffer` that, in order, make `len` bytes.
pub fn repeated(buffer: Bytes, len: u64) -> impl Iterator<Item = Bytes> + Send {
    let mut left = len;
    std::iter::from_fn(move || {
        let take = left.min(buffer.len() as u64);
        left -= take;
        (take > 0).then(|| buffer.slice(..take as usize))
    })
}

impl From<Bytes> for Body {
    /// Bytes that the signature covers.
    fn from(bytes: Bytes) -> Self {
        let hash = PayloadHash::Sha256(Sha256::digest(&bytes).into());
        Self::unsigned(bytes).with_hash(hash)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::from(Bytes::from_static(text.as_bytes()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let chunk = std::task::ready!(self.next_chunk(cx));
        Poll::Ready(match chunk {
            Some(Ok(bytes)) => match self.left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    self.left = left;
                    Some(Ok(Frame::data(bytes)))
                }
                None => Some(Err(std::io::Error::other("the body is longer than announced"))),
            },
            Some(Err(error)) => Some(Err(error)),
            None if self.left > 0 => {
                Some(Err(std::io::Error::other("the body is shorter than announced")))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_repeated_buffer_has_the_asked_length() {
        let buffer = Bytes::from_static(b"abcde");
        for (len, want) in [(0, ""), (3, "abc"), (5, "abcde"), (12, "abcdeabcdeab")] {
            let body = Body::repeat(buffer.clone(), len);
            assert_eq!(body.len(), len);
            assert_eq!(body.collect().await.expect("a body").to_bytes(), want);
        }
    }

    #[tokio::test]
    async fn a_stream_of_another_length_is_an_error() {
        let chunks = |count: usize| stream::iter((0..count).map(|_| Ok(Bytes::from_static(b"ab"))));
        assert!(Body::stream(4, chunks(2)).collect().await.is_ok());
        let error = Body::stream(5, chunks(2)).collect().await.unwrap_err();
        assert_eq!(error.to_string(), "the body is shorter than announced");
        let error = Body::stream(3, chunks(2)).collect().await.unwrap_err();
        assert_eq!(error.to_string(), "the body is longer than announced");
    }

    #[test]
    fn bytes_in_memory_are_hashed() {
        let PayloadHash::Sha256(hash) = Body::empty().hash().clone() else { panic!("unsigned") };
        assert!(hex::encode(hash).starts_with("e3b0c44298fc1c14"));
        assert_eq!(*Body::unsigned(Bytes::new()).hash(), PayloadHash::Unsigned);
    }
}
