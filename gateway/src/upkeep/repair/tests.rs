//! Shards that are lost, doubted, and found again.

use std::collections::HashMap;

use protocol::Epoch;

use super::*;
use crate::meta::{Loss, NodeState};
use crate::testing::{Fault, LONG, World, chain_info, node, sample};
use crate::upkeep::collect;

fn pace() -> Pace {
    Pace::new(u64::MAX)
}

impl World {
    /// Rounds until nothing waits; how many segments were mended.
    async fn repair(&self) -> usize {
        let mut seen = HashMap::new();
        let mut mended = 0;
        for _ in 0..10 {
            self.gateway.meta.hurry_repairs().await.unwrap();
            mended += round(&self.gateway, &pace(), &mut seen).await.unwrap();
            if self.repairs_waiting().await == 0 {
                break;
            }
        }
        mended
    }

    async fn repairs_waiting(&self) -> u64 {
        self.gateway.meta.repairs_waiting().await.unwrap()
    }

    /// Whether every shard of `key` is where metadata say, with the right bytes.
    async fn is_whole(&self, key: &str) -> bool {
        let segment = self.segment(key).await;
        let shards = self.nodes.shards.lock().unwrap();
        let is_there = |shard: &PlacedShard| {
            let id = ShardId { segment: segment.id, index: shard.index };
            let held = shards.get(&(shard.node, id));
            held.is_some_and(|bytes| *blake3::hash(bytes).as_bytes() == shard.root.0)
        };
        segment.shards.len() == 6 && segment.shards.iter().all(is_there)
    }

    async fn stored_bytes(&self) -> u64 {
        self.gateway.meta.stored().await.unwrap().iter().map(|line| line.bytes).sum()
    }
}

#[tokio::test]
async fn two_wiped_nodes_of_six_hold_everything_again() {
    let world = World::start().await;
    let (long, short) = (sample(LONG), sample(100_000));
    world.put("long", &long).await.unwrap();
    world.put("short", &short).await.unwrap();
    let stored = world.stored_bytes().await;
    world.wipe(1).await;
    world.wipe(4).await;
    assert_eq!(world.repairs_waiting().await, 4);
    assert_eq!(world.repair().await, 2);
    assert_eq!(world.repairs_waiting().await, 0);
    assert!(world.is_whole("long").await && world.is_whole("short").await);
    assert_eq!(world.stored_bytes().await, stored, "what is kept is paid for, no more");
    // The rebuilt shards are as good as the first.
    for n in [0, 2] {
        world.set(n, Fault::Offline);
    }
    assert!(world.get("long").await.unwrap() == long);
    assert!(world.get("short").await.unwrap() == short);
}

#[tokio::test]
async fn the_most_endangered_segment_comes_first() {
    let world = World::start().await;
    for key in ["a", "b", "c"] {
        world.put(key, &sample(50_000)).await.unwrap();
    }
    let lose = async |key: &str, shards: &[u8]| {
        let segment = world.segment(key).await;
        for shard in segment.shards.iter().filter(|shard| shards.contains(&shard.index)) {
            let lost = world.gateway.meta.lose_shard(segment.id, shard.index, shard.node, 1);
            assert!(lost.await.unwrap());
        }
        segment.id
    };
    let one = lose("a", &[0]).await;
    let two = lose("b", &[1, 2]).await;
    let other = lose("c", &[5]).await;
    let queue = world.gateway.meta.damaged(now_ms(), i64::MAX, 10).await.unwrap();
    assert_eq!(queue[0], (two, 0));
    let mut rest = queue[1..].to_vec();
    rest.sort_by_key(|(segment, _)| segment.0);
    let mut expected = vec![(one, 1), (other, 1)];
    expected.sort_by_key(|(segment, _)| segment.0);
    assert_eq!(rest, expected);
    let urgent = world.gateway.meta.damaged(now_ms(), 0, 10).await.unwrap();
    assert_eq!(urgent, [(two, 0)]);
}

#[tokio::test]
async fn a_sound_shard_that_was_doubted_leaves_the_queue() {
    let world = World::start().await;
    world.put("key", &sample(LONG)).await.unwrap();
    let before = world.holders("key").await;
    let segment = world.segment("key").await;
    world.gateway.meta.queue_repair(segment.id, 3, now_ms()).await.unwrap();
    world.repair().await;
    assert_eq!(world.repairs_waiting().await, 0);
    assert_eq!(world.holders("key").await, before);
}

