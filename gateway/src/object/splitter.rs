//! Cuts a byte stream into batches: a few stripes that are encrypted and
//! encoded at once. Does no I/O: frames are pushed in, batches come out.
//!
//! Bytes are copied once, to where they will be encrypted in place, with room
//! for the tag behind each chunk. The frames themselves are kept for the
//! digests, which are computed beside it.

use bytes::Bytes;
use erasure::{Scheme, UNIT};

use super::cipher::{CHUNK, SEGMENT, TAG};

/// Plain bytes that a batch aims for.
const BATCH: usize = 512 * 1024;

/// Some stripes of one segment, not yet encrypted.
#[derive(Debug)]
pub struct Batch {
    /// Chunks back to back, each with room for its tag.
    pub chunks: Vec<u8>,
    /// The number of its first chunk in the segment.
    pub first_chunk: u32,
    /// Whether the segment ends with it.
    pub ends_segment: bool,
    /// The plain bytes, as they came.
    pub frames: Vec<Bytes>,
}

/// Cuts one content.
#[derive(Debug)]
pub struct Splitter {
    /// Plain bytes of a full batch: whole stripes.
    batch_len: usize,
    /// Plain bytes that a batch will hold, as far as is known.
    room: usize,
    chunks: Vec<u8>,
    frames: Vec<Bytes>,
    in_batch: usize,
    in_segment: u64,
    first_chunk: u32,
    total: u64,
}

impl Splitter {
    /// A splitter for contents of this scheme, of `size_hint` bytes if that is
    /// known: small ones then take little memory.
    pub fn new(scheme: Scheme, size_hint: Option<u64>) -> Self {
        let stripe = usize::from(scheme.data()) * CHUNK;
        let batch_len = (BATCH / stripe).max(1) * stripe;
        let hint = size_hint.and_then(|hint| usize::try_from(hint).ok()).unwrap_or(batch_len);
        Self {
            batch_len,
            room: hint.min(batch_len),
            chunks: Vec::new(),
            frames: Vec::new(),
            in_batch: 0,
            in_segment: 0,
            first_chunk: 0,
            total: 0,
        }
    }

    /// Plain bytes taken in so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Takes bytes from `frame`. A batch comes out when it is full and there is
    /// more, so that the last one is known to be the last: call again until
    /// `frame` is empty.
    pub fn push(&mut self, frame: &mut Bytes) -> Option<Batch> {
        if frame.is_empty() {
            return None;
        }
        let in_segment = usize::try_from(SEGMENT - self.in_segment).unwrap_or(usize::MAX);
        let room = (self.batch_len - self.in_batch).min(in_segment);
        if room == 0 {
            return Some(self.cut(in_segment == 0));
        }
        let taken = frame.split_to(room.min(frame.len()));
        self.copy(&taken);
        self.in_batch += taken.len();
        self.in_segment += taken.len() as u64;
        self.total += taken.len() as u64;
        self.frames.push(taken);
        None
    }

    /// The rest. An empty content has none.
    pub fn finish(mut self) -> Option<Batch> {
        (self.in_batch > 0).then(|| self.cut(true))
    }

    fn copy(&mut self, mut bytes: &[u8]) {
        if self.chunks.capacity() == 0 {
            // Room for the chunks, their tags, and the padding of a last stripe.
            self.chunks.reserve(self.room + self.room.div_ceil(CHUNK) * TAG + 64 * 256);
        }
        while !bytes.is_empty() {
            let filled = self.chunks.len() % UNIT;
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - filled));
            self.chunks.extend_from_slice(now);
            if filled + now.len() == CHUNK {
                self.chunks.extend_from_slice(&[0; TAG]);
            }
            bytes = rest;
        }
    }

    fn cut(&mut self, ends_segment: bool) -> Batch {
        if !self.chunks.len().is_multiple_of(UNIT) {
            self.chunks.extend_from_slice(&[0; TAG]);
        }
        let chunks = std::mem::take(&mut self.chunks);
        let count = u32::try_from(chunks.len().div_ceil(UNIT)).expect("a batch has few chunks");
        let batch = Batch {
            chunks,
            first_chunk: self.first_chunk,
            ends_segment,
            frames: std::mem::take(&mut self.frames),
        };
        self.in_batch = 0;
        self.first_chunk += count;
        if ends_segment {
            self.in_segment = 0;
            self.first_chunk = 0;
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::object::cipher::sealed_len;

    fn split(scheme: &str, frames: &[usize]) -> Vec<Batch> {
        let mut splitter = Splitter::new(scheme.parse().unwrap(), None);
        let mut batches = Vec::new();
        let mut next = 0u8;
        for &len in frames {
            let mut frame: Bytes = (0..len)
                .map(|_| {
                    next = next.wrapping_mul(31).wrapping_add(7);
                    next
                })
                .collect();
            while !frame.is_empty() {
                batches.extend(splitter.push(&mut frame));
            }
        }
        batches.extend(splitter.finish());
        batches
    }

    fn plain(batch: &Batch) -> Vec<u8> {
        batch.chunks.chunks(UNIT).flat_map(|chunk| &chunk[..chunk.len() - TAG]).copied().collect()
    }

    proptest! {
        /// However the bytes arrive, they come out in order, in whole stripes,
        /// numbered without a gap, and only the last batch ends the segment.
        #[test]
        fn nothing_is_lost_or_moved(frames in prop::collection::vec(0usize..400_000, 0..12)) {
            let batches = split("4+2", &frames);
            let total: usize = frames.iter().sum();
            let out: Vec<u8> = batches.iter().flat_map(plain).collect();
            let frames_out: Vec<u8> =
                batches.iter().flat_map(|b| b.frames.iter().flatten()).copied().collect();
            prop_assert_eq!(out.len(), total);
            prop_assert_eq!(&out, &frames_out);
            let sealed: usize = batches.iter().map(|batch| batch.chunks.len()).sum();
            prop_assert_eq!(sealed as u64, sealed_len(total as u64));
            let mut chunk = 0;
            for (n, batch) in batches.iter().enumerate() {
                prop_assert_eq!(batch.first_chunk, chunk);
                chunk += batch.chunks.len().div_ceil(UNIT) as u32;
                let is_last = n + 1 == batches.len();
                prop_assert_eq!(batch.ends_segment, is_last);
                prop_assert!(is_last || batch.chunks.len().is_multiple_of(4 * UNIT));
            }
        }
    }

    #[test]
    fn an_empty_content_has_no_batch() {
        assert!(split("4+2", &[0, 0]).is_empty());
    }

    #[test]
    fn a_segment_ends_at_its_length_and_chunks_are_counted_anew() {
        let segment = usize::try_from(SEGMENT).unwrap();
        let batches = split("4+2", &[segment, 1]);
        let ends: Vec<_> = batches.iter().filter(|batch| batch.ends_segment).collect();
        assert_eq!(ends.len(), 2);
        assert_eq!((ends[1].first_chunk, plain(ends[1]).len()), (0, 1));
        // Exactly one segment: its last batch is known to be the last.
        let batches = split("4+2", &[segment]);
        assert_eq!(batches.iter().filter(|batch| batch.ends_segment).count(), 1);
    }
}
