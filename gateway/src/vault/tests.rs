//! Shipping and recovery against nodes in memory: whatever happens in between,
//! what counts as shipped comes back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use protocol::message::Status;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::recover::{Recovery, Report};
use super::ship::{Limits, Pace, ShipError, Shipper};
use super::state::FILE;
use super::*;
use crate::gateway::Gateway;
use crate::meta::Meta;
use crate::testing::{COUNT, Fault, MemoryNodes, gateway_in, node};

mod liars;

const SMALL: Limits = Limits { checkpoint_at: 200_000, log_file_max: 900_000, logs_max: 400_000 };

/// What the settings table holds: names that the test uses.
type Settings = BTreeMap<String, String>;

struct World {
    nodes: Arc<MemoryNodes>,
    gateway: Arc<Gateway>,
    shipper: Shipper,
    now_ms: u64,
    folder: TempDir,
}

impl World {
    async fn start(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let nodes = Arc::new(MemoryNodes::default());
        let (gateway, shipper) = open(folder.path(), &nodes, limits).await;
        Self { nodes, gateway, shipper, now_ms: 1_000_000, folder }
    }

    /// The process ends, and another begins on its folder.
    async fn restart(&mut self, limits: Limits) {
        (self.gateway, self.shipper) = open(self.folder.path(), &self.nodes, limits).await;
    }

    async fn step(&mut self) -> Result<Pace, ShipError> {
        self.now_ms += 10;
        self.shipper.step(self.now_ms).await
    }

    async fn ship_all(&mut self) {
        for _ in 0..1000 {
            if self.step().await.unwrap() == Pace::Idle {
                return;
            }
        }
        panic!("it is never done");
    }

    fn is_shipped(&self) -> bool {
        self.gateway.vault.progress().behind_since_ms.is_none()
    }

    async fn set(&self, name: &str, value: String) {
        self.gateway.meta.keep_setting(name, value).await.unwrap();
    }

    fn take_down(&self, down: &[u8]) {
        *self.nodes.faults.lock().unwrap() =
            down.iter().map(|&n| (node(n), Fault::Offline)).collect();
        for n in (0..COUNT).filter(|n| !down.contains(n)) {
            let status = Status {
                incarnation: protocol::Incarnation([n; 16]),
                free: 1 << 40,
                stored: 0,
                shards: 0,
                vouchers: Vec::new(),
            };
            self.gateway.registry.set_status(node(n), &status);
        }
    }

    async fn recover(&self) -> (Report, Settings) {
        let members = (0..COUNT).map(node).collect();
        let keys = self.gateway.vault.keys().clone();
        let recovery = Recovery::new(self.nodes.clone(), members, keys);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meta.sqlite");
        let report = recovery.database(&path, &|_| {}).await.unwrap();
        crate::meta::inspect(&path).await.unwrap();
        (report, settings(&path).await)
    }
}

async fn open(dir: &Path, nodes: &Arc<MemoryNodes>, limits: Limits) -> (Arc<Gateway>, Shipper) {
    let gateway = gateway_in(dir, nodes.clone(), Key::from_bytes([8; 32])).await;
    (gateway.clone(), Shipper::open(gateway, limits))
}

async fn settings(path: &Path) -> Settings {
    let meta = Meta::open(path).await.unwrap();
    let mut found = Settings::new();
    for n in 0..10 {
        let name = format!("s{n}");
        if let Some(value) = meta.setting(&name).await.unwrap() {
            found.insert(name, value);
        }
    }
    found
}

#[tokio::test]
async fn what_was_committed_is_on_the_nodes_and_comes_back() {
    let mut world = World::start(Limits::default()).await;
    world.set("s1", "one".into()).await;
    world.ship_all().await;
    world.set("s2", "two".into()).await;
    world.ship_all().await;
    let (report, found) = world.recover().await;
    assert_eq!(found, Settings::from([("s1".into(), "one".into()), ("s2".into(), "two".into())]));
    assert_eq!((report.logs, report.logs_beyond_gap), (1, 0));
    assert!(world.gateway.vault.stored().values().all(|&bytes| bytes > 0));
}

