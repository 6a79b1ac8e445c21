//! Loss claims and equivocation: what is taken, refuted and punished.

use bytes::Bytes;
use protocol::Epoch;
use protocol::claim::LossClaim;
use protocol::order::Action;
use protocol::price::Amount;
use protocol::statement::gateway_account;

use super::deeds::{
    balance, claimed, deposit, held, immature, is_excluded, loss, mature, order, pass, rebuttal,
    repair_fund, settle, strict, strict_world, two_truths,
};
use super::world::{
    OPENING, World, account, counters, gateway, gateway_key, node, node_key, open, receipt,
    register, reserve, small_world,
};
use crate::account::{Account, Party};
use crate::economy::Economy;
use crate::event::Event;
use crate::state::Rejection;

/// A node that was paid for taking 1000 bytes in epoch 0.
fn placed() -> World {
    let mut world = strict_world();
    settle(&mut world, &[(0, 0, counters(1000, 0)), (0, 1, counters(1000, 0))]);
    world
}

#[test]
fn a_claim_that_nobody_refutes_costs_the_repair_and_the_put_reward() {
    let mut world = placed();
    let (claim, _) = loss(0, 0, 0, 1, 100);
    let (pay, fund) = (immature(&world, 0), repair_fund(&world));
    assert_eq!(world.offer(claimed(&claim)), Ok(()));
    assert_eq!(world.offer(claimed(&claim)), Err(Rejection::Known));
    assert_eq!(world.state().claims().open().len(), 1);
    world.pass_epoch();
    // 4 x 100 to read, 100 to put, 60 that it was paid for taking it.
    assert_eq!(immature(&world, 0), pay - 560);
    assert_eq!(repair_fund(&world), fund + 560);
    let penalty = Event::Penalty {
        party: Party::Node(node(0)),
        reason: format!("lost shard {}", claim.shard),
        due: Amount(560),
        immature: Amount(560),
        held: Amount::ZERO,
        deposit: Amount::ZERO,
        account: Amount::ZERO,
    };
    assert!(world.chain.take_events().contains(&penalty));
    assert_eq!(world.offer(claimed(&claim)), Err(Rejection::Known));
    // What matures is short by it, and no other node's is.
    world.pass_epoch();
    assert_eq!(immature(&world, 0), 0);
    assert_eq!(mature(&world, 0) + held(&world, 0), pay - 560);
    assert_eq!(mature(&world, 1) + held(&world, 1), pay);
    assert!(world.state().debts().is_empty());
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn the_bytes_end_a_claim_at_the_cost_of_who_made_it() {
    let mut world = placed();
    let (claim, proof) = loss(0, 0, 0, 1, 100);
    let none = rebuttal(&claim, &proof);
    assert_eq!(world.offer(none), Err(Rejection::NoClaim), "not made yet");
    world.take(&[claimed(&claim)]);
    let wrong = rebuttal(&claim, &loss(0, 0, 0, 2, 100).1);
    assert_eq!(world.offer(wrong), Err(Rejection::NotRefuted));
    assert_eq!(world.offer(rebuttal(&claim, &Bytes::new())), Err(Rejection::NotRefuted));
    let (pay, bond) = (immature(&world, 0), balance(&world, Account::Bond(gateway(0))));
    assert_eq!(world.offer(rebuttal(&claim, &proof)), Ok(()));
    assert_eq!(world.offer(rebuttal(&claim, &proof)), Err(Rejection::Known));
    // A hundred bytes, asked for.
    assert_eq!(balance(&world, Account::Bond(gateway(0))), bond - 100);
    let ended =
        Event::Claim { claim: claim.id(), gateway: gateway(0), node: node(0), refuted: true };
    assert!(world.chain.take_events().contains(&ended));
    world.pass_epoch();
    assert_eq!(immature(&world, 0), pay);
    assert_eq!(world.offer(claimed(&claim)), Err(Rejection::Known));
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn a_claim_that_stands_is_not_refuted_any_more() {
    let mut world = placed();
    let (claim, proof) = loss(0, 0, 0, 1, 100);
    world.take(&[claimed(&claim)]);
    world.pass_epoch();
    assert_eq!(world.offer(rebuttal(&claim, &proof)), Err(Rejection::NoClaim));
}

#[test]
fn claims_are_about_what_was_put_and_once() {
    let mut world = placed();
    let again = LossClaim { group: 0, epoch: Epoch(1), ..loss(0, 0, 0, 1, 900).0 };
    world.take(&[claimed(&loss(0, 0, 0, 1, 900).0)]);
    let again = again.signed(&gateway_key(0));
    assert_eq!(world.offer(claimed(&again)), Err(Rejection::ShardClaimed));
    let more = Rejection::NotPlaced { claimed: 101, left: 100 };
    assert_eq!(world.offer(claimed(&loss(0, 0, 0, 2, 101).0)), Err(more));
    assert_eq!(world.offer(claimed(&loss(0, 0, 0, 2, 100).0)), Ok(()));
    let unknown = loss(0, 9, 0, 3, 1).0;
    assert_eq!(world.offer(claimed(&unknown)), Err(Rejection::UnknownNode(node(9))));
    let unsound = LossClaim { group: 1, ..loss(0, 1, 0, 3, 1).0 }.signed(&gateway_key(0));
    assert_eq!(world.offer(claimed(&unsound)), Err(Rejection::NoShard));
    let early = loss(0, 1, 99, 3, 1).0;
    let closed = Rejection::Closed { epoch: Epoch(99), what: "loss claims" };
    assert_eq!(world.offer(claimed(&early)), Err(closed));
    pass(&mut world, 2);
    let closed = Rejection::Closed { epoch: Epoch(0), what: "loss claims" };
    assert_eq!(world.offer(claimed(&loss(0, 1, 0, 3, 1).0)), Err(closed), "mature");
}

#[test]
fn what_came_back_can_be_lost_again() {
    let mut world = placed();
    let (claim, proof) = loss(0, 0, 0, 1, 400);
    world.take(&[claimed(&claim), rebuttal(&claim, &proof)]);
    let again = |group, epoch| {
        let again = LossClaim { group, epoch: Epoch(epoch), ..claim.clone() };
        again.signed(&gateway_key(0))
    };
    let pay = immature(&world, 0);
    for epoch in [1, 2] {
        assert_eq!(world.offer(claimed(&again(0, epoch))), Ok(()));
        world.pass_epoch();
    }
    assert!(immature(&world, 0) < pay, "nobody refuted it");
    // What was refuted does not count; the rest is never more than was put.
    let more = Rejection::NotPlaced { claimed: 400, left: 200 };
    assert_eq!(world.offer(claimed(&again(0, 3))), Err(more));
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn a_network_without_time_for_rebuttals_takes_no_claims() {
    let mut world = small_world(5_000);
    settle(&mut world, &[(0, 0, counters(990, 1))]);
    let claim = loss(0, 0, 0, 1, 10).0;
    assert_eq!(world.offer(claimed(&claim)), Err(Rejection::NoClaims));
}

#[test]
fn open_claims_are_told_by_node_and_their_stakes_add_up() {
    let mut world = placed();
    let bond = balance(&world, Account::Bond(gateway(0)));
    let claims: Vec<_> = (1..=3).map(|index| loss(0, 0, 0, index, 100)).collect();
    let entries: Vec<_> = claims.iter().map(|(claim, _)| claimed(claim)).collect();
    world.take(&entries);
    let count = |world: &World, n, after| world.state().claims().against(node(n), after).count();
    assert_eq!([count(&world, 0, None), count(&world, 1, None)], [3, 0]);
    let first = *world.state().claims().open().keys().next().unwrap();
    assert_eq!(count(&world, 0, Some(first)), 2);
    for (claim, proof) in &claims {
        world.take(&[rebuttal(claim, proof)]);
    }
    assert_eq!(balance(&world, Account::Bond(gateway(0))), bond - 300);
    assert_eq!(count(&world, 0, None), 0);
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn without_a_bond_pay_and_then_the_account_answer_and_then_nothing_is_claimed() {
    let mut world = World::with_economy(1, Economy { gateway_bond: Amount::ZERO, ..strict() });
    world.take(&[register(0), open(0, account(0)), reserve(0, account(0), 1, 900_000)]);
    settle(&mut world, &[(0, 0, counters(1000, 0))]);
    let (own, party) = (gateway_account(gateway(0)), Party::Gateway(gateway(0)));
    let pay = balance(&world, Account::Immature(party));
    assert_eq!(pay, 198);
    world.take(&[reserve(0, own, 9, OPENING.0 - 50)]);
    let (first, proof) = loss(0, 0, 0, 1, 220);
    world.take(&[claimed(&first)]);
    let refused = world.offer(claimed(&loss(0, 0, 0, 2, 29).0));
    let (cost, have) = (Amount(220 + 29), Amount(198 + 50));
    assert_eq!(refused, Err(Rejection::ClaimUncovered { cost, have }));
    world.take(&[rebuttal(&first, &proof)]);
    assert_eq!(balance(&world, Account::Immature(party)), 0);
    assert_eq!(balance(&world, Account::Available(own)), 50 - 22);
    assert_eq!(world.state().debts()[&party], 198);
    pass(&mut world, 2);
    assert_eq!(balance(&world, Account::Mature(party)), 0);
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn a_charge_takes_pay_then_what_is_held_back_then_the_deposit() {
    let mut world = strict_world();
    settle(&mut world, &[(0, 0, counters(1000, 0))]);
    pass(&mut world, 2);
    world.take(&[order(&node_key(0), 1, Action::Stake(Amount(100)))]);
    settle(&mut world, &[(0, 0, counters(100, 0))]);
    assert_eq!((immature(&world, 0), held(&world, 0), deposit(&world, 0)), (59, 445, 100));
    let epoch = world.state().open().epoch.0;
    // 5600 are due, 604 are there.
    world.take(&[claimed(&loss(0, 0, epoch, 1, 1000).0)]);
    let (free, fund) = (mature(&world, 0), repair_fund(&world));
    world.pass_epoch();
    assert_eq!((immature(&world, 0), held(&world, 0), deposit(&world, 0)), (0, 0, 0));
    assert_eq!((mature(&world, 0), repair_fund(&world)), (free, fund + 604));
    pass(&mut world, 2);
    assert_eq!(mature(&world, 0), free);
}

#[test]
fn two_truths_cost_all_that_is_not_mature_and_half_of_the_deposit() {
    let mut world = strict_world();
    settle(&mut world, &[(0, 0, counters(1000, 0))]);
    pass(&mut world, 2);
    world.take(&[order(&node_key(0), 1, Action::Stake(Amount(101)))]);
    let epoch = settle(&mut world, &[(0, 0, counters(100, 0))]);
    let fund = repair_fund(&world);
    assert_eq!(world.offer(two_truths(0, 0, epoch)), Ok(()));
    assert_eq!(world.offer(two_truths(0, 0, epoch)), Err(Rejection::Known));
    assert_eq!((immature(&world, 0), held(&world, 0), deposit(&world, 0)), (0, 445, 50));
    assert_eq!(repair_fund(&world), fund + 59 + 51);
    assert!(is_excluded(&world, node(0)));
    let open = world.state().open().epoch.0;
    world.pass_epoch();
    assert_eq!(world.offer(receipt(0, 0, open, 0, counters(10, 1))), Ok(()));
    world.pass_epoch();
    let late = world.offer(receipt(0, 0, open + 1, 0, counters(10, 1)));
    assert_eq!(late, Err(Rejection::Excluded(node(0))));
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn evidence_that_proves_nothing_is_refused() {
    use protocol::claim::Equivocation;
    use protocol::ledger_api::Submission;

    use super::world::{cosigned, voucher};
    use crate::entry::Entry;

    let mut world = placed();
    let of = |put, operations| cosigned(0, 0, voucher(0, 0, 0, 9, counters(put, operations)));
    let evidence = |first, second| {
        Entry::Submitted(Submission::Equivocation(Box::new(Equivocation { first, second })))
    };
    let grown = evidence(of(1, 1), of(2, 2));
    assert_eq!(world.offer(grown), Err(Rejection::NoContradiction));
    // Signed by the gateway alone.
    let mut forged = of(2, 1);
    forged.node_signature = of(1, 1).node_signature;
    let forged = world.offer(evidence(of(1, 1), forged));
    assert!(matches!(forged, Err(Rejection::Signature(_))));
    pass(&mut world, 2);
    let closed = Rejection::Closed { epoch: Epoch(0), what: "evidence" };
    assert_eq!(world.offer(two_truths(0, 0, 0)), Err(closed));
    assert!(world.state().excluded().is_empty());
}
