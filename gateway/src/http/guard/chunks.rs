//! The framing of `aws-chunked` bodies, looked at before the S3 layer does.
//!
//! The S3 layer gathers a whole chunk, however large the client says it is,
//! before it hands on a byte, and takes a body that ends between two chunks for
//! a whole one. So unsigned chunks are cut into small ones here; signed ones
//! cannot be cut without the key, and large ones are refused. Both must end
//! with the empty chunk, and may hold no more than the request declared.
//!
//! ```text
//! 1000\r\n <4096 bytes> \r\n  0\r\n x-amz-checksum-crc32:y/Q5Jg==\r\n \r\n
//! 1000;chunk-signature=<64 hex digits>\r\n <4096 bytes> \r\n  0;chunk-...
//! ```
//!
//! Sans-io: bytes are pushed in, bytes come out. Signatures, and what trailers
//! say, are for the S3 layer.

use std::collections::VecDeque;

use bytes::Bytes;
use thiserror::Error;

/// The S3 layer gets no larger chunk than this, unless it is signed.
const CUT: usize = 64 * 1024;
/// Largest chunk that is signed. Clients send 64 KiB to a few MiB.
const SIGNED_MAX: u64 = 16 * 1024 * 1024;
/// Longest line that begins a chunk; a signed one has 91 bytes at most.
const LINE_MAX: usize = 128;
/// Most bytes behind the last chunk.
const TRAILERS_MAX: usize = 16 * 1024;

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// Not what it should look like.
    #[error("the framing is not that of aws-chunked")]
    Malformed,
    /// No last chunk.
    #[error("the body ends before its last chunk")]
    Unfinished,
    /// A chunk that would have to be gathered whole.
    #[error("a signed chunk is larger than {SIGNED_MAX} bytes")]
    TooLarge,
    /// More than was declared.
    #[error("there is more data than the request declared")]
    TooLong,
}

/// Takes chunks apart and puts them together again.
#[derive(Debug)]
pub(super) struct Chunks {
    signed: bool,
    /// Bytes of data that may still come, if the request said how many.
    left: Option<u64>,
    state: State,
    out: VecDeque<Bytes>,
}

#[derive(Debug)]
enum State {
    /// In the line that begins a chunk.
    Line(Vec<u8>),
    /// In the data of a chunk.
    Data { left: u64 },
    /// Behind the data: `\r\n`, of which this much has come.
    Break { seen: usize },
    /// Behind the last chunk.
    Trailers { len: usize },
}

impl Chunks {
    /// `declared` is how many bytes of data the request says there are.
    pub fn new(signed: bool, declared: Option<u64>) -> Self {
        Self { signed, left: declared, state: State::Line(Vec::new()), out: VecDeque::new() }
    }

    /// Takes in the next bytes of the body.
    pub fn push(&mut self, bytes: Bytes) -> Result<(), ChunkError> {
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            self.step(&mut rest)?;
        }
        if self.signed {
            self.out.push_back(bytes);
        }
        Ok(())
    }

    /// The next bytes for the S3 layer, if some are ready.
    pub fn pop(&mut self) -> Option<Bytes> {
        self.out.pop_front()
    }

    /// The body has ended: may it?
    pub fn finish(&self) -> Result<(), ChunkError> {
        match self.state {
            State::Trailers { .. } => Ok(()),
            _ => Err(ChunkError::Unfinished),
        }
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
                    let size = parse_line(line, self.signed).ok_or(ChunkError::Malformed)?;
                    self.begin(size)?;
                }
            }
            State::Data { left } => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len()).min(CUT);
                let data = rest.split_to(len);
                *left -= len as u64;
                if *left == 0 {
                    self.state = State::Break { seen: 0 };
                }
                self.emit_chunk(data);
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
            State::Trailers { len } => {
                let part = rest.split_to(rest.len());
                *len += part.len();
                if TRAILERS_MAX < *len {
                    return Err(ChunkError::Malformed);
                }
                self.emit(part);
            }
        }
        Ok(())
    }

    fn begin(&mut self, size: u64) -> Result<(), ChunkError> {
        if self.signed && SIGNED_MAX < size {
            return Err(ChunkError::TooLarge);
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(size).ok_or(ChunkError::TooLong)?;
        }
        if size == 0 {
            self.emit(Bytes::from_static(b"0\r\n"));
            self.state = State::Trailers { len: 0 };
        } else {
            self.state = State::Data { left: size };
        }
        Ok(())
    }

    fn emit_chunk(&mut self, data: Bytes) {
        self.emit(Bytes::from(format!("{:x}\r\n", data.len())));
        self.emit(data);
        self.emit(Bytes::from_static(b"\r\n"));
    }

    /// Signed bodies go on as they came.
    fn emit(&mut self, bytes: Bytes) {
        if !self.signed {
            self.out.push_back(bytes);
        }
    }
}

