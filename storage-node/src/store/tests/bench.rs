//! Figures, on the disk that `TMPDIR` names: `cargo test -p storage-node --lib
//! bench -- --ignored --nocapture --test-threads 1`.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::*;
use crate::store::disk::real::RealDisk;
use crate::store::format::Kind;

const VOLUME: Limits = Limits { volume: 256 << 20, ..LIMITS };

fn numbered(number: u64) -> ShardId {
    // Spread as random ids are.
    let hash = blake3::hash(&number.to_le_bytes());
    ShardId { segment: SegmentId(*hash.as_bytes().first_chunk().unwrap()), index: number as u8 }
}

fn puts(len: usize, piece: usize, in_flight: u64, time: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::new(folder.path()));
    let store = ShardStore::open(disk, STORE, VOLUME).unwrap();
    let bytes = sample(len);
    let root = root(&bytes);
    let next = AtomicU64::new(0);
    let (begun, kernel) = (Instant::now(), kernel_ms());
    std::thread::scope(|scope| {
        for _ in 0..in_flight {
            scope.spawn(|| {
                while begun.elapsed() < time {
                    let shard = numbered(next.fetch_add(1, Ordering::Relaxed));
                    let mut writer = store.put(ANN, shard, len as u64).unwrap();
                    let last = bytes.len().saturating_sub(1) / piece * piece;
                    for piece in bytes[..last].chunks(piece) {
                        writer.append(piece).unwrap();
                    }
                    writer.finish(bytes[last..].to_vec(), len as u64, root).unwrap();
                }
            });
        }
    });
    let kernel = kernel_ms() - kernel;
    let (count, took) = (store.stats().shards as f64, begun.elapsed().as_secs_f64());
    println!(
        "{:>8} KiB, {in_flight:>2} in flight: {:>7.0} durable puts/s, {:>6.1} MiB/s, {:.2} ms each, {:.2} ms of the kernel",
        len >> 10,
        count / took,
        count * len as f64 / took / f64::from(1 << 20),
        in_flight as f64 * took / count * 1e3,
        kernel / count,
    );
}

#[test]
#[ignore = "measures"]
fn bench_puts() {
    for in_flight in [1, 8, 32] {
        puts(16 << 10, usize::MAX, in_flight, Duration::from_secs(3));
    }
    for in_flight in [1, 8] {
        puts(16 << 20, 512 << 10, in_flight, Duration::from_secs(3));
    }
}

/// Time that the kernel worked for this process.
fn kernel_ms() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // Ticks of 10 ms.
    stat.rsplit(')').next().unwrap().split(' ').nth(13).unwrap().parse::<f64>().unwrap() * 10.0
}

/// Bytes that this process holds in memory.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
#[ignore = "measures"]
fn bench_start_with_a_million_shards() {
    let count: u64 =
        std::env::var("BENCH_SHARDS").map_or(1_000_000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let open = |what: &str| {
        let begun = Instant::now();
        let disk = Arc::new(RealDisk::new(folder.path()));
        let store = ShardStore::open(disk, STORE, VOLUME).unwrap();
        println!(
            "{what}: opened in {:?}, {} shards, {} MiB resident",
            begun.elapsed(),
            store.stats().shards,
            resident() >> 20
        );
        store
    };
    let store = open("empty");
    let bytes = sample(300);
    let root = root(&bytes);
    let begun = Instant::now();
    for batch in 0..count / 1000 {
        let record = |number| log::Record {
            kind: Kind::Shard,
            shard: numbered(batch * 1000 + number),
            owner: ANN,
            len: 300,
            root,
            time_ms: 0,
            body: log::Body::Here(bytes.clone()),
            outboard: Vec::new(),
        };
        let done = store.core.small.commit(&store.core, (0..1000).map(record).collect());
        assert!(done.iter().all(Result::is_ok));
    }
    println!("stored {count} in {:?}, {} MiB resident", begun.elapsed(), resident() >> 20);
    let begun = Instant::now();
    for number in 0..10_000 {
        store.open_shard(numbered(number * 97 % count)).unwrap();
    }
    println!("found a shard in {:?}", begun.elapsed() / 10_000);
    drop(store);
    let index = folder.path().join(index::NAME);
    println!("index: {} MiB", fs::metadata(&index).unwrap().len() >> 20);
    let store = open("after a good end");
    let begun = Instant::now();
    let mut held = 0;
    let mut next = Some(ShardId::FIRST);
    while let Some(from) = next {
        let page = store.list(ANN, from, 64).unwrap();
        held += page.len();
        next = page.last().and_then(|held| held.shard.next());
    }
    println!("listed {held} in {:?}, {} MiB resident", begun.elapsed(), resident() >> 20);
    drop(store);
    fs::remove_file(&index).unwrap();
    drop(open("without an index"));
}
