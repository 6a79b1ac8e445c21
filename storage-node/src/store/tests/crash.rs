//! Every point at which the power can fail, with anything that the disk may make
//! of what was not synced: what was acknowledged is there, what was deleted is
//! gone, nothing is there by half, and the store opens.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::store::disk::sim::{Chance, Event, Fate, IndexFate, Replay};
use crate::store::format::Kind;
use crate::store::log::{Body, Record};

/// Crash states that are looked at, at least.
const STATES: usize = 10_000;

#[derive(Clone, Debug)]
enum Op {
    /// Length, seed, and the size of the pieces it comes in.
    Put(u8, usize, u64, usize),
    /// Small ones that share a sync.
    Batch(Vec<(u8, usize, u64)>),
    Delete(u8),
    Compact,
    Checkpoint,
    /// A good end and a new start.
    Restart,
}

/// What an id may stand for.
type Known = Option<Arc<Vec<u8>>>;

impl Op {
    /// What the op makes of ids.
    fn changes(&self) -> BTreeMap<u8, Known> {
        match self {
            Self::Put(id, len, seed, _) => [(*id, Some(Arc::new(content(*len, *seed))))].into(),
            Self::Batch(puts) => puts
                .iter()
                .map(|(id, len, seed)| (*id, Some(Arc::new(content(*len, *seed)))))
                .collect(),
            Self::Delete(id) => [(*id, None)].into(),
            Self::Compact | Self::Checkpoint | Self::Restart => BTreeMap::new(),
        }
    }

    fn run(&self, disk: &SimDisk, store: &mut Arc<ShardStore>) {
        match self {
            Self::Put(id, len, seed, piece) => {
                let bytes = content(*len, *seed);
                put_as(store, ANN, super::shard(*id), &bytes, *piece).unwrap();
            }
            Self::Batch(puts) => {
                let batch = puts.iter().map(|(id, len, seed)| record(*id, &content(*len, *seed)));
                let results = store.core.small.commit(&store.core, batch.collect());
                results.into_iter().for_each(|result| result.unwrap());
            }
            Self::Delete(id) => drop(store.delete(ANN, super::shard(*id)).unwrap()),
            Self::Compact => drop(compact_all(store).unwrap()),
            Self::Checkpoint => store.core.index.checkpoint().unwrap(),
            Self::Restart => {
                store.core.close().unwrap();
                *store = open_on(disk, LIMITS).unwrap();
            }
        }
    }
}

fn record(id: u8, bytes: &[u8]) -> Record {
    let mut hasher = tree::TreeHasher::default();
    hasher.update(bytes);
    let (root, outboard) = hasher.finish();
    let (shard, len) = (super::shard(id), bytes.len() as u64);
    let (kind, body) = (Kind::Shard, Body::Here(bytes.to_vec()));
    Record { kind, shard, owner: ANN, len, root, time_ms: 0, body, outboard }
}

/// Ops at random; no id is used again after its delete.
fn ops(seed: u64, count: usize) -> Vec<Op> {
    let mut chance = Chance(seed);
    let mut next = 0..u8::MAX;
    let mut live: Vec<u8> = Vec::new();
    let lens = [0, 1, 319, 320, 5_000, 17_000];
    let small = |chance: &mut Chance| lens[chance.below(6) as usize];
    let mut op = |chance: &mut Chance| match chance.below(12) {
        0..=3 => {
            live.push(next.next().unwrap());
            Op::Put(*live.last().unwrap(), small(chance), chance.next(), usize::MAX)
        }
        4 => {
            live.push(next.next().unwrap());
            Op::Put(*live.last().unwrap(), 40_000, chance.next(), 9_000)
        }
        5 | 6 => {
            let ids: Vec<u8> = next.by_ref().take(3).collect();
            live.extend(&ids);
            Op::Batch(ids.iter().map(|id| (*id, small(chance), chance.next())).collect())
        }
        7 | 8 if !live.is_empty() => {
            Op::Delete(live.swap_remove(chance.below(live.len() as u64) as usize))
        }
        // Of what was never here.
        9 => Op::Delete(next.next().unwrap()),
        10 => Op::Compact,
        11 if chance.below(2) == 0 => Op::Restart,
        _ => Op::Checkpoint,
    };
    (0..count).map(|_| op(&mut chance)).collect()
}

/// A run, and all that happened to the disk.
struct History {
    ops: Vec<Op>,
    changes: Vec<BTreeMap<u8, Known>>,
    journal: Vec<Event>,
}

impl History {
    /// Marks stand before and after each op.
    fn record(ops: Vec<Op>) -> Self {
        let disk = SimDisk::default();
        let mut store = open_on(&disk, LIMITS).unwrap();
        for op in &ops {
            disk.mark(0);
            op.run(&disk, &mut store);
            disk.mark(0);
        }
        let changes = ops.iter().map(Op::changes).collect();
        Self { ops, changes, journal: disk.journal() }
    }

    /// What each id may stand for when so many marks were passed.
    fn allowed(&self, marks: usize) -> BTreeMap<u8, Vec<Known>> {
        let (done, begun) = (marks / 2, marks % 2 == 1);
        let mut known: BTreeMap<u8, Vec<Known>> = BTreeMap::new();
        for changes in &self.changes[..done] {
            known.extend(changes.iter().map(|(id, now)| (*id, vec![now.clone()])));
        }
        if begun {
            for (id, now) in &self.changes[done] {
                known.entry(*id).or_insert_with(|| vec![None]).push(now.clone());
            }
        }
        known
    }
}

