//! Puts, reads, deletes, lists: what a gateway may rely on, on a real disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use protocol::tree::TreeHasher;

use super::*;
use crate::store::disk::real::RealDisk;
use crate::store::format::{Header, Kind, volume_name};

fn open_real(folder: &Path, limits: Limits) -> Arc<ShardStore> {
    ShardStore::open(Arc::new(RealDisk::new(folder)), STORE, limits).unwrap()
}

#[test]
fn a_shard_reads_back_and_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), LIMITS);
    let bytes = sample(1_000_003);
    put_as(&store, ANN, SHARD, &bytes, 100_000).unwrap();
    let got = read(&store, SHARD, &root(&bytes), 0..1_000_003).unwrap();
    assert!(got == bytes);
    assert_eq!(counted(&store), (1, 1_000_003));

    assert!(store.delete(ANN, SHARD).unwrap());
    assert!(!store.delete(ANN, SHARD).unwrap());
    assert!(matches!(store.open_shard(SHARD), Err(StoreError::NotFound)));
    assert_eq!(counted(&store), (0, 0));
}

#[test]
fn shards_survive_a_restart_with_and_without_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), LIMITS);
    for number in 0..9 {
        put(&store, shard(number), &sample(20_000 * usize::from(number))).unwrap();
    }
    store.delete(ANN, shard(3)).unwrap();
    drop(store);
    fs::write(folder.path().join("notes.txt"), "no volume").unwrap();

    for spoil in ["nothing", "gone", "spoilt"] {
        let index = folder.path().join("index.redb");
        match spoil {
            "gone" => fs::remove_file(&index).unwrap(),
            "spoilt" => fs::write(&index, "no index").unwrap(),
            _ => {}
        }
        let store = open_real(folder.path(), LIMITS);
        assert_eq!(counted(&store), (8, 20_000 * 33), "{spoil}");
        assert!(folder.path().join("notes.txt").exists());
        let bytes = sample(160_000);
        assert!(read(&store, shard(8), &root(&bytes), 0..160_000).unwrap() == bytes);
        let late = put(&store, shard(3), &sample(60_000));
        assert!(matches!(late, Err(StoreError::Forgotten)), "{spoil}: {late:?}");
    }
}

#[test]
fn an_id_never_changes_its_content() {
    let store = open_on(&SimDisk::default(), LIMITS).unwrap();
    let bytes = sample(5_000);
    put(&store, SHARD, &bytes).unwrap();
    put(&store, SHARD, &bytes).unwrap();
    put_as(&store, BOB, SHARD, &bytes, usize::MAX).unwrap();
    assert!(matches!(put(&store, SHARD, &sample(5_001)), Err(StoreError::Conflict)));
    assert!(read(&store, SHARD, &root(&bytes), 0..5_000).unwrap() == bytes);
    assert_eq!(counted(&store), (1, 5_000));
}

#[test]
fn of_many_puts_of_one_id_one_content_wins() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), LIMITS);
    let stored: Vec<usize> = std::thread::scope(|scope| {
        let store = &store;
        let put_one = |len: usize| put(store, SHARD, &sample(len)).is_ok().then_some(len);
        let threads: Vec<_> = (1..=8).map(|len| scope.spawn(move || put_one(len))).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(stored.len(), 1);
    let bytes = sample(stored[0]);
    assert_eq!(read(&store, SHARD, &root(&bytes), 0..stored[0] as u64).unwrap(), bytes);
    assert_eq!(counted(&store), (1, stored[0] as u64));
}

#[test]
fn puts_reads_and_deletes_of_many_threads_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), LIMITS);
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..12u8 {
                    let id = ShardId { segment: SegmentId([round; 16]), index: thread };
                    let len = usize::from(thread) * 9_000 + usize::from(round);
                    let bytes = content(len, u64::from(round));
                    // Some come in pieces, some are forgotten again.
                    put_as(store, ANN, id, &bytes, 20_000).unwrap();
                    assert!(whole(store, id).unwrap().unwrap() == bytes);
                    if round % 3 == 0 {
                        assert!(store.delete(ANN, id).unwrap());
                    }
                }
            });
        }
    });
    assert_eq!(store.stats().shards, 8 * 8);
    drop(store);
    assert_eq!(open_real(folder.path(), LIMITS).stats().shards, 8 * 8);
}

