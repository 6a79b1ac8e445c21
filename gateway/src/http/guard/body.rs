//! The body of a request on its way to the S3 layer.
//!
//! What the S3 layer makes of a body that breaks, stalls or is not what was
//! signed depends on who reads it: for an XML document it is an internal error,
//! without a cause. So the guard looks on: it keeps what was at fault and, of
//! bodies that the S3 layer reads as a document, the digests. The answer is
//! decided by that, and operations can compare the digests with what the
//! client declared.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::chunks::{ChunkError, Chunks};
use super::refusal::{Code, S3Refusal};
use crate::http::listener::RequestBodyError;
use crate::object::digest::{Digested, Digests};
use crate::ops::checksums;

/// Why a body ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyFault {
    /// The client sends, but too slowly to wait for it.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The connection broke, or its own framing did.
    #[error("the body broke off")]
    Cut,
    /// The framing inside the body.
    #[error(transparent)]
    Chunks(#[from] ChunkError),
}

impl BodyFault {
    fn refusal(self) -> S3Refusal {
        let incomplete = || {
            S3Refusal::new(
                Code::IncompleteBody,
                "You did not provide the number of bytes specified by the Content-Length HTTP header.",
            )
        };
        match self {
            BodyFault::TooSlow => S3Refusal::new(
                Code::RequestTimeout,
                "Your socket connection to the server was not read from or written to within the \
                 timeout period. Idle connections will be closed.",
            ),
            BodyFault::Cut => incomplete(),
            BodyFault::Chunks(ChunkError::Unfinished | ChunkError::TooLong) => incomplete(),
            BodyFault::Chunks(ChunkError::Malformed) => S3Refusal::new(
                Code::InvalidRequest,
                "The body is not well-formed aws-chunked encoding.",
            ),
            BodyFault::Chunks(ChunkError::TooLarge) => {
                S3Refusal::new(Code::InvalidRequest, "A signed chunk may have at most 16 MiB.")
            }
        }
    }
}

/// What is known of a body so far. Shared by the body, the operation, which
/// finds it in the request's extensions, and whoever answers.
#[derive(Clone)]
pub struct BodyRecord(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    fault: Option<BodyFault>,
    document: Option<Document>,
}

/// A body that the S3 layer reads as a whole.
struct Document {
    digests: Digests,
    sha256: Sha256,
    len: u64,
    /// What the head says of its length.
    announced: u64,
    /// The SHA-256 that was signed.
    signed: Option<[u8; 32]>,
}

impl BodyRecord {
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digests of a document and its length, once: it has been read when an
    /// operation runs. `None` for any other body.
    pub fn take_digests(&self) -> Option<(Digested, u64)> {
        let Document { digests, len, .. } = self.lock().document.take()?;
        Some((digests.finish(), len))
    }

    /// What to answer in place of an answer with this status.
    pub(super) fn refusal(&self, status: StatusCode) -> Option<S3Refusal> {
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        let record = self.lock();
        if let Some(fault) = record.fault {
            return Some(fault.refusal());
        }
        // The S3 layer has no other word for it. Unless the whole was read, an
        // internal error was one.
        let was_read = |document: &&Document| document.len == document.announced;
        let document = record.document.as_ref().filter(was_read)?;
        let signed = document.signed.filter(|_| status == StatusCode::INTERNAL_SERVER_ERROR)?;
        let differs = signed != <[u8; 32]>::from(document.sha256.clone().finalize());
        differs.then(|| {
            S3Refusal::new(
                Code::ContentSha256Mismatch,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        })
    }
}

/// A body that the guard looks at.
pub struct GuardedBody<B> {
    inner: B,
    way: Way,
    record: BodyRecord,
    ended: bool,
}

enum Way {
    Plain,
    Document,
    Chunked(Chunks),
}

impl<B> GuardedBody<B> {
    /// Looks at `inner`, which came with these headers. `is_document` says that
    /// the S3 layer will read it as a whole.
    pub(super) fn new(inner: B, headers: &HeaderMap, is_document: bool) -> (Self, BodyRecord) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let hash = text("x-amz-content-sha256").unwrap_or_default();
        let mut record = Record::default();
        let way = if hash.starts_with("STREAMING-") {
            let declared = text("x-amz-decoded-content-length").and_then(|len| len.parse().ok());
            Way::Chunked(Chunks::new(!hash.starts_with("STREAMING-UNSIGNED-"), declared))
        } else if is_document {
            let mut signed = [0; 32];
            record.document = Some(Document {
                digests: Digests::new(checksums::in_header(headers)),
                sha256: Sha256::new(),
                len: 0,
                announced: text("content-length").and_then(|len| len.parse().ok()).unwrap_or(0),
                signed: hex::decode_to_slice(hash, &mut signed).is_ok().then_some(signed),
            });
            Way::Document
        } else {
            Way::Plain
        };
        let record = BodyRecord(Arc::new(Mutex::new(record)));
        (Self { inner, way, record: record.clone(), ended: false }, record)
    }