#[tokio::test]
async fn a_spoilt_shard_is_found_lost_and_computed_anew() {
    let world = World::start().await;
    world.put("key", &sample(LONG)).await.unwrap();
    let segment = world.segment("key").await;
    let victim = &segment.shards[2];
    let id = ShardId { segment: segment.id, index: victim.index };
    world.nodes.shards.lock().unwrap().remove(&(victim.node, id));
    world.gateway.meta.queue_repair(segment.id, victim.index, now_ms()).await.unwrap();
    world.repair().await;
    assert!(world.is_whole("key").await);
    assert_eq!(world.repairs_waiting().await, 0);
}

impl World {
    /// The node of shard 2 fails an audit of it. Says which node that is.
    async fn fail_an_audit(&self, key: &str) -> NodeId {
        let segment = self.segment(key).await;
        let PlacedShard { index, node, root, len } = segment.shards[2];
        let shard = ShardId { segment: segment.id, index };
        self.nodes.shards.lock().unwrap().remove(&(node, shard));
        let loss = Loss { shard, node, epoch: Epoch(1), root, len, data: 4, group: 0 };
        let meta = &self.gateway.meta;
        assert!(meta.lose_claimed(loss, now_ms()).await.unwrap());
        meta.claimed_loss(shard, node, now_ms()).await.unwrap();
        node
    }
}

#[tokio::test]
async fn a_node_does_not_get_back_what_it_lost_where_another_can_have_it() {
    let world = World::start().await;
    world.join(6).await;
    for n in 0..12 {
        let key = format!("key{n}");
        world.put(&key, &sample(50_000 + n)).await.unwrap();
        let first = world.fail_an_audit(&key).await;
        world.repair().await;
        assert!(world.is_whole(&key).await);
        let second = world.segment(&key).await.shards[2].node;
        assert_ne!(first, second, "it would show it as if it had had it all the time");
        // Only the two are left, and both have lost it.
        assert_eq!(world.fail_an_audit(&key).await, second);
        world.repair().await;
        assert!(world.is_whole(&key).await, "better there than nowhere");
    }
}

#[tokio::test]
async fn what_cannot_be_read_now_waits_and_is_mended_later() {
    let world = World::start().await;
    world.put("key", &sample(50_000)).await.unwrap();
    world.wipe(0).await;
    for n in 1..4 {
        world.set(n, Fault::Offline);
    }
    assert_eq!(world.repair().await, 0);
    assert_eq!(world.repairs_waiting().await, 1);
    let due = world.gateway.meta.damaged(now_ms(), i64::MAX, 1).await.unwrap();
    assert!(due.is_empty(), "it is not tried over and over");
    world.nodes.faults.lock().unwrap().clear();
    assert_eq!(world.repair().await, 1);
    assert!(world.is_whole("key").await);
}

#[tokio::test]
async fn a_node_that_is_gone_is_replaced_and_what_it_holds_is_deleted() {
    let world = World::start().await;
    world.put("key", &sample(50_000)).await.unwrap();
    world.join(6).await;
    let gone = *world.holders("key").await.values().next().unwrap();
    world.gateway.registry.set_state(node(gone), NodeState::Disqualified);
    world.repair().await;
    let holders = world.holders("key").await;
    assert!(!holders.values().any(|holder| *holder == gone), "{holders:?}");
    assert!(holders.values().any(|holder| *holder == 6));
    assert!(world.is_whole("key").await);
    assert_eq!(world.nodes.holds(node(gone)), 1, "readers may still be there");
    collect::round(&world.gateway).await.unwrap();
    assert_eq!(world.nodes.holds(node(gone)), 0);
}

#[tokio::test]
async fn a_shard_comes_back_to_a_place_that_it_left() {
    for is_emptied in [false, true] {
        let world = World::start().await;
        world.put("key", &sample(50_000)).await.unwrap();
        world.join(6).await;
        let left = *world.holders("key").await.values().next().unwrap();
        let registry = &world.gateway.registry;
        registry.set_state(node(left), NodeState::Disqualified);
        world.repair().await;
        assert!(world.holders("key").await.values().any(|holder| *holder == 6));
        if is_emptied {
            collect::round(&world.gateway).await.unwrap();
            assert_eq!(world.nodes.holds(node(left)), 0);
            // The next place is chosen after that.
            world.nodes.deleted.lock().unwrap().values_mut().for_each(|at| *at -= 1);
        }
        // Now the only other place for it is gone.
        registry.set_state(node(left), NodeState::Active);
        registry.set_state(node(6), NodeState::Disqualified);
        world.repair().await;
        assert!(world.is_whole("key").await, "emptied: {is_emptied}");
        assert!(world.holders("key").await.values().any(|holder| *holder == left));
    }
}