#[test]
fn bytes_without_the_promised_root_store_nothing() {
    let store = open_on(&SimDisk::default(), LIMITS).unwrap();
    let bytes = sample(50_000);
    for (len, promised) in [(50_000, root(b"other")), (49_999, root(&bytes))] {
        let mut writer = store.put(ANN, SHARD, 50_000).unwrap();
        writer.append(&bytes[..40_000]).unwrap();
        let stored = writer.finish(bytes[40_000..].to_vec(), len, promised);
        assert!(matches!(stored, Err(StoreError::WrongRoot { .. })));
    }
    let mut given_up = store.put(ANN, SHARD, 50_000).unwrap();
    given_up.append(&bytes).unwrap();
    drop(given_up);
    let mut long = store.put(ANN, SHARD, 49_999).unwrap();
    assert!(matches!(long.append(&bytes), Err(StoreError::TooLong)));
    let long = store.put(ANN, SHARD, 49_999).unwrap().finish(bytes.clone(), 50_000, root(&bytes));
    assert!(matches!(long, Err(StoreError::TooLong)));
    assert_eq!(counted(&store), (0, 0));
    assert!(whole(&store, SHARD).unwrap().is_none());
}

#[test]
fn only_its_owner_forgets_a_shard() {
    let store = open_on(&SimDisk::default(), LIMITS).unwrap();
    put(&store, SHARD, b"anns").unwrap();
    assert!(matches!(store.delete(BOB, SHARD), Err(StoreError::NotOwner)));
    assert!(whole(&store, SHARD).unwrap().is_some());
    put_as(&store, ANYBODY, shard(1), b"imported", usize::MAX).unwrap();
    assert!(store.delete(BOB, shard(1)).unwrap());
    let late = put(&store, shard(1), b"imported");
    assert!(matches!(late, Err(StoreError::Forgotten)), "nobody brings it back");
}

#[test]
fn a_late_put_does_not_bring_a_shard_back() {
    let (disk, now) = (SimDisk::default(), Arc::<AtomicU64>::default());
    let store = open_at(&disk, LIMITS, &now).unwrap();
    put(&store, SHARD, b"deleted").unwrap();
    store.delete(ANN, SHARD).unwrap();
    // The delete of an upload that was given up may overtake its put.
    assert!(!store.delete(ANN, shard(1)).unwrap());
    for id in [SHARD, shard(1)] {
        assert!(matches!(put(&store, id, b"deleted"), Err(StoreError::Forgotten)));
    }
    // A stranger's delete of what is not there blocks nobody else.
    assert!(!store.delete(BOB, shard(2)).unwrap());
    put(&store, shard(2), b"anns").unwrap();
    assert!(matches!(store.delete(BOB, shard(2)), Err(StoreError::NotOwner)));

    // Not even compaction forgets a tombstone while a put may be late.
    store.core.close().unwrap();
    let store = open_at(&disk, LIMITS, &now).unwrap();
    assert!(compact_all(&store).unwrap() > 0);
    assert!(matches!(put(&store, SHARD, b"deleted"), Err(StoreError::Forgotten)));
    now.store(compact::LATE_MS + 1, Ordering::Relaxed);
    store.scrub().unwrap();
    assert_eq!(store.stats().tombstones, 0, "nothing can come back any more");
}

#[test]
fn a_tombstone_stays_for_as_long_as_a_scan_could_find_what_it_buried() {
    let (disk, now) = (SimDisk::default(), Arc::<AtomicU64>::default());
    let store = open_at(&disk, LIMITS, &now).unwrap();
    put(&store, shard(0), &sample(30_000)).unwrap();
    put(&store, SHARD, b"deleted").unwrap();
    store.core.close().unwrap();
    let store = open_at(&disk, LIMITS, &now).unwrap();
    // In another volume, which is compacted first.
    store.delete(ANN, SHARD).unwrap();
    now.store(compact::LATE_MS + 1, Ordering::Relaxed);
    store.core.close().unwrap();
    let tomb = store.core.index.get(SHARD).unwrap().unwrap();
    assert!(compact(&store, tomb.at.volume).unwrap());
    assert_eq!(store.stats().tombstones, 1);
    store.core.close().unwrap();
    drop(store);

    disk.remove(index::NAME).unwrap();
    let store = open_at(&disk, LIMITS, &now).unwrap();
    assert!(whole(&store, SHARD).unwrap().is_none());
    let buried = store.core.index.get(shard(0)).unwrap().unwrap().at.volume;
    assert!(compact(&store, buried).unwrap());
    store.scrub().unwrap();
    assert_eq!(store.stats().tombstones, 0);
    store.core.close().unwrap();
    drop(store);
    disk.remove(index::NAME).unwrap();
    let store = open_at(&disk, LIMITS, &now).unwrap();
    assert!(whole(&store, SHARD).unwrap().is_none());
    assert!(whole(&store, shard(0)).unwrap().is_some());
}

