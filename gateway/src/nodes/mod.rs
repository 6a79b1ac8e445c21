//! The storage nodes, seen from the gateway.
//!
//! [`Nodes`] is the seam at which a simulated network replaces QUIC; the tests
//! of `object/` keep shards in memory behind it. [`registry`] knows who is
//! there and how they do.
//!
//! Not here: which node gets which shard (`object::placement`).

pub mod hedge;
pub mod lifecycle;
pub mod quic;
pub mod registry;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use protocol::message::{Held, Standing, Status, Stored};
use protocol::refusal::Refusal;
use protocol::voucher::Voucher;
use protocol::{NodeId, Root, ShardId};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::meta::Millis;

/// Why a node did not do what was asked.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The ledger does not list it.
    #[error("the node is not registered")]
    Unknown,
    /// No connection, or it broke.
    #[error("no connection: {0}")]
    Offline(String),
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
    /// It has as many requests of ours as it takes at once.
    #[error("too many requests are under way")]
    Busy,
    /// It said no.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// It sent bytes that do not belong to the shard, or nonsense.
    #[error("the node lied: {0}")]
    Lie(String),
    /// We gave up ourselves.
    #[error("given up")]
    Abandoned,
}

impl NodeError {
    /// Whether it says that the shard is not there as it should be, rather than
    /// that the node cannot be asked now.
    pub fn means_lost(&self) -> bool {
        matches!(
            self,
            Self::Lie(_) | Self::Refused(Refusal::NotFound | Refusal::Disk | Refusal::BadRange)
        )
    }
}

/// A piece of a shard on its way to a node.
#[derive(Debug)]
pub enum ShardPiece {
    /// The next bytes, in order; at most [`protocol::frame::CHUNK_MAX`].
    Bytes(Vec<Bytes>),
    /// All of it was sent. Without this the node stores nothing.
    End {
        /// The length of the shard.
        len: u64,
        /// Its root.
        root: Root,
    },
}

/// A part of a shard to be read.
#[derive(Clone, Debug)]
pub struct ShardRange {
    /// The shard.
    pub shard: ShardId,
    /// Its root, from metadata.
    pub root: Root,
    /// Its length, from metadata.
    pub len: u64,
    /// The bytes that are wanted; windows are counted from its start.
    pub bytes: Range<u64>,
}

/// A shard that a node is to store.
#[derive(Clone, Copy, Debug)]
pub struct NewShard {
    /// The shard.
    pub shard: ShardId,
    /// It has at most this length.
    pub max_len: u64,
    /// When this node was chosen for it, if it may have been there before: an
    /// earlier delete does not refuse it.
    pub chosen_ms: Option<Millis>,
}

/// What can be asked of a node. Every call ends by itself: there are timeouts
/// inside. Dropping the future gives the request up.
#[async_trait]
pub trait Nodes: Send + Sync + 'static {
    /// Stores a shard.
    async fn put(
        &self,
        node: NodeId,
        new: NewShard,
        body: mpsc::Receiver<ShardPiece>,
    ) -> Result<Stored, NodeError>;

    /// Reads a range and sends its windows, verified against the root, in
    /// order. Ends early when nobody receives any more.
    async fn get(
        &self,
        node: NodeId,
        range: ShardRange,
        windows: mpsc::Sender<Vec<Bytes>>,
    ) -> Result<(), NodeError>;

    /// Forgets a shard; says whether it was there.
    async fn delete(&self, node: NodeId, shard: ShardId) -> Result<bool, NodeError>;

    /// Lists the shards that it holds for us, by id, from `from` on: at most
    /// `limit`, which may be all that there are.
    async fn list(&self, node: NodeId, from: ShardId, limit: u32) -> Result<Vec<Held>, NodeError>;

    /// Asks how it is going.
    async fn status(&self, node: NodeId) -> Result<Status, NodeError>;

    /// Has it prove that it holds a shard of `len` bytes and this root: one
    /// group of it is verified.
    async fn prove(
        &self,
        node: NodeId,
        shard: ShardId,
        root: Root,
        len: u64,
        group: u64,
    ) -> Result<(), NodeError>;

    /// Tells it how it stands.
    async fn standing(&self, node: NodeId, standing: Standing) -> Result<(), NodeError>;

    /// Hands over a voucher.
    async fn voucher(&self, node: NodeId, voucher: Voucher) -> Result<(), NodeError>;
}