#[tokio::test]
async fn a_restart_goes_on_with_the_same_snapshot() {
    let mut world = World::start(Limits::default()).await;
    world.ship_all().await;
    let snapshot = world.gateway.vault.progress().snapshot_ms;
    assert!(snapshot.is_some());
    for n in 0..4 {
        world.set("s1", format!("{n}")).await;
        // What was committed and not shipped is shipped by the next.
        if n % 2 == 0 {
            world.ship_all().await;
        }
        world.restart(Limits::default()).await;
        world.ship_all().await;
    }
    assert_eq!(world.gateway.vault.progress().snapshot_ms, snapshot);
    assert_eq!(world.recover().await.1["s1"], "3");
}

#[tokio::test]
async fn old_snapshots_and_logs_are_deleted_from_the_nodes() {
    let mut world = World::start(SMALL).await;
    let mut most = 0;
    for n in 0..300 {
        world.set(&format!("s{}", n % 10), format!("{n}").repeat(3000)).await;
        world.ship_all().await;
        most = most.max(world.nodes.shards.lock().unwrap().len());
    }
    let ids = world.gateway.vault.keys().ids();
    let shards: Vec<_> =
        world.nodes.shards.lock().unwrap().keys().map(|(_, shard)| *shard).collect();
    let mut snapshots: Vec<_> = shards
        .iter()
        .filter_map(|shard| ids.find(shard.segment))
        .filter(|id| id.kind == ids::Kind::End)
        .collect();
    snapshots.dedup_by_key(|id| id.number);
    snapshots.sort();
    snapshots.dedup();
    assert_eq!(snapshots.len(), 2, "the newest and the one before");
    assert!(most < 1000, "{most} shards");
}

#[tokio::test]
async fn while_the_nodes_are_away_the_log_is_bounded_and_then_a_snapshot_follows() {
    let mut world = World::start(SMALL).await;
    world.ship_all().await;
    let snapshot = world.gateway.vault.progress().snapshot_ms;
    world.take_down(&[0, 1, 2]);
    for n in 0..400 {
        world.set(&format!("s{}", n % 10), format!("{n}").repeat(2000)).await;
        assert!(world.step().await.is_err());
        let log = world.folder.path().join("meta.sqlite-wal").metadata().unwrap().len();
        assert!(log < 2_000_000, "{log}");
    }
    assert!(!world.is_shipped());
    world.take_down(&[]);
    world.ship_all().await;
    assert!(world.is_shipped() && world.gateway.vault.progress().snapshot_ms > snapshot);
    assert_eq!(world.recover().await.1["s9"], "399".repeat(2000));
}

/// Commits, steps, failing nodes, crashes, and a lost or older side file, at
/// random: what is recovered is always a state that was committed, and never an
/// older one than what counted as shipped.
#[tokio::test]
async fn whatever_happens_nothing_that_was_shipped_is_lost() {
    for seed in 0..6 {
        happens(seed).await;
    }
}

async fn happens(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::start(SMALL).await;
    let mut states = vec![Settings::new()];
    let mut shipped = None;
    let mut side_file = None;
    let side_path = world.folder.path().join(FILE);
    for turn in 0..150 {
        match random.random_range(0..100) {
            0..50 => {
                let name = format!("s{}", random.random_range(0..10));
                let value = format!("{turn}").repeat(random.random_range(1..6000));
                world.set(&name, value.clone()).await;
                let mut state = states.last().unwrap().clone();
                state.insert(name, value);
                states.push(state);
            }
            50..80 => {
                let at = states.len() - 1;
                if world.step().await.is_ok() && world.is_shipped() {
                    shipped = Some(at);
                }
            }
            80..88 => {
                let all: Vec<u8> = (0..COUNT).collect();
                let count = random.random_range(0..=3);
                let down: Vec<u8> = all.choose_multiple(&mut random, count).copied().collect();
                world.take_down(&down);
            }
            88..92 => world.restart(SMALL).await,
            92..94 => side_file = std::fs::read(&side_path).ok(),
            94..96 => {
                match &side_file {
                    Some(old) => std::fs::write(&side_path, old).unwrap(),
                    None => drop(std::fs::remove_file(&side_path)),
                }
                world.restart(SMALL).await;
                // Until the next step it is not known what was forgotten.
            }
            _ => {
                let Some(at) = shipped else { continue };
                let (_, found) = world.recover().await;
                let is_one = states[at..].contains(&found);
                assert!(is_one, "seed {seed}, turn {turn}: neither {at} nor later");
            }
        }
    }
    world.take_down(&[]);
    world.ship_all().await;
    assert_eq!(&world.recover().await.1, states.last().unwrap(), "seed {seed}");
}