#[test]
fn a_tombstone_that_is_over_refuses_no_put_though_it_stays() {
    let (disk, now) = (SimDisk::default(), Arc::<AtomicU64>::default());
    let store = open_at(&disk, LIMITS, &now).unwrap();
    put(&store, shard(0), &sample(30_000)).unwrap();
    put(&store, SHARD, b"deleted").unwrap();
    store.core.close().unwrap();
    // What is buried lies in another volume, so the tombstone is not dropped.
    let store = open_at(&disk, LIMITS, &now).unwrap();
    store.delete(ANN, SHARD).unwrap();
    now.store(compact::LATE_MS, Ordering::Relaxed);
    assert!(matches!(put(&store, SHARD, b"anew"), Err(StoreError::Forgotten)));
    now.store(compact::LATE_MS + 1, Ordering::Relaxed);
    store.scrub().unwrap();
    assert_eq!(store.stats().tombstones, 1);

    // A delete that comes then is as good as the first.
    assert!(!store.delete(ANN, SHARD).unwrap());
    assert!(matches!(put(&store, SHARD, b"anew"), Err(StoreError::Forgotten)));
    now.store(2 * (compact::LATE_MS + 1), Ordering::Relaxed);
    put(&store, SHARD, b"anew").unwrap();
    assert_eq!((store.stats().tombstones, store.stats().shards), (0, 2));
    store.core.close().unwrap();
    drop(store);

    // The new one counts for a scan too, and is deleted as any other.
    disk.remove(index::NAME).unwrap();
    let store = open_at(&disk, LIMITS, &now).unwrap();
    assert_eq!(whole(&store, SHARD).unwrap().as_deref(), Some(b"anew".as_slice()));
    compact_all(&store).unwrap();
    assert_eq!(whole(&store, SHARD).unwrap().as_deref(), Some(b"anew".as_slice()));
    assert!(store.delete(ANN, SHARD).unwrap());
    assert!(matches!(put(&store, SHARD, b"anew"), Err(StoreError::Forgotten)));
}

#[test]
fn a_list_names_the_sound_shards_of_one_gateway_in_order() {
    let store = open_on(&SimDisk::default(), LIMITS).unwrap();
    for number in [9, 3, 7, 1] {
        put(&store, shard(number), &[number]).unwrap();
    }
    put_as(&store, BOB, shard(4), b"bobs", usize::MAX).unwrap();
    put_as(&store, ANYBODY, shard(5), b"imported", usize::MAX).unwrap();
    store.delete(ANN, shard(7)).unwrap();
    let numbers = |owner, from, most| -> Vec<u8> {
        let held = store.list(owner, from, most).unwrap();
        held.iter().map(|held| held.shard.index).collect()
    };
    assert_eq!(numbers(ANN, ShardId::FIRST, 9), [1, 3, 5, 9]);
    assert_eq!(numbers(BOB, ShardId::FIRST, 9), [4, 5]);
    assert_eq!(numbers(ANN, shard(3), 2), [3, 5]);
    assert_eq!(numbers(ANN, shard(3).next().unwrap(), 9), [5, 9]);
    let held = &store.list(ANN, shard(9), 1).unwrap()[0];
    assert_eq!((held.len, held.root), (1, root(&[9])));
}

#[test]
fn no_more_is_taken_than_there_is_room_for() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { capacity: Some(10_000), ..LIMITS };
    let store = open_real(folder.path(), limits);
    let other = ShardId { index: 4, ..SHARD };
    let under_way = store.put(ANN, SHARD, 6_000).unwrap();
    assert_eq!(store.stats().free, 4_000);
    assert!(matches!(store.put(ANN, other, 4_001), Err(StoreError::NoSpace)));
    drop(under_way);
    put(&store, SHARD, &sample(6_000)).unwrap();
    assert_eq!(store.stats().free, 4_000);
    assert!(matches!(store.put(ANN, other, 4_001), Err(StoreError::NoSpace)));
    put(&store, other, &sample(4_000)).unwrap();
    assert!(store.delete(ANN, SHARD).unwrap());
    assert_eq!(store.stats().free, 6_000);
    drop(store);

    let store = open_real(folder.path(), Limits { reserve: u64::MAX, ..LIMITS });
    assert!(matches!(store.put(ANN, SHARD, 1), Err(StoreError::NoSpace)));
    assert!(store.open_shard(other).is_ok(), "reads go on");
    assert!(store.delete(ANN, other).unwrap(), "deletes too");
}

