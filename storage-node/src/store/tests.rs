//! The store as its users see it.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

use bytes::Bytes;
use proptest::prelude::*;
use protocol::SegmentId;
use protocol::tree::{self, TreeHasher};

use super::range::RangeReader;
use super::*;

const SHARD: ShardId = ShardId { segment: SegmentId([0xab; 16]), index: 3 };
const UNLIMITED: Limits = Limits { capacity: None, reserve: 0 };

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn root(bytes: &[u8]) -> Root {
    Root(*blake3::hash(bytes).as_bytes())
}

fn put(store: &Arc<ShardStore>, shard: ShardId, bytes: &[u8]) -> Result<(), StoreError> {
    put_in_pieces(store, shard, bytes, bytes.len().max(1))
}

fn put_in_pieces(
    store: &Arc<ShardStore>,
    shard: ShardId,
    bytes: &[u8],
    piece: usize,
) -> Result<(), StoreError> {
    let mut writer = store.put(shard, bytes.len() as u64)?;
    let last = bytes.len().saturating_sub(1) / piece * piece;
    for piece in bytes[..last].chunks(piece) {
        writer.append(piece)?;
    }
    writer.finish(&bytes[last..], bytes.len() as u64, root(bytes))
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

fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

fn counted(stats: Stats) -> (u64, u64) {
    (stats.shards, stats.stored)
}

#[test]
fn a_shard_reads_back_and_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
    let bytes = sample(1_000_003);
    put_in_pieces(&store, SHARD, &bytes, 100_000).unwrap();
    let got = read(&store, SHARD, &root(&bytes), 0..1_000_003).unwrap();
    assert!(got == bytes);
    assert_eq!(counted(store.stats()), (1, 1_000_003));
    assert_eq!(files(&store.incoming), 0);

    assert!(store.delete(SHARD).unwrap());
    assert!(!store.delete(SHARD).unwrap());
    assert!(matches!(store.open_shard(SHARD), Err(StoreError::NotFound)));
    assert_eq!(counted(store.stats()), (0, 0));
}

#[test]
fn shards_survive_a_restart_and_leftovers_of_a_crash_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
    for index in 0..9 {
        let segment = SegmentId([index; 16]);
        put(&store, ShardId { segment, index }, &sample(20_000 * usize::from(index))).unwrap();
    }
    drop(store);
    fs::write(folder.path().join("incoming/0123"), "half a shard").unwrap();
    fs::write(folder.path().join("shards/00/notes.txt"), "not a shard").unwrap();

    let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
    assert_eq!(counted(store.stats()), (9, 20_000 * 36));
    assert_eq!(files(&store.incoming), 0);
    assert!(folder.path().join("shards/00/notes.txt").exists());
    let bytes = sample(160_000);
    let shard = ShardId { segment: SegmentId([8; 16]), index: 8 };
    assert!(read(&store, shard, &root(&bytes), 0..160_000).unwrap() == bytes);
}

#[test]
fn an_id_never_changes_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
    let bytes = sample(5_000);
    put(&store, SHARD, &bytes).unwrap();
    put(&store, SHARD, &bytes).unwrap();
    assert!(matches!(put(&store, SHARD, &sample(5_001)), Err(StoreError::Conflict)));
    assert!(read(&store, SHARD, &root(&bytes), 0..5_000).unwrap() == bytes);
    assert_eq!(counted(store.stats()), (1, 5_000));
    assert_eq!(files(&store.incoming), 0);
}

#[test]
fn of_many_puts_of_one_id_one_content_wins() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
    let stored: Vec<usize> = std::thread::scope(|scope| {
        let store = &store;
        let put_one = |len: usize| put(store, SHARD, &sample(len)).is_ok().then_some(len);
        let threads: Vec<_> = (1..=8).map(|len| scope.spawn(move || put_one(len))).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(stored.len(), 1);
    let bytes = sample(stored[0]);
    assert_eq!(read(&store, SHARD, &root(&bytes), 0..stored[0] as u64).unwrap(), bytes);
    assert_eq!(counted(store.stats()), (1, stored[0] as u64));
}

#[test]
fn bytes_without_the_promised_root_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
    let bytes = sample(50_000);
    for (len, promised) in [(50_000, root(b"other")), (49_999, root(&bytes))] {
        let mut writer = store.put(SHARD, 50_000).unwrap();
        writer.append(&bytes[..40_000]).unwrap();
        let stored = writer.finish(&bytes[40_000..], len, promised);
        assert!(matches!(stored, Err(StoreError::WrongRoot { .. })));
    }
    let mut given_up = store.put(SHARD, 50_000).unwrap();
    given_up.append(&bytes).unwrap();
    assert_eq!(files(&store.incoming), 1);
    drop(given_up);
    assert_eq!(files(folder.path()), 0);
    assert_eq!(counted(store.stats()), (0, 0));
}