#[tokio::test]
async fn a_place_is_not_emptied_while_its_segment_lacks_a_shard() {
    let world = World::start().await;
    world.put("key", &sample(50_000)).await.unwrap();
    world.join(6).await;
    let left = *world.holders("key").await.values().next().unwrap();
    world.gateway.registry.set_state(node(left), NodeState::Disqualified);
    world.repair().await;
    let segment = world.segment("key").await;
    let index = segment.shards[0].index;
    world.gateway.meta.queue_repair(segment.id, index, now_ms()).await.unwrap();
    collect::round(&world.gateway).await.unwrap();
    assert_eq!(world.nodes.holds(node(left)), 1, "it may be needed");
    world.repair().await;
    assert_eq!(world.repairs_waiting().await, 0);
    collect::round(&world.gateway).await.unwrap();
    assert_eq!(world.nodes.holds(node(left)), 0);
}

#[tokio::test]
async fn who_is_said_to_have_lost_a_shard_keeps_what_may_refute_it() {
    let world = World::start().await;
    world.put("key", &sample(50_000)).await.unwrap();
    world.join(6).await;
    let segment = world.segment("key").await;
    let PlacedShard { index, node, root, len } = segment.shards[2];
    let shard = ShardId { segment: segment.id, index };
    let loss = Loss { shard, node, epoch: Epoch(1), root, len, data: 4, group: 0 };
    let meta = &world.gateway.meta;
    assert!(meta.lose_claimed(loss, now_ms()).await.unwrap());
    world.repair().await;
    assert_ne!(world.segment("key").await.shards[2].node, node);
    let is_there = || world.nodes.shards.lock().unwrap().contains_key(&(node, shard));
    for claimed_ms in [None, Some(now_ms())] {
        if let Some(claimed_ms) = claimed_ms {
            meta.claimed_loss(shard, node, claimed_ms).await.unwrap();
        }
        collect::round(&world.gateway).await.unwrap();
        assert!(is_there(), "claimed: {claimed_ms:?}");
    }
    meta.claimed_loss(shard, node, now_ms() - 49 * 3_600_000).await.unwrap();
    collect::round(&world.gateway).await.unwrap();
    assert!(!is_there(), "the claim has ended");
    // The segment lives: the loss is remembered. Then it does not.
    let is_loser = async || {
        let known = meta.known_segment(segment.id).await.unwrap();
        known.is_some_and(|known| known.losers(index).contains(&node))
    };
    meta.forget_losses(now_ms()).await.unwrap();
    assert!(is_loser().await);
    world.put("key", b"inline").await.unwrap();
    collect::round(&world.gateway).await.unwrap();
    meta.forget_losses(now_ms()).await.unwrap();
    meta.keep_loss(Loss { epoch: Epoch(9), ..loss }, now_ms()).await.unwrap();
    assert_eq!(meta.losses(None, 9).await.unwrap()[0].epoch, Epoch(9), "it was forgotten");
}

#[tokio::test]
async fn who_answers_and_never_shows_a_shard_is_claimed_to_have_lost_it() {
    let world = World::start().await;
    world.gateway.chain.set(chain_info(world.gateway.id()));
    world.put("key", &sample(50_000)).await.unwrap();
    world.join(6).await;
    let segment = world.segment("key").await;
    let (index, node) = (segment.shards[2].index, segment.shards[2].node);
    world.gateway.meta.queue_repair(segment.id, index, now_ms()).await.unwrap();
    for _ in 0..=TRIES {
        world.gateway.meta.postpone_repair(segment.id, 0).await.unwrap();
    }
    round(&world.gateway, &pace(), &mut HashMap::new()).await.unwrap();
    // The first look at nodes hurries all repairs, and forgets how often they were tried.
    assert_eq!(world.repairs_waiting().await, 0, "it showed it after all");
    assert_eq!(world.gateway.meta.losses(None, 9).await.unwrap(), []);

    world.nodes.faults.lock().unwrap().insert(node, Fault::Stalled);
    world.gateway.meta.queue_repair(segment.id, index, now_ms()).await.unwrap();
    for _ in 0..=TRIES {
        world.gateway.meta.postpone_repair(segment.id, 0).await.unwrap();
    }
    let standings = standings(&world.gateway);
    assert!(mend(&world.gateway, &pace(), &standings, segment.id).await.unwrap());
    assert_ne!(world.segment("key").await.shards[2].node, node);
    let losses = world.gateway.meta.losses(None, 9).await.unwrap();
    assert_eq!(losses.len(), 1);
    assert_eq!((losses[0].node, losses[0].shard.index), (node, index));
}

#[tokio::test]
async fn nothing_is_deleted_before_the_metadata_are_seen_on_the_nodes() {
    let world = World::start().await;
    world.put("key", &sample(50_000)).await.unwrap();
    world.put("key", b"inline").await.unwrap();
    world.gateway.vault.set_progress(crate::vault::Progress::default());
    collect::round(&world.gateway).await.unwrap();
    assert_eq!(world.nodes.holds(node(2)), 1);
    let shipped = crate::vault::Progress { shipped_ms: Some(1 << 60), ..Default::default() };
    world.gateway.vault.set_progress(shipped);
    collect::round(&world.gateway).await.unwrap();
    assert_eq!(world.nodes.holds(node(2)), 0);
}

