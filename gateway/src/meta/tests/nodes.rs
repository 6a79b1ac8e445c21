//! How nodes stand, and what they are asked to prove.

use std::collections::HashMap;

use protocol::audit::Outcome;
use protocol::{Epoch, ShardId};
use sqlx::Row;

use super::*;

async fn known(world: &World, n: u8) -> KnownNode {
    let nodes = world.meta.nodes().await.unwrap();
    nodes.into_iter().find(|known| known.node == node(n)).unwrap()
}

async fn set(world: &World, n: u8, from: &[NodeState], to: NodeState) -> bool {
    world.meta.set_node_state(node(n), from.to_vec(), to, "why".into(), 7).await.unwrap()
}

async fn judge(world: &World, n: u8, outcome: Outcome) -> Option<(u32, u64)> {
    let judged = Judged { node: node(n), outcome, epoch: Epoch(1), text: "text".into() };
    world.meta.judge_audit(judged, 9).await.unwrap()
}

#[tokio::test]
async fn a_node_moves_only_from_the_states_that_are_named() {
    let world = world().await;
    assert_eq!(known(&world, 1).await.state, NodeState::Vetting);
    assert!(!set(&world, 1, &[NodeState::Active], NodeState::Draining).await);
    assert!(set(&world, 1, &[NodeState::Active, NodeState::Vetting], NodeState::Draining).await);
    let known = known(&world, 1).await;
    assert_eq!((known.state, known.reason.as_str()), (NodeState::Draining, "why"));
    assert_eq!(known.since_ms, 7);
    assert!(!set(&world, 99, &NodeState::ALL, NodeState::Lost).await, "nobody knows it");
    let events = world.meta.node_events(node(1), 10).await.unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].kind.as_str(), events[0].score), ("draining", 1_000_000));
}

