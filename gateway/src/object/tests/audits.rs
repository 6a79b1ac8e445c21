//! Audits against nodes that are broken in every way.

use std::time::Duration;

use protocol::{Epoch, ShardId};

use super::*;
use crate::meta::Waiting;
use crate::object::audit::Challenge;
use crate::upkeep::audit::{Question, audit};

/// A world with one object, of which every node holds one shard.
async fn world() -> World {
    let world = World::start().await;
    world.put("k", &sample(700_000)).await.unwrap();
    eventually(|| async { world.holders("k").await.len() == 6 }).await;
    world
}

fn question() -> Question {
    Question::New(Challenge::draw(&[1; 32], node(0), 0))
}

impl World {
    async fn audit(&self, n: u8, question: Question) {
        audit(&self.gateway, node(n), Epoch(1), question).await.unwrap();
    }

    /// Passed, not reached, not answered, failed; and the score.
    async fn counts(&self, n: u8) -> ([u64; 4], u32) {
        let counts = self.gateway.meta.audit_counts(node(n)).await.unwrap();
        let known = self.gateway.meta.nodes().await.unwrap();
        let score = known.iter().find(|known| known.node == node(n)).unwrap().score();
        ([counts.ok, counts.offline, counts.contained, counts.failed], score)
    }

    async fn waiting(&self) -> Vec<Waiting> {
        self.gateway.meta.due_challenges(i64::MAX, 9).await.unwrap()
    }
}

#[tokio::test]
async fn a_node_that_has_its_shard_passes_and_is_paid_by_the_gateway() {
    let world = world().await;
    world.audit(1, question()).await;
    assert_eq!(world.counts(1).await, ([1, 0, 0, 0], 1_000_000));
    let metered = world.gateway.meter.snapshot();
    let own = metered.accounts[&world.gateway.own_account()];
    assert!((1..=16 * 1024).contains(&own.audit_bytes));
    assert_eq!(metered.nodes[&node(1)].audit_bytes, own.audit_bytes);
}

#[tokio::test]
async fn wrong_bytes_and_missing_shards_fail_and_are_repaired() {
    for is_gone in [false, true] {
        let world = world().await;
        if is_gone {
            world.nodes.shards.lock().unwrap().retain(|(holder, _), _| *holder != node(2));
        } else {
            world.set(2, Fault::Lies);
        }
        world.audit(2, question()).await;
        assert_eq!(world.counts(2).await, ([0, 0, 0, 1], 999_000));
        assert_eq!(world.gateway.meta.repairs_waiting().await.unwrap(), 1);
        assert_eq!(world.holders("k").await.len(), 5);
        let events = world.gateway.meta.node_events(node(2), 9).await.unwrap();
        assert_eq!(events.iter().filter(|event| event.kind == "failed").count(), 1);
        // The shard is lost once: there is nothing left to fail.
        world.audit(2, question()).await;
        assert_eq!(world.counts(2).await, ([0, 0, 0, 1], 999_000));
    }
}

#[tokio::test]
async fn being_offline_is_no_failure() {
    let world = world().await;
    world.set(2, Fault::Offline);
    for _ in 0..100 {
        world.audit(2, question()).await;
    }
    assert_eq!(world.counts(2).await, ([0, 100, 0, 0], 1_000_000));
    assert_eq!(world.gateway.meta.repairs_waiting().await.unwrap(), 0);
    assert_eq!(world.waiting().await, []);
}

#[tokio::test]
async fn a_silent_node_is_asked_the_same_three_times_more() {
    let world = world().await;
    world.set(2, Fault::Stalled);
    world.audit(2, question()).await;
    let first = world.waiting().await[0];
    for tries in 2..=3 {
        world.audit(2, Question::Again(world.waiting().await[0])).await;
        assert_eq!(world.waiting().await, [Waiting { tries, ..first }]);
    }
    // Being away meanwhile is no try.
    world.set(2, Fault::Offline);
    world.audit(2, Question::Again(world.waiting().await[0])).await;
    assert_eq!(world.waiting().await, [Waiting { tries: 3, ..first }]);
    assert_eq!(world.counts(2).await, ([0, 1, 3, 0], 1_000_000));

    world.set(2, Fault::Stalled);
    world.audit(2, Question::Again(world.waiting().await[0])).await;
    assert_eq!(world.counts(2).await, ([0, 1, 3, 1], 999_000));
    assert_eq!(world.waiting().await, []);
}

#[tokio::test]
async fn a_silent_node_that_answers_in_the_end_has_passed() {
    let world = world().await;
    world.set(2, Fault::Stalled);
    world.audit(2, question()).await;
    world.nodes.faults.lock().unwrap().clear();
    world.audit(2, Question::Again(world.waiting().await[0])).await;
    assert_eq!(world.counts(2).await, ([1, 0, 1, 0], 1_000_000));
    assert_eq!(world.waiting().await, []);
}

#[tokio::test]
async fn a_shard_that_was_deleted_while_it_was_asked_for_is_no_failure() {
    let world = world().await;
    // It is asked for, then the object is overwritten and collected, then the
    // node answers.
    world.set(2, Fault::Slow(Duration::from_secs(2)));
    let overwrite = async {
        world.put("k", b"inline").await.unwrap();
        eventually(|| async {
            crate::upkeep::collect::round(&world.gateway).await.unwrap();
            world.nodes.holds(node(2)) == 0
        })
        .await;
    };
    tokio::join!(world.audit(2, question()), overwrite);
    assert_eq!(world.counts(2).await, ([0, 0, 0, 0], 1_000_000));
    assert_eq!(world.gateway.meta.repairs_waiting().await.unwrap(), 0);
    // Nor is one that waits to be asked for again.
    let shard = ShardId { segment: protocol::SegmentId([1; 16]), index: 0 };
    let waiting = Waiting { node: node(2), shard, group: 0, tries: 1 };
    world.gateway.meta.keep_challenge(waiting, 0).await.unwrap();
    world.audit(2, Question::Again(waiting)).await;
    assert_eq!((world.waiting().await, world.counts(2).await.0), (vec![], [0, 0, 0, 0]));
}

#[tokio::test]
async fn who_fails_again_and_again_is_disqualified() {
    let world = World::start().await;
    world.set(2, Fault::Lies);
    let mut failed = 0;
    while world.gateway.registry.view(node(2)).unwrap().state
        != crate::meta::NodeState::Disqualified
    {
        // Each failure takes a shard away, so there must be new ones.
        world.set(2, Fault::Slow(Duration::ZERO));
        world.put(&format!("k{failed}"), &sample(5000)).await.unwrap();
        world.set(2, Fault::Lies);
        world.audit(2, question()).await;
        failed += 1;
        assert!(failed < 100, "it never was");
    }
    assert_eq!(world.counts(2).await.0, [0, 0, 0, 41]);
    let known = world.gateway.meta.nodes().await.unwrap();
    let known = known.iter().find(|known| known.node == node(2)).unwrap();
    assert!(known.reason.starts_with("its audit score 0.95"), "{}", known.reason);
    // Nothing more is stored there.
    let held = world.nodes.holds(node(2));
    let refused = world.put("more", &sample(5000)).await;
    assert!(refused.is_ok(), "five of six are a quorum: {refused:?}");
    assert_eq!(world.nodes.holds(node(2)), held);
}
