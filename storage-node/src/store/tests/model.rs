//! The store against a model of it: any sequence of requests, restarts, power
//! cuts and housekeeping gives the answers that a map would give.

use std::collections::BTreeMap;

use super::*;
use crate::store::disk::sim::{Chance, Fate, IndexFate, Replay};

/// Sequences in an ordinary run, and requests in each. `STORE_SEQUENCES` asks for
/// more.
const SEQUENCES: u64 = 2_000;
const REQUESTS: usize = 60;

/// What an id stands for.
#[derive(Clone, Debug)]
enum Known {
    Held { owner: GatewayId, bytes: Vec<u8> },
    Deleted { owner: GatewayId },
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Existed(bool),
    Refused(Refusal),
}

impl Answer {
    fn of_put(result: Result<(), StoreError>) -> Self {
        result.map_or_else(|error| Self::Refused(error.refusal()), |()| Self::Done)
    }

    fn of_delete(result: Result<bool, StoreError>) -> Self {
        result.map_or_else(|error| Self::Refused(error.refusal()), Self::Existed)
    }
}

#[derive(Default)]
struct Model(BTreeMap<ShardId, Known>);

impl Model {
    fn put(&mut self, owner: GatewayId, shard: ShardId, bytes: &[u8]) -> Answer {
        match self.0.get(&shard) {
            Some(Known::Held { bytes: held, .. }) if held == bytes => Answer::Done,
            Some(Known::Held { .. }) => Answer::Refused(Refusal::Conflict),
            Some(Known::Deleted { owner: by }) if *by == owner || *by == ANYBODY => {
                Answer::Refused(Refusal::Forgotten)
            }
            _ => {
                self.0.insert(shard, Known::Held { owner, bytes: bytes.to_vec() });
                Answer::Done
            }
        }
    }

    fn delete(&mut self, owner: GatewayId, shard: ShardId) -> Answer {
        match self.0.get(&shard) {
            Some(Known::Held { owner: by, .. }) if *by == owner || *by == ANYBODY => {
                let owner = *by;
                self.0.insert(shard, Known::Deleted { owner });
                Answer::Existed(true)
            }
            Some(Known::Held { .. }) => Answer::Refused(Refusal::NotOwner),
            Some(Known::Deleted { .. }) => Answer::Existed(false),
            None => {
                self.0.insert(shard, Known::Deleted { owner });
                Answer::Existed(false)
            }
        }
    }

    fn held(&self, owner: GatewayId) -> Vec<ShardId> {
        let is_theirs = |known: &Known| match known {
            Known::Held { owner: by, .. } => *by == owner || *by == ANYBODY,
            Known::Deleted { .. } => false,
        };
        self.0.iter().filter(|(_, known)| is_theirs(known)).map(|(shard, _)| *shard).collect()
    }
}

/// A store, its disk, and all that happened to it since the last cut.
struct World {
    disk: SimDisk,
    before: Replay,
    store: Option<Arc<ShardStore>>,
    model: Model,
    chance: Chance,
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::default();
        let store = open_on(&disk, LIMITS).unwrap();
        let (before, model, chance) = (Replay::default(), Model::default(), Chance(seed));
        Self { disk, before, store: Some(store), model, chance }
    }

    fn store(&self) -> &Arc<ShardStore> {
        self.store.as_ref().unwrap()
    }

    fn shard(&mut self) -> ShardId {
        shard(self.chance.below(12) as u8)
    }

    fn gateway(&mut self) -> GatewayId {
        [ANN, ANN, BOB, ANYBODY][self.chance.below(4) as usize]
    }

    fn step(&mut self) {
        match self.chance.below(20) {
            0..=6 => {
                let (owner, shard) = (self.gateway(), self.shard());
                let len = [0, 1, 320, 2_000, 20_000][self.chance.below(5) as usize];
                let bytes = content(len, self.chance.below(3));
                let piece = [usize::MAX, 700][self.chance.below(2) as usize];
                let got = Answer::of_put(put_as(self.store(), owner, shard, &bytes, piece));
                assert_eq!(got, self.model.put(owner, shard, &bytes), "put {shard:?}");
            }
            7..=9 => {
                let (owner, shard) = (self.gateway(), self.shard());
                let got = Answer::of_delete(self.store().delete(owner, shard));
                assert_eq!(got, self.model.delete(owner, shard), "delete {shard:?}");
            }
            10..=13 => {
                let shard = self.shard();
                self.check(shard);
            }
            14 => self.check_lists(),
            15 => drop(compact_all(self.store()).unwrap()),
            16 => assert_eq!(self.store().scrub().unwrap().damaged, 0),
            17 => self.store().core.index.checkpoint().unwrap(),
            18 => {
                if self.chance.below(2) == 0 {
                    self.store().core.close().unwrap();
                }
                self.store = None;
                self.store = Some(open_on(&self.disk, LIMITS).unwrap());
            }
            _ => self.cut(),
        }
    }

    fn cut(&mut self) {
        self.store = None;
        self.disk.journal().iter().for_each(|event| self.before.apply(event));
        let index = match self.chance.below(4) {
            0 => IndexFate::Gone,
            1 => IndexFate::Older,
            _ => IndexFate::Synced,
        };
        self.disk = self.before.cut(Fate::Torn(self.chance.next()), index);
        self.before = Replay::of(&self.disk);
        self.store = Some(open_on(&self.disk, LIMITS).unwrap());
    }

    fn check(&self, shard: ShardId) {
        let got = whole(self.store(), shard).unwrap();
        match self.model.0.get(&shard) {
            Some(Known::Held { bytes, .. }) => assert!(got.as_ref() == Some(bytes), "{shard:?}"),
            _ => assert!(got.is_none(), "{shard:?} is back"),
        }
    }

    fn check_lists(&self) {
        for owner in [ANN, BOB] {
            let listed = self.store().list(owner, ShardId::FIRST, 99).unwrap();
            let listed: Vec<_> = listed.iter().map(|held| held.shard).collect();
            assert_eq!(listed, self.model.held(owner));
        }
    }

    fn check_all(&self) {
        for number in 0..12 {
            self.check(shard(number));
        }
        self.check_lists();
        let held = self.model.0.values().filter_map(|known| match known {
            Known::Held { bytes, .. } => Some(bytes.len() as u64),
            Known::Deleted { .. } => None,
        });
        assert_eq!(counted(self.store()), (held.clone().count() as u64, held.sum()));
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..REQUESTS {
        world.step();
    }
    world.check_all();
    world.cut();
    world.check_all();
}

fn run_all(seeds: std::ops::Range<u64>) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let ran = std::panic::catch_unwind(|| run(seed));
                    assert!(ran.is_ok(), "seed {seed}");
                }
            });
        }
    });
}

#[test]
fn any_sequence_of_requests_cuts_and_housekeeping_answers_as_a_map_would() {
    let asked = std::env::var("STORE_SEQUENCES").map(|asked| asked.parse().unwrap());
    run_all(0..asked.unwrap_or(SEQUENCES));
}
