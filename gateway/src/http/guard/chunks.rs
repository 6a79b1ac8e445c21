//! The framing of `aws-chunked` bodies, taken off while they pass.
//!
//! ```text
//! 1000\r\n <4096 bytes> \r\n  0\r\n x-amz-checksum-crc32:y/Q5Jg==\r\n \r\n
//! 1000;chunk-signature=<64 hex digits>\r\n <4096 bytes> \r\n  0;chunk-...
//! ```
//!
//! Data goes on before its chunk is verified, however large the chunk is: no
//! object is visible before the body has ended, and it ends well only when the
//! empty chunk has come, every signature was right and every byte was counted.
//!
//! Sans-io: bytes are pushed in, bytes come out. What trailers say is for the
//! operations.

use std::collections::VecDeque;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::payload::Framing;
use crate::auth::sigv4::SigningKey;

/// Longest line that begins a chunk; a signed one has about 90 bytes.
const LINE_MAX: usize = 256;
/// Largest chunk.
const CHUNK_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// Most bytes behind the last chunk.
const TRAILERS_MAX: usize = 8 * 1024;
/// The trailer that signs the others.
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";
/// The SHA-256 of nothing: a chunk has no headers of its own.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// Not what it should look like.
    #[error("the framing is not that of aws-chunked")]
    Malformed,
    /// No last chunk, or less than was declared.
    #[error("the body ends too early")]
    Unfinished,
    /// More than was declared.
    #[error("there is more data than the request declared")]
    TooLong,
    /// A chunk or the trailers are not what was signed.
    #[error("a chunk is not what was signed")]
    Signature,
    /// What follows the last chunk is not what was announced.
    #[error("the trailers are not what was announced")]
    Trailers,
}

/// What signatures of chunks go on from: each covers the one before.
pub(super) struct Seal {
    key: SigningKey,
    /// The date and the scope, as they are signed.
    context: String,
    previous: String,
}

impl Seal {
    /// Begins with the signature of the request.
    pub fn new(key: SigningKey, date: &str, scope: String, signature: &str) -> Self {
        Self { key, context: format!("{date}\n{scope}"), previous: signature.to_owned() }
    }

    fn check_chunk(&mut self, hash: &str, signature: &str) -> Result<(), ChunkError> {
        let what = format!("{EMPTY}\n{hash}");
        self.check("AWS4-HMAC-SHA256-PAYLOAD", &what, signature)
    }

    fn check_trailers(&mut self, hash: &str, signature: &str) -> Result<(), ChunkError> {
        self.check("AWS4-HMAC-SHA256-TRAILER", hash, signature)
    }

    fn check(&mut self, kind: &str, what: &str, signature: &str) -> Result<(), ChunkError> {
        let string = format!("{kind}\n{}\n{}\n{what}", self.context, self.previous);
        if !self.key.verify(&string, signature) {
            return Err(ChunkError::Signature);
        }
        self.previous = signature.to_owned();
        Ok(())
    }
}

/// The trailers of a body: names in lower case, and values.
pub(super) type Trailers = Vec<(String, String)>;

/// Takes the framing off.
pub(super) struct Chunks {
    /// Bytes of data that have yet to come.
    left: u64,
    seal: Option<Seal>,
    /// Names of trailers that may come.
    announced: Option<Vec<String>>,
    state: State,
    out: VecDeque<Bytes>,
}

enum State {
    /// In the line that begins a chunk.
    Line(Vec<u8>),
    /// In the data of a chunk.
    Data { left: u64, signed: Option<Signed> },
    /// Behind the data: `\r\n`, of which this much has come.
    Break { seen: usize },
    /// Behind the last chunk.
    Trailers(Vec<u8>),
}

/// A chunk that is being read.
struct Signed {
    signature: String,
    hash: Sha256,
}

impl Chunks {
    /// `seal` is needed for signed chunks, and for them alone.
    pub fn new(framing: Framing, seal: Option<Seal>) -> Self {
        assert_eq!(framing.signed, seal.is_some());
        Self {
            left: framing.len,
            seal,
            announced: framing.trailers,
            state: State::Line(Vec::new()),
            out: VecDeque::new(),
        }
    }

    /// Takes in the next bytes of the body.
    pub fn push(&mut self, mut bytes: Bytes) -> Result<(), ChunkError> {
        while !bytes.is_empty() {
            self.step(&mut bytes)?;
        }
        Ok(())
    }

    /// The next bytes of data, if some are ready.
    pub fn pop(&mut self) -> Option<Bytes> {
        self.out.pop_front()
    }

    /// The body has ended: may it?
    pub fn finish(&mut self) -> Result<Trailers, ChunkError> {
        let State::Trailers(text) = &self.state else { return Err(ChunkError::Unfinished) };
        let Tail { trailers, signed_text, signature } = Tail::parse(text)?;
        let announced = self.announced.as_deref().unwrap_or_default();
        if trailers.iter().any(|(name, _)| !announced.contains(name)) {
            return Err(ChunkError::Trailers);
        }
        match (&mut self.seal, &self.announced, signature) {
            (Some(seal), Some(_), Some(signature)) => {
                seal.check_trailers(&hex::encode(Sha256::digest(&signed_text)), &signature)?;
            }
            (Some(_), None, None) | (None, _, None) => {}
            // A signature where none belongs, or none where one does.
            (Some(_), Some(_), None) => return Err(ChunkError::Signature),
            (Some(_), None, Some(_)) | (None, _, Some(_)) => return Err(ChunkError::Trailers),
        }
        Ok(trailers)
    }

