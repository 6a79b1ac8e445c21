//! What a census sees of shards that are whole, lost, and unknown.

use bytes::Bytes;
use protocol::SegmentId;

use super::*;
use crate::testing::{Fault, World, node, sample};

async fn world() -> World {
    let world = World::start().await;
    for n in 0..5 {
        world.put(&format!("key{n}"), &sample(50_000 + n)).await.unwrap();
    }
    world
}

async fn count(world: &World) -> Census {
    take(&world.gateway, Depth::List).await.unwrap().census
}

#[tokio::test]
async fn everything_is_there() {
    let world = world().await;
    let census = count(&world).await;
    let bytes = world.gateway.meta.stored().await.unwrap().iter().map(|line| line.bytes).sum();
    let expected = Census { segments: 5, full: 5, shards: 30, bytes, ..Census::default() };
    assert_eq!(census, expected);
    assert_eq!(take(&world.gateway, Depth::Read).await.unwrap().census, expected);
}

#[tokio::test]
async fn shards_that_nodes_have_lost_are_named() {
    let world = world().await;
    world.empty(1);
    let findings = take(&world.gateway, Depth::List).await.unwrap();
    let census = &findings.census;
    assert_eq!((census.full, census.degraded, census.lost, census.missing), (0, 5, 0, 5));
    assert!(findings.missing.iter().all(|(holder, _)| *holder == node(1)));
    world.empty(2);
    world.empty(3);
    assert_eq!(count(&world).await.lost, 5);
}

#[tokio::test]
async fn a_silent_node_is_no_loss_and_no_proof() {
    let world = world().await;
    world.set(1, Fault::Offline);
    let census = count(&world).await;
    assert_eq!((census.degraded, census.missing, census.shards), (5, 0, 25));
    assert_eq!(census.silent, [node(1).to_string()]);
}

#[tokio::test]
async fn a_node_that_is_not_there_to_be_asked_is_silent() {
    let world = world().await;
    let others = world.gateway.registry.views().into_iter();
    let others = others.map(|view| view.record).filter(|record| record.node != node(1)).collect();
    world.gateway.registry.set_members(others);
    let census = count(&world).await;
    assert_eq!((census.degraded, census.shards), (5, 25));
    assert_eq!(census.silent, [node(1).to_string()]);
}

#[tokio::test]
async fn only_reading_finds_what_a_node_lies_about() {
    let world = world().await;
    world.set(4, Fault::Lies);
    assert_eq!(count(&world).await.full, 5);
    let census = take(&world.gateway, Depth::Read).await.unwrap().census;
    assert_eq!((census.full, census.degraded), (0, 5));
}

#[tokio::test]
async fn what_nobody_knows_is_an_orphan_and_what_is_leaving_is_not() {
    let world = world().await;
    let stranger = ShardId { segment: SegmentId([0xfe; 16]), index: 2 };
    world.nodes.shards.lock().unwrap().insert((node(0), stranger), sample(100).into());
    let promised = ShardId { segment: SegmentId([0x11; 16]), index: 0 };
    world.nodes.shards.lock().unwrap().insert((node(0), promised), sample(100).into());
    assert!(world.gateway.meta.promise_place(node(0), promised, i64::MAX).await.unwrap());
    let findings = take(&world.gateway, Depth::List).await.unwrap();
    assert_eq!((findings.census.orphans, findings.census.orphan_bytes), (1, 100));
    assert_eq!(findings.census.leaving, 1);
    assert_eq!(findings.strays, [Stray { node: node(0), shard: stranger, len: 100 }]);
    assert_eq!(findings.census.full, 5);
}

#[tokio::test]
async fn a_census_goes_through_more_than_a_page() {
    let world = World::start().await;
    let mut held = Vec::new();
    for n in 0..40_000u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&(n * 100_003).to_be_bytes());
        held.push((node(0), ShardId { segment: SegmentId(id), index: 0 }));
    }
    world.nodes.shards.lock().unwrap().extend(held.into_iter().map(|at| (at, Bytes::new())));
    let findings = take(&world.gateway, Depth::List).await.unwrap();
    assert_eq!(findings.census.orphans, 40_000);
    assert_eq!(findings.strays.len(), FINDINGS_MAX);
}
