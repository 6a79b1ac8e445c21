//! A disk that cannot be read, for a moment or in one place: nothing is concluded
//! from it, and nothing that was stored goes.

use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::*;
use crate::store::disk::sim::Faults;
use crate::store::format::volume_name;
use crate::store::index::entry::At;

const COUNT: u8 = 24;
const ALL: usize = COUNT as usize;

fn bytes_of(number: u8) -> Vec<u8> {
    content(300 + usize::from(number % 5) * 3_000, number.into())
}

fn fill(store: &Arc<ShardStore>) {
    for number in 0..COUNT {
        put_as(store, ANN, shard(number), &bytes_of(number), 10_000).unwrap();
    }
}

/// How many of the shards are held; none has other bytes than it should.
fn held(store: &ShardStore) -> usize {
    let is_held = |number: &u8| match whole(store, shard(*number)) {
        Ok(Some(got)) => {
            assert!(got == bytes_of(*number), "wrong bytes of {number}");
            true
        }
        Ok(None) | Err(_) => false,
    };
    (0..COUNT).filter(is_held).count()
}

fn at(store: &ShardStore, number: u8) -> At {
    store.core.index.get(shard(number)).unwrap().unwrap().at
}

#[test]
fn compaction_gives_nothing_up_that_it_cannot_read_just_now() {
    for error in [Errno::IO, Errno::STALE] {
        let disk = SimDisk::default();
        let store = open_on(&disk, LIMITS).unwrap();
        fill(&store);
        for number in 0..8 {
            store.delete(ANN, shard(number)).unwrap();
        }
        store.core.close().unwrap();
        drop(store);
        let store = open_on(&disk, LIMITS).unwrap();
        assert_eq!(held(&store), 16);
        disk.set_faults(Faults { read: Some(error), ..Faults::default() });
        let refused = compact_all(&store).unwrap_err();
        assert!(matches!(refused, StoreError::Io(_)), "{refused}");
        disk.set_faults(Faults::default());
        assert_eq!((held(&store), store.stats().damaged), (16, 0), "{error}");
        assert!(compact_all(&store).unwrap() > 0);
        assert_eq!(held(&store), 16);
    }
}

#[test]
fn compaction_leaves_a_volume_with_a_bad_sector_until_a_scrub_has_judged() {
    let disk = SimDisk::default();
    let store = open_on(&disk, LIMITS).unwrap();
    fill(&store);
    store.core.close().unwrap();
    drop(store);
    let store = open_on(&disk, LIMITS).unwrap();
    let At { volume, place } = at(&store, 9);
    for number in (0..8).filter(|number| at(&store, *number).volume == volume) {
        store.delete(ANN, shard(number)).unwrap();
    }
    let before = held(&store);
    let at_header = Faults { bad_sector: Some(place), ..Faults::default() };
    let in_body = Faults { bad_sector: Some(place + 1024), ..Faults::default() };
    for faults in [at_header, in_body] {
        disk.set_faults(faults);
        assert!(compact(&store, volume).is_err());
        disk.set_faults(Faults::default());
        assert_eq!(held(&store), before, "{faults:?}");
    }
    // For good: the scrub says so, and goes on behind it.
    disk.set_faults(at_header);
    let scrubbed = store.scrub().unwrap();
    assert!(scrubbed.damaged >= 1 && scrubbed.checked >= COUNT.into(), "{scrubbed:?}");
    while store.core.index.row(volume).is_some() {
        assert!(compact(&store, volume).unwrap());
    }
    disk.set_faults(Faults::default());
    assert_eq!(held(&store) as u64, before as u64 - scrubbed.damaged);
}

#[test]
fn a_start_concludes_nothing_from_a_disk_that_does_not_answer() {
    let disk = SimDisk::default();
    let store = open_on(&disk, LIMITS).unwrap();
    fill(&store);
    drop(store);
    for error in [Errno::IO, Errno::STALE] {
        disk.set_faults(Faults { read: Some(error), ..Faults::default() });
        assert!(open_on(&disk, LIMITS).is_err());
        disk.set_faults(Faults::default());
    }
    assert_eq!(held(&open_on(&disk, LIMITS).unwrap()), ALL);
}

