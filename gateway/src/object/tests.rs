//! Uploads and downloads against nodes that are slow, broken, or gone.

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt;
use protocol::message::WINDOW;
use tokio::time::timeout;

use super::download::{self, ReadError};
use super::upload::UploadError;
use crate::testing::{ANN, COUNT, Fault, LONG, World, eventually, node, sample};

#[tokio::test]
async fn a_read_needs_any_four_of_six_shards_whatever_is_wrong_with_two() {
    let faults = [Fault::Offline, Fault::Stalled, Fault::Lies, Fault::BreaksAfter(2)];
    let world = World::start().await;
    let bytes = sample(LONG);
    world.put("k", &bytes).await.unwrap();
    let holders = world.holders("k").await;
    for first in faults {
        for second in faults {
            // Data shards: without them the others must be decoded.
            world.set(holders[&0], first);
            world.set(holders[&2], second);
            let back = timeout(Duration::from_secs(30), world.get("k")).await;
            assert!(back.unwrap().unwrap() == bytes, "{first:?} and {second:?}");
        }
    }
}

#[tokio::test]
async fn nodes_that_were_only_slow_once_are_asked_again_when_others_fail() {
    let world = World::start().await;
    let bytes = sample(LONG);
    world.put("k", &bytes).await.unwrap();
    let holders = world.holders("k").await;
    // Every node breaks off in the middle: each shard must be asked for more
    // than once to get to the end.
    for holder in holders.values() {
        world.set(*holder, Fault::BreaksAfter(3));
    }
    let back = timeout(Duration::from_secs(30), world.get("k")).await;
    assert!(back.unwrap().unwrap() == bytes);
}

#[tokio::test]
async fn beyond_two_lost_shards_a_read_fails_and_says_so() {
    let world = World::start().await;
    world.put("k", &sample(LONG)).await.unwrap();
    for n in [0, 1, 2] {
        world.set(n, Fault::Lies);
    }
    let failed = world.get("k").await;
    assert!(matches!(failed, Err(ReadError::TooFewShards { have: 3, needed: 4 })), "{failed:?}");
    eventually(|| async { world.gateway.meta.repairs_waiting().await.unwrap() == 3 }).await;
}

#[tokio::test]
async fn one_broken_node_does_not_stop_an_upload_and_its_shard_is_queued() {
    for fault in [Fault::Offline, Fault::Stalled] {
        let world = World::start().await;
        world.set(3, fault);
        let bytes = sample(700_000);
        timeout(Duration::from_secs(60), world.put("k", &bytes)).await.unwrap().unwrap();
        assert_eq!(world.nodes.holds(node(3)), 0);
        assert_eq!(world.gateway.meta.repairs_waiting().await.unwrap(), 1);
        assert!(world.get("k").await.unwrap() == bytes);
    }
}

#[tokio::test]
async fn two_broken_nodes_refuse_an_upload_and_nothing_stays() {
    let world = World::start().await;
    world.set(1, Fault::Offline);
    world.set(4, Fault::Offline);
    let refused = world.put("k", &sample(700_000)).await;
    assert!(matches!(refused, Err(UploadError::TooFewNodes { quorum: 5, .. })), "{refused:?}");
    assert_eq!(world.gateway.meta.find_version(world.bucket.id, b"k", None).await.unwrap(), None);
    // What was stored is condemned and collected.
    eventually(|| async {
        crate::upkeep::collect::round(&world.gateway).await.unwrap();
        (0..COUNT).all(|n| world.nodes.holds(node(n)) == 0)
    })
    .await;
}

#[tokio::test]
async fn a_straggler_is_paid_and_its_shard_counts_once_it_is_durable() {
    let world = World::start().await;
    world.set(2, Fault::Slow(Duration::from_millis(1500)));
    world.put("k", &sample(700_000)).await.unwrap();
    assert_eq!(world.gateway.meta.repairs_waiting().await.unwrap(), 1);
    eventually(|| async { world.gateway.meta.repairs_waiting().await.unwrap() == 0 }).await;
    assert_eq!(world.holders("k").await.len(), 6);
    let metered = world.gateway.meter.snapshot();
    let paid: HashSet<u64> = metered.nodes.values().map(|c| c.put_bytes).collect();
    assert_eq!((metered.nodes.len(), paid.len()), (6, 1), "all six the same");
}

#[tokio::test]
async fn a_download_that_is_broken_off_is_vouched_for() {
    let world = World::start().await;
    world.put("k", &sample(24 << 20)).await.unwrap();
    let before = world.gateway.meter.snapshot().accounts[&ANN].get_bytes;
    let parts = world.parts("k").await;
    let sealing = world.gateway.bucket_key(&world.bucket).unwrap();
    let body = download::read(&world.gateway, &world.bucket, &sealing, parts, 0..24 << 20);
    let body = body.await.unwrap();
    let mut body = Box::pin(body);
    let first = body.next().await.unwrap().unwrap().len() as u64;
    drop(body);
    eventually(|| async {
        let after = world.gateway.meter.snapshot().accounts[&ANN].get_bytes;
        after - before > first + 4 * WINDOW
    })
    .await;
}

#[tokio::test]
async fn a_node_that_sends_nothing_is_paid_for_nothing() {
    let world = World::start().await;
    let bytes = sample(700_000);
    world.put("k", &bytes).await.unwrap();
    // Of a data shard, which is asked for first.
    let first = world.holders("k").await[&0];
    world.set(first, Fault::Stalled);
    assert!(world.get("k").await.unwrap() == bytes);
    let metered = world.gateway.meter.snapshot();
    let read = |n| metered.nodes[&node(n)].get_bytes;
    assert!((0..COUNT).map(read).filter(|bytes| *bytes > 0).count() >= 4);
    assert_eq!(read(first), 0);
}

mod audits;
