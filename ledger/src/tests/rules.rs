//! What the ledger takes, and what it does not.

use protocol::ledger_api::Submission;
use protocol::price::{Amount, Counters, Prices};
use protocol::registration::{Invite, Registration};
use protocol::statement::{TransferId, gateway_account};
use protocol::voucher::{Receipt, VoucherError};
use protocol::{AccountId, ChainId, Epoch, GatewayId, LedgerId, NodeId};

use super::world::{
    CHAIN, EPOCH, OPENING, PRICES, START, World, account, cosigned, counters, gateway, gateway_key,
    genesis, invite, node, node_key, open, receipt, register, registration, reserve, sequencer,
    small_world, usage, version_1, voucher,
};
use crate::account::{Account, BookError, Party};
use crate::economy::Economy;
use crate::entry::{Deposit, Entry};
use crate::epoch::VoidReason;
use crate::genesis::{Genesis, GenesisError, Params};
use crate::state::Rejection;

fn submitted(receipt: Receipt) -> Entry {
    Entry::Submitted(Submission::Receipt(Box::new(receipt)))
}

fn registered(registration: Registration) -> Entry {
    Entry::Submitted(Submission::Register(Box::new(registration)))
}

#[test]
fn a_node_needs_an_invite_that_is_good() {
    let mut world = World::new(1);
    let offer = |world: &mut World, invite| world.offer(registered(registration(0, 1, invite)));
    assert_eq!(offer(&mut world, None), Err(Rejection::InviteNeeded));

    let signed = |mut invite: Invite| {
        invite = invite.signed(&gateway_key(0));
        Some(invite)
    };
    let mut elsewhere = invite(0);
    elsewhere.chain = ChainId([9; 16]);
    assert_eq!(offer(&mut world, signed(elsewhere)), Err(Rejection::InviteElsewhere));
    let mut other_ledger = invite(0);
    other_ledger.ledger = LedgerId([9; 32]);
    assert_eq!(offer(&mut world, signed(other_ledger)), Err(Rejection::InviteElsewhere));
    let mut stranger = invite(0);
    stranger.gateway = gateway(5);
    let stranger = Some(stranger.signed(&gateway_key(5)));
    assert_eq!(offer(&mut world, stranger), Err(Rejection::UnknownGateway(gateway(5))));
    let mut forged = invite(0);
    forged.expires_ms += 1;
    assert!(matches!(offer(&mut world, Some(forged)), Err(Rejection::Signature(_))));

    assert_eq!(offer(&mut world, Some(invite(0))), Ok(()));
    let other = registration(1, 1, Some(invite(0)));
    assert_eq!(world.offer(registered(other)), Err(Rejection::InviteUsed));
    world.now_ms = invite(1).expires_ms + 1;
    let late = registration(1, 1, Some(invite(1)));
    assert_eq!(world.offer(registered(late)), Err(Rejection::InviteExpired));
}

#[test]
fn a_node_moves_with_a_higher_serial() {
    let mut world = small_world(1);
    let mut moved = registration(0, 2, None);
    moved.addr = "10.0.0.1:9".parse().unwrap();
    let moved = moved.signed(&node_key(0));
    assert_eq!(world.offer(registered(moved.clone())), Ok(()));
    assert_eq!(world.state().nodes()[&node(0)].record.addr, moved.addr);
    // Again, late, and with the same number for something else.
    assert_eq!(world.offer(registered(moved)), Err(Rejection::Known));
    assert_eq!(world.offer(register(0)), Err(Rejection::Older(2)));
    let other = registration(0, 2, None);
    assert_eq!(world.offer(registered(other)), Err(Rejection::SerialReused(2)));
    let mut nowhere = registration(0, 3, None);
    nowhere.addr = "0.0.0.0:9".parse().unwrap();
    let nowhere = nowhere.signed(&node_key(0));
    assert!(matches!(world.offer(registered(nowhere)), Err(Rejection::Address(_))));
}

#[test]
fn a_gateway_is_no_node() {
    let mut world = World::new(1);
    let mut registration = registration(0, 1, Some(invite(0)));
    registration.node = NodeId(gateway(0).0);
    let registration = registration.signed(&gateway_key(0));
    assert_eq!(world.offer(registered(registration)), Err(Rejection::NodeKey));
}

