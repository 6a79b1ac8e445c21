//! The store as its users see it, on a real disk and on simulated ones.

mod bench;
mod crash;
mod faults;
mod model;
mod reads;
mod rot;
mod usage;

use std::sync::atomic::AtomicU64;

use protocol::SegmentId;
use protocol::tree;

use super::disk::sim::SimDisk;
use super::range::RangeReader;
use super::*;

const STORE: StoreId = StoreId([5; 16]);
const ANN: GatewayId = GatewayId([1; 32]);
const BOB: GatewayId = GatewayId([2; 32]);
const SHARD: ShardId = ShardId { segment: SegmentId([0xab; 16]), index: 3 };
const LIMITS: Limits = Limits {
    capacity: None,
    reserve: 0,
    volume: 64 * 1024,
    compact_rate: u64::MAX,
    scrub_rate: u64::MAX,
};

fn shard(number: u8) -> ShardId {
    ShardId { segment: SegmentId([number; 16]), index: number }
}

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// Bytes that are others for each seed.
fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn root(bytes: &[u8]) -> Root {
    Root(*blake3::hash(bytes).as_bytes())
}

/// A store without threads: a test does one step after the other.
fn open_on(disk: &SimDisk, limits: Limits) -> Result<Arc<ShardStore>, StoreError> {
    open_at(disk, limits, &Arc::default())
}

fn open_at(
    disk: &SimDisk,
    limits: Limits,
    now_ms: &Arc<AtomicU64>,
) -> Result<Arc<ShardStore>, StoreError> {
    let (disk, clock) = (Arc::new(disk.clone()), Clock::Set(now_ms.clone()));
    let core = ShardStore::recover(disk, STORE, limits, clock)?;
    Ok(Arc::new(ShardStore { core, keepers: None }))
}

fn put(store: &Arc<ShardStore>, shard: ShardId, bytes: &[u8]) -> Result<(), StoreError> {
    put_as(store, ANN, shard, bytes, usize::MAX)
}

/// Puts in pieces of so many bytes, the last one with the end.
fn put_as(
    store: &Arc<ShardStore>,
    owner: GatewayId,
    shard: ShardId,
    bytes: &[u8],
    piece: usize,
) -> Result<(), StoreError> {
    let mut writer = store.put(owner, shard, bytes.len() as u64)?;
    let last = bytes.len().saturating_sub(1) / piece * piece;
    for piece in bytes[..last].chunks(piece) {
        writer.append(piece)?;
    }
    writer.finish(bytes[last..].to_vec(), bytes.len() as u64, root(bytes))
}

/// Reads a range as a gateway does: every window is verified.
fn read(
    store: &ShardStore,
    shard: ShardId,
    root: &Root,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    let mut reader = RangeReader::open(store, shard, range.clone())?;
    let (mut out, mut at) = (Vec::new(), range.start);
    while !reader.is_done() {
        let window = reader.next()?;
        let part = at..at + window.payload;
        let pieces = tree::decode(root, reader.shard_len(), &part, &window.encoded)
            .map_err(|_| StoreError::Corrupt(shard))?;
        let whole = pieces.concat();
        let skip = (part.start - tree::covered(&part, reader.shard_len()).start) as usize;
        out.extend_from_slice(&whole[skip..skip + window.payload as usize]);
        at = part.end;
    }
    assert_eq!(at, range.end);
    Ok(out)
}

/// All bytes of a shard with the root that the store says it has; `None` if it
/// is not held.
fn whole(store: &ShardStore, shard: ShardId) -> Result<Option<Vec<u8>>, StoreError> {
    let open = match store.open_shard(shard) {
        Err(StoreError::NotFound) => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    let sound = open.verify(|_, piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    if sound.is_some() { Ok(Some(bytes)) } else { Err(StoreError::Corrupt(shard)) }
}

fn counted(store: &ShardStore) -> (u64, u64) {
    let stats = store.stats();
    (stats.shards, stats.stored)
}

fn compact(store: &ShardStore, number: u32) -> Result<bool, StoreError> {
    compact::run(&store.core, number, &mut |_| true)
}

/// Closes volumes that are full, and compacts whatever has dead bytes.
fn compact_all(store: &ShardStore) -> Result<usize, StoreError> {
    let core = &store.core;
    core.small.close_full(core, false)?;
    core.large.close_full(core, false)?;
    let mut count = 0;
    for (number, row) in core.index.volumes() {
        if row.is_sealed && row.dead() > 512 {
            count += usize::from(compact(store, number)?);
        }
    }
    Ok(count)
}