/// Whether a disk holds what it must. The first thing that is wrong.
fn check(disk: &SimDisk, allowed: &BTreeMap<u8, Vec<Known>>) -> Result<(), String> {
    let store = open_on(disk, LIMITS).map_err(|error| format!("does not open: {error}"))?;
    let mut held = BTreeSet::new();
    for (id, allowed) in allowed {
        let got = whole(&store, shard(*id)).map_err(|error| format!("{id}: {error}"))?;
        let got = got.map(Arc::new);
        if !allowed.contains(&got) {
            let show = |known: &Known| known.as_ref().map(|bytes| bytes.len());
            let want: Vec<_> = allowed.iter().map(show).collect();
            return Err(format!("{id}: {:?} instead of {want:?} bytes", show(&got)));
        }
        held.extend(got.map(|_| shard(*id)));
    }
    let listed = store.list(ANN, ShardId::FIRST, usize::MAX).map_err(|error| error.to_string())?;
    let listed: BTreeSet<_> = listed.iter().map(|held| held.shard).collect();
    if listed != held || store.stats().shards != held.len() as u64 {
        return Err(format!("{held:?} are held, {listed:?} are listed: {:?}", store.stats()));
    }
    Ok(())
}

/// Goes on after a crash: what was there stays, new shards are taken, and a
/// second crash in the middle of the recovery changes nothing.
fn check_further(
    disk: &SimDisk,
    allowed: &BTreeMap<u8, Vec<Known>>,
    chance: &mut Chance,
) -> Result<(), String> {
    let before = Replay::of(disk);
    let again = disk.copy();
    let store = open_on(&again, LIMITS).map_err(|error| error.to_string())?;
    let settled: BTreeMap<u8, Vec<Known>> = allowed
        .keys()
        .map(|id| Ok((*id, vec![whole(&store, shard(*id))?.map(Arc::new)])))
        .collect::<Result<_, StoreError>>()
        .map_err(|error| error.to_string())?;
    let recovered = again.journal();
    put(&store, shard(255), &content(3_000, 1)).map_err(|error| error.to_string())?;
    compact_all(&store).map_err(|error| error.to_string())?;
    let whole_journal = again.journal();

    let mut replay = before;
    let cut = chance.below(whole_journal.len() as u64 + 1) as usize;
    whole_journal[..cut].iter().for_each(|event| replay.apply(event));
    let second = replay.cut(Fate::Torn(chance.next()), IndexFate::Synced);
    // What is found once the store has opened is found ever after. In the middle
    // of the first recovery, what was in doubt may still be lost.
    let mut expected = if cut >= recovered.len() { settled } else { allowed.clone() };
    expected.insert(255, vec![None, Some(Arc::new(content(3_000, 1)))]);
    check(&second, &expected)
        .map_err(|error| format!("{error}, at the second crash after {:?}", &whole_journal[..cut]))
}

/// Cuts the power after every change; how many states there were, and the first
/// that was wrong.
fn enumerate(history: &History, lies: bool, chance: &mut Chance) -> (usize, Result<(), String>) {
    let mut replay = Replay::default();
    replay.lies = lies;
    let (mut marks, mut states) = (0, 0);
    for (at, event) in history.journal.iter().enumerate() {
        replay.apply(event);
        marks += usize::from(matches!(event, Event::Mark(_)));
        let mut fates = vec![Fate::Lost];
        if replay.is_open() {
            let torn = (0..4).map(|_| Fate::Torn(chance.next()));
            fates.extend(torn.chain([Fate::Kept]));
        }
        let allowed = history.allowed(marks);
        for fate in fates {
            let index = match chance.below(8) {
                0 => IndexFate::Gone,
                1 => IndexFate::Older,
                2 => IndexFate::Spoilt,
                _ => IndexFate::Synced,
            };
            let disk = replay.cut(fate, index);
            let further = chance.below(8) == 0;
            states += 1 + usize::from(further);
            let checked = if further {
                check(&disk.copy(), &allowed).and_then(|()| check_further(&disk, &allowed, chance))
            } else {
                check(&disk, &allowed)
            };
            if let Err(error) = checked {
                let what = format!("after change {at} ({event:?}), {fate:?}, {index:?}: {error}");
                return (states, Err(what));
            }
        }
    }
    (states, Ok(()))
}

#[test]
fn no_crash_loses_what_was_acknowledged_or_brings_back_what_was_deleted() {
    let mut states = 0;
    for seed in 0..1_000 {
        let history = History::record(ops(seed, 12));
        let (seen, result) = enumerate(&history, false, &mut Chance(seed));
        if let Err(error) = result {
            panic!("seed {seed}, {:?}: {error}", history.ops);
        }
        states += seen;
        if states >= STATES {
            return;
        }
    }
    panic!("only {states} states");
}

/// The test of the test.
#[test]
fn a_disk_that_only_says_that_it_synced_is_found_out() {
    let found = (0..10).filter(|seed| {
        let history = History::record(ops(*seed, 12));
        enumerate(&history, true, &mut Chance(*seed)).1.is_err()
    });
    assert_eq!(found.count(), 10);
}

/// More of the same: `cargo test -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn no_crash_of_very_many_loses_anything() {
    let seed: u64 = std::env::var("SEED").map_or(1_000_000, |seed| seed.parse().unwrap());
    let mut states = 0;
    for seed in seed.. {
        let history = History::record(ops(seed, 20));
        let (seen, result) = enumerate(&history, false, &mut Chance(seed));
        result.unwrap_or_else(|error| panic!("seed {seed}, {:?}: {error}", history.ops));
        states += seen;
        if states >= 200_000 {
            return;
        }
    }
}
