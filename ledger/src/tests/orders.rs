//! What nodes and gateways order with what they earned.

use protocol::grant::owned_account;
use protocol::order::{Action, EvmAddress};
use protocol::price::Amount;
use protocol::statement::gateway_account;

use super::deeds::{
    balance, deposit, grant, held, mature, open_owned, order, pass, settle, strict_world, wallet,
};
use super::world::{World, account, counters, gateway, gateway_key, lived, node, node_key};
use crate::account::{Account, BookError, Party};
use crate::event::Event;
use crate::state::Rejection;

/// A node with 594 mature, a gateway with 198.
fn rich() -> World {
    let mut world = lived();
    pass(&mut world, 2);
    world
}

#[test]
fn mature_money_leaves_once_and_stays_counted() {
    let mut world = rich();
    let (key, party) = (node_key(0), Party::Node(node(0)));
    let supply = world.state().book().supply();
    let withdraw = order(&key, 1, Action::Withdraw(Amount(94)));
    assert_eq!(world.offer(withdraw.clone()), Ok(()));
    let root = world.state().root();
    assert_eq!(world.offer(withdraw), Err(Rejection::Known));
    let other = order(&key, 1, Action::Withdraw(Amount(95)));
    assert_eq!(world.offer(other), Err(Rejection::OrderReused));
    assert_eq!(world.state().root(), root);
    // The id is the party's own.
    let theirs = order(&gateway_key(0), 1, Action::Withdraw(Amount(198)));
    assert_eq!(world.offer(theirs), Ok(()));
    assert_eq!(mature(&world, 0), 500);
    assert_eq!(balance(&world, Account::Withdrawn(party)), 94);
    assert_eq!(balance(&world, Account::Withdrawn(Party::Gateway(gateway(0)))), 198);
    assert_eq!(world.state().book().supply(), supply);
    let too_much = order(&key, 2, Action::Withdraw(Amount(501)));
    let short = BookError::Insufficient { have: Amount(500), wanted: Amount(501) };
    assert_eq!(world.offer(too_much), Err(Rejection::Book(short)));
    let nothing = order(&key, 2, Action::Withdraw(Amount::ZERO));
    assert_eq!(world.offer(nothing), Err(Rejection::Nothing));
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn mature_money_tops_up_accounts_and_stakes() {
    let mut world = rich();
    let spend = |account, amount| Action::Spend { account, amount: Amount(amount) };
    let own = gateway_account(gateway(0));
    let before = [account(0), own].map(|id| balance(&world, Account::Available(id)));
    world.take(&[
        order(&node_key(0), 1, spend(account(0), 100)),
        order(&gateway_key(0), 1, spend(own, 98)),
        order(&node_key(0), 2, Action::Stake(Amount(200))),
        order(&gateway_key(0), 2, Action::Stake(Amount(100))),
    ]);
    assert_eq!(balance(&world, Account::Available(account(0))), before[0] + 100);
    assert_eq!(balance(&world, Account::Available(own)), before[1] + 98);
    assert_eq!((deposit(&world, 0), mature(&world, 0)), (200, 294));
    assert_eq!(balance(&world, Account::Bond(gateway(0))), 100);
    let nowhere = order(&node_key(0), 3, spend(account(9), 1));
    assert_eq!(world.offer(nowhere), Err(Rejection::UnknownAccount(account(9))));
    // A wallet's account is topped up like any other.
    let owned = owned_account(wallet(0).public());
    world.take(&[open_owned(0, 0), grant(0, 0, 5, 9, 1), order(&node_key(0), 3, spend(owned, 4))]);
    assert_eq!(balance(&world, Account::Available(owned)), 4);
}

#[test]
fn only_parties_order_and_only_nodes_leave() {
    let mut world = rich();
    let stranger = wallet(0);
    let order_of = order(&stranger, 1, Action::Withdraw(Amount(1)));
    assert_eq!(world.offer(order_of), Err(Rejection::UnknownParty(stranger.public())));
    assert_eq!(world.offer(order(&gateway_key(0), 1, Action::Exit)), Err(Rejection::NotANode));
}

#[test]
fn the_latest_address_is_the_one_that_is_paid() {
    let mut world = rich();
    let bind = |id, address| order(&node_key(0), id, Action::BindEvm(EvmAddress([address; 20])));
    let before = world.state().root();
    world.take(&[bind(1, 7), bind(2, 8)]);
    assert_eq!(world.offer(bind(1, 7)), Err(Rejection::Known));
    assert_eq!(world.state().bindings()[&Party::Node(node(0))], EvmAddress([8; 20]));
    assert_eq!(world.state().bindings().len(), 1);
    assert_ne!(world.state().root(), before);
}

#[test]
fn pay_is_held_back_until_there_is_a_deposit_or_time_has_passed() {
    let mut world = strict_world();
    settle(&mut world, &[(0, 0, counters(990, 1))]);
    pass(&mut world, 2);
    // 594, of which three quarters are held back, rounded down.
    assert_eq!((mature(&world, 0), held(&world, 0)), (149, 445));
    let events = world.chain.take_events();
    let matured = Event::Matured {
        epoch: protocol::Epoch(0),
        party: Party::Node(node(0)),
        free: Amount(149),
        held: Amount(445),
        taken: Amount::ZERO,
    };
    assert!(events.contains(&matured), "{events:?}");
    // Gateways hold nothing back.
    assert_eq!(balance(&world, Account::Mature(Party::Gateway(gateway(0)))), 198);

    // In the second step it is half.
    pass(&mut world, 15);
    settle(&mut world, &[(0, 0, counters(990, 1))]);
    pass(&mut world, 2);
    assert_eq!((mature(&world, 0), held(&world, 0)), (149 + 297, 445 + 297));

    // With a deposit it is nothing.
    settle(&mut world, &[(0, 0, counters(600_000, 1))]);
    pass(&mut world, 2);
    world.take(&[order(&node_key(0), 1, Action::Stake(Amount(100_000)))]);
    let (free, back) = (mature(&world, 0), held(&world, 0));
    settle(&mut world, &[(0, 0, counters(990, 1))]);
    pass(&mut world, 2);
    assert_eq!((mature(&world, 0), held(&world, 0)), (free + 594, back));
}

#[test]
fn half_of_what_was_held_back_is_returned_once() {
    let mut world = strict_world();
    settle(&mut world, &[(0, 0, counters(990, 1))]);
    pass(&mut world, 96);
    assert_eq!((mature(&world, 0), held(&world, 0)), (149, 445));
    world.pass_epoch();
    assert_eq!((mature(&world, 0), held(&world, 0)), (149 + 223, 222));
    let returned = Event::HeldReturned { node: node(0), amount: Amount(223) };
    assert!(world.chain.take_events().contains(&returned));
    pass(&mut world, 10);
    assert_eq!(held(&world, 0), 222);
    assert_eq!(world.replayed().state(), world.state());
}
