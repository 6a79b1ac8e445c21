//! The body of a put on its way in: chunks, each after its length, until a
//! length of 0. Says where the next bytes go and what they mean, however they
//! are cut; pure, so that a put can wait anywhere and go on later.

use protocol::frame::CHUNK_MAX;
use protocol::refusal::Refusal;

use crate::handle::Failure;

const LENGTH: usize = size_of::<u32>();

/// How far a body has come.
#[derive(Debug)]
pub(crate) struct Body {
    max_len: u64,
    /// Bytes of all chunks so far.
    announced: u64,
    /// Bytes of the current chunk that have not come.
    left: usize,
    /// The length of the next chunk, as far as it has come.
    length: [u8; LENGTH],
    came: usize,
    has_ended: bool,
}

impl Body {
    /// A body of at most `max_len` bytes.
    pub fn new(max_len: u64) -> Self {
        let (length, came) = ([0; LENGTH], 0);
        Self { max_len, announced: 0, left: 0, length, came, has_ended: false }
    }

    /// Whether all of it came.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Where the next bytes go: the start of `buffer`, or our own memory for a
    /// length. Empty only if a chunk goes on and the buffer is full: at the end
    /// of a chunk the next length is read first, it may be the end of the body.
    pub fn space<'a>(&'a mut self, buffer: &'a mut [u8]) -> &'a mut [u8] {
        if self.left == 0 {
            return &mut self.length[self.came..];
        }
        let room = self.left.min(buffer.len());
        &mut buffer[..room]
    }

    /// Bytes came into the space. How many of them went to the buffer.
    pub fn take(&mut self, got: usize) -> Result<usize, Failure> {
        if self.left > 0 {
            self.left -= got;
            return Ok(got);
        }
        self.came += got;
        if self.came == LENGTH {
            self.came = 0;
            self.begin_chunk(u32::from_le_bytes(self.length))?;
        }
        Ok(0)
    }

    fn begin_chunk(&mut self, len: u32) -> Result<(), Failure> {
        self.announced += u64::from(len);
        self.left = usize::try_from(len).unwrap_or(usize::MAX);
        self.has_ended = len == 0;
        if self.left > CHUNK_MAX || self.announced > self.max_len {
            return Err(Failure::Refused(Refusal::Malformed));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for chunk in chunks.iter().map(Vec::as_slice).chain([b"".as_slice()]) {
            out.extend_from_slice(&u32::try_from(chunk.len()).unwrap().to_le_bytes());
            out.extend_from_slice(chunk);
        }
        out
    }

    proptest! {
        /// Whatever the chunks, however the network cuts them, whatever the
        /// buffer: the bytes are the same, and what follows is not touched.
        #[test]
        fn a_body_is_the_bytes_of_its_chunks(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(1usize..9, 1..9), size in 1usize..50,
        ) {
            let wire = encoded(&chunks);
            let (mut wire, mut cuts) = (wire.as_slice(), cuts.iter().cycle());
            let mut body = Body::new(chunks.concat().len() as u64);
            let (mut buffer, mut filled, mut out) = (vec![0; size], 0, Vec::new());
            while !body.has_ended() {
                let space = body.space(&mut buffer[filled..]);
                if space.is_empty() {
                    prop_assert_eq!(filled, size);
                    out.extend_from_slice(&buffer);
                    filled = 0;
                    continue;
                }
                let got = space.len().min(*cuts.next().unwrap());
                space[..got].copy_from_slice(&wire[..got]);
                wire = &wire[got..];
                filled += body.take(got).unwrap();
            }
            out.extend_from_slice(&buffer[..filled]);
            prop_assert_eq!(out, chunks.concat());
            prop_assert!(wire.is_empty());
        }
    }

    #[test]
    fn more_than_was_announced_is_refused_before_it_comes() {
        for (max_len, len) in [(9, 10u32), (u64::MAX, CHUNK_MAX as u32 + 1), (0, 1)] {
            let mut body = Body::new(max_len);
            body.space(&mut []).copy_from_slice(&len.to_le_bytes());
            let refused = body.take(LENGTH);
            assert!(matches!(refused, Err(Failure::Refused(Refusal::Malformed))), "{len}");
        }
    }
}
