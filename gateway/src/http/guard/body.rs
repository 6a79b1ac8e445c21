//! The body of a request on its way in: without its framing, and compared with
//! what was signed of it.
//!
//! Bytes go on before they are verified, and a body that is not what was signed
//! ends with an error in place of its end. What the S3 layer makes of that
//! depends on who reads: for an XML document it is an internal error, without a
//! cause. So what was at fault is kept in a record, and decides the answer. Of
//! bodies that are read as a document the record has the digests too, for
//! operations to compare with what the client declared, and of all the trailers.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::chunks::{ChunkError, Chunks, Seal, Trailers};
use super::payload::Payload;
use super::refusal::{Code, S3Refusal};
use crate::http::listener::RequestBodyError;
use crate::object::digest::{Digested, Digests};
use crate::ops::checksums::Declared;

/// Why a body ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyFault {
    /// The client sends, but too slowly to wait for it.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The connection broke, or its own framing did.
    #[error("the body broke off")]
    Cut,
    /// Its SHA-256 is not the one that was signed.
    #[error("the body is not what was signed")]
    Hash,
    /// The framing inside the body.
    #[error(transparent)]
    Chunks(#[from] ChunkError),
}

impl BodyFault {
    /// What a client is told.
    pub fn refusal(self) -> S3Refusal {
        let (code, message) = match self {
            BodyFault::TooSlow => (
                Code::RequestTimeout,
                "Your socket connection to the server was not read from or written to within the \
                 timeout period. Idle connections will be closed.",
            ),
            BodyFault::Cut | BodyFault::Chunks(ChunkError::Unfinished | ChunkError::TooLong) => (
                Code::IncompleteBody,
                "You did not provide the number of bytes specified by the Content-Length HTTP header.",
            ),
            BodyFault::Hash => (
                Code::ContentSha256Mismatch,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ),
            BodyFault::Chunks(ChunkError::Malformed) => {
                (Code::InvalidRequest, "The body is not well-formed aws-chunked encoding.")
            }
            BodyFault::Chunks(ChunkError::Signature) => (
                Code::SignatureDoesNotMatch,
                "The request signature we calculated does not match the signature you provided. \
                 Check your key and signing method.",
            ),
            BodyFault::Chunks(ChunkError::Trailers) => (
                Code::MalformedTrailer,
                "The request contained trailing data that was not well-formed or did not conform \
                 to our published schema.",
            ),
        };
        S3Refusal::new(code, message)
    }
}

/// What is known of a body so far. Shared by the body, the operation, which
/// finds it in the request's extensions, and whoever answers.
#[derive(Clone, Default)]
pub struct BodyRecord(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    fault: Option<BodyFault>,
    document: Option<Document>,
    trailers: Trailers,
}

/// A body that the S3 layer reads as a whole.
struct Document {
    digests: Digests,
    len: u64,
}

impl BodyRecord {
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digests of a document and its length, once: it has been read when an
    /// operation runs. `None` for any other body.
    pub fn take_digests(&self) -> Option<(Digested, u64)> {
        let Document { digests, len } = self.lock().document.take()?;
        Some((digests.finish(), len))
    }

    /// The value of a header that followed the body. It is there once the body
    /// has been read to its end.
    pub fn trailer(&self, name: &str) -> Option<String> {
        let record = self.lock();
        let found = record.trailers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    }

    /// What to answer in place of an answer with this status.
    pub(super) fn refusal(&self, status: StatusCode) -> Option<S3Refusal> {
        let is_error = status.is_client_error() || status.is_server_error();
        self.lock().fault.filter(|_| is_error).map(BodyFault::refusal)
    }
}

/// A body that the guard looks at.
pub struct GuardedBody<B> {
    /// `None` once there is no more.
    inner: Option<B>,
    way: Way,
    record: BodyRecord,
    out: VecDeque<Bytes>,
}

enum Way {
    Plain,
    Hash { seen: Sha256, signed: [u8; 32] },
    Chunks(Box<Chunks>),
}

impl<B> GuardedBody<B> {
    /// Looks at `inner`, which comes as `payload` says.
    pub(super) fn new(inner: B, payload: Payload, seal: Option<Seal>) -> Self {
        let way = match payload {
            Payload::Plain => Way::Plain,
            Payload::Hash(signed) => Way::Hash { seen: Sha256::new(), signed },
            Payload::Chunks(framing) => {
                let seal = seal.filter(|_| framing.signed);
                Way::Chunks(Box::new(Chunks::new(framing, seal)))
            }
        };
        Self { inner: Some(inner), way, record: BodyRecord::default(), out: VecDeque::new() }
    }

