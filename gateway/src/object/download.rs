//! Reads a byte range of an object: fetch windows, put stripes together,
//! decrypt, hand out the bytes that were asked for.
//!
//! Every byte was verified twice before it leaves: against the root of its
//! shard, and by the tag of its chunk. A failure in the middle ends the stream
//! with an error, so that the connection breaks and nobody takes half an
//! object for a whole one.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use erasure::{Codec, DecodeError, Layout, UNIT};
use futures::{Stream, StreamExt, stream};
use protocol::message::WINDOW;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::cipher::{CHUNK, ChunkAt, ChunkCipher, Key, OpenError, SEGMENT, TAG, sealed_len};
use super::segment_reader::{Purpose, SegmentReader, Window};
use crate::gateway::{Gateway, Overloaded};
use crate::meta::{Bucket, Content, MetaError, Part, Segment};
use crate::settings::TRANSFER_BUFFER;

/// Pieces that wait for the client.
const AHEAD: usize = 2;

/// Why bytes could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Too few shards of a segment answer.
    #[error("{have} shards of a segment can be read, {needed} are needed")]
    TooFewShards {
        /// How many can.
        have: usize,
        /// How many must.
        needed: usize,
    },
    /// Nothing moved for a long time.
    #[error("the nodes do not answer")]
    Stuck,
    /// No buffer space.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// A key or chunk does not open: metadata and shards do not fit together.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Units of a stripe do not fit together.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Metadata failed.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A worker panicked.
    #[error("worker: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

