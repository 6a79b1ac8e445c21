//! The file of a form as a body: what the parser says is its, counted.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use http::StatusCode;
use s3s::{S3Error, S3ErrorCode, S3Result, StdError};
use thiserror::Error;

use super::parser::{Event, FormError, Parser};
use super::policy::Sizes;
use crate::error::{custom, refuse};

/// The body of a request.
pub type Incoming = Pin<Box<dyn Stream<Item = Result<Bytes, StdError>> + Send>>;

/// Why there is no whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FileFault {
    /// The form around it.
    #[error(transparent)]
    Form(#[from] FormError),
    /// The policy, or the gateway, allows fewer bytes.
    #[error("the file is too large")]
    TooLarge,
    /// The policy asks for more bytes.
    #[error("the file is too small")]
    TooSmall,
}

impl From<FileFault> for S3Error {
    fn from(fault: FileFault) -> Self {
        use S3ErrorCode as Code;
        match fault {
            FileFault::Form(FormError::Malformed | FormError::Truncated) => refuse(
                Code::MalformedPOSTRequest,
                "The body of your POST request is not well-formed multipart/form-data.",
            ),
            FileFault::Form(FormError::TooLarge) => custom(
                "MaxPostPreDataLengthExceededError",
                StatusCode::BAD_REQUEST,
                "Your POST request fields preceding the upload file were too large.",
            ),
            FileFault::TooLarge => refuse(
                Code::EntityTooLarge,
                "Your proposed upload exceeds the maximum allowed size",
            ),
            FileFault::TooSmall => refuse(
                Code::EntityTooSmall,
                "Your proposed upload is smaller than the minimum allowed size",
            ),
        }
    }
}

/// Why the bytes of a file end early.
#[derive(Debug, Error)]
pub enum FileError {
    /// Something is wrong with the form.
    #[error(transparent)]
    Fault(#[from] FileFault),
    /// The body of the request broke off.
    #[error("the body of the request: {0}")]
    Body(StdError),
}

/// What was at fault with a file, for whoever answers: an operation only sees
/// that its body broke off.
#[derive(Clone, Debug, Default)]
pub struct FileRecord(Arc<Mutex<Option<FileFault>>>);

impl FileRecord {
    /// The fault, if there was one.
    pub fn fault(&self) -> Option<FileFault> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of the file, no more and no fewer than allowed, of a form that is
/// whole.
pub struct FileBody {
    parser: Parser,
    source: Incoming,
    sizes: Sizes,
    len: u64,
    ended: bool,
    record: FileRecord,
}

enum Step {
    Data(Bytes),
    /// More bytes of the form are needed.
    Starved,
    /// The file is whole.
    End,
}

impl FileBody {
    /// The file that `parser` has come to.
    pub fn new(parser: Parser, source: Incoming, sizes: Sizes) -> (Self, FileRecord) {
        let record = FileRecord::default();
        let body = Self { parser, source, sizes, len: 0, ended: false, record: record.clone() };
        (body, record)
    }

    fn step(&mut self) -> Result<Step, FileFault> {
        match self.parser.pop()? {
            None => Ok(Step::Starved),
            Some(Event::Data(bytes)) => {
                self.len += bytes.len() as u64;
                if self.sizes.max < self.len {
                    return Err(FileFault::TooLarge);
                }
                Ok(Step::Data(bytes))
            }
            Some(Event::End) if self.len < self.sizes.min => Err(FileFault::TooSmall),
            // Nothing else follows the beginning of a file.
            Some(_) => Ok(Step::End),
        }
    }
}

impl Stream for FileBody {
    type Item = Result<Bytes, FileError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let fault = loop {
            match this.step() {
                Ok(Step::Data(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Ok(Step::End) => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
                Ok(Step::Starved) => {}
                Err(fault) => break fault,
            }
            match ready!(this.source.as_mut().poll_next(cx)) {
                Some(Ok(bytes)) => this.parser.push(&bytes),
                // What broke is known to who reads it.
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(FileError::Body(error))));
                }
                None => break FormError::Truncated.into(),
            }
        };
        this.ended = true;
        *this.record.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        Poll::Ready(Some(Err(fault.into())))
    }
}

