//! How nodes leave, in order and otherwise.

use protocol::order::Action;
use protocol::price::{Amount, Counters};

use super::deeds::{
    claimed, deposit, held, is_excluded, loss, mature, order, pass, repair_fund, settle,
    strict_world, two_truths,
};
use super::world::{EPOCH, World, counters, node, node_key, receipt};
use crate::event::Event;
use crate::state::Rejection;

/// A node with a deposit of 100 and 445 held back.
fn staked() -> World {
    let mut world = strict_world();
    settle(&mut world, &[(0, 0, counters(990, 1))]);
    pass(&mut world, 2);
    world.take(&[order(&node_key(0), 1, Action::Stake(Amount(100)))]);
    world
}

fn kept() -> Counters {
    Counters { stored_byte_seconds: 100, ..counters(0, 0) }
}

#[test]
fn a_node_that_keeps_nothing_any_more_gets_all_it_has_left() {
    let mut world = staked();
    assert_eq!(world.offer(order(&node_key(0), 2, Action::Exit)), Ok(()));
    assert_eq!(world.offer(order(&node_key(0), 3, Action::Exit)), Err(Rejection::Known));
    let stake = order(&node_key(0), 3, Action::Stake(Amount(1)));
    assert_eq!(world.offer(stake.clone()), Err(Rejection::Leaving(node(0))));
    pass(&mut world, 3);
    assert!(!is_excluded(&world, node(0)));
    world.pass_epoch();
    assert_eq!((deposit(&world, 0), held(&world, 0), mature(&world, 0)), (0, 0, 594));
    assert!(is_excluded(&world, node(0)));
    let released = Event::Released { node: node(0), held: Amount(445), deposit: Amount(100) };
    assert!(world.chain.take_events().contains(&released));
    assert_eq!(world.offer(stake), Err(Rejection::Excluded(node(0))));
    assert_eq!(world.offer(order(&node_key(0), 4, Action::Exit)), Err(Rejection::Known));

    // Epochs that were open may still be accounted for, later ones not.
    let last = world.state().open().epoch.0;
    pass(&mut world, 1);
    assert_eq!(world.offer(receipt(0, 0, last, 0, counters(90, 1))), Ok(()));
    pass(&mut world, 1);
    let late = world.offer(receipt(0, 0, last + 1, 0, counters(90, 1)));
    assert_eq!(late, Err(Rejection::Excluded(node(0))));
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn a_node_that_is_paid_for_keeping_has_not_left() {
    let mut world = staked();
    world.take(&[order(&node_key(0), 2, Action::Exit)]);
    settle(&mut world, &[(0, 0, kept())]);
    // Four epochs after the order, but one after it was paid.
    pass(&mut world, 3);
    assert!(!is_excluded(&world, node(0)));
    world.pass_epoch();
    assert!(is_excluded(&world, node(0)));
}

#[test]
fn a_claim_must_be_settled_before_a_node_leaves() {
    let mut world = staked();
    world.take(&[order(&node_key(0), 2, Action::Exit)]);
    pass(&mut world, 3);
    world.now_ms += EPOCH / 2;
    let open = world.state().open().epoch.0;
    world.take(&[claimed(&loss(0, 0, open, 1, 10).0)]);
    world.now_ms += EPOCH / 2;
    world.block(&[]);
    assert!(!is_excluded(&world, node(0)));
    world.now_ms += EPOCH / 2;
    world.block(&[]);
    assert!(is_excluded(&world, node(0)));
    // Lost: 4 x 10 to read, 10 to put, and the 6 it was paid.
    assert_eq!(mature(&world, 0), 594 - 56);
}

#[test]
fn a_node_that_stays_away_forfeits_what_is_held_back() {
    let mut world = strict_world();
    settle(&mut world, &[(0, 0, counters(990, 1)), (0, 1, counters(990, 1))]);
    // Half is returned at 100. One of the two says something later on.
    pass(&mut world, 100);
    world.take(&[order(&node_key(1), 1, Action::Withdraw(Amount(1)))]);
    pass(&mut world, 97);
    let fund = repair_fund(&world);
    assert_eq!(held(&world, 0), 222);
    pass(&mut world, 1);
    assert_eq!((held(&world, 0), held(&world, 1)), (0, 222));
    assert_eq!(repair_fund(&world), fund + 222);
    let forfeited = Event::Forfeited { node: node(0), amount: Amount(222) };
    assert!(world.chain.take_events().contains(&forfeited));
    assert!(!is_excluded(&world, node(0)), "it may come back");
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn a_disqualified_node_may_leave_with_what_it_has_left() {
    let mut world = staked();
    let open = world.state().open().epoch.0;
    world.take(&[two_truths(0, 0, open), order(&node_key(0), 2, Action::Exit)]);
    assert_eq!(deposit(&world, 0), 50);
    pass(&mut world, 4);
    assert_eq!((deposit(&world, 0), held(&world, 0)), (0, 0));
    assert_eq!(mature(&world, 0), 49 + 445 + 50);
}
