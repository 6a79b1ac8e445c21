//! A disk that fails, is full, or has no handle left.

use std::fs::File;
use std::process::Command;

use rustix::io::Errno;

use super::*;
use crate::store::core::RESERVE_MIN;
use crate::store::disk::real::RealDisk;
use crate::store::disk::sim::{Fate, Faults, IndexFate, Replay};
use crate::store::format::{record_len, volume_name};

/// More shards than these are not put.
const END: u8 = 70;

/// Puts shards 0, 1, .. of all sizes until one is refused; how many were taken,
/// and why no more.
fn fill(store: &Arc<ShardStore>, from: u8) -> (u8, Option<StoreError>) {
    for number in from..END {
        let bytes = filling(number);
        if let Err(error) = put_as(store, ANN, shard(number), &bytes, 10_000) {
            return (number, Some(error));
        }
    }
    (END, None)
}

fn filling(number: u8) -> Vec<u8> {
    content(usize::from(number % 5) * 7_000, number.into())
}

fn assert_held(store: &ShardStore, numbers: std::ops::Range<u8>) {
    for number in numbers {
        let got = whole(store, shard(number)).unwrap();
        assert!(got.unwrap_or_else(|| panic!("{number} is lost")) == filling(number));
    }
}

#[test]
fn after_a_failed_sync_only_reads_go_on() {
    let disk = SimDisk::default();
    let store = open_on(&disk, LIMITS).unwrap();
    let bytes = sample(100);
    put(&store, SHARD, &bytes).unwrap();
    let under_way = store.put(ANN, shard(5), 100).unwrap();
    disk.set_faults(Faults { sync: Some(0), ..Faults::default() });
    let broken = put(&store, shard(6), &bytes).unwrap_err();
    assert!(matches!(broken, StoreError::Io(_)), "{broken}");
    assert!(store.has_failed());
    let late = under_way.finish(bytes.clone(), 100, root(&bytes));
    assert!(matches!(late, Err(StoreError::Failed)));
    for _ in 0..2 {
        let refused = put(&store, shard(4), &bytes).unwrap_err();
        assert_eq!(refused.refusal(), Refusal::Busy);
    }
    assert!(matches!(store.delete(ANN, SHARD), Err(StoreError::Failed)));
    assert_eq!(read(&store, SHARD, &root(&bytes), 0..100).unwrap(), bytes);
    assert!(whole(&store, shard(6)).unwrap().is_none(), "it is not known to be durable");
    assert_eq!(store.scrub().unwrap().damaged, 0);
}

/// A gateway makes anew what is damaged: a disk that fails for a while must not
/// look like a thousand damaged shards.
#[test]
fn only_a_damaged_shard_is_told_as_damaged() {
    let disk = SimDisk::default();
    let store = open_on(&disk, LIMITS).unwrap();
    let bytes = sample(40_000);
    put(&store, SHARD, &bytes).unwrap();
    put(&store, shard(1), &bytes[..9_000]).unwrap();
    let mut reader = RangeReader::open(&store, SHARD, 0..40_000).unwrap();
    disk.set_faults(Faults { read: Some(Errno::IO), ..Faults::default() });
    let refusals = [
        RangeReader::open(&store, SHARD, 0..40_000).unwrap_err(),
        RangeReader::open_group(&store, SHARD, 1).unwrap_err(),
        reader.next().unwrap_err(),
    ];
    for refused in refusals {
        assert_eq!(refused.refusal(), Refusal::Busy, "{refused}");
        assert!(refused.is_fault());
    }
    let index = StoreError::Index(redb::Error::Corrupted(String::new()));
    assert_eq!((index.refusal(), index.is_fault()), (Refusal::Busy, true));
    disk.set_faults(Faults::default());
    assert!(read(&store, SHARD, &root(&bytes), 0..40_000).unwrap() == bytes);
    assert_eq!(store.stats().damaged, 0);

    // Cut off behind a header, in a body and before an outboard.
    let second = 512 + record_len(40_000) as usize;
    for (id, cut, len) in [(shard(1), second + 1_000, 9_000), (SHARD, 20_000, 40_000)] {
        disk.tamper(&volume_name(1), |content| content.truncate(cut));
        let damaged = RangeReader::open(&store, id, 0..len).and_then(|mut reader| reader.next());
        let damaged = damaged.unwrap_err();
        assert_eq!(damaged.refusal(), Refusal::Disk, "{damaged}");
        assert!(damaged.is_fault());
    }
}