#[test]
fn an_account_is_opened_once_and_by_one_gateway() {
    let mut world = World::new(2);
    world.take(&[open(0, account(0))]);
    assert_eq!(world.state().book().balance(Account::Available(account(0))), OPENING);
    assert_eq!(world.offer(open(0, account(0))), Err(Rejection::Known));
    assert_eq!(world.offer(open(1, account(0))), Err(Rejection::OtherGateway(account(0))));
    let own = gateway_account(gateway(0));
    assert_eq!(world.offer(open(1, own)), Err(Rejection::OtherGateway(own)));
    assert_eq!(world.offer(open(0, own)), Err(Rejection::Known));
    assert_eq!(world.offer(open(7, account(1))), Err(Rejection::UnknownGateway(gateway(7))));
}

#[test]
fn a_reserve_is_made_once_and_of_money_that_is_there() {
    let mut world = World::new(2);
    world.take(&[open(0, account(0)), reserve(0, account(0), 1, 600_000)]);
    let held = Account::Reserved(gateway(0), account(0));
    assert_eq!(world.state().book().balance(held), Amount(600_000));
    assert_eq!(world.offer(reserve(0, account(0), 1, 600_000)), Err(Rejection::Known));
    assert_eq!(world.offer(reserve(0, account(0), 1, 1)), Err(Rejection::TransferReused));
    assert_eq!(world.offer(reserve(0, account(0), 2, 0)), Err(Rejection::Nothing));
    let too_much = BookError::Insufficient { have: Amount(400_000), wanted: Amount(400_001) };
    assert_eq!(world.offer(reserve(0, account(0), 2, 400_001)), Err(Rejection::Book(too_much)));
    let theirs = Err(Rejection::OtherGateway(account(0)));
    assert_eq!(world.offer(reserve(1, account(0), 1, 1)), theirs);
    assert_eq!(
        world.offer(reserve(0, account(9), 3, 1)),
        Err(Rejection::UnknownAccount(account(9)))
    );
    assert_eq!(world.state().book().balance(held), Amount(600_000));
}

#[test]
fn gateways_of_the_genesis_begin_with_a_bond() {
    let economy = Economy { gateway_bond: Amount(7), ..Economy::NEUTRAL };
    let world = World::with_economy(2, economy);
    for g in 0..2 {
        assert_eq!(world.state().book().balance(Account::Bond(gateway(g))), Amount(7));
    }
    assert_eq!(World::new(1).state().book().balance(Account::Bond(gateway(0))), Amount::ZERO);
}

#[test]
fn a_deposit_counts_once() {
    let mut world = small_world(1);
    let deposit = |amount| {
        Entry::Deposit(Deposit {
            id: TransferId([1; 16]),
            account: account(0),
            amount: Amount(amount),
        })
    };
    let before = world.state().book().supply();
    assert_eq!(world.offer(deposit(5)), Ok(()));
    assert_eq!(world.offer(deposit(5)), Err(Rejection::Known));
    assert_eq!(world.offer(deposit(6)), Err(Rejection::TransferReused));
    assert_eq!(world.state().book().supply(), Amount(before.0 + 5));
    let overflow =
        Deposit { id: TransferId([2; 16]), account: account(0), amount: Amount(u128::MAX) };
    let overflow = world.offer(Entry::Deposit(overflow));
    assert_eq!(overflow, Err(Rejection::Book(BookError::Overflow)));
}

#[test]
fn receipts_are_taken_in_their_window_only() {
    let mut world = small_world(500);
    let entry = receipt(0, 0, 0, 0, counters(90, 1));
    let closed = Err(Rejection::Closed { epoch: Epoch(0), what: "receipts" });
    assert_eq!(world.offer(entry.clone()), closed, "still open");
    world.pass_epoch();
    assert_eq!(world.offer(entry.clone()), Ok(()));
    world.pass_epoch();
    assert_eq!(world.offer(entry), closed, "stopped");
    let never = receipt(0, 0, 99, 0, counters(90, 1));
    let closed = Err(Rejection::Closed { epoch: Epoch(99), what: "receipts" });
    assert_eq!(world.offer(never), closed);
}