    /// Takes in as much as belongs together.
    fn step(&mut self, rest: &mut Bytes) -> Result<(), ChunkError> {
        match &mut self.state {
            State::Line(line) => {
                let end = rest.iter().position(|&byte| byte == b'\n').map(|at| at + 1);
                let part = rest.split_to(end.unwrap_or(rest.len()));
                if LINE_MAX < line.len() + part.len() {
                    return Err(ChunkError::Malformed);
                }
                line.extend_from_slice(&part);
                if end.is_some() {
                    let line = std::mem::take(line);
                    self.begin(&line)?;
                }
            }
            State::Data { left, signed } => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                let data = rest.split_to(len);
                *left -= len as u64;
                if let Some(signed) = signed {
                    signed.hash.update(&data);
                }
                let ended = *left == 0;
                self.out.push_back(data);
                if ended {
                    self.end_chunk()?;
                }
            }
            State::Break { seen } => {
                if rest.split_to(1)[0] != b"\r\n"[*seen] {
                    return Err(ChunkError::Malformed);
                }
                *seen += 1;
                if *seen == 2 {
                    self.state = State::Line(Vec::new());
                }
            }
            State::Trailers(text) => {
                let part = rest.split_to(rest.len());
                if TRAILERS_MAX < text.len() + part.len() {
                    return Err(ChunkError::Trailers);
                }
                text.extend_from_slice(&part);
            }
        }
        Ok(())
    }

    /// The line of a chunk has come.
    fn begin(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        let (size, signature) =
            parse_line(line, self.seal.is_some()).ok_or(ChunkError::Malformed)?;
        self.left = self.left.checked_sub(size).ok_or(ChunkError::TooLong)?;
        if size > 0 {
            let signed = signature.map(|signature| Signed { signature, hash: Sha256::new() });
            self.state = State::Data { left: size, signed };
            return Ok(());
        }
        if self.left > 0 {
            return Err(ChunkError::Unfinished);
        }
        if let (Some(seal), Some(signature)) = (&mut self.seal, signature) {
            seal.check_chunk(EMPTY, &signature)?;
        }
        self.state = State::Trailers(Vec::new());
        Ok(())
    }

    /// The last byte of a chunk has come.
    fn end_chunk(&mut self) -> Result<(), ChunkError> {
        let ended = std::mem::replace(&mut self.state, State::Break { seen: 0 });
        if let (State::Data { signed: Some(signed), .. }, Some(seal)) = (ended, &mut self.seal) {
            seal.check_chunk(&hex::encode(signed.hash.finalize()), &signed.signature)?;
        }
        Ok(())
    }
}

/// The size that a line names, and its signature if it must have one. Nothing
/// else may stand there.
fn parse_line(line: &[u8], is_signed: bool) -> Option<(u64, Option<String>)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let (digits, signature) = if is_signed {
        let (digits, signature) = line.split_once(";chunk-signature=")?;
        (digits, Some(signature.to_owned()))
    } else {
        (line, None)
    };
    if !(1..=16).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let size = u64::from_str_radix(digits, 16).ok()?;
    (size <= CHUNK_MAX).then_some((size, signature))
}

/// What follows the last chunk.
struct Tail {
    trailers: Trailers,
    /// The trailers as they are signed.
    signed_text: String,
    signature: Option<String>,
}

impl Tail {
    /// Reads lines until an empty one. Some libraries put another empty line
    /// between the trailers and their signature, or behind everything.
    fn parse(text: &[u8]) -> Result<Self, ChunkError> {
        let text = std::str::from_utf8(text).map_err(|_| ChunkError::Trailers)?;
        let Some(text) = text.strip_suffix("\r\n") else { return Err(ChunkError::Unfinished) };
        let mut tail = Self { trailers: Vec::new(), signed_text: String::new(), signature: None };
        let mut empty = 0;
        for line in text.split_inclusive('\n') {
            // The last line was empty, and the end of the one before is here.
            let line = line.strip_suffix('\n').ok_or(ChunkError::Unfinished)?;
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() {
                empty += 1;
                if 1 < empty {
                    return Err(ChunkError::Malformed);
                }
                continue;
            }
            if line.contains(char::is_control) {
                return Err(ChunkError::Trailers);
            }
            let (name, value) = line.split_once(':').ok_or(ChunkError::Trailers)?;
            tail.add(name.trim().to_ascii_lowercase(), value.trim(), empty > 0)?;
        }
        Ok(tail)
    }

    fn add(&mut self, name: String, value: &str, is_behind: bool) -> Result<(), ChunkError> {
        let is_known = self.trailers.iter().any(|(known, _)| *known == name);
        if self.signature.is_some() || is_known {
            return Err(ChunkError::Trailers);
        }
        if name == TRAILER_SIGNATURE {
            self.signature = Some(value.to_owned());
            return Ok(());
        }
        if is_behind {
            return Err(ChunkError::Malformed);
        }
        self.signed_text.push_str(&format!("{name}:{value}\n"));
        self.trailers.push((name, value.to_owned()));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
