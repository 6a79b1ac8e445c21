//! Computes lost shards of a segment from those that are left, and stores them.
//!
//! A window of `data` shards at a time: read and verified, reconstructed, sent
//! on, so that a segment of any size holds a few windows. Not here: what is
//! lost (`health`), where it goes (`placement`), and that it counts from then
//! on (`upkeep::repair`).

use std::sync::Arc;

use bytes::Bytes;
use erasure::{Codec, DecodeError, Layout, ShardIndex, UNIT};
use protocol::message::{Stored, WINDOW};
use protocol::{NodeId, Root, ShardId};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use super::download::ReadError;
use super::segment_reader::{Purpose, SegmentReader, Window};
use crate::gateway::Gateway;
use crate::meta::{KnownSegment, Millis, PlacedShard, Segment};
use crate::nodes::{NewShard, NodeError, ShardPiece};

/// Pieces on their way to one node.
const PIECES: usize = 2;

/// Why a shard could not be computed anew.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// Too few shards are left, or they cannot be read now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was read does not fit together.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A worker panicked.
    #[error("worker: {0}")]
    Worker(#[from] JoinError),
}

/// A shard to be computed and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The number of the shard.
    pub index: u8,
    /// The node that shall hold it.
    pub node: NodeId,
    /// When it was chosen.
    pub chosen_ms: Millis,
    /// The lease under which the place there was promised.
    pub lease: Millis,
}

/// A shard that was computed, and what its node said.
#[derive(Debug)]
pub struct Rebuilt {
    /// What was ordered.
    pub order: Order,
    /// The root of what was computed.
    pub root: Root,
    /// Its length.
    pub len: u64,
    /// Whether it is durable.
    pub stored: Result<Stored, NodeError>,
}

/// Computes what is ordered from `sources` and stores it.
pub async fn rebuild(
    gateway: &Arc<Gateway>,
    damaged: &KnownSegment,
    sources: Vec<PlacedShard>,
    orders: &[Order],
) -> Result<Vec<Rebuilt>, RebuildError> {
    let layout = Layout { scheme: damaged.scheme, segment_len: damaged.len };
    let segment = Segment { ordinal: 0, id: damaged.segment, len: damaged.len, shards: sources };
    let mut reader = SegmentReader::start(
        gateway.clone(),
        segment,
        Purpose::Repair(gateway.own_account()),
        damaged.scheme.needed(),
        0..layout.shard_len(),
    );
    let codec = if damaged.scheme == gateway.codec.scheme() {
        gateway.codec.clone()
    } else {
        Codec::new(damaged.scheme, gateway.settings.engine)
    };
    let mut sends = Sends::start(gateway, damaged, orders, layout.shard_len());
    let wanted: Arc<[ShardIndex]> = orders.iter().map(|order| ShardIndex(order.index)).collect();
    let per_window = WINDOW / UNIT as u64;
    let mut stripe = 0;
    while stripe < layout.stripe_count() {
        let here = stripe..(stripe + per_window).min(layout.stripe_count());
        stripe = here.end;
        let window = reader.next().await?;
        let (codec, wanted) = (codec.clone(), wanted.clone());
        let units: Vec<usize> = here.map(|stripe| layout.unit_len(stripe)).collect();
        let work = spawn_blocking(move || reconstruct(&codec, &units, &window, &wanted));
        sends.push(work.await??).await;
    }
    Ok(sends.finish().await)
}

/// The wanted shards' bytes of one window.
fn reconstruct(
    codec: &Codec,
    units: &[usize],
    window: &Window,
    wanted: &[ShardIndex],
) -> Result<Vec<Bytes>, DecodeError> {
    let total = codec.scheme().total();
    let joined: Vec<Option<Vec<u8>>> =
        (0..total).map(|index| window.get(&index).map(|groups| groups.concat())).collect();
    let len = units.iter().sum();
    let mut whole = vec![Vec::with_capacity(len); wanted.len()];
    let mut unit_out = vec![Vec::new(); wanted.len()];
    let mut at = 0;
    for unit in units {
        let slices: Vec<Option<&[u8]>> = joined
            .iter()
            .map(|shard| shard.as_ref().and_then(|bytes| bytes.get(at..at + unit)))
            .collect();
        codec.reconstruct(&slices, wanted, &mut unit_out)?;
        for (whole, unit) in whole.iter_mut().zip(&unit_out) {
            whole.extend_from_slice(unit);
        }
        at += unit;
    }
    Ok(whole.into_iter().map(Bytes::from).collect())
}

/// The puts of the computed shards.
struct Sends {
    orders: Vec<Order>,
    hashers: Vec<blake3::Hasher>,
    ways: Vec<Option<mpsc::Sender<ShardPiece>>>,
    puts: JoinSet<(usize, Result<Stored, NodeError>)>,
    len: u64,
}

impl Sends {
    fn start(
        gateway: &Arc<Gateway>,
        damaged: &KnownSegment,
        orders: &[Order],
        max_len: u64,
    ) -> Self {
        let mut puts = JoinSet::new();
        let mut ways = Vec::with_capacity(orders.len());
        for (number, &Order { index, node, chosen_ms, .. }) in orders.iter().enumerate() {
            let (way, body) = mpsc::channel(PIECES);
            let (gateway, shard) = (gateway.clone(), ShardId { segment: damaged.segment, index });
            let new = NewShard { shard, max_len, chosen_ms: Some(chosen_ms) };
            puts.spawn(async move { (number, gateway.nodes.put(node, new, body).await) });
            ways.push(Some(way));
        }
        let hashers = vec![blake3::Hasher::new(); orders.len()];
        Self { orders: orders.to_vec(), hashers, ways, puts, len: 0 }
    }

    /// Sends the next bytes of each shard; a node that fails takes no more.
    async fn push(&mut self, pieces: Vec<Bytes>) {
        self.len += pieces.first().map_or(0, |piece| piece.len() as u64);
        for ((way, hasher), piece) in self.ways.iter_mut().zip(&mut self.hashers).zip(pieces) {
            hasher.update(&piece);
            // A put has a timeout of its own for a node that takes nothing.
            if let Some(open) = way
                && open.send(ShardPiece::Bytes(vec![piece])).await.is_err()
            {
                *way = None;
            }
        }
    }

    async fn finish(mut self) -> Vec<Rebuilt> {
        let roots: Vec<Root> =
            self.hashers.iter().map(|hasher| Root(*hasher.finalize().as_bytes())).collect();
        for (way, &root) in self.ways.iter_mut().zip(&roots) {
            if let Some(way) = way.take() {
                // Who is gone says so in the answer to its put.
                let _ = way.send(ShardPiece::End { len: self.len, root }).await;
            }
        }
        let mut rebuilt = Vec::with_capacity(self.orders.len());
        while let Some(joined) = self.puts.join_next().await {
            let Ok((number, stored)) = joined else { continue };
            let (order, root) = (self.orders[number], roots[number]);
            rebuilt.push(Rebuilt { order, root, len: self.len, stored });
        }
        rebuilt
    }
}