#[test]
fn a_receipt_that_is_wrong_in_any_way_is_refused() {
    let mut world = small_world(500);
    world.pass_epoch();
    let good = voucher(0, 0, 0, 0, counters(90, 1));

    let mut other = good.clone();
    other.chain = ChainId([9; 16]);
    assert_eq!(world.offer(submitted(cosigned(0, 0, other))), Err(Rejection::OtherChain));
    let mut other = good.clone();
    other.gateway = gateway(3);
    let other = world.offer(submitted(cosigned(3, 0, other)));
    assert_eq!(other, Err(Rejection::UnknownGateway(gateway(3))));
    let mut other = good.clone();
    other.node = node(3);
    let other = world.offer(submitted(cosigned(0, 3, other)));
    assert_eq!(other, Err(Rejection::UnknownNode(node(3))));
    let mut other = good.clone();
    other.price_sheet = [0; 32];
    assert_eq!(world.offer(submitted(cosigned(0, 0, other))), Err(Rejection::Prices));
    let mut other = good.clone();
    other.amount.0 += 1;
    let inflated = world.offer(submitted(cosigned(0, 0, other)));
    assert!(matches!(inflated, Err(Rejection::Voucher(VoucherError::Amount { .. }))));
    // Signed by one side alone: a node that claims what no gateway vouched for.
    let forged = good.clone().signed(&node_key(0));
    let forged = forged.countersigned(&node_key(0));
    assert!(matches!(world.offer(submitted(forged)), Err(Rejection::Signature(_))));
    let unsigned = good.signed(&gateway_key(0)).countersigned(&gateway_key(0));
    assert!(matches!(world.offer(submitted(unsigned)), Err(Rejection::Signature(_))));
}

#[test]
fn a_lane_takes_the_highest_receipt_and_no_second_truth() {
    let mut world = small_world(500);
    world.pass_epoch();
    let low = receipt(0, 0, 0, 0, counters(50, 1));
    let high = receipt(0, 0, 0, 0, counters(90, 2));
    world.take(&[low.clone(), high.clone()]);
    let before = world.state().clone();
    assert_eq!(world.offer(low), Err(Rejection::Known));
    assert_eq!(world.offer(high), Err(Rejection::Known));
    let equivocation = Err(Rejection::Voucher(VoucherError::Equivocation));
    let twisted = receipt(0, 0, 0, 0, counters(91, 2));
    assert_eq!(world.offer(twisted), equivocation);
    let mixed = Counters { get_bytes: 500, ..counters(10, 3) };
    assert_eq!(world.offer(receipt(0, 0, 0, 0, mixed)), equivocation);
    assert_eq!(*world.state(), before);
    // Storage at rest grows without operations.
    let stored = Counters { stored_byte_seconds: 7, ..counters(90, 2) };
    assert_eq!(world.offer(receipt(0, 0, 0, 0, stored)), Ok(()));
}

#[test]
fn statements_are_taken_after_receipts_and_replaced_by_later_ones() {
    let mut world = small_world(500);
    world.pass_epoch();
    let closed = Err(Rejection::Closed { epoch: Epoch(0), what: "usage statements" });
    assert_eq!(world.offer(usage(0, account(0), 0, 1, 100)), closed);
    world.pass_epoch();
    world.take(&[usage(0, account(0), 0, 2, 100)]);
    assert_eq!(world.offer(usage(0, account(0), 0, 2, 100)), Err(Rejection::Known));
    assert_eq!(world.offer(usage(0, account(0), 0, 1, 7)), Err(Rejection::Known));
    assert_eq!(world.offer(usage(0, account(0), 0, 2, 7)), Err(Rejection::RevisionReused(2)));
    assert_eq!(world.offer(usage(0, account(0), 0, 3, 0)), Ok(()));
    let unknown = usage(0, account(4), 0, 1, 1);
    assert_eq!(world.offer(unknown), Err(Rejection::UnknownAccount(account(4))));
    let Entry::Submitted(Submission::Usage(mut inflated)) = usage(0, account(0), 0, 4, 1) else {
        panic!("a usage statement");
    };
    inflated.amount = Amount(2);
    let inflated = Box::new(inflated.signed(&gateway_key(0)));
    let inflated = world.offer(Entry::Submitted(Submission::Usage(inflated)));
    assert_eq!(inflated, Err(Rejection::TooMuch { amount: Amount(2), most: Amount(1) }));
}

