//! Gateways that answer for what they state, prices that change, units on the
//! curve, and keeping that is paid while audits pass.

use std::collections::BTreeSet;

use protocol::audit::AuditLine;
use protocol::ids::PublicKey;
use protocol::ledger_api::Submission;
use protocol::price::{Amount, Counters, PriceSheet, Prices, SignedPriceSheet};
use protocol::statement::{TransferId, gateway_account};
use protocol::{Epoch, GatewayId};

use super::audits::audits;
use super::world::{
    CHAIN, OPENING, PRICES, World, account, cosigned, counters, gateway, node, open, receipt,
    register, release, reserve, sequencer, usage, voucher,
};
use crate::account::{Account, Party};
use crate::economy::{Economy, Pricing};
use crate::entry::{Entry, Fund};
use crate::epoch::{Cover, CurveUse, VoidReason};
use crate::event::Event;
use crate::state::Rejection;

/// A gateway with a bond, a node, and an account that has set money aside.
fn bonded(economy: Economy, reserved: u128) -> World {
    let mut world = World::with_economy(1, Economy { gateway_bond: Amount(20_000), ..economy });
    world.take(&[register(0), open(0, account(0)), reserve(0, account(0), 1, reserved)]);
    world
}

/// Settles epoch 0 with receipts of 1000 and this statement.
fn settled(mut world: World, stated: Option<u128>) -> World {
    world.pass_epoch();
    world.take(&[receipt(0, 0, 0, 0, counters(990, 1))]);
    world.pass_epoch();
    world.take(stated.map(|amount| usage(0, account(0), 0, 1, amount)).as_slice());
    world.pass_epoch();
    world
}

fn paid_to_the_node(world: &World) -> u128 {
    world.state().nodes()[&node(0)].earned.0
}