    /// Takes in a piece; what goes on is the piece, or comes from the chunks.
    fn look_at(&mut self, bytes: Bytes) -> Result<Option<Bytes>, BodyFault> {
        match &mut self.way {
            Way::Plain => {}
            Way::Document => {
                if let Some(document) = &mut self.record.lock().document {
                    document.sha256.update(&bytes);
                    document.len += bytes.len() as u64;
                    document.digests.update(std::slice::from_ref(&bytes));
                }
            }
            Way::Chunked(chunks) => {
                chunks.push(bytes)?;
                return Ok(chunks.pop());
            }
        }
        Ok(Some(bytes))
    }

    fn fail(&mut self, fault: BodyFault) -> BodyFault {
        tracing::debug!(%fault, "the body of a request failed");
        self.ended = true;
        self.record.lock().fault = Some(fault);
        fault
    }
}

impl<B> Body for GuardedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: StdError + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = self.get_mut();
        if let Way::Chunked(chunks) = &mut this.way
            && let Some(bytes) = chunks.pop()
        {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        while !this.ended {
            let Some(frame) = ready!(Pin::new(&mut this.inner).poll_frame(cx)) else {
                this.ended = true;
                if let Way::Chunked(chunks) = &this.way
                    && let Err(error) = chunks.finish()
                {
                    return Poll::Ready(Some(Err(this.fail(error.into()))));
                }
                break;
            };
            let looked = match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) => this.look_at(bytes),
                Ok(Err(other)) => return Poll::Ready(Some(Ok(other))),
                Err(error) => Err(fault_of(&error)),
            };
            match looked {
                Ok(Some(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Some(Err(this.fail(fault)))),
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        match self.way {
            Way::Plain | Way::Document => self.inner.is_end_stream(),
            // Whether the last chunk came is known when the end is seen.
            Way::Chunked(_) => self.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.way {
            Way::Plain | Way::Document => self.inner.size_hint(),
            Way::Chunked(_) => SizeHint::default(),
        }
    }
}

fn fault_of(error: &(dyn StdError + 'static)) -> BodyFault {
    match error.downcast_ref::<RequestBodyError>() {
        Some(RequestBodyError::TooSlow(_)) => BodyFault::TooSlow,
        Some(RequestBodyError::Broken(_)) | None => BodyFault::Cut,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::http::guard::testing::parts;
    use crate::http::listener::BodyPace;

    type Pieces = Vec<Result<&'static str, RequestBodyError>>;

    /// What is read of a document or another body, and what is answered in
    /// place of a 500.
    async fn read(
        headers: &[(&str, &str)],
        is_document: bool,
        pieces: Pieces,
    ) -> (Result<Bytes, BodyFault>, Option<&'static str>, BodyRecord) {
        let headers = parts("POST", "/b", headers).headers;
        let frames =
            pieces.into_iter().map(|piece| piece.map(|text| Frame::data(Bytes::from(text))));
        let (body, record) =
            GuardedBody::new(StreamBody::new(stream::iter(frames)), &headers, is_document);
        let read = body.collect().await.map(http_body_util::Collected::to_bytes);
        let refusal = record.refusal(StatusCode::INTERNAL_SERVER_ERROR);
        assert!(refusal.as_ref().is_none_or(|refusal| refusal.status == 400));
        (read, refusal.map(|refusal| refusal.code.as_str()), record)
    }

    fn slow() -> RequestBodyError {
        RequestBodyError::TooSlow(BodyPace { bytes: 1, window: Duration::from_secs(1) })
    }

    const HASH: &str = "x-amz-content-sha256";
    /// Of "abc".
    const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[tokio::test]
    async fn a_document_is_digested() {
        let headers = [(HASH, SHA256), ("x-amz-checksum-crc32", "NSRBwg==")];
        let (read, refusal, record) = read(&headers, true, vec![Ok("a"), Ok("bc")]).await;
        assert_eq!((read.unwrap(), refusal), (Bytes::from("abc"), None));
        let (digested, len) = record.take_digests().unwrap();
        assert_eq!((digested.etag().as_str(), len), ("900150983cd24fb0d6963f7d28e17f72", 3));
        assert_eq!(digested.checksum.unwrap().value, "NSRBwg==");
        assert!(record.take_digests().is_none());
    }

    #[tokio::test]
    async fn what_was_at_fault_is_answered() {
        let refusal = |headers: &[(&'static str, &'static str)], pieces| {
            let headers = headers.to_vec();
            async move { read(&headers, true, pieces).await.1 }
        };
        let signed = [(HASH, SHA256), ("content-length", "3")];
        assert_eq!(refusal(&signed, vec![Ok("abd")]).await, Some("XAmzContentSHA256Mismatch"));
        let empty = [(HASH, SHA256)];
        assert_eq!(refusal(&empty, vec![]).await, Some("XAmzContentSHA256Mismatch"));
        // Nobody asked for it: the internal error is one.
        assert_eq!(refusal(&signed, vec![]).await, None);
        assert_eq!(refusal(&signed, vec![Ok("a"), Err(slow())]).await, Some("RequestTimeout"));
        assert_eq!(refusal(&[], vec![Ok("abd")]).await, None);
        let streaming = [(HASH, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")];
        let of = |body| refusal(&streaming, vec![Ok(body)]);
        assert_eq!(of("1\r\na\r\n0\r\n\r\n").await, None);
        assert_eq!(of("1\r\na\r\n").await, Some("IncompleteBody"));
        assert_eq!(of("z\r\n").await, Some("InvalidRequest"));
        let short = [streaming[0], ("x-amz-decoded-content-length", "1")];
        assert_eq!(refusal(&short, vec![Ok("2\r\nab\r\n")]).await, Some("IncompleteBody"));
        let signed = [(HASH, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")];
        assert_eq!(refusal(&signed, vec![Ok("1000001;\r\n")]).await, Some("InvalidRequest"));
    }

    #[tokio::test]
    async fn a_success_is_never_replaced() {
        let (_, _, record) = read(&[(HASH, SHA256)], true, vec![Err(slow())]).await;
        assert!(record.refusal(StatusCode::OK).is_none());
        assert!(record.refusal(StatusCode::BAD_REQUEST).is_some());
        // Another refusal of a document that is not what was signed stands.
        let signed = [(HASH, SHA256), ("content-length", "3")];
        let (_, _, record) = read(&signed, true, vec![Ok("abd")]).await;
        assert!(record.refusal(StatusCode::BAD_REQUEST).is_none());
    }

    #[tokio::test]
    async fn other_bodies_pass() {
        let (read, refusal, record) = read(&[(HASH, SHA256)], false, vec![Ok("abd")]).await;
        assert_eq!((read.unwrap(), refusal), (Bytes::from("abd"), None));
        assert!(record.take_digests().is_none());
    }
}
