//! Draining a node and filling a new one.

use std::collections::{BTreeMap, HashMap};

use protocol::ledger_api::NodeRecord;
use protocol::message::Status;
use protocol::{Epoch, Incarnation};

use super::*;
use crate::meta::Loss;
use crate::nodes::registry::Registry;
use crate::testing::{Fault, World, node, sample};

fn pace() -> Pace {
    Pace::new(u64::MAX)
}

#[tokio::test]
async fn a_drained_node_is_empty_and_everything_reads() {
    let world = World::start().await;
    for n in 0..10 {
        world.put(&format!("key{n}"), &sample(50_000 + n)).await.unwrap();
    }
    world.join(6).await;
    world.gateway.registry.set_state(node(2), NodeState::Draining);
    let mut cursors = BTreeMap::new();
    let moved = round(&world.gateway, &pace(), &mut cursors).await.unwrap();
    assert_eq!(moved, 10);
    assert_eq!(world.gateway.meta.shards_of_node(node(2), None, 10).await.unwrap(), []);
    assert_eq!(world.nodes.holds(node(6)), 10);
    world.empty(2);
    world.set(0, Fault::Offline);
    for n in 0..10 {
        assert!(world.get(&format!("key{n}")).await.unwrap() == sample(50_000 + n));
    }
}

#[tokio::test]
async fn without_a_place_nothing_is_moved_nor_lost() {
    let world = World::start().await;
    world.put("key", &sample(50_000)).await.unwrap();
    let before = world.holders("key").await;
    world.gateway.registry.set_state(node(2), NodeState::Draining);
    let moved = round(&world.gateway, &pace(), &mut BTreeMap::new()).await.unwrap();
    assert_eq!((moved, world.holders("key").await), (0, before));
}

#[tokio::test]
async fn a_shard_that_the_drained_node_lost_goes_to_repair() {
    let world = World::start().await;
    world.put("key", &sample(50_000)).await.unwrap();
    world.join(6).await;
    world.gateway.registry.set_state(node(2), NodeState::Draining);
    world.empty(2);
    let moved = round(&world.gateway, &pace(), &mut BTreeMap::new()).await.unwrap();
    assert_eq!(moved, 0);
    assert_eq!(world.gateway.meta.repairs_waiting().await.unwrap(), 1);
    assert_eq!(world.nodes.holds(node(6)), 0);
}

#[tokio::test]
async fn a_node_is_not_filled_with_what_it_lost() {
    let world = World::start().await;
    world.put("key", &sample(50_000)).await.unwrap();
    world.join(6).await;
    let segment = world.segment("key").await;
    let PlacedShard { index, root, len, .. } = segment.shards[2];
    let shard = ShardId { segment: segment.id, index };
    let loss = Loss { shard, node: node(6), epoch: Epoch(1), root, len, data: 4, group: 0 };
    world.gateway.meta.keep_loss(loss, now_ms()).await.unwrap();
    let whole = world.gateway.meta.known_segment(segment.id).await.unwrap().unwrap();
    let to = |index: usize, to| target(&world.gateway, &whole, &segment.shards[index], to);
    assert_eq!(to(2, Some(node(6))), None);
    assert_eq!(to(2, None), Some(node(6)), "a drain has no other place");
    assert_eq!(to(3, Some(node(6))), Some(node(6)));
}

const MIB: u64 = 1024 * 1024;

/// What is to be moved between nodes that hold so many MiB and have so many free.
fn shift(nodes: &[(u64, u64)]) -> Option<Shift> {
    let registry = Registry::default();
    let record = |n: u8| NodeRecord {
        node: NodeId([n; 32]),
        addr: "127.0.0.1:1".parse().unwrap(),
        zone: String::new(),
        operator: String::new(),
    };
    let ids = 0..u8::try_from(nodes.len()).unwrap();
    registry.set_members(ids.clone().map(record).collect());
    let mut held = HashMap::new();
    for (n, &(stored, free)) in ids.zip(nodes) {
        let node = NodeId([n; 32]);
        let status = Status {
            incarnation: Incarnation([n; 16]),
            free: free * MIB,
            // What left it is there for a while yet.
            stored: 500 * MIB,
            shards: 0,
            vouchers: Vec::new(),
        };
        registry.set_status(node, &status);
        registry.set_state(node, NodeState::Active);
        held.insert(node, stored * MIB);
    }
    imbalance(&registry.views(), &held)
}

#[test]
fn a_new_node_is_filled_from_the_fullest() {
    let (from, to) = (NodeId([1; 32]), NodeId([3; 32]));
    let expected = Shift { from, to, bytes: 30 * MIB };
    assert_eq!(shift(&[(100, 900), (120, 880), (90, 910), (0, 1000)]), Some(expected));
}

#[test]
fn what_is_about_even_stays() {
    assert_eq!(shift(&[(100, 900), (110, 890), (95, 905)]), None);
    assert_eq!(shift(&[(0, 1000), (0, 1000)]), None);
    assert_eq!(shift(&[]), None);
}

#[test]
fn a_small_node_that_holds_its_share_is_not_filled_further() {
    assert_eq!(shift(&[(100, 900), (10, 90), (100, 900)]), None);
}

#[tokio::test]
async fn a_new_node_is_filled_from_all_alike() {
    let world = World::start().await;
    for n in 0..40 {
        world.put(&format!("key{n}"), &sample(400_000 + n)).await.unwrap();
    }
    world.join(6).await;
    let mut cursors = BTreeMap::new();
    // A round may meet only shards whose segments have one there already.
    for _ in 0..100 {
        round(&world.gateway, &pace(), &mut cursors).await.unwrap();
    }
    let stored = world.gateway.meta.stored_by_node().await.unwrap();
    let (least, most) = (stored.values().min().unwrap(), stored.values().max().unwrap());
    assert_eq!(stored.len(), 7);
    assert!(least * 10 >= most * 6, "{least} to {most}");
}
