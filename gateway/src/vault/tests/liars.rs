//! Nodes that say they hold what they do not.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use protocol::message::{Held, Standing, Stored};
use protocol::refusal::Refusal;
use protocol::voucher::Voucher;
use protocol::{Root, ShardId};
use tokio::sync::mpsc;

use super::*;
use crate::nodes::{NewShard, NodeError, Nodes, ShardPiece, ShardRange};

/// What nodes 0 and 1 answer to a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// All shards there could be of each segment, as long as a number can say.
    Much,
    /// The same, as long as they can be.
    Possible,
    /// Shards without end.
    Endless,
}

struct Liars {
    inner: Arc<MemoryNodes>,
    lie: Lie,
    lists: AtomicUsize,
    gets: AtomicUsize,
    /// The next puts find other bytes under their name.
    conflicts: AtomicBool,
}

impl Liars {
    fn new(inner: Arc<MemoryNodes>, lie: Lie) -> Arc<Self> {
        let (lists, gets) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { inner, lie, lists, gets, conflicts: AtomicBool::new(false) })
    }
}

#[async_trait]
impl Nodes for Liars {
    async fn put(
        &self,
        to: NodeId,
        new: NewShard,
        body: mpsc::Receiver<ShardPiece>,
    ) -> Result<Stored, NodeError> {
        if self.conflicts.load(Ordering::SeqCst) {
            return Err(NodeError::Refused(Refusal::Conflict));
        }
        self.inner.put(to, new, body).await
    }

    async fn get(
        &self,
        of: NodeId,
        range: ShardRange,
        windows: mpsc::Sender<Vec<Bytes>>,
    ) -> Result<(), NodeError> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        if of.0[0] > 1 {
            return self.inner.get(of, range, windows).await;
        }
        let bytes = Bytes::from(vec![7; usize::try_from(range.len).unwrap()]);
        let _ = windows.send(vec![bytes]).await;
        Ok(())
    }

    async fn delete(&self, of: NodeId, shard: ShardId) -> Result<bool, NodeError> {
        self.inner.delete(of, shard).await
    }

    async fn list(&self, of: NodeId, from: ShardId, limit: u32) -> Result<Vec<Held>, NodeError> {
        if of.0[0] > 1 {
            return self.inner.list(of, from, limit).await;
        }
        self.lists.fetch_add(1, Ordering::SeqCst);
        let held = |shard, len| Held { shard, len, root: Root([7; 32]) };
        if self.lie == Lie::Endless {
            return Ok(vec![held(from, 1)]);
        }
        let len = if self.lie == Lie::Much { u64::MAX } else { 512 };
        let known = self.inner.list(of, ShardId::FIRST, u32::MAX).await?;
        let mut all: Vec<Held> = known
            .iter()
            .flat_map(|known| (0..=255).map(|index| ShardId { index, ..known.shard }))
            .filter(|shard| *shard >= from)
            .map(|shard| held(shard, len))
            .collect();
        all.sort_by_key(|held| held.shard);
        all.dedup();
        all.truncate(limit as usize);
        Ok(all)
    }

    async fn status(&self, of: NodeId) -> Result<Status, NodeError> {
        self.inner.status(of).await
    }

    async fn prove(
        &self,
        of: NodeId,
        shard: ShardId,
        root: Root,
        len: u64,
        group: u64,
    ) -> Result<(), NodeError> {
        self.inner.prove(of, shard, root, len, group).await
    }

    async fn standing(&self, of: NodeId, standing: Standing) -> Result<(), NodeError> {
        self.inner.standing(of, standing).await
    }

    async fn voucher(&self, to: NodeId, voucher: Voucher) -> Result<(), NodeError> {
        self.inner.voucher(to, voucher).await
    }
}

/// A gateway on nodes of which two lie.
async fn world(lie: Lie) -> (World, Arc<Liars>) {
    let mut world = World::start(SMALL).await;
    let liars = Liars::new(world.nodes.clone(), lie);
    lead_astray(&mut world, &liars).await;
    (world, liars)
}

/// The process ends, and another begins among liars.
async fn lead_astray(world: &mut World, liars: &Arc<Liars>) {
    let dir = world.folder.path();
    let mut gateway = gateway_in(dir, world.nodes.clone(), Key::from_bytes([8; 32])).await;
    Arc::get_mut(&mut gateway).unwrap().nodes = liars.clone();
    (world.gateway, world.shipper) = (gateway.clone(), Shipper::open(gateway, SMALL));
}

