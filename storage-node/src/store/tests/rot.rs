//! Bits that turn around on the disk: found, and never served.

use super::*;
use crate::store::disk::sim::Chance;
use crate::store::format::{HEADER_LEN, record_len, volume_name};
use crate::store::index::entry::At;

/// Flips that are looked at, at least.
const FLIPS: usize = 10_000;

/// A closed store with shards of all kinds, and a tombstone.
fn filled() -> (SimDisk, Vec<(ShardId, Vec<u8>)>) {
    let disk = SimDisk::default();
    let store = open_on(&disk, LIMITS).unwrap();
    let lens = [0, 1, 320, 4_000, 17_000, 40_000];
    let held = lens.iter().zip(0u8..).map(|(len, n)| (shard(n), content(*len, n.into())));
    let held: Vec<_> = held.collect();
    for (shard, bytes) in &held {
        put_as(&store, ANN, *shard, bytes, 20_000).unwrap();
    }
    put(&store, SHARD, b"deleted").unwrap();
    store.delete(ANN, SHARD).unwrap();
    store.core.close().unwrap();
    (disk, held)
}

fn at(store: &ShardStore, shard: ShardId) -> At {
    store.core.index.get(shard).unwrap().unwrap().at
}

fn flip(disk: &SimDisk, at: At, place: u64, bit: u64) {
    disk.tamper(&volume_name(at.volume), |content| {
        content[(at.place + place) as usize] ^= 1 << bit;
    });
}

/// Reads everything as a gateway does: the right bytes, or none. How many shards
/// are whole.
fn served(store: &ShardStore, held: &[(ShardId, Vec<u8>)]) -> usize {
    let whole = held.iter().filter(|(shard, bytes)| {
        let len = bytes.len() as u64;
        let open = store.open_shard(*shard);
        if len == 0 {
            return open.is_ok();
        }
        match read(store, *shard, &root(bytes), 0..len) {
            Ok(got) => {
                assert!(got == *bytes, "wrong bytes of {shard:?}");
                true
            }
            Err(_) => false,
        }
    });
    assert!(super::whole(store, SHARD).is_ok_and(|got| got.is_none()), "what is deleted is back");
    whole.count()
}

#[test]
fn a_flip_in_a_header_a_body_or_an_outboard_is_found_and_not_served() {
    let (disk, held) = filled();
    let store = open_on(&disk, LIMITS).unwrap();
    let mut chance = Chance(1);
    let mut flips = 0;
    while flips < FLIPS {
        for (shard, bytes) in &held {
            let at = at(&store, *shard);
            let len = bytes.len() as u64;
            let end = HEADER_LEN as u64 + len + tree::outboard_len(len);
            // As many in the header as in all that follows.
            let places = if chance.below(2) == 0 { HEADER_LEN as u64 } else { end };
            let (place, bit) = (chance.below(places), chance.below(8));
            flip(&disk, at, place, bit);
            let entry = store.core.index.get(*shard).unwrap().unwrap();
            let open = store.core.open_entry(*shard, &entry);
            let is_found = match open {
                Err(StoreError::Corrupt(_)) => true,
                Ok(open) => !open.is_sound().unwrap(),
                Err(error) => panic!("{error}"),
            };
            assert!(is_found, "{shard:?}, byte {place}, bit {bit}");
            if place >= HEADER_LEN as u64 && len > 0 {
                let got = read(&store, *shard, &root(bytes), 0..len);
                assert!(matches!(got, Err(StoreError::Corrupt(_))));
            }
            flip(&disk, at, place, bit);
            flips += 1;
        }
    }
    assert_eq!(served(&store, &held), held.len());
}

#[test]
fn a_scrub_marks_what_rotted_and_sound_bytes_replace_it() {
    let (disk, held) = filled();
    let mut chance = Chance(2);
    for round in 0..300 {
        let disk = disk.copy();
        let store = open_on(&disk, LIMITS).unwrap();
        let (shard, bytes) = &held[round % held.len()];
        let len = bytes.len() as u64;
        let place = chance.below(HEADER_LEN as u64 + len + tree::outboard_len(len));
        flip(&disk, at(&store, *shard), place, chance.below(8));
        let scrubbed = store.scrub().unwrap();
        assert_eq!((scrubbed.checked, scrubbed.damaged), (held.len() as u64 + 1, 1));
        assert_eq!(store.stats().damaged, 1);
        assert!(matches!(store.open_shard(*shard), Err(StoreError::Corrupt(_))));
        let listed = store.list(ANN, ShardId::FIRST, 99).unwrap();
        assert_eq!(listed.len(), held.len() - 1);
        assert!(listed.iter().all(|held| held.shard != *shard));

        put(&store, *shard, bytes).unwrap();
        assert_eq!(served(&store, &held), held.len());
        assert_eq!(store.stats().damaged, 0);
        assert_eq!(store.scrub().unwrap().damaged, 0);
        assert!(matches!(put(&store, *shard, b"other"), Err(StoreError::Conflict)));
    }
}