    /// A body that was read already.
    pub(super) fn empty() -> Self {
        let (way, record) = (Way::Plain, BodyRecord::default());
        Self { inner: None, way, record, out: VecDeque::new() }
    }

    /// The S3 layer will read it as a whole: digests it for the operation.
    /// `headers` say which checksum that wants.
    pub(super) fn digested(self, headers: &HeaderMap) -> Self {
        let algorithm = Declared::from_headers(headers).ok().and_then(|it| it.algorithm());
        let document = Document { digests: Digests::new(algorithm), len: 0 };
        self.record.lock().document = Some(document);
        self
    }

    /// What will be known of it.
    pub(super) fn record(&self) -> BodyRecord {
        self.record.clone()
    }

    /// Takes in a piece.
    fn take_in(&mut self, bytes: Bytes) -> Result<(), BodyFault> {
        match &mut self.way {
            Way::Plain => self.out.push_back(bytes),
            Way::Hash { seen, .. } => {
                seen.update(&bytes);
                self.out.push_back(bytes);
            }
            Way::Chunks(chunks) => {
                chunks.push(bytes)?;
                self.out.extend(std::iter::from_fn(|| chunks.pop()));
            }
        }
        Ok(())
    }

    /// Nothing more comes: may it end?
    fn finish(&mut self) -> Result<(), BodyFault> {
        match &mut self.way {
            Way::Plain => {}
            Way::Hash { seen, signed } => {
                let seen: [u8; 32] = std::mem::take(seen).finalize().into();
                if !bool::from(seen.ct_eq(signed)) {
                    return Err(BodyFault::Hash);
                }
            }
            Way::Chunks(chunks) => self.record.lock().trailers = chunks.finish()?,
        }
        Ok(())
    }

    /// The next piece of data that is ready.
    fn next_out(&mut self) -> Option<Bytes> {
        let bytes = self.out.pop_front()?;
        if let Some(document) = &mut self.record.lock().document {
            document.len += bytes.len() as u64;
            document.digests.update(std::slice::from_ref(&bytes));
        }
        Some(bytes)
    }