#[tokio::test]
async fn states_keep_their_numbers() {
    let world = world().await;
    for state in NodeState::ALL {
        set(&world, 2, &NodeState::ALL, state).await;
        assert_eq!(known(&world, 2).await.state, state);
    }
    assert_eq!(NodeState::ALL.map(|state| state as i64), [0, 1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn who_begins_again_is_a_newcomer_but_not_free_of_what_was_decided() {
    let world = world().await;
    for (before, after) in [
        (NodeState::Active, NodeState::Vetting),
        (NodeState::Lost, NodeState::Vetting),
        (NodeState::Left, NodeState::Left),
        (NodeState::Suspended, NodeState::Suspended),
        (NodeState::Disqualified, NodeState::Disqualified),
    ] {
        set(&world, 3, &NodeState::ALL, before).await;
        judge(&world, 3, Outcome::Passed).await;
        let wiped = Incarnation([before as u8 + 100; 16]);
        world.meta.see_node(node(3), wiped, 5).await.unwrap();
        let known = known(&world, 3).await;
        assert_eq!((known.state, known.passed), (after, 0), "{before:?}");
    }
}

#[tokio::test]
async fn time_in_which_nobody_looked_is_no_absence() {
    let world = world().await;
    world.meta.keep_seen(vec![(node(1), 1000)], 1500, "watched").await.unwrap();
    assert_eq!(world.meta.setting("watched").await.unwrap().as_deref(), Some("1500"));
    world.meta.forgive_absence(10_000, 11_500, "watched").await.unwrap();
    assert_eq!(known(&world, 1).await.seen_ms, 11_000);
    // Never later than now.
    world.meta.forgive_absence(10_000, 12_000, "watched").await.unwrap();
    assert_eq!(known(&world, 1).await.seen_ms, 12_000);
}

#[tokio::test]
async fn outcomes_change_score_counts_and_events_as_they_should() {
    let world = world().await;
    assert_eq!(judge(&world, 1, Outcome::Passed).await, Some((1_000_000, 1)));
    assert_eq!(judge(&world, 1, Outcome::Offline).await, Some((1_000_000, 1)));
    assert_eq!(judge(&world, 1, Outcome::Offline).await, Some((1_000_000, 1)));
    assert_eq!(judge(&world, 1, Outcome::Contained).await, Some((1_000_000, 1)));
    let (score, _) = judge(&world, 1, Outcome::Failed).await.unwrap();
    assert_eq!(score, 999_000);
    assert_eq!(judge(&world, 99, Outcome::Failed).await, None);

    let lines = world.meta.audit_lines(Epoch(1)).await.unwrap();
    let line = lines[0];
    assert_eq!((line.ok, line.offline, line.contained, line.failed), (1, 2, 1, 1));
    assert_eq!((lines.len(), line.score), (1, 999_000));
    let counts = world.meta.audit_counts(node(1)).await.unwrap();
    assert_eq!(counts.online(), Some(600_000));
    let kinds: Vec<_> =
        world.meta.node_events(node(1), 10).await.unwrap().into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds, ["failed", "contained", "offline"], "one of an absence, none of a pass");
    world.meta.forget_audits(Epoch(2)).await.unwrap();
    assert!(world.meta.audited_epochs().await.unwrap().is_empty());
}

#[tokio::test]
async fn of_each_node_the_newest_events_are_kept() {
    let world = world().await;
    for _ in 0..510 {
        set(&world, 1, &NodeState::ALL, NodeState::Suspended).await;
        set(&world, 1, &NodeState::ALL, NodeState::Active).await;
    }
    set(&world, 2, &NodeState::ALL, NodeState::Active).await;
    let events = world.meta.node_events(node(1), 5000).await.unwrap();
    assert_eq!(events.len(), 1000);
    assert_eq!(events[0].kind, "active");
    assert_eq!(world.meta.node_events(node(2), 5000).await.unwrap().len(), 1);
}

#[tokio::test]
async fn every_live_shard_of_a_node_is_audited_and_no_other() {
    let world = world().await;
    for id in [10, 20, 200] {
        put(&world, &format!("k{id}"), id).await.unwrap();
    }
    // An upload under way: the node need not have it yet.
    intend(&world, 30).await;
    let mut found: HashMap<u8, u32> = HashMap::new();
    for point in 0..=255 {
        let target = world.meta.audit_target(node(1), [point; 16], 0).await.unwrap().unwrap();
        assert_eq!((target.shard.index, target.len, target.root), (1, 64, Root([1; 32])));
        *found.entry(target.shard.segment.0[0]).or_default() += 1;
    }
    assert_eq!(found, HashMap::from([(10, 11 + 55), (20, 10), (200, 180)]));
    assert_eq!(world.meta.audit_target(node(77), [0; 16], 0).await.unwrap(), None);

    // What is condemned may be gone at any time.
    let target = world.meta.audit_target(node(1), [20; 16], 0).await.unwrap().unwrap();
    put(&world, "k20", 21).await.unwrap();
    assert_eq!(world.meta.audit_target_of(node(1), target.shard).await.unwrap(), None);
    let next = world.meta.audit_target(node(1), [20; 16], 0).await.unwrap().unwrap();
    assert_eq!(next.shard.segment.0[0], 21);
}

#[tokio::test]
async fn a_target_is_found_without_reading_all_shards() {
    let world = world().await;
    let rows = sqlx::query(
        "EXPLAIN QUERY PLAN SELECT * FROM shards INDEXED BY shards_node
         WHERE node = 1 AND segment >= x'00' ORDER BY segment, idx LIMIT 256",
    )
    .fetch_all(&world.meta.readers)
    .await
    .unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    assert_eq!(plan, ["SEARCH shards USING INDEX shards_node (node=? AND segment>?)"]);
}

#[tokio::test]
async fn a_lost_shard_is_queued_and_not_paid_for() {
    let world = world().await;
    put(&world, "k", 10).await.unwrap();
    let stored = || async {
        let stored = world.meta.stored().await.unwrap();
        stored.iter().filter(|s| s.node == node(1)).map(|s| s.bytes).sum::<u64>()
    };
    assert_eq!(stored().await, 64);
    let segment = SegmentId([10; 16]);
    assert!(!world.meta.lose_shard(segment, 1, node(2), 5).await.unwrap(), "it is elsewhere");
    assert!(world.meta.lose_shard(segment, 1, node(1), 5).await.unwrap());
    assert!(!world.meta.lose_shard(segment, 1, node(1), 5).await.unwrap(), "it is lost already");
    assert_eq!((stored().await, world.meta.repairs_waiting().await.unwrap()), (0, 1));
    assert!(!world.meta.holds_shards(node(1)).await.unwrap());
    assert!(world.meta.holds_shards(node(2)).await.unwrap());
    assert_eq!(world.meta.shards_on(node(2)).await.unwrap(), (1, 64));
}

#[tokio::test]
async fn a_challenge_stays_the_same_until_it_is_dropped() {
    let world = world().await;
    let shard = ShardId { segment: SegmentId([10; 16]), index: 1 };
    let waiting = Waiting { node: node(1), shard, group: 3, tries: 1 };
    world.meta.keep_challenge(waiting, 100).await.unwrap();
    // Another group of the same shard does not take its place.
    world.meta.keep_challenge(Waiting { group: 4, ..waiting }, 50).await.unwrap();
    assert_eq!(world.meta.due_challenges(99, 9).await.unwrap(), []);
    assert_eq!(world.meta.due_challenges(100, 9).await.unwrap(), [waiting]);
    world.meta.put_off_challenge(Waiting { tries: 2, ..waiting }, 200).await.unwrap();
    assert_eq!(world.meta.due_challenges(199, 9).await.unwrap(), []);
    // Asked for by a new challenge meanwhile, it is neither younger nor later.
    world.meta.keep_challenge(waiting, 300).await.unwrap();
    assert_eq!(world.meta.due_challenges(200, 9).await.unwrap()[0].tries, 2);
    world.meta.drop_challenge(node(1), shard).await.unwrap();
    assert_eq!(world.meta.due_challenges(200, 9).await.unwrap(), []);
}