/// Turns one bit of the file of [`SHARD`] around.
fn flip(store: &ShardStore, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(store.path(SHARD)).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn a_damaged_shard_is_refused_and_may_be_put_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
    let bytes = sample(50_000);
    let flip = |at| flip(&store, at);
    let cut = |len: u64| {
        let file = OpenOptions::new().write(true).open(store.path(SHARD)).unwrap();
        file.set_len(len).unwrap();
    };
    let damages: [(&str, &dyn Fn()); 6] = [
        ("magic", &|| flip(0)),
        ("body", &|| flip(30_000)),
        ("outboard", &|| flip(50_100)),
        ("cut", &|| cut(40_000)),
        ("empty", &|| cut(0)),
        ("length", &|| flip(24)),
    ];
    for (what, damage) in damages {
        put(&store, SHARD, &bytes).unwrap();
        damage();
        let got = read(&store, SHARD, &root(&bytes), 0..50_000);
        assert!(matches!(got, Err(StoreError::Corrupt(_))), "{what}: {got:?}");
        put(&store, SHARD, &bytes).unwrap();
        assert!(read(&store, SHARD, &root(&bytes), 0..50_000).unwrap() == bytes, "{what}");
    }
}

#[test]
fn a_shard_whose_root_rotted_is_repaired_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
    let bytes = sample(50_000);
    put(&store, SHARD, &bytes).unwrap();
    for at in 32..64 {
        flip(&store, at);
        assert!(!store.open_shard(SHARD).unwrap().is_sound().unwrap(), "byte {at}");
        put(&store, SHARD, &bytes).unwrap();
        let held = store.open_shard(SHARD).unwrap();
        assert_eq!(held.header.root, root(&bytes));
        assert!(held.is_sound().unwrap());
    }
    assert_eq!(counted(store.stats()), (1, 50_000));
    assert!(matches!(put(&store, SHARD, &sample(49_999)), Err(StoreError::Conflict)));
}

#[test]
fn no_more_is_taken_than_there_is_room_for() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { capacity: Some(10_000), reserve: 0 };
    let store = ShardStore::open(folder.path(), limits).unwrap();
    let other = ShardId { index: 4, ..SHARD };
    let under_way = store.put(SHARD, 6_000).unwrap();
    assert_eq!(store.stats().free, 4_000);
    assert!(matches!(store.put(other, 4_001), Err(StoreError::NoSpace)));
    drop(under_way);
    put(&store, SHARD, &sample(6_000)).unwrap();
    assert_eq!(store.stats().free, 4_000);
    assert!(matches!(store.put(other, 4_001), Err(StoreError::NoSpace)));
    put(&store, other, &sample(4_000)).unwrap();
    assert!(store.delete(SHARD).unwrap());
    assert_eq!(store.stats().free, 6_000);

    let reserve = Limits { capacity: None, reserve: u64::MAX };
    let store = ShardStore::open(folder.path(), reserve).unwrap();
    assert!(matches!(store.put(SHARD, 1), Err(StoreError::NoSpace)));
    assert!(store.open_shard(other).is_ok(), "reads go on");
}

#[test]
fn after_a_failed_sync_only_reads_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
    let bytes = sample(100);
    put(&store, SHARD, &bytes).unwrap();
    let under_way = store.put(ShardId { index: 5, ..SHARD }, 100).unwrap();
    let broken = store.sync(|| Err(io::Error::from_raw_os_error(5)));
    assert!(matches!(broken, Err(StoreError::Io(_))));
    let other = ShardId { index: 4, ..SHARD };
    let late = under_way.finish(&bytes, 100, root(&bytes));
    assert!(matches!(late, Err(StoreError::Failed)));
    for _ in 0..2 {
        let refused = put(&store, other, &bytes).unwrap_err();
        assert_eq!(refused.refusal(), Refusal::Disk);
    }
    assert!(matches!(store.delete(SHARD), Err(StoreError::Failed)));
    assert_eq!(read(&store, SHARD, &root(&bytes), 0..100).unwrap(), bytes);
}