/// Reads `range` of the concatenation of `parts`, whose data keys `sealing`
/// opens. The first bytes have arrived
/// when this returns, so what cannot be read at all is an error here.
pub async fn read(
    gateway: &Arc<Gateway>,
    bucket: &Bucket,
    sealing: &Key,
    parts: Vec<Part>,
    range: Range<u64>,
) -> Result<impl Stream<Item = Result<Bytes, ReadError>> + Send + use<>, ReadError> {
    let len = range.end.saturating_sub(range.start);
    let need = usize::try_from(len.saturating_mul(2)).unwrap_or(usize::MAX);
    let buffer = gateway.reserve_buffer(need.clamp(64 * 1024, TRANSFER_BUFFER)).await?;
    let (way, mut pieces) = mpsc::channel(AHEAD);
    let reader =
        Reader { sealing: sealing.clone(), gateway: gateway.clone(), bucket: bucket.clone(), way };
    tokio::spawn(async move {
        if let Err(error) = reader.run(parts, range).await {
            let _ = reader.way.send(Err(error)).await; // The client may be gone.
        }
        drop(buffer);
    });
    let first = match pieces.recv().await {
        Some(Err(error)) => return Err(error),
        first => first,
    };
    let rest = stream::unfold(pieces, |mut pieces| async move {
        let next = pieces.recv().await?;
        Some((next, pieces))
    });
    Ok(stream::iter(first).chain(rest).flat_map(|pieces| {
        stream::iter(match pieces {
            Ok(pieces) => pieces.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    }))
}

/// The client is gone; nothing more need be read.
struct Gone;

struct Reader {
    gateway: Arc<Gateway>,
    bucket: Bucket,
    sealing: Key,
    way: mpsc::Sender<Result<Vec<Bytes>, ReadError>>,
}

impl Reader {
    async fn run(&self, parts: Vec<Part>, range: Range<u64>) -> Result<(), ReadError> {
        let mut start = 0;
        for part in parts {
            let end = start + part.size;
            let wanted = range.start.max(start)..range.end.min(end);
            if wanted.start < wanted.end
                && let Some(Gone) =
                    self.read_part(&part, wanted.start - start..wanted.end - start).await?
            {
                return Ok(());
            }
            start = end;
        }
        Ok(())
    }

    async fn read_part(&self, part: &Part, range: Range<u64>) -> Result<Option<Gone>, ReadError> {
        let content = self.gateway.meta.content(part.content).await?;
        let key = self.gateway.open_data_key(&self.bucket, &self.sealing, part)?;
        if key.commitment() != content.key_commit {
            return Err(OpenError.into());
        }
        let cipher = Arc::new(ChunkCipher::new(&key, content.id));
        if let Some(inline) = &content.inline {
            let mut sealed = BytesMut::from(inline.as_slice());
            let pieces = open_chunks(&cipher, &mut sealed, 0, 0, sealed_len(content.size), &range)?;
            return Ok(self.hand_out(pieces).await);
        }
        for ordinal in range.start / SEGMENT..range.end.div_ceil(SEGMENT) {
            let start = ordinal * SEGMENT;
            let wanted = range.start.max(start) - start..range.end.min(start + SEGMENT) - start;
            let ordinal = u32::try_from(ordinal).map_err(|_| MetaError::Corrupt("a size"))?;
            let segment = self.gateway.meta.segment(content.id, ordinal).await?;
            if let Some(Gone) = self.read_segment(&content, segment, &cipher, wanted).await? {
                return Ok(Some(Gone));
            }
        }
        Ok(None)
    }

    /// Reads plain bytes `range` of a segment.
    async fn read_segment(
        &self,
        content: &Content,
        segment: Segment,
        cipher: &Arc<ChunkCipher>,
        range: Range<u64>,
    ) -> Result<Option<Gone>, ReadError> {
        let layout = Layout { scheme: content.scheme, segment_len: segment.len };
        let chunks = range.start / CHUNK as u64..range.end.div_ceil(CHUNK as u64);
        let sealed = chunks.start * UNIT as u64..(chunks.end * UNIT as u64).min(segment.len);
        let stripes = layout.stripes(sealed);
        let account = self.bucket.account;
        let mut reader = SegmentReader::start(
            self.gateway.clone(),
            segment.clone(),
            Purpose::Request(account),
            content.scheme.needed(),
            layout.shard_range(stripes.clone()),
        );
        let codec = if content.scheme == self.gateway.codec.scheme() {
            self.gateway.codec.clone()
        } else {
            Codec::new(content.scheme, self.gateway.settings.engine)
        };
        let per_window = WINDOW / UNIT as u64;
        let mut stripe = stripes.start;
        while stripe < stripes.end {
            let here = stripe..(stripe + per_window).min(stripes.end);
            let window = reader.next().await?;
            let (codec, cipher, range) = (codec.clone(), cipher.clone(), range.clone());
            let (ordinal, stripes) = (segment.ordinal, here.clone());
            let opened = spawn_blocking(move || {
                let mut sealed = assemble(&codec, layout, &stripes, &window)?;
                let first = stripes.start * layout.stripe_len();
                open_chunks(&cipher, &mut sealed, ordinal, first, layout.segment_len, &range)
            });
            if let Some(Gone) = self.hand_out(opened.await??).await {
                return Ok(Some(Gone));
            }
            stripe = here.end;
        }
        Ok(None)
    }

    async fn hand_out(&self, pieces: Vec<Bytes>) -> Option<Gone> {
        self.way.send(Ok(pieces)).await.err().map(|_| Gone)
    }
}

/// Puts the encrypted bytes of some stripes together; decodes only when a data
/// shard is missing.
fn assemble(
    codec: &Codec,
    layout: Layout,
    stripes: &Range<u64>,
    window: &Window,
) -> Result<BytesMut, ReadError> {
    let end = layout.stripe_bytes(stripes.end - 1).end - stripes.start * layout.stripe_len();
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    let has_all_data = (0..layout.scheme.data()).all(|index| window.contains_key(&index));
    let mut sealed = if has_all_data {
        interleave(layout, stripes, window)
    } else {
        decode(codec, layout, stripes, window)?
    };
    // Without the padding of the last stripe.
    sealed.truncate(end);
    Ok(sealed)
}

/// All data shards are there: their units in turn are the segment.
fn interleave(layout: Layout, stripes: &Range<u64>, window: &Window) -> BytesMut {
    let data = usize::from(layout.scheme.data());
    let len: usize = stripes.clone().map(|stripe| layout.unit_len(stripe) * data).sum();
    let mut sealed = BytesMut::with_capacity(len);
    let mut shards: Vec<Groups<'_>> =
        window.values().take(data).map(|groups| Groups { groups, at: 0 }).collect();
    for stripe in stripes.clone() {
        for shard in &mut shards {
            shard.copy(layout.unit_len(stripe), &mut sealed);
        }
    }
    sealed
}

/// What is left of one shard's window.
struct Groups<'a> {
    groups: &'a [Bytes],
    /// Bytes of the first group that are used up.
    at: usize,
}

impl Groups<'_> {
    fn copy(&mut self, mut len: usize, out: &mut BytesMut) {
        while let [group, rest @ ..] = self.groups
            && len > 0
        {
            let now = len.min(group.len() - self.at);
            out.extend_from_slice(&group[self.at..self.at + now]);
            len -= now;
            self.at += now;
            if self.at == group.len() {
                (self.groups, self.at) = (rest, 0);
            }
        }
        assert_eq!(len, 0, "a verified window is as long as was asked for");
    }
}