async fn change(world: &mut World, times: usize) {
    for n in 0..times {
        world.set(&format!("s{}", n % 10), format!("{n}").repeat(3000)).await;
        world.ship_all().await;
    }
}

/// Bytes that a node really holds.
fn holds(world: &World, n: u8) -> u64 {
    let shards = world.nodes.shards.lock().unwrap();
    shards.iter().filter(|((of, _), _)| *of == node(n)).map(|(_, bytes)| bytes.len() as u64).sum()
}

#[tokio::test]
async fn a_node_that_says_it_holds_more_is_not_paid_more() {
    let (mut world, liars) = world(Lie::Much).await;
    change(&mut world, 60).await;
    for _ in 0..2 {
        for n in 0..2 {
            let (paid, real) = (world.gateway.vault.stored()[&node(n)], holds(&world, n));
            assert!(paid <= real * 2, "{paid} of {real}");
        }
        // Nor by a process that did not store it.
        lead_astray(&mut world, &liars).await;
        world.ship_all().await;
    }
    let (paid, real) = (world.gateway.vault.stored()[&node(3)], holds(&world, 3));
    assert!(paid <= real && paid * 2 > real, "an honest one is paid: {paid} of {real}");
    assert_eq!(world.recover_from(liars).await, settings(&world.database()).await);
}

#[tokio::test]
async fn a_list_without_end_is_cut_off() {
    let (mut world, liars) = world(Lie::Endless).await;
    change(&mut world, 2).await;
    while world.shipper.is_cleaning() {
        world.step().await.unwrap();
    }
    let lists = liars.lists.load(Ordering::SeqCst);
    assert_eq!(lists, 2 << 15, "of each of both as many pages as are allowed");
    assert_eq!(world.recover_from(liars).await, settings(&world.database()).await);
}

#[tokio::test]
async fn wrong_shards_of_liars_are_few_and_hide_no_right_ones() {
    let (mut world, liars) = world(Lie::Possible).await;
    change(&mut world, 20).await;
    let ids = world.gateway.vault.keys().ids();
    let mut segments: Vec<_> =
        world.nodes.shards.lock().unwrap().keys().map(|(_, shard)| shard.segment).collect();
    segments.retain(|segment| ids.find(*segment).is_some());
    segments.sort();
    segments.dedup();
    assert_eq!(world.recover_from(liars.clone()).await, settings(&world.database()).await);
    let gets = liars.gets.load(Ordering::SeqCst);
    assert!(gets <= segments.len() * 8, "{gets} for {} segments", segments.len());
}

#[tokio::test]
async fn after_a_name_was_taken_logs_still_follow_the_snapshot() {
    let mut world = World::start(SMALL).await;
    let liars = Liars::new(world.nodes.clone(), Lie::Possible);
    lead_astray(&mut world, &liars).await;
    world.ship_all().await;
    // What was committed while a snapshot is begun is the last log before it.
    world.set("s1", "one".into()).await;
    world.now_ms += 10;
    world.shipper.begin_now(world.now_ms).await.unwrap();
    liars.conflicts.store(true, Ordering::SeqCst);
    assert!(matches!(world.step().await, Err(ShipError::NotStored(_))));
    liars.conflicts.store(false, Ordering::SeqCst);
    let before = world.gateway.vault.progress().snapshot_ms;
    world.ship_all().await;
    assert!(world.gateway.vault.progress().snapshot_ms > before);
    world.set("s2", "two".into()).await;
    world.ship_all().await;
    let (report, found) = world.recover().await;
    assert_eq!((report.logs, found), (1, settings(&world.database()).await));
}

impl World {
    fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("meta.sqlite")
    }

    async fn recover_from(&self, nodes: Arc<Liars>) -> Settings {
        let members = (0..COUNT).map(node).collect();
        let recovery = Recovery::new(nodes, members, self.gateway.vault.keys().clone());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meta.sqlite");
        recovery.database(&path, &|_| {}).await.unwrap();
        crate::meta::inspect(&path).await.unwrap();
        settings(&path).await
    }
}

#[test]
fn who_says_nothing_for_long_is_behind() {
    let said = Progress { shipped_ms: Some(5), ..Progress::default() };
    assert_eq!(said.after(QUIET), said);
    assert_eq!(said.after(QUIET * 2).behind_since_ms, Some(5));
    let behind = Progress { behind_since_ms: Some(3), ..said };
    assert_eq!(behind.after(QUIET * 2), behind);
}
