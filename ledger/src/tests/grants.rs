//! Accounts that belong to a wallet: who may spend what.

use protocol::grant::owned_account;
use protocol::ledger_api::Submission;
use protocol::order::Action;
use protocol::price::Amount;
use protocol::statement::{AccountOpening, OwnedOpening, UNSIGNED};
use protocol::{AccountId, Epoch};

use super::deeds::{balance, grant, open_owned, order, wallet};
use super::world::{
    CHAIN, World, account, counters, gateway, gateway_key, node_key, open, receipt, register,
    release, reserve, usage,
};
use crate::account::Account;
use crate::entry::{Deposit, Entry};
use crate::state::{Holder, Rejection};

fn owned() -> AccountId {
    owned_account(wallet(0).public())
}

fn top_up(amount: u128) -> Entry {
    let id = protocol::statement::TransferId([77; 16]);
    Entry::Deposit(Deposit { id, account: owned(), amount: Amount(amount) })
}

/// Two gateways, a node, and a wallet that grants the first 500 until epoch 3.
fn granted() -> World {
    let mut world = World::new(2);
    world.take(&[register(0), open_owned(1, 0), grant(0, 0, 500, 3, 5), top_up(10_000)]);
    world
}

#[test]
fn a_gateway_opens_an_empty_account_that_is_not_its_own() {
    let mut world = World::new(1);
    let unknown = Err(Rejection::UnknownAccount(owned()));
    assert_eq!(world.offer(grant(0, 0, 500, 3, 1)), unknown, "strangers open nothing");
    let of_another = OwnedOpening {
        chain: CHAIN,
        gateway: gateway(0),
        account: owned(),
        owner: wallet(1).public(),
        signature: UNSIGNED,
    };
    let of_another = Submission::OpenOwned(Box::new(of_another.signed(&gateway_key(0))));
    assert_eq!(world.offer(Entry::Submitted(of_another)), Err(Rejection::NotOwned(owned())));
    let (root, supply) = (world.state().root(), world.state().book().supply());
    assert_eq!(world.offer(open_owned(0, 0)), Ok(()));
    assert_eq!(world.offer(open_owned(0, 0)), Err(Rejection::Known));
    world.take(&[top_up(10_000)]);
    assert_eq!(world.offer(reserve(0, owned(), 1, 1)), Err(Rejection::NotGranted(owned())));
    assert_eq!(world.state().spendable(gateway(0), owned()), Amount::ZERO);
    assert_eq!(world.offer(grant(0, 0, 500, 3, 1)), Ok(()));
    assert_eq!(world.state().book().supply(), Amount(supply.0 + 10_000));
    assert_eq!(world.state().customers()[&owned()].holder, Holder::Wallet(wallet(0).public()));
    assert_ne!(world.state().root(), root);
    let stranger = grant(0, 7, 500, 3, 1);
    assert_eq!(world.offer(stranger), Err(Rejection::UnknownGateway(gateway(7))));
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn a_gateway_sets_aside_what_is_granted_and_no_more() {
    let mut world = granted();
    assert_eq!(world.offer(reserve(0, owned(), 1, 300)), Ok(()));
    assert_eq!(world.offer(reserve(0, owned(), 1, 300)), Err(Rejection::Known));
    let used = Rejection::GrantUsed { account: owned(), reserved: Amount(300), limit: Amount(500) };
    assert_eq!(world.offer(reserve(0, owned(), 2, 201)), Err(used));
    let spendable = |world: &World, g| world.state().spendable(gateway(g), owned()).0;
    assert_eq!([spendable(&world, 0), spendable(&world, 1)], [200, 0]);
    assert_eq!(world.offer(reserve(0, owned(), 2, 200)), Ok(()));
    assert_eq!(spendable(&world, 0), 0);
    assert_eq!(world.offer(reserve(1, owned(), 1, 1)), Err(Rejection::NotGranted(owned())));
    // Each gateway has a grant of its own.
    world.take(&[grant(0, 1, 7, 3, 1), reserve(1, owned(), 1, 7)]);
    assert_eq!(balance(&world, Account::Reserved(gateway(0), owned())), 500);
    assert_eq!(balance(&world, Account::Available(owned())), 10_000 - 507);
    assert_eq!(world.state().spenders(owned()).len(), 2);
}

#[test]
fn what_is_given_back_is_free_and_granted_again() {
    let mut world = granted();
    world.take(&[reserve(0, owned(), 1, 500)]);
    assert_eq!(world.offer(release(1, owned(), 2, 1)), Err(Rejection::NotGranted(owned())));
    let too_much = world.offer(release(0, owned(), 2, 501));
    assert!(matches!(too_much, Err(Rejection::Book(_))), "{too_much:?}");
    assert_eq!(world.offer(release(0, owned(), 2, 0)), Err(Rejection::Nothing));
    assert_eq!(world.offer(release(0, owned(), 1, 200)), Err(Rejection::TransferReused));
    assert_eq!(world.offer(release(0, owned(), 2, 200)), Ok(()));
    assert_eq!(world.offer(release(0, owned(), 2, 200)), Err(Rejection::Known));
    assert_eq!(balance(&world, Account::Available(owned())), 10_000 - 300);
    assert_eq!(world.state().spendable(gateway(0), owned()), Amount(200));
    assert_eq!(world.state().book().reserved_with(gateway(0)), Amount(300));
    world.take(&[reserve(0, owned(), 3, 200)]);
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn a_later_grant_replaces_and_an_earlier_one_changes_nothing() {
    let mut world = granted();
    world.take(&[reserve(0, owned(), 1, 300)]);
    assert_eq!(world.offer(grant(0, 0, 500, 3, 5)), Err(Rejection::Known));
    assert_eq!(world.offer(grant(0, 0, 900, 3, 4)), Err(Rejection::Older(5)));
    assert_eq!(world.offer(grant(0, 0, 900, 3, 5)), Err(Rejection::GrantReused(5)));
    // A lower limit takes it back, whatever was set aside before.
    world.take(&[grant(0, 0, 100, 3, 6)]);
    let refused = world.offer(reserve(0, owned(), 2, 1));
    assert!(matches!(refused, Err(Rejection::GrantUsed { .. })), "{refused:?}");
    assert_eq!(world.state().spendable(gateway(0), owned()), Amount::ZERO);
    world.take(&[grant(0, 0, 301, 3, 7), reserve(0, owned(), 2, 1)]);
    // Nor is more to be had than there is.
    world.take(&[grant(0, 0, u128::MAX, 3, 8)]);
    assert_eq!(world.state().spendable(gateway(0), owned()), Amount(10_000 - 301));
}

#[test]
fn a_grant_ends_and_what_was_set_aside_may_still_be_spent() {
    let mut world = granted();
    world.take(&[reserve(0, owned(), 1, 500), grant(0, 0, 900, 1, 6)]);
    world.pass_epoch();
    let over = Rejection::GrantOver { account: owned(), until: Epoch(1) };
    assert_eq!(world.offer(reserve(0, owned(), 2, 1)), Err(over));
    world.take(&[receipt(0, 0, 0, 0, counters(90, 1))]);
    world.pass_epoch();
    assert_eq!(world.offer(usage(1, owned(), 0, 1, 100)), Err(Rejection::NotGranted(owned())));
    world.take(&[usage(0, owned(), 0, 1, 100)]);
    world.pass_epoch();
    assert_eq!(world.state().customers()[&owned()].spent, Amount(100));
    assert_eq!(balance(&world, Account::Reserved(gateway(0), owned())), 400);
}

#[test]
fn nobody_opens_what_another_has_opened() {
    let mut world = granted();
    assert_eq!(world.offer(open(0, owned())), Err(Rejection::Owned(owned())));
    let taken = owned_account(wallet(1).public());
    world.take(&[open(1, taken)]);
    assert_eq!(world.offer(open_owned(0, 1)), Err(Rejection::NotOwned(taken)));
    assert_eq!(world.offer(grant(1, 1, 1, 9, 1)), Err(Rejection::NotOwned(taken)));
    // Nor does a forged opening or an order of a wallet move anything.
    let opening = AccountOpening {
        chain: CHAIN,
        gateway: gateway(0),
        account: account(3),
        signature: UNSIGNED,
    };
    let forged = opening.signed(&node_key(0));
    let forged = protocol::ledger_api::Submission::OpenAccount(Box::new(forged));
    assert!(matches!(world.offer(Entry::Submitted(forged)), Err(Rejection::Signature(_))));
    let order = order(&wallet(0), 1, Action::Withdraw(Amount(1)));
    assert_eq!(world.offer(order), Err(Rejection::UnknownParty(wallet(0).public())));
}
