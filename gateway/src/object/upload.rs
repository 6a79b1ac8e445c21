//! Writes a content: the way of bytes from a client to shards that are durable.
//!
//! ```text
//! body -> splitter -> encrypt + encode (worker) -> one stream for each node
//!             \-> digests (worker)
//! ```
//! While one batch is encoded the next is read and the one before is sent, so
//! a content of any size holds a few batches. Nothing is visible when this
//! returns: the caller commits what was written, or gives it up.

use std::sync::Arc;

use bytes::Bytes;
use erasure::{CodecId, Layout};
use futures::{Stream, StreamExt};
use protocol::AccountId;
use thiserror::Error;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::cipher::{CHUNK, ChunkAt, ChunkCipher, Key, SEGMENT, TAG, sealed_len};
use super::digest::{Digested, Digests};
use super::encoder::{SegmentEncoder, ShardPieces};
use super::placement::{Unmet, candidates, place};
use super::segment_writer::SegmentWriter;
use super::splitter::{Batch, Splitter};
use crate::gateway::{Gateway, Overloaded, new_segment, now_ms};
use crate::meta::{ChecksumAlgorithm, ContentId, Intent, MetaError, StoredSegment, Written};
use crate::settings::TRANSFER_BUFFER;

/// Why a content could not be written.
#[derive(Debug, Error)]
pub enum UploadError {
    /// The client stopped, or what it sent was wrong.
    #[error("body: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// Too few nodes stored their shard.
    #[error("{stored} nodes stored a shard, {quorum} are needed")]
    TooFewNodes {
        /// How many did.
        stored: usize,
        /// How many must.
        quorum: usize,
    },
    /// The nodes are not far enough apart.
    #[error(transparent)]
    Domains(#[from] Unmet),
    /// No buffer space.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// Metadata failed.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A worker panicked.
    #[error("worker: {0}")]
    Worker(#[from] JoinError),
}

/// A content that is durable and not yet visible.
#[derive(Debug)]
pub struct Uploaded {
    /// For the commit.
    pub written: Written,
    /// Its data key.
    pub key: Key,
    /// MD5 and checksum of the plain bytes.
    pub digested: Digested,
}

/// What to write for whom.
#[derive(Clone, Copy, Debug)]
pub struct UploadRequest {
    /// Who pays.
    pub account: AccountId,
    /// The checksum to compute beside MD5.
    pub checksum: Option<ChecksumAlgorithm>,
    /// Plain bytes, if known: small contents need less buffer.
    pub size_hint: Option<u64>,
}

/// Writes all of `body`. On an error what was written is given up.
pub async fn upload<S, E>(
    gateway: &Arc<Gateway>,
    request: UploadRequest,
    mut body: S,
) -> Result<Uploaded, UploadError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let inline_max = gateway.settings.inline_max;
    let mut head = Vec::new();
    let mut head_len = 0;
    while head_len <= inline_max {
        let Some(frame) = body.next().await else {
            return Ok(write_inline(gateway, request, &head));
        };
        let frame = frame.map_err(|error| UploadError::Body(error.into()))?;
        head_len += frame.len();
        head.push(frame);
    }
    let hint = request.size_hint.and_then(|size| usize::try_from(size).ok());
    // The bytes themselves, their shards, and what is on its way.
    let need = hint.map_or(TRANSFER_BUFFER, |size| (size * 3).clamp(64 * 1024, TRANSFER_BUFFER));
    let _buffer = gateway.reserve_buffer(need).await?;
    let mut writer = ContentWriter::new(gateway.clone(), request);
    let content = writer.content;
    let written = async {
        for frame in head {
            writer.push(frame).await?;
        }
        while let Some(frame) = body.next().await {
            writer.push(frame.map_err(|error| UploadError::Body(error.into()))?).await?;
        }
        writer.finish().await
    };
    match written.await {
        Ok(uploaded) => Ok(uploaded),
        Err(error) => {
            give_up(gateway, content).await;
            Err(error)
        }
    }
}

/// Gives up a content that was written but will not be committed.
pub async fn give_up(gateway: &Gateway, content: ContentId) {
    // Without this the lease does the same, later.
    if let Err(error) = gateway.meta.abandon(content, gateway.not_before()).await {
        tracing::debug!(%error, ?content, "left to its lease");
    }
}

fn write_inline(gateway: &Gateway, request: UploadRequest, frames: &[Bytes]) -> Uploaded {
    let (content, key) = (ContentId(protocol::keys::random()), Key::generate());
    let mut digests = Digests::new(request.checksum);
    digests.update(frames);
    let plain = frames.concat();
    let size = plain.len() as u64;
    let cipher = ChunkCipher::new(&key, content);
    let mut sealed = Vec::with_capacity(plain.len() + TAG);
    let count = plain.len().div_ceil(CHUNK);
    for (n, chunk) in plain.chunks(CHUNK).enumerate() {
        let start = sealed.len();
        sealed.extend_from_slice(chunk);
        sealed.extend_from_slice(&[0; TAG]);
        let at = u32::try_from(n).expect("inline contents are small");
        cipher.seal(ChunkAt { segment: 0, chunk: at, last: n + 1 == count }, &mut sealed[start..]);
    }
    let written = Written {
        content,
        account: request.account,
        size,
        key_commit: key.commitment(),
        scheme: gateway.settings.scheme,
        codec: CodecId::RsVandermonde8,
        inline: Some(sealed),
        last_segment: None,
        segments: 0,
        quorum: gateway.settings.write_quorum,
    };
    Uploaded { written, key, digested: digests.finish() }
}

/// A segment being written.
struct OpenSegment {
    writer: SegmentWriter,
    /// With the worker while a batch is encoded.
    encoder: Option<Encoding>,
}

enum Encoding {
    Idle(Box<SegmentEncoder>),
    Busy(JoinHandle<(Box<SegmentEncoder>, ShardPieces)>),
}

/// Writes one content.
struct ContentWriter {
    gateway: Arc<Gateway>,
    request: UploadRequest,
    content: ContentId,
    key: Key,
    cipher: Arc<ChunkCipher>,
    splitter: Option<Splitter>,
    digests: JoinHandle<Digests>,
    open: Option<OpenSegment>,
    /// The segment before, whose nodes are still busy making it durable.
    finishing: Option<JoinHandle<Result<StoredSegment, UploadError>>>,
    segments: u32,
}

impl ContentWriter {
    fn new(gateway: Arc<Gateway>, request: UploadRequest) -> Self {
        let (content, key) = (ContentId(protocol::keys::random()), Key::generate());
        let cipher = Arc::new(ChunkCipher::new(&key, content));
        let digests = Digests::new(request.checksum);
        Self {
            splitter: Some(Splitter::new(gateway.settings.scheme, request.size_hint)),
            gateway,
            request,
            content,
            key,
            cipher,
            digests: tokio::spawn(async move { digests }),
            open: None,
            finishing: None,
            segments: 0,
        }
    }