/// Says so in the environment of a process that runs one test alone.
const ALONE: &str = "STORE_TEST_ALONE";

/// Runs a test in a process of its own, which may have 64 files open.
fn run_alone(test: &str) {
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(ALONE, "yes")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
fn without_a_file_handle_nothing_happens_and_later_all_goes_on() {
    if std::env::var_os(ALONE).is_none() {
        let name = "without_a_file_handle_nothing_happens_and_later_all_goes_on";
        return run_alone(&format!("store::tests::{name}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
    let bytes = sample(50_000);
    put(&store, SHARD, &bytes).unwrap();
    // Of one, the subfolder is there; of the other, it is yet to be made.
    let others = [4, 5].map(|id| ShardId { segment: SegmentId([id; 16]), index: 0 });
    let [known, unknown] = others;
    put(&store, ShardId { index: 1, ..known }, &bytes).unwrap();
    let under_way = [known, unknown].map(|shard| {
        let mut writer = store.put(shard, 50_000).unwrap();
        writer.append(&bytes[..40_000]).unwrap();
        writer
    });

    let mut hoard = Vec::new();
    let mut hoard_all = || hoard.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    for writer in under_way {
        hoard_all();
        let refused = writer.finish(&bytes[40_000..], 50_000, root(&bytes)).unwrap_err();
        assert_eq!(refused.refusal(), Refusal::Busy, "{refused}");
    }
    hoard_all();
    let mut refused = vec![store.delete(SHARD).unwrap_err(), store.open_shard(SHARD).unwrap_err()];
    refused.push(put(&store, known, &bytes).unwrap_err());
    assert!(refused.iter().all(|error| error.refusal() == Refusal::Busy), "{refused:?}");
    drop(hoard);

    assert!(!store.has_failed());
    assert_eq!(counted(store.stats()), (2, 100_000));
    assert!(read(&store, SHARD, &root(&bytes), 0..50_000).unwrap() == bytes);
    assert!(store.delete(SHARD).unwrap());
    others.iter().for_each(|shard| put(&store, *shard, &bytes).unwrap());
}

#[test]
fn what_is_on_disk_is_the_format_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
    let bytes = sample(40_000);
    put(&store, SHARD, &bytes).unwrap();
    let path = folder.path().join(format!("shards/ab/{}-03", "ab".repeat(16)));
    let mut hasher = TreeHasher::default();
    hasher.update(&bytes);
    let (root, outboard) = hasher.finish();
    let header = file::ShardHeader { shard: SHARD, len: 40_000, root };
    let expected = [header.encode().as_slice(), &bytes, &outboard].concat();
    assert!(fs::read(&path).unwrap() == expected);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[test]
fn a_group_is_proved() {
    let folder = tempfile::tempdir().unwrap();
    let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
    let bytes = sample(40_000);
    put(&store, SHARD, &bytes).unwrap();
    for (group, range) in [(0, 0..16_384), (2, 32_768..40_000)] {
        let mut reader = RangeReader::open_group(&store, SHARD, group).unwrap();
        let proof: Bytes = reader.next().unwrap().encoded;
        let pieces = tree::decode(&root(&bytes), 40_000, &range, &proof).unwrap();
        assert!(pieces.concat() == bytes[range.start as usize..range.end as usize]);
    }
    for group in [3, u64::MAX] {
        let refused = RangeReader::open_group(&store, SHARD, group);
        assert!(matches!(refused, Err(StoreError::BadRange)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_range_of_any_shard_reads_back(
        len in 0usize..900_000, piece in 1usize..600_000,
        a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let store = ShardStore::open(folder.path(), UNLIMITED).unwrap();
        let bytes = sample(len);
        put_in_pieces(&store, SHARD, &bytes, piece).unwrap();
        let (a, b) = (a.index(len + 1), b.index(len + 1));
        let (start, end) = (a.min(b), a.max(b));
        let got = read(&store, SHARD, &root(&bytes), start as u64..end as u64);
        if start == end {
            prop_assert!(matches!(got, Err(StoreError::BadRange)));
        } else {
            prop_assert!(got.unwrap() == bytes[start..end]);
        }
        let beyond = RangeReader::open(&store, SHARD, 0..len as u64 + 1);
        prop_assert!(matches!(beyond, Err(StoreError::BadRange)));
    }
}