/// The size that a line names. The S3 layer reads eight digits and ignores what
/// follows them, so nothing may.
fn parse_line(line: &[u8], signed: bool) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let digits = match line.split_once(';') {
        Some((digits, _signature)) if signed => digits,
        Some(_) => return None,
        None => line,
    };
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A body with chunks of these sizes, and trailers.
    fn encode(sizes: &[usize], payload: &[u8], trailers: &str) -> Vec<u8> {
        let (mut body, mut rest) = (Vec::new(), payload);
        for size in sizes.iter().copied().chain([usize::MAX]) {
            let (chunk, left) = rest.split_at(size.min(rest.len()));
            if !chunk.is_empty() {
                body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            rest = left;
        }
        body.extend_from_slice(b"0\r\n");
        body.extend_from_slice(trailers.as_bytes());
        body
    }

    /// The payload and trailers of what came out, read another way than above,
    /// and the largest chunk.
    fn decode(mut body: &[u8]) -> (Vec<u8>, String, usize) {
        let (mut payload, mut largest) = (Vec::new(), 0);
        loop {
            let line = body.windows(2).position(|two| two == b"\r\n").expect("a line");
            let digits = std::str::from_utf8(&body[..line]).expect("text");
            let size = usize::from_str_radix(digits, 16).expect("a size");
            body = &body[line + 2..];
            if size == 0 {
                return (payload, String::from_utf8(body.to_vec()).expect("text"), largest);
            }
            largest = largest.max(size);
            payload.extend_from_slice(&body[..size]);
            assert_eq!(&body[size..size + 2], b"\r\n");
            body = &body[size + 2..];
        }
    }

    /// What comes out when `body` arrives in frames of these lengths.
    fn run(chunks: &mut Chunks, body: &[u8], frames: &[usize]) -> Result<Vec<u8>, ChunkError> {
        let (mut out, mut rest) = (Vec::new(), Bytes::copy_from_slice(body));
        let mut lens = frames.iter().copied().chain(std::iter::repeat(usize::MAX));
        while !rest.is_empty() {
            let len = lens.next().unwrap_or(usize::MAX).clamp(1, rest.len());
            chunks.push(rest.split_to(len))?;
            while let Some(bytes) = chunks.pop() {
                out.extend_from_slice(&bytes);
            }
        }
        chunks.finish().map(|()| out)
    }

    fn unsigned(body: &[u8]) -> Result<Vec<u8>, ChunkError> {
        run(&mut Chunks::new(false, None), body, &[])
    }

    proptest! {
        #[test]
        fn payload_and_trailers_are_kept_however_they_arrive(
            payload in vec(any::<u8>(), 0..200_000),
            sizes in vec(1..150_000_usize, 0..8),
            frames in vec(1..90_000_usize, 0..32),
            small in vec(1..4_usize, 0..64),
            trailers in "(x-amz-checksum-crc32:[A-Za-z0-9+/]{6}==\r\n){0,3}\r\n",
        ) {
            let body = encode(&sizes, &payload, &trailers);
            let mut chunks = Chunks::new(false, Some(payload.len() as u64));
            let out = run(&mut chunks, &body, &[small, frames].concat()).unwrap();
            let (back, kept, largest) = decode(&out);
            prop_assert!(back == payload);
            prop_assert_eq!(kept, trailers);
            prop_assert!(largest <= CUT);
        }

        #[test]
        fn a_body_that_is_cut_before_its_last_chunk_is_not_whole(
            payload in vec(any::<u8>(), 1..2_000),
            sizes in vec(1..500_usize, 0..8),
            at in any::<prop::sample::Index>(),
        ) {
            let body = encode(&sizes, &payload, "");
            let cut = at.index(body.len());
            prop_assert_eq!(unsigned(&body[..cut]), Err(ChunkError::Unfinished));
        }
    }

    #[test]
    fn a_large_chunk_is_not_gathered() {
        let mut chunks = Chunks::new(false, Some(0xffff_ffff));
        chunks.push(Bytes::from_static(b"ffffffff\r\n")).unwrap();
        for _ in 0..100 {
            chunks.push(Bytes::from(vec![7; 1 << 20])).unwrap();
            let mut len = 0;
            while let Some(bytes) = chunks.pop() {
                len += bytes.len();
            }
            assert!(len > 1 << 20, "what came in goes out");
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        for body in [
            "\r\n",
            "x\r\n",
            "+1\r\nA\r\n0\r\n\r\n",
            "-1\r\n",
            " 1\r\nA\r\n0\r\n",
            "1\nA\r\n0\r\n",
            "1\r\nAB\r\n0\r\n",
            "1\r\nA\n0\r\n",
            "123456789\r\n",
            "1;chunk-signature=00\r\nA\r\n0\r\n",
            "1;x\r\nA\r\n0\r\n",
        ] {
            assert_eq!(unsigned(body.as_bytes()), Err(ChunkError::Malformed), "{body:?}");
        }
        assert_eq!(unsigned(&[b'0'; LINE_MAX + 1]), Err(ChunkError::Malformed));
        let long = [b"0\r\n".as_slice(), &vec![b'a'; TRAILERS_MAX + 1]].concat();
        assert_eq!(unsigned(&long), Err(ChunkError::Malformed));
        assert_eq!(unsigned(b""), Err(ChunkError::Unfinished));
    }

    #[test]
    fn no_more_data_than_was_declared() {
        let body = encode(&[3, 3], b"abcdef", "\r\n");
        for signed in [false, true] {
            let run = |declared| run(&mut Chunks::new(signed, Some(declared)), &body, &[]);
            assert!(run(6).is_ok());
            // Less is for the operation to find, once it has counted.
            assert!(run(7).is_ok());
            assert_eq!(run(5), Err(ChunkError::TooLong));
        }
    }

    #[test]
    fn signed_chunks_go_on_as_they_came_unless_they_are_large() {
        let signature = "0".repeat(64);
        let body = format!(
            "3;chunk-signature={signature}\r\nabc\r\n0;chunk-signature={signature}\r\n\r\n"
        );
        for frames in [&[][..], &[1; 300]] {
            let out = run(&mut Chunks::new(true, Some(3)), body.as_bytes(), frames).unwrap();
            assert_eq!(out, body.as_bytes());
        }
        let large = |line: &[u8]| run(&mut Chunks::new(true, None), line, &[]);
        assert_eq!(large(b"1000000;chunk-signature=x\r\n"), Err(ChunkError::Unfinished));
        assert_eq!(large(b"1000001;chunk-signature=x\r\n"), Err(ChunkError::TooLarge));
        assert_eq!(large(b"ffffffff;chunk-signature=x\r\n"), Err(ChunkError::TooLarge));
    }
}
