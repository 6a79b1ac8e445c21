//! Clients that are slow, or stop for a while. Time passes by the test's hand.

use std::time::Duration;

use protocol::ShardId;
use protocol::message::Stored;
use tokio::time::{self, Instant};

use crate::network::{Gateway, Get, Ledger, Put, RunningNode, SHARD, root, sample, settings, soon};
use crate::{connected_with, volumes};
use storage_node::Settings;

/// A node and a gateway, for tests in which minutes pass.
async fn patient(dir: &std::path::Path, ledger: &Ledger) -> (RunningNode, Gateway) {
    let seldom = Settings { poll: Some(Duration::from_secs(60)), ..settings(dir, ledger) };
    connected_with(seldom, ledger).await
}

/// Lets time pass, second by second, and sees each second that the node answers,
/// so that the connection lives. An answer takes time that runs as always, since
/// the network stands still when the clock does.
async fn pass(gateway: &Gateway, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        time::pause();
        time::advance(Duration::from_secs(1)).await;
        time::resume();
        gateway.status().await.unwrap();
    }
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// Waits until no request has a turn: from then on, only its peer is waited for.
async fn all_lent(node: &RunningNode, gateway: &Gateway) {
    let lent = async {
        while node.node.metrics().working > 0 {
            gateway.status().await.unwrap();
        }
    };
    soon("the turns", lent).await;
}

#[tokio::test]
async fn a_put_waits_for_a_client_that_sends_slowly() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = patient(dir.path(), &ledger).await;
    let bytes = sample(1_300_000);
    let mut put = Put::start(&gateway, SHARD, 1_300_000).await.unwrap();
    // Before the first byte, in a chunk, between two, and in a length.
    pass(&gateway, minutes(9)).await;
    put.send.write_all(&700_000u32.to_le_bytes()).await.unwrap();
    put.send.write_all(&bytes[..600_000]).await.unwrap();
    pass(&gateway, minutes(9)).await;
    put.send.write_all(&bytes[600_000..700_000]).await.unwrap();
    pass(&gateway, minutes(9)).await;
    put.send.write_all(&600_000u32.to_le_bytes()[..3]).await.unwrap();
    pass(&gateway, minutes(9)).await;
    put.send.write_all(&600_000u32.to_le_bytes()[3..]).await.unwrap();
    put.send.write_all(&bytes[700_000..]).await.unwrap();
    let Stored { len, .. } = put.end(1_300_000, root(&bytes)).await.unwrap();
    assert_eq!(len, 1_300_000);
    assert!(gateway.get(SHARD, &root(&bytes), 0..len).await.unwrap() == bytes);
    node.stop().await;
}

#[tokio::test]
async fn a_put_that_nothing_more_comes_for_is_given_up() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = patient(dir.path(), &ledger).await;
    let mut put = Put::start(&gateway, SHARD, 100_000).await.unwrap();
    put.chunk(&sample(50_000)).await;
    let kept = async {
        while volumes(dir.path()) == 0 {
            gateway.status().await.unwrap();
        }
    };
    soon("what came, on disk", kept).await;
    all_lent(&node, &gateway).await;
    pass(&gateway, minutes(9)).await;
    assert_eq!(node.node.metrics().broken, 0);
    pass(&gateway, minutes(2)).await;
    assert_eq!(put.answer().await, Err(None));
    assert_eq!(node.node.metrics().broken, 1);
    assert_eq!(gateway.status().await.unwrap().shards, 0);
    node.stop().await;
}

#[tokio::test]
async fn puts_that_wait_for_their_clients_keep_nobody_from_working() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = patient(dir.path(), &ledger).await;
    let bytes = sample(1_000);
    let mut waiting = Vec::new();
    for index in 0..200 {
        let mut put = Put::start(&gateway, ShardId { index, ..SHARD }, 1_000).await.unwrap();
        put.chunk(&bytes[..500]).await;
        waiting.push(put);
    }
    let other = ShardId { index: 200, ..SHARD };
    gateway.put(other, &bytes).await.unwrap();
    all_lent(&node, &gateway).await;
    for mut put in waiting {
        put.chunk(&bytes[500..]).await;
        put.end(1_000, root(&bytes)).await.unwrap();
    }
    assert_eq!(gateway.status().await.unwrap().shards, 201);
    node.stop().await;
}

#[tokio::test]
async fn a_get_waits_for_a_reader_that_pauses_without_its_turn() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = patient(dir.path(), &ledger).await;
    // More than the network takes in by itself.
    let bytes = sample(6_000_000);
    gateway.put(SHARD, &bytes).await.unwrap();
    let get = Get::start(&gateway, SHARD, 0..6_000_000).await.unwrap();
    all_lent(&node, &gateway).await;
    pass(&gateway, minutes(2)).await;
    assert!(get.rest(&root(&bytes)).await.unwrap() == bytes);

    let get = Get::start(&gateway, SHARD, 0..6_000_000).await.unwrap();
    all_lent(&node, &gateway).await;
    pass(&gateway, minutes(3)).await;
    assert_eq!(get.rest(&root(&bytes)).await, Err(None), "not for ever");
    assert_eq!(node.node.metrics().broken, 1);
    node.stop().await;
}
