//! Nodes that lose everything, leave and join: the network is whole again, and a
//! census says so.

mod world;

use std::fs;

use gateway::census::{self, Census, Depth};
use world::{World, eventually, sample};

const OBJECTS: u64 = 12;

impl World {
    async fn fill(&self) {
        for n in 0..OBJECTS {
            self.put(&format!("k{n}"), &body(n)).await;
        }
    }

    async fn assert_all_read(&self) {
        for n in 0..OBJECTS {
            assert!(self.get(&format!("k{n}")).await == body(n), "object {n}");
        }
    }

    async fn census(&self, depth: Depth) -> Census {
        census::take(self.cluster.gateway(), depth).await.unwrap().census
    }

    async fn is_whole(&self) -> bool {
        let Census { segments, full, orphans, silent, .. } = self.census(Depth::List).await;
        segments == OBJECTS && full == segments && orphans == 0 && silent.is_empty()
    }

    async fn assert_verified(&self) {
        let census = self.census(Depth::Read).await;
        assert_eq!((census.segments, census.full, census.missing), (OBJECTS, OBJECTS, 0));
        assert_eq!(census.shards, 6 * OBJECTS);
    }

    fn id(&self, index: usize) -> String {
        let id = storage_node::identity(&self.cluster.node_dir(index)).unwrap();
        id.to_string()
    }

    async fn state(&self, id: &str) -> String {
        self.admin.node(id).await.map_or_else(|_| "unknown".to_owned(), |node| node.state)
    }
}

/// From what is coded but small to some windows of every shard.
fn body(n: u64) -> Vec<u8> {
    sample(if n.is_multiple_of(4) { 3 << 20 } else { 20_000 }, n)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_six_nodes_are_wiped_and_everything_is_whole_again() {
    let mut world = World::start().await;
    world.fill().await;
    eventually("everything is stored", || world.is_whole()).await;
    for node in [1, 4] {
        world.cluster.stop_node(node).await;
        let dir = world.cluster.node_dir(node);
        fs::remove_dir_all(dir.join("volumes")).unwrap();
        world.cluster.start_node(node).await.unwrap();
    }
    eventually("everything is whole again", || world.is_whole()).await;
    world.assert_verified().await;
    // What was rebuilt is as good as what was there.
    for node in [0, 2] {
        world.cluster.stop_node(node).await;
    }
    world.assert_all_read().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_and_another_leaves_and_nothing_is_missed() {
    let mut world = World::start().await;
    world.fill().await;
    let seventh = world.cluster.add_node().await.unwrap();
    let id = world.id(seventh);
    eventually("the seventh is known", || async { world.state(&id).await == "vetting" }).await;
    world.admin.node_action(&id, "trust").await.unwrap();
    assert_eq!(world.state(&id).await, "active");
    eventually("it is filled", || async { world.admin.node(&id).await.unwrap().shards > 0 }).await;

    let first = world.id(0);
    world.admin.node_action(&first, "drain").await.unwrap();
    eventually("the first has left", || async { world.state(&first).await == "left" }).await;
    world.cluster.stop_node(0).await;
    fs::remove_dir_all(world.cluster.node_dir(0)).unwrap();
    world.assert_verified().await;
    world.assert_all_read().await;
    // The others do without it.
    world.put("k0", &body(0)).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_network_is_counted_where_it_lies() {
    let world = World::start().await;
    world.fill().await;
    eventually("everything is stored", || world.is_whole()).await;
    let world = world
        .restart_after(async |options| {
            let census = stratos::offline::census(&options.dir, Depth::Read).await.unwrap();
            assert_eq!((census.segments, census.full), (OBJECTS, OBJECTS));
            fs::rename(options.dir.join("nodes/3/volumes"), options.dir.join("away")).unwrap();
            let census = stratos::offline::census(&options.dir, Depth::List).await.unwrap();
            assert_eq!((census.full, census.degraded), (0, OBJECTS));
        })
        .await;
    eventually("everything is whole again", || world.is_whole()).await;
    world.assert_all_read().await;
    world.end().await;
}