#[test]
fn a_bad_sector_hides_one_record_from_a_start_and_for_this_start_alone() {
    for without_index in [false, true] {
        for number in 0..COUNT {
            let disk = SimDisk::default();
            let store = open_on(&disk, LIMITS).unwrap();
            fill(&store);
            let At { volume, place } = at(&store, number);
            drop(store);
            if without_index {
                disk.remove(index::NAME).unwrap();
            }
            let len = disk.content(&volume_name(volume)).len();
            let volumes = disk.names().unwrap().iter().filter(|name| *name != index::NAME).count();
            for offset in [0, 512] {
                let bad_sector = Some(place + offset);
                disk.set_faults(Faults { bad_sector, ..Faults::default() });
                let store = open_on(&disk, LIMITS).unwrap();
                // The same place is bad in the other volumes, too, and in those that
                // are written now.
                assert!(held(&store) >= ALL - 2 * volumes, "{number}, {offset}");
                drop(store);
                let left = disk.content(&volume_name(volume)).len();
                assert!(
                    !without_index || offset > 0 || left == len,
                    "{number}: cut off behind a hole"
                );
            }
            disk.set_faults(Faults::default());
            let store = open_on(&disk, LIMITS).unwrap();
            let damaged = store.stats().damaged;
            assert_eq!(held(&store) + damaged as usize, ALL, "{number}");
            assert!(damaged as usize <= 2 * volumes);
        }
    }
}

#[test]
fn an_index_that_failed_is_told() {
    let disk = SimDisk::default();
    let store = open_on(&disk, LIMITS).unwrap();
    fill(&store);
    assert!(!store.is_lost());
    disk.set_faults(Faults { index: true, ..Faults::default() });
    assert!(store.core.index.checkpoint().is_err());
    assert!(store.is_lost(), "whoever runs the node starts it again");
    disk.set_faults(Faults::default());
    drop(store);
    assert_eq!(held(&open_on(&disk, LIMITS).unwrap()), ALL);
}

#[test]
fn a_node_that_was_killed_starts_and_reads_on_a_full_disk() {
    let disk = SimDisk::default();
    let store = open_on(&disk, LIMITS).unwrap();
    fill(&store);
    drop(store);
    for _ in 0..2 {
        // As much as is left to the index alone.
        disk.set_faults(Faults { room: Some(20 << 20), ..Faults::default() });
        let store = open_on(&disk, LIMITS).unwrap();
        assert_eq!(held(&store), ALL);
        assert!(matches!(put(&store, SHARD, b"more"), Err(StoreError::NoSpace)));
    }
    disk.set_faults(Faults::default());
    let store = open_on(&disk, LIMITS).unwrap();
    assert_eq!(held(&store), ALL);
    put(&store, SHARD, b"more").unwrap();
}

#[test]
fn a_place_that_is_chosen_anew_takes_the_shard_again() {
    let (disk, now) = (SimDisk::default(), Arc::new(AtomicU64::new(1_000)));
    let store = open_at(&disk, LIMITS, &now).unwrap();
    let bytes = sample(700);
    let chosen = |chosen_ms: u64| {
        let writer = store.put(ANN, SHARD, 700).unwrap().chosen(chosen_ms);
        writer.finish(bytes.clone(), 700, root(&bytes))
    };
    put(&store, SHARD, &bytes).unwrap();
    store.delete(ANN, SHARD).unwrap();
    // As old as the delete, or older: it comes late.
    for chosen_ms in [0, 999, 1_000] {
        assert!(matches!(chosen(chosen_ms), Err(StoreError::Forgotten)), "{chosen_ms}");
    }
    now.store(1_001, Ordering::Relaxed);
    chosen(1_001).unwrap();
    assert_eq!(whole(&store, SHARD).unwrap(), Some(bytes));
    drop(store);
    disk.remove(index::NAME).unwrap();
    let store = open_at(&disk, LIMITS, &now).unwrap();
    assert!(whole(&store, SHARD).unwrap().is_some(), "a scan finds the later record");
}

/// What cannot be written again is not damaged: the start fails, and a later one
/// finds it.
#[test]
fn a_start_that_cannot_write_calls_nothing_damaged() {
    let mut failed = 0;
    for fault in 0..40 {
        let disk = SimDisk::default();
        let store = open_on(&disk, LIMITS).unwrap();
        fill(&store);
        drop(store);
        // The last records are in doubt then, and are written again.
        disk.remove(index::NAME).unwrap();
        let countdown = Some(fault / 2);
        disk.set_faults(match fault % 2 {
            0 => Faults { write: countdown, ..Faults::default() },
            _ => Faults { sync: countdown, ..Faults::default() },
        });
        failed += u32::from(open_on(&disk, LIMITS).is_err());
        disk.set_faults(Faults::default());
        let store = open_on(&disk, LIMITS).unwrap();
        assert_eq!((held(&store), store.stats().damaged), (ALL, 0), "{fault}");
    }
    assert!(failed > 0, "some of them were to fail");
}