#[test]
fn an_epoch_is_settled_to_the_last_atto() {
    let mut world = small_world(5_000);
    world.pass_epoch();
    world.take(&[receipt(0, 0, 0, 0, counters(990, 1))]);
    world.pass_epoch();
    world.take(&[usage(0, account(0), 0, 1, 1_000)]);
    world.pass_epoch();
    let book = world.state().book();
    let (ours, theirs) = (Party::Node(node(0)), Party::Gateway(gateway(0)));
    assert_eq!(book.balance(Account::Immature(ours)), Amount(594));
    assert_eq!(book.balance(Account::Immature(theirs)), Amount(198));
    assert_eq!(book.balance(Account::RepairFund), Amount(8));
    assert_eq!(book.balance(Account::Treasury), Amount(200));
    assert_eq!(book.balance(Account::Reserved(gateway(0), account(0))), Amount(4_000));
    assert_eq!(world.state().customers()[&account(0)].spent, Amount(1_000));
    assert_eq!(world.state().nodes()[&node(0)].earned, Amount(594));
    assert_eq!(world.state().nodes()[&node(0)].bytes, 990);
    let summary = world.state().summary(Epoch(0)).unwrap().clone();
    assert_eq!((summary.bytes, summary.debited, summary.paid), (990, Amount(1000), Amount(792)));

    world.pass_epoch();
    assert_eq!(world.state().book().balance(Account::Mature(ours)), Amount::ZERO);
    world.pass_epoch();
    let book = world.state().book();
    assert_eq!(book.balance(Account::Immature(ours)), Amount::ZERO);
    assert_eq!(book.balance(Account::Mature(ours)), Amount(594));
    assert_eq!(book.balance(Account::Mature(theirs)), Amount(198));
    assert_eq!(world.state().mature()[&Epoch(0)], summary);
}

#[track_caller]
fn check_void(reserved: u128, stated: Option<u128>, want: &VoidReason) {
    let mut world = World::of(version_1(1));
    world.take(&[register(0), open(0, account(0)), reserve(0, account(0), 1, reserved)]);
    world.pass_epoch();
    world.take(&[receipt(0, 0, 0, 0, counters(990, 1))]);
    world.pass_epoch();
    let statement = stated.map(|amount| usage(0, account(0), 0, 1, amount));
    world.take(statement.as_slice());
    let before = world.state().book().clone();
    world.pass_epoch();
    let summary = world.state().summary(Epoch(0)).unwrap();
    assert_eq!(summary.void.get(&gateway(0)), Some(want));
    assert_eq!(summary.debited, Amount::ZERO);
    assert_eq!(*world.state().book(), before, "nobody is debited, nobody paid");
}

#[test]
fn in_a_ledger_of_the_first_version_what_does_not_add_up_is_void() {
    let mismatch = |statements| VoidReason::Mismatch {
        statements: Amount(statements),
        receipts: Amount(1000),
    };
    check_void(5_000, None, &mismatch(0));
    check_void(5_000, Some(999), &mismatch(999));
    check_void(5_000, Some(1_001), &mismatch(1_001));
    let uncovered =
        VoidReason::Uncovered { account: account(0), amount: Amount(1000), reserved: Amount(999) };
    check_void(999, Some(1_000), &uncovered);
}

#[test]
fn amounts_beyond_counting_void_an_epoch_and_nothing_else() {
    let prices = Prices { put_bytes: u64::MAX, get_bytes: u64::MAX, ..PRICES };
    let params = Params::for_epoch(EPOCH, OPENING);
    let dear = Genesis::new(
        CHAIN,
        &sequencer(),
        vec![gateway(0)],
        START,
        params,
        Economy::NEUTRAL,
        prices,
    )
    .unwrap();
    let sheet = dear.price_sheet().sheet.id();
    let mut world = World::of(dear);
    world.take(&[register(0), register(1)]);
    world.pass_epoch();
    for n in 0..2 {
        let huge = Counters { get_bytes: u64::MAX, ..counters(u64::MAX, 1) };
        let mut body = voucher(0, n, 0, 0, huge);
        body.amount = huge.amount(&prices);
        body.price_sheet = sheet;
        world.take(&[submitted(cosigned(0, n, body))]);
    }
    let before = world.state().book().clone();
    world.pass_epoch();
    world.pass_epoch();
    let summary = world.state().summary(Epoch(0)).unwrap();
    assert_eq!(summary.void.get(&gateway(0)), Some(&VoidReason::Overflow));
    assert_eq!(*world.state().book(), before);
}