/// Reads up to the file: hands out fields, and returns the file's name.
pub async fn read_head(
    parser: &mut Parser,
    source: &mut Incoming,
    mut add: impl FnMut(&str, &Bytes) -> S3Result<()>,
) -> S3Result<String> {
    use futures::StreamExt;
    loop {
        match parser.pop().map_err(FileFault::from)? {
            Some(Event::Field { name, value }) => add(&name, &value)?,
            Some(Event::File { filename }) => return Ok(filename),
            Some(Event::Data(_) | Event::End) => {
                return Err(refuse(
                    S3ErrorCode::InvalidArgument,
                    "POST requires exactly one file upload per request.",
                ));
            }
            None => match source.next().await {
                Some(Ok(bytes)) => parser.push(&bytes),
                Some(Err(error)) => {
                    tracing::debug!(error, "the body of a form broke off");
                    return Err(refuse(
                        S3ErrorCode::IncompleteBody,
                        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
                    ));
                }
                None => return Err(FileFault::from(FormError::Truncated).into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};

    use super::*;

    const HEAD: &str = "--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--B\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";

    /// The file of a form whose body comes in these pieces, and what was at fault.
    async fn read(
        pieces: &[&'static str],
        sizes: Sizes,
    ) -> (Option<Vec<u8>>, Option<FileFault>, usize) {
        let left = Arc::new(Mutex::new(pieces.len()));
        let seen = left.clone();
        let pieces = pieces.to_vec();
        let mut source: Incoming = Box::pin(stream::iter(pieces).map(move |piece| {
            *seen.lock().unwrap() -= 1;
            match piece {
                "broken" => Err("broken".into()),
                piece => Ok(Bytes::from_static(piece.as_bytes())),
            }
        }));
        let mut parser = Parser::new("B");
        let mut names = Vec::new();
        let filename = read_head(&mut parser, &mut source, |name, _| {
            names.push(name.to_owned());
            Ok(())
        });
        assert_eq!(filename.await.unwrap(), "f");
        assert_eq!(names, ["key"]);
        let (mut body, record) = FileBody::new(parser, source, sizes);
        let mut bytes = Some(Vec::new());
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => bytes.as_mut().unwrap().extend_from_slice(&piece),
                Err(_) => bytes = None,
            }
        }
        assert!(body.next().await.is_none(), "nothing comes behind an end");
        let left = *left.lock().unwrap();
        (bytes, record.fault(), left)
    }

    #[tokio::test]
    async fn a_whole_file_of_the_right_size() {
        let sizes = Sizes { min: 3, max: 3 };
        let got = read(&[HEAD, "ab", "c\r\n--B", "--\r\n"], sizes).await;
        assert_eq!(got, (Some(b"abc".to_vec()), None, 0));
        let got = read(&[HEAD, "ab\r\n--B--"], sizes).await;
        assert_eq!(got, (None, Some(FileFault::TooSmall), 0));
        // Nothing more is read once it is too much.
        let got = read(&[HEAD, "ab", "cd", "ef\r\n--B--"], sizes).await;
        assert_eq!(got, (None, Some(FileFault::TooLarge), 1));
    }

    #[tokio::test]
    async fn a_form_that_is_not_whole_has_no_file() {
        let sizes = Sizes::default();
        let truncated = Some(FileFault::Form(FormError::Truncated));
        assert_eq!(read(&[HEAD, "abc"], sizes).await, (None, truncated, 0));
        assert_eq!(read(&[HEAD, "abc\r\n--B\r\n"], sizes).await, (None, truncated, 0));
        let malformed = Some(FileFault::Form(FormError::Malformed));
        assert_eq!(read(&[HEAD, "abc\r\n--B?\r\n"], sizes).await, (None, malformed, 0));
        // A connection that breaks is told by who saw it.
        assert_eq!(read(&[HEAD, "abc", "broken"], sizes).await, (None, None, 0));
    }
}