fn decode(
    codec: &Codec,
    layout: Layout,
    stripes: &Range<u64>,
    window: &Window,
) -> Result<BytesMut, ReadError> {
    let (data, total) = (usize::from(layout.scheme.data()), layout.scheme.total());
    // The groups of a shard, joined: a stripe's units are slices of these.
    let joined: Vec<Option<Vec<u8>>> =
        (0..total).map(|index| window.get(&index).map(|groups| groups.concat())).collect();
    let units: usize = stripes.clone().map(|stripe| layout.unit_len(stripe)).sum();
    let mut sealed = BytesMut::zeroed(units * data);
    let (mut at, mut out_at) = (0, 0);
    for stripe in stripes.clone() {
        let unit = layout.unit_len(stripe);
        let slices: Vec<Option<&[u8]>> = joined
            .iter()
            .map(|shard| shard.as_ref().and_then(|bytes| bytes.get(at..at + unit)))
            .collect();
        codec.decode_stripe(&slices, &mut sealed[out_at..out_at + data * unit])?;
        at += unit;
        out_at += data * unit;
    }
    Ok(sealed)
}

/// Decrypts whole chunks that begin at byte `first` of the encrypted segment
/// and returns those plain bytes of them that lie in `range`.
fn open_chunks(
    cipher: &ChunkCipher,
    sealed: &mut BytesMut,
    segment: u32,
    first: u64,
    segment_len: u64,
    range: &Range<u64>,
) -> Result<Vec<Bytes>, ReadError> {
    let mut pieces = Vec::with_capacity(sealed.len() / UNIT + 1);
    let mut chunk = first / UNIT as u64;
    while !sealed.is_empty() {
        let mut bytes = sealed.split_to(UNIT.min(sealed.len()));
        let plain_start = chunk * CHUNK as u64;
        let plain_len = bytes.len().saturating_sub(TAG) as u64;
        // Neighbours that came along in the stripe are not wanted.
        let start = range.start.clamp(plain_start, plain_start + plain_len) - plain_start;
        let end = range.end.clamp(plain_start, plain_start + plain_len) - plain_start;
        if start < end {
            let last = chunk * UNIT as u64 + bytes.len() as u64 == segment_len;
            let number = u32::try_from(chunk).map_err(|_| OpenError)?;
            cipher.open(ChunkAt { segment, chunk: number, last }, &mut bytes)?;
            let (start, end) = (start as usize, end as usize);
            pieces.push(bytes.freeze().slice(start..end));
        }
        chunk += 1;
    }
    Ok(pieces)
}