    async fn push(&mut self, mut frame: Bytes) -> Result<(), UploadError> {
        while !frame.is_empty() {
            let splitter = self.splitter.as_mut().expect("nothing is pushed after the end");
            if let Some(batch) = splitter.push(&mut frame) {
                self.write(batch).await?;
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Uploaded, UploadError> {
        let splitter = self.splitter.take().expect("finished once");
        let size = splitter.total();
        if let Some(batch) = splitter.finish() {
            self.write(batch).await?;
        }
        let last = self.finishing.take().expect("a content that is not inline has a segment");
        let last_segment = last.await??;
        let written = Written {
            content: self.content,
            account: self.request.account,
            size,
            key_commit: self.key.commitment(),
            scheme: self.gateway.settings.scheme,
            codec: CodecId::RsVandermonde8,
            inline: None,
            last_segment: Some(last_segment),
            segments: self.segments,
            quorum: self.gateway.settings.write_quorum,
        };
        Ok(Uploaded { written, key: self.key, digested: self.digests.await?.finish() })
    }

    async fn write(&mut self, mut batch: Batch) -> Result<(), UploadError> {
        self.digest(std::mem::take(&mut batch.frames)).await?;
        let mut segment = match self.open.take() {
            Some(segment) => segment,
            None => self.begin_segment().await?,
        };
        let mut encoder = segment.settle().await?;
        let ends = batch.ends_segment;
        segment.encoder = Some(Encoding::Busy(spawn_blocking(move || {
            let pieces = encoder.encode(batch);
            (encoder, pieces)
        })));
        if ends {
            self.end_segment(segment).await
        } else {
            self.open = Some(segment);
            Ok(())
        }
    }

    /// Hashes `frames` on a worker, after those before.
    async fn digest(&mut self, frames: Vec<Bytes>) -> Result<(), UploadError> {
        let mut digests = (&mut self.digests).await?;
        self.digests = spawn_blocking(move || {
            digests.update(&frames);
            digests
        });
        Ok(())
    }

    /// Writes down where the shards will go, then begins to send them.
    async fn begin_segment(&mut self) -> Result<OpenSegment, UploadError> {
        let gateway = &self.gateway;
        let scheme = gateway.settings.scheme;
        let (segment, ordinal) = (new_segment(), self.segments);
        let before = u64::from(ordinal) * SEGMENT;
        let plain =
            self.request.size_hint.map_or(SEGMENT, |size| (size - size.min(before)).min(SEGMENT));
        let max_len = Layout { scheme, segment_len: sealed_len(plain) }.shard_len();
        let chosen = candidates(&gateway.registry.views(), max_len);
        let nodes = place(segment, scheme.total(), gateway.placement_rules(scheme), &chosen)?;
        let (found, quorum) = (nodes.iter().flatten().count(), gateway.settings.write_quorum);
        if found < usize::from(quorum) {
            return Err(UploadError::TooFewNodes { stored: found, quorum: quorum.into() });
        }
        let lease =
            i64::try_from(gateway.settings.upload_lease.as_millis()).unwrap_or(i64::MAX / 4);
        let intent = Intent {
            content: self.content,
            account: self.request.account,
            scheme,
            codec: CodecId::RsVandermonde8,
            key_commit: self.key.commitment(),
            ordinal,
            segment,
            nodes: nodes.clone(),
            lease_ms: now_ms() + lease,
        };
        gateway.meta.intend(intent).await?;
        self.segments += 1;
        let writer = SegmentWriter::start(gateway, segment, &nodes, max_len);
        let encoder = SegmentEncoder::new(gateway.codec.clone(), self.cipher.clone(), ordinal);
        Ok(OpenSegment { writer, encoder: Some(Encoding::Idle(Box::new(encoder))) })
    }

    /// Lets the nodes make it durable while the next segment begins; records
    /// the one before.
    async fn end_segment(&mut self, mut segment: OpenSegment) -> Result<(), UploadError> {
        let end = segment.settle().await?.finish();
        if let Some(before) = self.finishing.take() {
            let stored = before.await??;
            self.gateway.meta.keep_segment(self.content, self.request.account, stored).await?;
        }
        let (gateway, account) = (self.gateway.clone(), self.request.account);
        self.finishing =
            Some(tokio::spawn(async move { segment.writer.finish(&gateway, account, end).await }));
        Ok(())
    }
}

impl OpenSegment {
    /// Waits for the worker and sends what it made.
    async fn settle(&mut self) -> Result<Box<SegmentEncoder>, UploadError> {
        match self.encoder.take().expect("put back after every batch") {
            Encoding::Idle(encoder) => Ok(encoder),
            Encoding::Busy(worker) => {
                let (encoder, pieces) = worker.await?;
                self.writer.send(pieces).await?;
                Ok(encoder)
            }
        }
    }
}