#[test]
fn a_flip_anywhere_in_a_volume_or_in_the_index_serves_no_wrong_byte() {
    let (disk, held) = filled();
    let names = disk.names().unwrap();
    let mut chance = Chance(3);
    for round in 0..600 {
        let name = &names[round % names.len()];
        let disk = disk.copy();
        disk.tamper(name, |content| {
            let place = chance.below(content.len() as u64) as usize;
            content[place] ^= 1 << chance.below(8);
        });
        let store = open_on(&disk, LIMITS).unwrap();
        store.scrub().unwrap();
        let whole = served(&store, &held);
        let least = if name == index::NAME { held.len() } else { held.len() - 1 };
        assert!(whole >= least, "{name}: {whole} of {} are whole", held.len());
        assert_eq!(store.list(ANN, ShardId::FIRST, 99).unwrap().len(), whole);
    }
}

#[test]
fn a_flip_without_an_index_costs_one_record() {
    let (disk, held) = filled();
    disk.remove(index::NAME).unwrap();
    let mut chance = Chance(4);
    for round in 0..300 {
        let name = volume_name(1 + round % 2);
        let disk = disk.copy();
        let place = disk.content(&name).len() as u64;
        let place = chance.below(place) as usize;
        disk.tamper(&name, |content| content[place] ^= 1 << chance.below(8));
        let store = open_on(&disk, LIMITS).unwrap();
        store.scrub().unwrap();
        let is_buried = super::whole(&store, SHARD).is_ok_and(|got| got.is_none());
        let whole = held.iter().filter(|(shard, bytes)| {
            super::whole(&store, *shard).is_ok_and(|got| got.as_ref() == Some(bytes))
        });
        // Two faults at once, an index that is lost and a tombstone that rotted,
        // are the one way back.
        assert!(whole.count() >= held.len() - 1 && (is_buried || name == volume_name(1)));
    }
}

#[test]
fn a_volume_that_is_cut_off_or_gone_costs_what_it_held() {
    let (disk, held) = filled();
    let full = disk.content(&volume_name(1)).len();
    for cut in (0..full).step_by(512) {
        let disk = disk.copy();
        disk.tamper(&volume_name(1), |content| content.truncate(cut));
        let store = open_on(&disk, LIMITS).unwrap();
        let lost = held.iter().filter(|(shard, bytes)| {
            let at = at(&store, *shard);
            at.volume == 1 && at.place + record_len(bytes.len() as u64) > cut as u64
        });
        let lost = lost.count();
        assert_eq!(served(&store, &held), held.len() - lost);
        assert_eq!(store.scrub().unwrap().damaged, lost as u64);
    }
    disk.remove(&volume_name(1)).unwrap();
    let store = open_on(&disk, LIMITS).unwrap();
    let gone = held
        .iter()
        .filter(|(shard, _)| matches!(store.open_shard(*shard), Err(StoreError::NotFound)));
    assert_eq!(gone.count(), 5, "the large one lies in another volume");
    assert_eq!(store.stats().shards, 1);
    put(&store, held[1].0, &held[1].1).unwrap();
}

#[test]
fn records_that_changed_places_are_not_believed() {
    let disk = SimDisk::default();
    let store = open_on(&disk, LIMITS).unwrap();
    let held: Vec<_> = (0..4u8).map(|n| (shard(n), content(3_000, n.into()))).collect();
    for (shard, bytes) in &held {
        put(&store, *shard, bytes).unwrap();
    }
    store.core.close().unwrap();
    let len = record_len(3_000) as usize;
    let swap = |content: &mut Vec<u8>| {
        let (first, rest) = content[512..].split_at_mut(len);
        first.swap_with_slice(&mut rest[..len]);
    };
    disk.tamper(&volume_name(1), swap);
    let with_index = open_on(&disk.copy(), LIMITS).unwrap();
    disk.remove(index::NAME).unwrap();
    let without = open_on(&disk, LIMITS).unwrap();
    for store in [with_index, without] {
        for (shard, bytes) in &held[..2] {
            assert!(read(&store, *shard, &root(bytes), 0..3_000).is_err());
        }
        for (shard, bytes) in &held[2..] {
            assert!(read(&store, *shard, &root(bytes), 0..3_000).unwrap() == *bytes);
        }
    }
}

#[test]
fn a_tombstone_that_rotted_is_written_again() {
    let (disk, held) = filled();
    let store = open_on(&disk, LIMITS).unwrap();
    flip(&disk, at(&store, SHARD), 30, 0);
    store.scrub().unwrap();
    store.core.close().unwrap();
    drop(store);
    disk.remove(index::NAME).unwrap();
    let store = open_on(&disk, LIMITS).unwrap();
    assert_eq!(served(&store, &held), held.len());
}

#[test]
fn a_damaged_shard_is_not_carried_along_by_compaction() {
    let (disk, held) = filled();
    let store = open_on(&disk, LIMITS).unwrap();
    // One whose body and one whose header rotted; one of a tombstone's.
    flip(&disk, at(&store, held[3].0), HEADER_LEN as u64 + 9, 1);
    flip(&disk, at(&store, held[2].0), 9, 1);
    flip(&disk, at(&store, SHARD), 9, 1);
    for (number, _) in store.core.index.volumes() {
        assert!(compact(&store, number).unwrap());
    }
    assert_eq!(served(&store, &held), held.len() - 2);
    assert_eq!(store.stats().shards as usize, held.len() - 2);
    assert_eq!(store.scrub().unwrap().damaged, 0);
    for (shard, bytes) in &held {
        put(&store, *shard, bytes).unwrap();
    }
    assert_eq!(served(&store, &held), held.len());
}