/// The kernel says of what it could not write that it is clean, also to the next
/// process. What is served after a restart must survive the next power cut.
#[test]
fn whichever_sync_fails_what_is_acknowledged_before_and_after_stays() {
    let mut failed = 0;
    for sync in 0..60 {
        let disk = SimDisk::default();
        let Ok(store) = open_on(&disk, LIMITS) else { continue };
        disk.set_faults(Faults { sync: Some(sync), ..Faults::default() });
        let (taken, refused) = fill(&store, 0);
        assert!(refused.is_none() || store.has_failed());
        assert_held(&store, 0..taken);
        failed += usize::from(refused.is_some());
        drop(store);

        let store = open_on(&disk, LIMITS).unwrap();
        assert_held(&store, 0..taken);
        let doubtful = whole(&store, shard(taken)).unwrap();
        if taken < END && sync % 2 == 0 {
            put_as(&store, ANN, shard(taken), &filling(taken), 10_000).unwrap();
        }
        let must = whole(&store, shard(taken)).unwrap();
        assert!(must.is_some() || doubtful.is_none());
        drop(store);
        let mut replay = Replay::default();
        disk.journal().iter().for_each(|event| replay.apply(event));
        for fate in [Fate::Lost, Fate::Torn(sync.into())] {
            let store = open_on(&replay.cut(fate, IndexFate::Synced), LIMITS).unwrap();
            assert_held(&store, 0..taken);
            assert!(whole(&store, shard(taken)).unwrap() == must, "sync {sync}, {fate:?}");
        }
    }
    assert_eq!(failed, 60, "each of them was to fail");
}

#[test]
fn a_full_disk_is_told_loses_nothing_and_is_left_behind() {
    let disk = SimDisk::default();
    let store = open_on(&disk, LIMITS).unwrap();
    disk.set_faults(Faults { room: Some(RESERVE_MIN + (600 << 10)), ..Faults::default() });
    let (taken, refused) = fill(&store, 0);
    assert!(matches!(refused, Some(StoreError::NoSpace)), "{taken}, {refused:?}");
    assert!(taken > 10 && taken < END);
    assert!(!store.has_failed());
    assert_held(&store, 0..taken);
    assert!(store.stats().free < 40_000);
    // A tombstone for what is not here needs room as a shard does.
    assert!(matches!(store.delete(ANN, shard(END)), Err(StoreError::NoSpace)));

    // What is deleted makes room again, once it is compacted.
    for number in 0..taken / 2 {
        store.delete(ANN, shard(number)).unwrap();
    }
    let freed = store.stats().free;
    assert!(compact_all(&store).unwrap() > 0);
    assert!(store.stats().free > freed + 50_000);
    let (more, refused) = fill(&store, taken);
    assert!(more > taken && matches!(refused, Some(StoreError::NoSpace)));
    assert_held(&store, taken / 2..more);

    // So does the disk's owner.
    disk.set_faults(Faults { room: Some(1 << 30), ..Faults::default() });
    assert!(fill(&store, more).0 > more);
    drop(store);
    let store = open_on(&disk, LIMITS).unwrap();
    assert_held(&store, taken / 2..more);
    assert!(whole(&store, shard(0)).unwrap().is_none());
}

#[test]
fn a_node_on_a_full_disk_starts_and_reads() {
    let disk = SimDisk::default();
    let store = open_on(&disk, LIMITS).unwrap();
    for number in 0..20 {
        put(&store, shard(number), &filling(number)).unwrap();
    }
    store.core.close().unwrap();
    drop(store);
    disk.set_faults(Faults { room: Some(0), ..Faults::default() });
    let store = open_on(&disk, LIMITS).unwrap();
    assert_held(&store, 0..20);
    assert!(matches!(put(&store, SHARD, b""), Err(StoreError::NoSpace)));
}

#[test]
fn a_write_that_fails_half_done_spoils_nothing_else() {
    let mut failed = 0;
    for write in 0..120 {
        let disk = SimDisk::default();
        let store = open_on(&disk, LIMITS).unwrap();
        disk.set_faults(Faults { write: Some(write), ..Faults::default() });
        let (taken, refused) = fill(&store, 0);
        failed += usize::from(refused.is_some());
        assert!(!store.has_failed());
        // The next attempt does it, in another volume.
        let (end, refused) = fill(&store, taken);
        assert!(end == END && refused.is_none(), "{write}: {refused:?}");
        if write % 4 > 0 {
            continue;
        }
        drop(store);
        let mut replay = Replay::default();
        disk.journal().iter().for_each(|event| replay.apply(event));
        for index in [IndexFate::Synced, IndexFate::Gone] {
            let store = open_on(&replay.cut(Fate::Lost, index), LIMITS).unwrap();
            assert_held(&store, 0..END);
        }
    }
    assert!(failed > 100, "{failed}");
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
        return run_alone(&format!("store::tests::faults::{name}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let store = ShardStore::open(Arc::new(RealDisk::new(folder.path())), STORE, LIMITS).unwrap();
    let bytes = sample(50_000);
    put(&store, SHARD, &bytes).unwrap();
    let mut hoard = Vec::new();
    hoard.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    // There is a volume for small ones, and it is open; of the other kind there
    // is none yet.
    let fits = (LIMITS.volume - record_len(50_000)) as usize / 2;
    put(&store, shard(1), &sample(fits)).unwrap();
    assert!(read(&store, SHARD, &root(&bytes), 0..50_000).unwrap() == bytes);
    for refused in [put(&store, shard(2), &bytes), put_as(&store, ANN, shard(3), &bytes, 20_000)] {
        assert_eq!(refused.unwrap_err().refusal(), Refusal::Busy);
    }
    drop(hoard);

    assert!(!store.has_failed());
    assert_eq!(store.stats().shards, 2);
    put(&store, shard(2), &bytes).unwrap();
    put_as(&store, ANN, shard(3), &bytes, 20_000).unwrap();
    assert!(store.delete(ANN, SHARD).unwrap());
}