#[tokio::test]
async fn a_place_that_is_being_emptied_is_not_settled() {
    let world = World::start().await;
    world.put("key", &sample(50_000)).await.unwrap();
    world.join(6).await;
    let segment = world.segment("key").await;
    let damaged = world.gateway.meta.known_segment(segment.id).await.unwrap().unwrap();
    let shard = ShardId { segment: segment.id, index: 0 };
    let meta = &world.gateway.meta;
    assert!(meta.promise_place(node(6), shard, 5).await.unwrap());
    assert!(!meta.promise_place(node(6), shard, 5).await.unwrap(), "promised once");
    // The lease ran out, and somebody is about to delete what is there.
    assert_eq!(meta.take_leftovers(6, 10).await.unwrap().len(), 1);
    let known = &damaged.shards[0];
    let placed = PlacedShard { index: 0, node: node(6), root: known.root, len: known.len };
    let replaced = Replaced {
        content: damaged.content,
        account: damaged.account,
        segment: segment.id,
        generation: Some(known.generation),
        stored: StoredShard { placed, incarnation: crate::testing::incarnation(node(6)) },
        lease: 5,
        not_before: 0,
    };
    assert!(!meta.settle_place(replaced).await.unwrap());
    assert!(world.is_whole("key").await, "the old place still counts");
}

#[tokio::test]
async fn of_two_repairs_of_one_shard_one_counts() {
    let world = World::start().await;
    world.put("key", &sample(50_000)).await.unwrap();
    world.join(6).await;
    world.join(7).await;
    let segment = world.segment("key").await;
    let damaged = world.gateway.meta.known_segment(segment.id).await.unwrap().unwrap();
    let meta = &world.gateway.meta;
    let known = damaged.shards[0].clone();
    let mut won = 0;
    for n in [6, 7] {
        let shard = ShardId { segment: segment.id, index: 0 };
        let lease = now_ms() + 1000;
        assert!(meta.promise_place(node(n), shard, lease).await.unwrap());
        let placed = PlacedShard { index: 0, node: node(n), root: known.root, len: known.len };
        let incarnation = crate::testing::incarnation(node(n));
        let replaced = Replaced {
            content: damaged.content,
            account: damaged.account,
            segment: segment.id,
            generation: Some(known.generation),
            stored: StoredShard { placed, incarnation },
            lease,
            not_before: 0,
        };
        won += u32::from(meta.settle_place(replaced).await.unwrap());
    }
    assert_eq!(won, 1);
    let left = meta.take_leftovers(now_ms(), 10).await.unwrap();
    let mut nodes: Vec<_> = left.iter().map(|place| place.node).collect();
    nodes.sort();
    let mut expected = vec![known.node, node(7)];
    expected.sort();
    assert_eq!(nodes, expected, "the old place and the loser's");
}

#[tokio::test]
async fn what_was_said_to_be_lost_and_is_there_saves_the_segment() {
    let world = World::start().await;
    let bytes = sample(50_000);
    world.put("key", &bytes).await.unwrap();
    let segment = world.segment("key").await;
    let meta = &world.gateway.meta;
    // A fault made three nodes look as if they had nothing: more than the parity.
    for shard in &segment.shards[..3] {
        assert!(meta.lose_shard(segment.id, shard.index, shard.node, 1).await.unwrap());
    }
    // A repair in place was begun for one of them, and abandoned.
    let first = &segment.shards[0];
    let shard = ShardId { segment: segment.id, index: first.index };
    assert!(meta.promise_place(first.node, shard, 5).await.unwrap());
    collect::round(&world.gateway).await.unwrap();
    assert_eq!(world.nodes.holds(first.node), 1, "it may be needed yet");
    assert_eq!(world.repair().await, 1);
    assert!(world.is_whole("key").await);
    assert!(world.get("key").await.unwrap() == bytes);
}

#[tokio::test]
async fn a_repair_in_place_that_was_abandoned_deletes_nothing() {
    let world = World::start().await;
    world.put("key", &sample(50_000)).await.unwrap();
    let segment = world.segment("key").await;
    let holder = &segment.shards[0];
    let shard = ShardId { segment: segment.id, index: holder.index };
    assert!(world.gateway.meta.promise_place(holder.node, shard, 5).await.unwrap());
    collect::round(&world.gateway).await.unwrap();
    assert!(world.is_whole("key").await);
}