#[test]
fn a_gateway_pays_what_its_statements_leave_open() {
    let world = settled(bonded(Economy::NEUTRAL, 5_000), Some(300));
    assert_eq!(paid_to_the_node(&world), 594);
    let book = world.state().book();
    assert_eq!(book.balance(Account::Available(gateway_account(gateway(0)))).0, OPENING.0 - 700);
    assert_eq!(book.balance(Account::Reserved(gateway(0), account(0))), Amount(4_700));
    assert!(world.state().is_gateway(gateway(0)));
    let cover = Cover { account: Amount(700), ..Cover::default() };
    assert_eq!(world.state().summary(Epoch(0)).unwrap().covered[&gateway(0)], cover);
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn what_an_account_did_not_set_aside_the_gateway_pays() {
    let mut world = bonded(Economy::NEUTRAL, 400);
    world.take(&[open(0, account(1)), reserve(0, account(1), 3, 4_000)]);
    world.pass_epoch();
    world.take(&[receipt(0, 0, 0, 0, counters(990, 1))]);
    world.pass_epoch();
    world.take(&[usage(0, account(0), 0, 1, 700), usage(0, account(1), 0, 1, 300)]);
    world.pass_epoch();
    // One that has run dry is nobody's fault, and harms no other.
    let book = world.state().book();
    let reserved = |n| book.balance(Account::Reserved(gateway(0), account(n))).0;
    assert_eq!([reserved(0), reserved(1)], [0, 3_700]);
    assert_eq!(world.state().customers()[&account(0)].spent, Amount(400));
    let cover = Cover { account: Amount(300), ..Cover::default() };
    assert_eq!(world.state().summary(Epoch(0)).unwrap().covered[&gateway(0)], cover);
    assert_eq!(paid_to_the_node(&world), 594);
    assert!(world.state().is_gateway(gateway(0)));
    assert!(book.balance(Account::Immature(Party::Gateway(gateway(0)))) > Amount::ZERO);
}

#[test]
fn customers_set_aside_no_more_than_a_quarter_of_a_bond() {
    let mut world = bonded(Economy::NEUTRAL, 4_000);
    let (reserved, most) = (Amount(4_000), Amount(5_000));
    let refused = Err(Rejection::BondTooSmall { reserved, most });
    assert_eq!(world.offer(reserve(0, account(0), 2, 1_001)), refused);
    assert_eq!(world.offer(reserve(0, account(0), 2, 1_000)), Ok(()));
    // Its own money is another matter.
    assert_eq!(world.offer(reserve(0, gateway_account(gateway(0)), 3, 9_000)), Ok(()));
    let refused = world.offer(reserve(0, account(0), 4, 1));
    assert!(matches!(refused, Err(Rejection::BondTooSmall { .. })), "{refused:?}");
}

#[test]
fn a_gateway_that_overcharges_pays_itself_and_is_revoked() {
    let mut world = settled(bonded(Economy::NEUTRAL, 5_000), Some(1_001));
    assert_eq!(paid_to_the_node(&world), 594);
    let book = world.state().book();
    assert_eq!(book.balance(Account::Reserved(gateway(0), account(0))), Amount(5_000));
    assert_eq!(book.balance(Account::Immature(Party::Gateway(gateway(0)))), Amount::ZERO);
    let fault = VoidReason::Mismatch { statements: Amount(1_001), receipts: Amount(1_000) };
    let cover = world.state().summary(Epoch(0)).unwrap().covered[&gateway(0)].clone();
    assert_eq!((cover.account, cover.fault), (Amount(1_000), Some(fault)));
    assert!(world.state().chain_info().gateways.is_empty());
    // Its past is settled; nothing new is taken from it.
    let revoked = Err(Rejection::Revoked(gateway(0)));
    assert_eq!(world.offer(reserve(0, account(0), 2, 1)), revoked);
    assert_eq!(world.offer(receipt(0, 0, 2, 0, counters(90, 1))), Ok(()));
    assert_eq!(world.offer(Entry::AdmitGateway(gateway(0))), revoked);
    world.pass_epoch();
    world.pass_epoch();
    assert_eq!(world.offer(receipt(0, 0, 4, 0, counters(90, 1))), revoked);
    // What its customers set aside with it is free again once its past is over.
    let book = world.state().book();
    assert_eq!(book.balance(Account::Reserved(gateway(0), account(0))), Amount(5_000));
    world.pass_epoch();
    let book = world.state().book();
    assert_eq!(book.balance(Account::Reserved(gateway(0), account(0))), Amount::ZERO);
    assert_eq!(book.balance(Account::Available(account(0))), OPENING);
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn the_bond_pays_when_the_account_is_empty_and_then_nodes_share_what_there_is() {
    for left in [600, 0] {
        let mut world = bonded(Economy::NEUTRAL, 5_000);
        let own = gateway_account(gateway(0));
        // Money that is reserved counts as its own, so a statement uses it up.
        world.take(&[reserve(0, own, 2, OPENING.0 - left)]);
        let world = settled(world, Some(0));
        assert_eq!(paid_to_the_node(&world), 594);
        let book = world.state().book();
        assert_eq!(book.balance(Account::Reserved(gateway(0), own)).0, OPENING.0 - left - 1_000);
    }
    let owed: u128 = 1_100_000;
    let mut world = bonded(Economy::NEUTRAL, 5_000);
    world.pass_epoch();
    world.take(&[receipt(0, 0, 0, 0, counters(1_003_000, 1))]);
    world.pass_epoch();
    world.pass_epoch();
    let cover = world.state().summary(Epoch(0)).unwrap().covered[&gateway(0)].clone();
    assert_eq!((cover.account, cover.bond), (OPENING, Amount(3_010)));
    world.take(&[receipt(0, 0, 2, 0, counters(1_100_000, 0))]);
    let (before, paid) = (world.state().book().clone(), paid_to_the_node(&world));
    world.pass_epoch();
    world.pass_epoch();
    let summary = world.state().summary(Epoch(2)).unwrap();
    let cover = &summary.covered[&gateway(0)];
    // Its part of the epoch before, then its bond.
    let there = 16_990 + 198_595;
    assert_eq!((cover.bond, cover.pay), (Amount(16_990), Amount(198_595)));
    assert_eq!(cover.short, Amount(owed - there));
    // 60 % of what there was, less the tax.
    assert_eq!(paid_to_the_node(&world), paid + 129_351 - 1_294);
    assert_eq!(summary.debited, Amount(there));
    assert!(!world.state().is_gateway(gateway(0)), "its bond is used up");
    assert_eq!(world.state().book().supply(), before.supply());
    let told = world.chain.take_events();
    let earned = told.iter().find_map(|event| match event {
        Event::Earned(earned) if earned.epoch == Epoch(2) => Some((earned.owed, earned.short)),
        _ => None,
    });
    assert_eq!(earned, Some((Amount(owed), Amount(owed - there))));
    // Whoever runs the ledger may admit it again, once its past is settled.
    let revoked = Err(Rejection::Revoked(gateway(0)));
    assert_eq!(world.offer(Entry::AdmitGateway(gateway(0))), revoked);
    for _ in 0..3 {
        world.pass_epoch();
    }
    let pay = Party::Gateway(gateway(0));
    let book = world.state().book();
    assert_eq!([Account::Immature(pay), Account::Mature(pay)].map(|at| book.balance(at).0), [0, 0]);
    assert_eq!(world.offer(Entry::AdmitGateway(gateway(0))), Ok(()));
    assert!(world.state().is_gateway(gateway(0)));
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn where_gateways_need_no_bond_one_that_is_short_goes_on() {
    let mut world = World::with_economy(1, Economy::NEUTRAL);
    world.take(&[register(0), register(1), open(0, account(0)), reserve(0, account(0), 1, 500)]);
    world.pass_epoch();
    let of = |n, bytes| receipt(0, n, 0, 0, counters(bytes, 0));
    world.take(&[of(0, 3_000_000), of(1, 1_000_500)]);
    world.pass_epoch();
    world.take(&[usage(0, account(0), 0, 1, 500)]);
    world.pass_epoch();
    // 1,000,000 of 4,000,500 are there: each node is short by the same part. The
    // receipts might be of its own node, so no customer pays for them.
    let summary = world.state().summary(Epoch(0)).unwrap();
    assert_eq!(summary.debited, Amount(1_000_000));
    assert_eq!(summary.covered[&gateway(0)].short, Amount(3_000_500));
    assert_eq!(world.state().reserve_of(gateway(0), account(0)), 500);
    let earned = |n| world.state().nodes()[&node(n)].earned.0;
    assert_eq!([earned(0), earned(1)], [445_443, 148_554]);
    assert!(world.state().is_gateway(gateway(0)));
    assert_eq!(world.replayed().state(), world.state());
}

fn sheet(from: u64, until: u64, price: u64) -> SignedPriceSheet {
    let prices = Prices { put_bytes: price, ..PRICES };
    PriceSheet { chain: CHAIN, from, until, prices }.signed(&sequencer())
}

#[test]
fn prices_change_from_epoch_to_epoch_and_back() {
    let mut world = bonded(Economy::NEUTRAL, 5_000);
    let offer = |world: &mut World, sheet| world.offer(Entry::PostPrices(sheet));
    assert_eq!(offer(&mut world, sheet(0, 9, 2)), Err(Rejection::SheetTime));
    assert_eq!(offer(&mut world, sheet(3, 3, 2)), Err(Rejection::SheetTime));
    let forged = SignedPriceSheet { sheet: sheet(2, 3, 9).sheet, ..sheet(2, 3, 3) };
    assert!(matches!(offer(&mut world, forged), Err(Rejection::Signature(_))));
    // In the next epoch somebody may go by what held before.
    assert_eq!(offer(&mut world, sheet(1, 5, 2)), Err(Rejection::SheetTime));
    assert_eq!(offer(&mut world, sheet(2, 5, 2)), Ok(()));
    assert_eq!(offer(&mut world, sheet(2, 5, 2)), Err(Rejection::Known));
    assert_eq!(offer(&mut world, sheet(2, 5, 3)), Err(Rejection::SheetTaken(Epoch(2))));
    assert_eq!(offer(&mut world, sheet(3, 4, 5)), Ok(()));
    let price = |epoch| world.state().prices_of(Epoch(epoch)).sheet.prices.put_bytes;
    assert_eq!([1, 2, 3, 4, 5].map(price), [1, 2, 5, 2, 1]);
    let info = world.state().chain_info();
    assert_eq!(info.prices_of(Epoch(3)), Some(&sheet(3, 4, 5)));

    for _ in 0..3 {
        world.pass_epoch();
    }
    assert_eq!(world.state().chain_info().prices, sheet(3, 4, 5));
    // At the prices of its own epoch, and no others.
    assert_eq!(world.offer(receipt(0, 0, 2, 0, counters(90, 1))), Err(Rejection::Prices));
    let mut body = voucher(0, 0, 2, 0, counters(90, 1));
    (body.amount, body.price_sheet) = (Amount(190), sheet(2, 5, 2).sheet.id());
    let receipt = Submission::Receipt(Box::new(cosigned(0, 0, body)));
    assert_eq!(world.offer(Entry::Submitted(receipt)), Ok(()));
    for _ in 0..6 {
        world.pass_epoch();
    }
    assert_eq!(world.state().chain_info().sheets.len(), 1, "what is over is put by");
    let price = |epoch| world.state().prices_of(Epoch(epoch)).sheet.prices.put_bytes;
    assert_eq!([1, 2, 3, 4, 5].map(price), [1, 2, 5, 2, 1], "and still explains statements");
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn a_gateway_is_admitted_once_and_stakes_count_once() {
    let mut world = bonded(Economy::NEUTRAL, 5_000);
    assert_eq!(world.offer(Entry::AdmitGateway(gateway(1))), Ok(()));
    assert_eq!(world.offer(Entry::AdmitGateway(gateway(1))), Err(Rejection::Known));
    let of_node = Entry::AdmitGateway(GatewayId(node(0).0));
    assert_eq!(world.offer(of_node), Err(Rejection::GatewayKey));
    // Whoever opened an account of that id before does not have it any more.
    let squatted = gateway_account(gateway(2));
    world.take(&[open(0, squatted), Entry::AdmitGateway(gateway(2))]);
    let refused = world.offer(reserve(0, squatted, 7, 1));
    assert_eq!(refused, Err(Rejection::OtherGateway(squatted)));
    assert_eq!(world.offer(reserve(2, squatted, 7, 1)), Ok(()));
    assert_eq!(world.state().chain_info().gateways.len(), 3);
    let own = gateway_account(gateway(1));
    assert_eq!(world.state().book().balance(Account::Available(own)), Amount::ZERO);
    assert_eq!(world.offer(open(1, account(1))), Ok(()));

    let fund = |id, party: [u8; 32], amount| {
        let party = PublicKey(party);
        Entry::Fund(Fund { id: TransferId([id; 16]), party, amount: Amount(amount) })
    };
    assert_eq!(world.offer(fund(1, node(0).0, 7)), Ok(()));
    assert_eq!(world.offer(fund(1, node(0).0, 7)), Err(Rejection::Known));
    assert_eq!(world.offer(fund(1, node(0).0, 8)), Err(Rejection::TransferReused));
    assert_eq!(world.offer(fund(2, gateway(1).0, 9)), Ok(()));
    let nobody = Err(Rejection::UnknownParty(PublicKey([9; 32])));
    assert_eq!(world.offer(fund(3, [9; 32], 9)), nobody);
    let book = world.state().book();
    assert_eq!(book.balance(Account::Deposit(node(0))), Amount(7));
    assert_eq!(book.balance(Account::Bond(gateway(1))), Amount(9));
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn keeping_is_paid_while_audits_pass() {
    let stored = Counters { stored_byte_seconds: 500, ..counters(490, 1) };
    for (failed, score, withheld) in [(0, 990_000, 0), (1, 990_000, 297), (0, 950_000, 297)] {
        let mut world = bonded(Economy { least_score: 960_000, ..Economy::NEUTRAL }, 5_000);
        world.pass_epoch();
        let line = AuditLine { node: node(0), ok: 3, offline: 0, contained: 0, failed, score };
        world.take(&[receipt(0, 0, 0, 0, stored), audits(0, 0, vec![line])]);
        world.pass_epoch();
        // What is reported of later epochs says nothing of this one.
        let later = AuditLine { failed: 1 - failed, ..line };
        world.take(&[usage(0, account(0), 0, 1, 1_000), audits(1, 0, vec![later])]);
        world.pass_epoch();
        assert_eq!(paid_to_the_node(&world), 594 - withheld);
        let summary = world.state().summary(Epoch(0)).unwrap();
        assert_eq!(summary.withheld, Amount(withheld));
        assert_eq!(world.state().book().balance(Account::RepairFund), Amount(8 + withheld));
        assert_eq!(world.replayed().state(), world.state());
    }
}

#[test]
fn units_bought_on_the_curve_cost_what_was_paid_for_them() {
    let pricing = Pricing::Curve { stake: Amount(2_000), units: Amount(2_000) };
    // 2000 buys half of the units.
    let world = bonded(Economy { pricing, ..Economy::NEUTRAL }, 2_000);
    let curve = world.state().curve().unwrap();
    assert_eq!((curve.money, curve.units), (4_000, 1_000));
    let world = settled(world, Some(1_000));
    // The lot is wholly used, so both rules agree.
    let summary = world.state().summary(Epoch(0)).unwrap();
    assert_eq!(summary.debited, Amount(2_000));
    let used = CurveUse { units: Amount(1_000), reference: Amount(2_000) };
    assert_eq!(summary.curve, Some(used));
    assert_eq!(paid_to_the_node(&world), 1_188);
    let curve = world.state().curve().unwrap();
    assert_eq!((curve.money, curve.units), (2_000, 2_000));
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn on_the_curve_a_gateway_buys_what_its_statements_leave_open() {
    let pricing = Pricing::Curve { stake: Amount(2_000), units: Amount(4_000) };
    let mut world = bonded(Economy { pricing, ..Economy::NEUTRAL }, 2_000);
    // 2000 units are left at 4000: a thousand of them cost 4000.
    assert_eq!(world.offer(reserve(0, account(0), 2, 1)), Err(Rejection::NoUnits(Amount(1))));
    let world = settled(world, None);
    let cover = world.state().summary(Epoch(0)).unwrap().covered[&gateway(0)].clone();
    assert_eq!(cover, Cover { account: Amount(4_000), ..Cover::default() });
    assert_eq!(paid_to_the_node(&world), 2_376);
}

#[test]
fn on_the_curve_nodes_share_the_money_where_the_units_are_short() {
    let pricing = Pricing::Curve { stake: Amount(2_000), units: Amount(4_000) };
    let mut world = bonded(Economy { pricing, ..Economy::NEUTRAL }, 2_000);
    world.pass_epoch();
    // 2000 units are left: each costs what the last of a thousand does, which
    // is 4, so these come to 1,200,000.
    world.take(&[receipt(0, 0, 0, 0, counters(299_990, 1))]);
    world.pass_epoch();
    world.pass_epoch();
    let cover = world.state().summary(Epoch(0)).unwrap().covered[&gateway(0)].clone();
    assert_eq!((cover.account, cover.bond), (OPENING, Amount(20_000)));
    assert_eq!(cover.short, Amount(300_000 - 255_000));
    assert_eq!(paid_to_the_node(&world), 612_000 - 6_120);
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn units_set_aside_with_a_gateway_that_is_revoked_are_bought_back() {
    let pricing = Pricing::Curve { stake: Amount(2_000), units: Amount(4_000) };
    let before = World::with_economy(1, Economy { pricing, ..Economy::NEUTRAL }).state().curve();
    let mut world = bonded(Economy { pricing, ..Economy::NEUTRAL }, 2_000);
    world = settled(world, Some(1_001));
    for _ in 0..3 {
        world.pass_epoch();
    }
    let book = world.state().book();
    assert_eq!(book.balance(Account::Available(account(0))), OPENING);
    assert_eq!(world.state().curve(), before);
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn where_hardly_a_unit_is_left_one_does_not_cost_everything() {
    let pricing = Pricing::Curve { stake: Amount(2_000), units: Amount(2_000) };
    // All but a few hundredths of the units are bought: the rest are dear.
    let mut world = World::with_economy(1, Economy { pricing, ..Economy::NEUTRAL });
    world.take(&[register(0), open(0, account(0)), reserve(0, account(0), 1, 900_000)]);
    assert_eq!(world.state().curve().unwrap().units, 5);
    let refused = world.offer(release(0, account(0), 2, 1));
    assert_eq!(refused, Err(Rejection::Bought));
    let world = settled(world, None);
    // A thousand units cost sixteen times what they cost at the start.
    let cover = world.state().summary(Epoch(0)).unwrap().covered[&gateway(0)].clone();
    assert_eq!(cover, Cover { account: Amount(16_000), ..Cover::default() });
}

#[test]
fn a_deposit_makes_units_and_takes_them_along() {
    let pricing = Pricing::Curve { stake: Amount(1_000), units: Amount(3_000) };
    let mut world = bonded(Economy { pricing, ..Economy::NEUTRAL }, 1_000);
    let before = world.state().curve().unwrap();
    let party = PublicKey(node(0).0);
    let fund = Entry::Fund(Fund { id: TransferId([9; 16]), party, amount: Amount(500) });
    world.take(&[fund]);
    let after = world.state().curve().unwrap();
    assert_eq!((after.money, after.units), (before.money + 500, before.units + 1_500));
    let info = world.state().chain_info().curve.unwrap();
    assert_eq!((info.money.0, info.units.0), (after.money, after.units));
}

#[test]
fn what_settling_did_is_told_and_adds_up() {
    let mut world = World::with_economy(2, Economy::NEUTRAL);
    world.take(&[register(0), open(0, account(0)), reserve(0, account(0), 1, 5_000)]);
    world.pass_epoch();
    world.take(&[
        receipt(0, 0, 0, 0, counters(990, 1)),
        receipt(0, 0, 0, 1, counters(101, 0)),
        receipt(1, 0, 0, 0, counters(333, 0)),
    ]);
    world.pass_epoch();
    world.take(&[usage(0, account(0), 0, 1, 1_101)]);
    world.pass_epoch();
    let events = world.state().clone().take_events();
    let count = |is: fn(&Event) -> bool| events.iter().filter(|event| is(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Charged { amount: Amount(1_101), .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::Covered { account: Amount(333), .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::Shared { .. })), 2);
    let earned = events.iter().filter_map(|event| match event {
        Event::Earned(earned) => Some((earned.debited.0, earned.gross.0 - earned.tax.0)),
        _ => None,
    });
    let earned: Vec<_> = earned.collect();
    assert_eq!(earned.iter().map(|line| line.0).collect::<BTreeSet<_>>(), [333, 1_101].into());
    assert_eq!(earned.iter().map(|line| line.1).sum::<u128>(), paid_to_the_node(&world));
}