#[test]
fn a_long_absence_is_one_jump_and_windows_start_again() {
    let mut world = small_world(500);
    world.pass_epoch();
    let height = world.chain.head().height;
    world.now_ms += 1_000_000 * EPOCH + 1;
    world.block(&[]);
    assert_eq!(world.chain.head().height, height + 1);
    assert_eq!(world.blocks.last().unwrap().entries.len(), 1);
    let open = world.state().open();
    assert_eq!(open.epoch, Epoch(1_000_001));
    assert_eq!(open.opened_ms, START + 1_000_001 * EPOCH, "the grid of epochs stays");
    // Nobody could submit while the ledger was away.
    world.take(&[receipt(0, 0, 0, 0, counters(90, 1))]);
    world.take(&[receipt(0, 0, 1, 0, counters(90, 1))]);
    assert_eq!(world.state().chain_info().taking_receipts, [Epoch(0), Epoch(1)]);
}

#[test]
fn the_sequencer_may_not_move_epochs_early_or_out_of_order() {
    let mut world = small_world(500);
    let early = [
        Entry::CloseEpoch { epoch: Epoch(0), next: Epoch(1) },
        Entry::StopReceipts(Epoch(0)),
        Entry::SealEpoch(Epoch(0)),
        Entry::MatureEpoch(Epoch(0)),
    ];
    for outcome in world.block(&early) {
        assert_eq!(outcome, Err(Rejection::NotDue));
    }
    world.chain.begin(START + EPOCH);
    let skipping = Entry::CloseEpoch { epoch: Epoch(0), next: Epoch(2) };
    assert_eq!(world.state().check(&skipping), Err(Rejection::NotDue));
}

#[test]
fn a_genesis_must_make_sense() {
    let params = Params::for_epoch(EPOCH, OPENING);
    let begin = |params: &Params, gateways: Vec<GatewayId>| {
        let prices = PRICES;
        Genesis::new(CHAIN, &sequencer(), gateways, 0, params.clone(), Economy::NEUTRAL, prices)
            .map(|_| ())
    };
    assert_eq!(begin(&params, vec![gateway(0), gateway(0)]), Ok(()), "named twice, listed once");
    let mut wrong = params.clone();
    wrong.rho_meta += 1;
    assert_eq!(begin(&wrong, vec![]), Err(GenesisError::Shares([6000, 2001, 2000])));
    let mut wrong = params.clone();
    wrong.tax = 10_001;
    assert_eq!(begin(&wrong, vec![]), Err(GenesisError::Tax(10_001)));
    let mut wrong = params.clone();
    wrong.epoch_ms = 0;
    assert_eq!(begin(&wrong, vec![]), Err(GenesisError::EpochLength));
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let weak = GatewayId(neutral);
    assert!(matches!(begin(&params, vec![weak]), Err(GenesisError::Key(_))));
    // With a bond, what can be diverted must be less than what it costs.
    let mut generous = params.clone();
    (generous.rho_resource, generous.rho_chain) = (7000, 1000);
    assert_eq!(begin(&generous, vec![]), Ok(()));
    let bonded = Economy { gateway_bond: Amount(7), ..Economy::NEUTRAL };
    let begin =
        |params| Genesis::new(CHAIN, &sequencer(), vec![], 0, params, bonded.clone(), PRICES);
    assert!(matches!(begin(generous.clone()), Err(GenesisError::Economy(_))));
    (generous.rho_meta, generous.rho_chain) = (1000, 2000);
    assert!(begin(generous).is_ok());
    let mut other = genesis(1, params);
    other.prices.put_bytes += 1;
    assert_eq!(other.check(), Err(GenesisError::Prices));
}

#[test]
fn waiting_times_follow_the_length_of_an_epoch() {
    let real = Params::for_epoch(600_000, Amount::ZERO);
    assert_eq!((real.receipts_ms, real.statements_ms), (3_600_000, 3_600_000));
    assert_eq!((real.challenge_ms, real.maturity_ms), (86_400_000, 2016 * 600_000));
    let development = Params::for_epoch(5_000, Amount::ZERO);
    assert_eq!(development.receipts_ms + development.statements_ms, 10_000);
    assert_eq!(development.challenge_ms + development.maturity_ms, 10_000);
}

#[test]
fn a_gateway_has_an_account_from_the_start() {
    let world = World::new(1);
    let own: AccountId = gateway_account(gateway(0));
    assert_eq!(world.state().book().balance(Account::Available(own)), OPENING);
}