    fn fail(&mut self, fault: BodyFault) -> BodyFault {
        tracing::debug!(%fault, "the body of a request failed");
        self.inner = None;
        self.out.clear();
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
        loop {
            if let Some(bytes) = this.next_out() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
            let taken = match ready!(Pin::new(inner).poll_frame(cx)) {
                // HTTP's own trailers mean nothing in S3.
                Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |bytes| this.take_in(bytes)),
                Some(Err(error)) => Err(fault_of(&error)),
                None => {
                    // Dropped at its end, as a body that was read is.
                    this.inner = None;
                    this.finish()
                }
            };
            if let Err(fault) = taken {
                return Poll::Ready(Some(Err(this.fail(fault))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match (&self.way, &self.inner) {
            (_, None) => self.out.is_empty(),
            (Way::Plain, Some(inner)) => self.out.is_empty() && inner.is_end_stream(),
            // Whether it may end is known when the end was seen.
            (Way::Hash { .. } | Way::Chunks(_), Some(_)) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.way, &self.inner) {
            (_, None) => SizeHint::with_exact(self.out.iter().map(|out| out.len() as u64).sum()),
            (Way::Plain, Some(inner)) if self.out.is_empty() => inner.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

/// Reads a body that has no more than `max` bytes; `None` if it has more.
pub(super) async fn read_small<B>(mut body: B, max: usize) -> Result<Option<Vec<u8>>, BodyFault>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: StdError + Send + Sync + 'static,
{
    let mut read = Vec::new();
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let bytes = match frame {
            None => return Ok(Some(read)),
            Some(Err(error)) => return Err(fault_of(&error)),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        if max < read.len() + bytes.len() {
            return Ok(None);
        }
        read.extend_from_slice(&bytes);
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
    use crate::http::guard::payload::Framing;
    use crate::http::guard::testing::parts;
    use crate::http::listener::BodyPace;

    type Pieces = Vec<Result<&'static str, RequestBodyError>>;

    /// What is read of a body, and what is answered in place of a 500.
    async fn read(
        payload: Payload,
        headers: &[(&str, &str)],
        pieces: Pieces,
    ) -> (Result<Bytes, BodyFault>, Option<&'static str>, BodyRecord) {
        let headers = parts("POST", "/b", headers).headers;
        let frames =
            pieces.into_iter().map(|piece| piece.map(|text| Frame::data(Bytes::from(text))));
        let inner = StreamBody::new(stream::iter(frames));
        let body = GuardedBody::new(inner, payload, None).digested(&headers);
        assert!(!body.is_end_stream());
        let record = body.record();
        let read = body.collect().await.map(http_body_util::Collected::to_bytes);
        let refusal = record.refusal(StatusCode::INTERNAL_SERVER_ERROR);
        assert!(refusal.as_ref().is_none_or(|refusal| refusal.status == 400));
        (read, refusal.map(|refusal| refusal.code.as_str()), record)
    }

    fn slow() -> RequestBodyError {
        RequestBodyError::TooSlow(BodyPace { bytes: 1, window: Duration::from_secs(1) })
    }

    /// "abc" is expected.
    fn hash() -> Payload {
        Payload::Hash(Sha256::digest("abc").into())
    }

    fn chunks(len: u64) -> Payload {
        let trailers = Some(vec!["x-amz-checksum-crc32".to_owned()]);
        Payload::Chunks(Framing { len, signed: false, trailers })
    }

    #[tokio::test]
    async fn a_document_is_digested_without_its_framing() {
        let header = [("x-amz-checksum-crc32", "NSRBwg==")];
        let trailer = [("x-amz-trailer", "x-amz-checksum-crc32")];
        let framed = vec![Ok("1\r\na\r\n2\r"), Ok("\nbc\r\n0\r\nX-Amz-Checksum-CRC32:N\r\n\r\n")];
        for (payload, headers, pieces, trailer) in [
            (hash(), &header, vec![Ok("a"), Ok("bc")], None),
            (chunks(3), &trailer, framed, Some("N")),
        ] {
            let (read, refusal, record) = read(payload, headers, pieces).await;
            assert_eq!((read.unwrap(), refusal), (Bytes::from("abc"), None));
            assert_eq!(record.trailer("x-amz-checksum-crc32").as_deref(), trailer);
            let (digested, len) = record.take_digests().unwrap();
            assert_eq!((digested.etag().as_str(), len), ("900150983cd24fb0d6963f7d28e17f72", 3));
            assert_eq!(digested.checksum.unwrap().value, "NSRBwg==");
            assert!(record.take_digests().is_none());
        }
    }

    #[tokio::test]
    async fn s07_what_was_at_fault_is_answered() {
        let refusal = |payload, pieces| async move { read(payload, &[], pieces).await.1 };
        assert_eq!(refusal(hash(), vec![Ok("a"), Ok("bc")]).await, None);
        for other in [vec![], vec![Ok("ab")], vec![Ok("ab"), Ok("d")], vec![Ok("abcd")]] {
            assert_eq!(refusal(hash(), other).await, Some("XAmzContentSHA256Mismatch"));
        }
        assert_eq!(refusal(hash(), vec![Ok("a"), Err(slow())]).await, Some("RequestTimeout"));
        assert_eq!(refusal(Payload::Plain, vec![Ok("abd")]).await, None);
        let of = |body| refusal(chunks(1), vec![Ok(body)]);
        assert_eq!(of("1\r\na\r\n0\r\n\r\n").await, None);
        assert_eq!(of("1\r\na\r\n").await, Some("IncompleteBody"));
        assert_eq!(of("z\r\n").await, Some("InvalidRequest"));
        assert_eq!(of("2\r\nab\r\n").await, Some("IncompleteBody"));
        assert_eq!(of("1\r\na\r\n0\r\nx:y\r\n\r\n").await, Some("MalformedTrailerError"));
    }

    #[tokio::test]
    async fn a_success_is_never_replaced() {
        let (_, _, record) = read(Payload::Plain, &[], vec![Err(slow())]).await;
        assert!(record.refusal(StatusCode::OK).is_none());
        assert!(record.refusal(StatusCode::BAD_REQUEST).is_some());
    }

    #[tokio::test]
    async fn small_bodies_are_read_whole_and_others_not() {
        let body = |text: &'static str| http_body_util::Full::new(Bytes::from(text));
        assert_eq!(read_small(body("abc"), 3).await, Ok(Some(b"abc".to_vec())));
        assert_eq!(read_small(body("abcd"), 3).await, Ok(None));
    }
}