#[test]
fn a_fresh_store_is_small_and_opens_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let store = open_real(folder.path(), Limits { volume: 256 << 20, ..LIMITS });
    let took = begun.elapsed();
    let used = || -> u64 {
        let entries = fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
        entries.map(|entry| entry.metadata().unwrap().len()).sum()
    };
    assert!(used() < 4 << 20, "{} bytes", used());
    put(&store, SHARD, &sample(1_000)).unwrap();
    assert!(used() < 8 << 20, "{} bytes", used());
    // In milliseconds when nobody else uses the machine.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn what_is_on_disk_is_the_format_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), LIMITS);
    let bytes = sample(40_000);
    put(&store, SHARD, &bytes).unwrap();
    drop(store);
    let path = folder.path().join(volume_name(1));
    let mut hasher = TreeHasher::default();
    hasher.update(&bytes);
    let (root, outboard) = hasher.finish();
    let content = fs::read(&path).unwrap();
    assert_eq!(content[..64], format::volume_header(1, &STORE));
    let header = Header::parse(content[512..].first_chunk().unwrap(), &STORE).unwrap();
    let expected = Header {
        kind: Kind::Shard,
        shard: SHARD,
        len: 40_000,
        root,
        owner: ANN,
        sequence: 1,
        synced: 0,
        volume: 1,
        place: 512,
        time_ms: header.time_ms,
    };
    assert_eq!(header, expected);
    assert!(content[512 + 192..][..40_000] == bytes);
    assert_eq!(content[512 + 192 + 40_000..][..outboard.len()], outboard);
    let seal = 512 + format::record_len(40_000) as usize;
    let sealed = Header::parse(content[seal..].first_chunk().unwrap(), &STORE).unwrap();
    assert_eq!((sealed.kind, sealed.synced), (Kind::Seal, 1));
    assert_eq!(content.len(), seal + 512);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_header_in_the_body_of_a_shard_is_no_record() {
    let disk = SimDisk::default();
    let store = open_on(&disk, LIMITS).unwrap();
    // As if somebody knew where it will lie and what comes next; all but the id
    // of the store.
    let place = 1024;
    let victim = Header {
        kind: Kind::Shard,
        shard: shard(1),
        len: 0,
        root: root(b""),
        owner: BOB,
        sequence: 99,
        synced: 98,
        volume: 1,
        place,
        time_ms: 0,
    };
    let mut body = vec![0; 4_000];
    let at = (place - 512) as usize - format::HEADER_LEN;
    body[at..at + format::HEADER_LEN].copy_from_slice(&victim.encode(&StoreId([0; 16])));
    put(&store, SHARD, &body).unwrap();
    // The header before it rots, so that the scan looks at every sector.
    drop(store);
    disk.tamper(&volume_name(1), |content| content[512] ^= 1);
    disk.remove(index::NAME).unwrap();
    let store = open_on(&disk, LIMITS).unwrap();
    assert_eq!(counted(&store), (0, 0));
}

#[test]
fn a_group_is_proved() {
    let store = open_on(&SimDisk::default(), LIMITS).unwrap();
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

#[test]
fn compaction_wins_space_back_while_readers_read_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), LIMITS);
    for number in 0..20 {
        put_as(&store, ANN, shard(number), &content(30_000, number.into()), 10_000).unwrap();
    }
    let reader = store.open_shard(shard(1)).unwrap();
    for number in (0..20).filter(|number| number % 4 != 1) {
        store.delete(ANN, shard(number)).unwrap();
    }
    let before = store.stats().dead;
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            for _ in 0..200 {
                for number in [1, 5, 9, 13, 17] {
                    let got = whole(&store, shard(number)).unwrap().unwrap();
                    assert!(got == content(30_000, number.into()));
                }
            }
        });
        while !reading.is_finished() {
            compact_all(&store).unwrap();
        }
        reading.join().unwrap();
    });
    assert!(store.stats().dead < before / 4, "{} of {before}", store.stats().dead);
    assert!(reader.is_sound().unwrap(), "an old reader has the old file");
    assert_eq!(counted(&store), (5, 150_000));
}

#[test]
fn the_threads_of_a_store_compact_and_checkpoint_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_real(folder.path(), LIMITS);
    for number in 0..20 {
        put(&store, shard(number), &content(10_000, number.into())).unwrap();
    }
    for number in 0..20 {
        store.delete(ANN, shard(number)).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while folder.path().join(volume_name(1)).exists() {
        assert!(Instant::now() < deadline, "the first volume is still there");
        std::thread::yield_now();
    }
    assert_eq!(counted(&store), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_range_of_any_shard_reads_back(
        len in 0usize..900_000, piece in 1usize..600_000,
        a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(),
    ) {
        let store = open_on(&SimDisk::default(), LIMITS).unwrap();
        let bytes = sample(len);
        put_as(&store, ANN, SHARD, &bytes, piece).unwrap();
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
