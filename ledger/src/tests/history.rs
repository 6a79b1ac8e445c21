//! The invariants of the ledger, over random histories: several gateways,
//! nodes and accounts, late and repeated arrival, statements that do not add
//! up, reserves that do not suffice. `model` says what should come out.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use protocol::price::Amount;
use protocol::{Epoch, GatewayId, NodeId};

use super::model::{
    ACCOUNTS, Claims, EpochPlan, GATEWAYS, Model, NODES, account_of, bonds, plans, statements,
};
use super::world::{
    EPOCH, OPENING, PRICES, World, counters, gateway, node, open, receipt, register, reserve, usage,
};
use crate::account::{Account, Book, Party};
use crate::economy::Economy;
use crate::entry::Entry;
use crate::epoch::Summary;
use crate::genesis::Params;
use crate::settlement::{Line, Rates, settle};
use crate::state::{Rejection, State};

/// A reproducible disorder.
fn shuffled(mut entries: Vec<Entry>, seed: u64) -> Vec<Entry> {
    entries.sort_by_cached_key(|entry| {
        let hash = blake3::keyed_hash(&entry.hash().0, &seed.to_le_bytes());
        *hash.as_bytes()
    });
    entries
}

/// The receipts of an epoch, overtaken ones among them, and what they claim.
fn receipts(epoch: u64, plan: &EpochPlan) -> (Vec<Entry>, Claims) {
    let mut entries = Vec::new();
    let mut claimed = Claims::new();
    let mut lanes = BTreeSet::new();
    for &(g, n, lane, ref steps) in &plan.traffic {
        if !lanes.insert((g, n, lane)) {
            continue;
        }
        let (mut bytes, mut operations) = (0, 0);
        for step in steps {
            bytes += step;
            operations += 1;
            entries.push(receipt(g, n, epoch, lane, counters(bytes, operations)));
        }
        let claim = claimed.entry((g, n)).or_default();
        claim.0 += counters(bytes, operations).amount(&PRICES).0;
        claim.1 += bytes;
    }
    (entries, claimed)
}

fn populated(bond: u128) -> World {
    let economy = Economy { gateway_bond: Amount(bond), ..Economy::NEUTRAL };
    let mut world = World::with_economy(GATEWAYS, economy);
    let nodes: Vec<Entry> = (0..NODES).map(register).collect();
    world.take(&nodes);
    for g in 0..GATEWAYS {
        let accounts: Vec<Entry> = (0..ACCOUNTS).map(|a| open(g, account_of(g, a))).collect();
        world.take(&accounts);
    }
    world
}

/// Lives through the plans, one epoch after the other, and compares what the
/// ledger holds with what it should hold. Things arrive in an order that
/// `disorder` decides, and a second time when `twice` is set.
fn live(bond: u128, plans: &[EpochPlan], disorder: u64, twice: bool) -> World {
    let mut world = populated(bond);
    let mut model = Model::new(bond);
    let mut transfer = 0;
    for plan in plans {
        let epoch = world.state().open().epoch.0;
        for &(g, a, amount) in &plan.reserves {
            let amount = u128::from(amount);
            transfer += 1;
            let outcome = world.offer(reserve(g, account_of(g, a), transfer, amount));
            assert_eq!(outcome.is_ok(), model.reserve(g, a, amount), "{outcome:?}");
        }
        world.pass_epoch();
        let (entries, mut claimed) = receipts(epoch, plan);
        claimed.retain(|&(g, _), _| model.takes_part(g));
        submit(&mut world, shuffled(entries, plan.shuffle ^ disorder), twice);
        world.pass_epoch();

        let mut entries = Vec::new();
        for g in 0..GATEWAYS {
            let claims = claimed.iter().filter(|((of, _), _)| *of == g);
            let owed = claims.map(|(_, claim)| claim.0).sum();
            for (a, amount) in statements(plan, g, owed) {
                // An earlier revision that says something else.
                entries.push(usage(g, account_of(g, a), epoch, 1, amount / 2));
                entries.push(usage(g, account_of(g, a), epoch, 2, amount));
            }
        }
        submit(&mut world, shuffled(entries, plan.shuffle ^ disorder), twice);
        world.pass_epoch();
        model.settle(plan, &claimed);
        model.assert_agrees(world.state());
        check_summary(world.state(), Epoch(epoch), &claimed);
    }
    world
}

fn submit(world: &mut World, entries: Vec<Entry>, twice: bool) {
    for outcome in world.block(&entries) {
        let is_fine = matches!(outcome, Ok(()) | Err(Rejection::Known | Rejection::Revoked(_)));
        assert!(is_fine, "{outcome:?}");
    }
    if twice {
        let (before, size) = (world.state().clone(), world.chain.log().size());
        for outcome in world.block(&entries) {
            assert!(matches!(outcome, Err(Rejection::Known | Rejection::Revoked(_))));
        }
        assert_eq!((world.state(), world.chain.log().size()), (&before, size));
    }
}

fn check_summary(state: &State, epoch: Epoch, claimed: &Claims) {
    let summary = state.summary(epoch).unwrap();
    assert_eq!(summary.paid.0 + summary.tax.0 + summary.treasury.0, summary.debited.0);
    assert!(summary.emission <= summary.treasury);
    let good = |g: u8| !summary.void.contains_key(&gateway(g));
    let bytes: u64 = claimed.iter().filter(|((g, _), _)| good(*g)).map(|(_, claim)| claim.1).sum();
    assert_eq!(summary.bytes, bytes);
    for (g, total) in &summary.totals {
        let of = claimed.iter().filter(|((c, _), _)| gateway(*c) == *g);
        assert_eq!(total.owed.0, of.map(|(_, claim)| claim.0).sum::<u128>());
    }
}

fn settled(state: &State) -> BTreeMap<Epoch, Summary> {
    let sealed = state.sealed().iter().map(|(&epoch, sealed)| (epoch, sealed.summary.clone()));
    let mature = state.mature().iter().map(|(&epoch, summary)| (epoch, summary.clone()));
    sealed.chain(mature).collect()
}

/// What does not depend on when things happened.
fn result(state: &State) -> (Book, BTreeMap<Epoch, Summary>) {
    (state.book().clone(), settled(state))
}

fn rates() -> Rates {
    Rates::of(&Params::for_epoch(EPOCH, OPENING), &Economy::NEUTRAL, 0)
}

/// What a node earned through the first gateway.
fn line((node, debited): (NodeId, u128)) -> ((NodeId, GatewayId), Line) {
    ((node, gateway(0)), Line { debited, ..Line::default() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_atto_is_where_plain_arithmetic_puts_it(bond in bonds(), plans in plans()) {
        live(bond, &plans, 0, false);
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(bond in bonds(), plans in plans(), disorder in any::<u64>()) {
        let (one, other) = (live(bond, &plans, 0, false), live(bond, &plans, disorder, false));
        prop_assert_eq!(result(one.state()), result(other.state()));
    }

    #[test]
    fn submitting_twice_changes_nothing(bond in bonds(), plans in plans()) {
        let (once, twice) = (live(bond, &plans, 0, false), live(bond, &plans, 0, true));
        prop_assert_eq!(once.state().root(), twice.state().root());
        prop_assert_eq!(once.chain.head(), twice.chain.head());
    }

    #[test]
    fn a_replay_gives_the_same_state(bond in bonds(), plans in plans()) {
        let world = live(bond, &plans, 0, false);
        let replayed = world.replayed();
        prop_assert_eq!(replayed.state(), world.state());
        prop_assert_eq!(replayed.head(), world.chain.head());
        prop_assert_eq!(replayed.log().root(), world.chain.log().root());
    }

    #[test]
    fn a_settled_epoch_never_changes(bond in bonds(), plans in plans()) {
        let mut world = live(bond, &plans, 0, false);
        let before = settled(world.state());
        let (epoch, plan) = (0, &plans[0]);
        for entry in receipts(epoch, plan).0 {
            let closed = matches!(world.offer(entry), Err(Rejection::Closed { .. }));
            prop_assert!(closed);
        }
        let earned = |world: &World| -> Vec<Amount> {
            world.state().nodes().values().map(|member| member.earned).collect()
        };
        let earned_before = earned(&world);
        for _ in 0..5 {
            world.pass_epoch();
        }
        let after = settled(world.state());
        for (epoch, summary) in &before {
            prop_assert_eq!(after.get(epoch), Some(summary));
        }
        prop_assert_eq!(earned(&world), earned_before);
        let waiting = world.state().book().balances();
        let waiting = waiting.filter(|(account, _)| matches!(account, Account::Immature(_)));
        prop_assert_eq!(waiting.count(), 0, "all of it is mature");
    }

    /// Payers, nodes and gateways who make traffic among themselves get back
    /// less than they put in, whatever is minted and however it is split.
    #[test]
    fn a_coalition_that_pays_itself_loses(
        amounts in prop::collection::vec(1u128..1_000_000_000, 1..8),
        gateways in 1u8..4,
        emission in prop_oneof![Just(0), any::<u128>()],
    ) {
        let rates = Rates { emission, ..rates() };
        let lines = (0..).map(node).zip(amounts.iter().copied()).map(line).collect();
        let live = (0..gateways).map(gateway).collect();
        let settled = settle(&rates, &lines, 0, &live, u128::MAX).unwrap();
        let income = settled.paid + settled.emission;
        prop_assert!(income <= settled.debited - settled.tax);
        prop_assert!(settled.tax > 0 || income < settled.debited || settled.paid == 0);
    }

    /// Traffic that a node, a payer and all gateways add to an epoch that has
    /// other traffic costs them more than it brings.
    #[test]
    fn traffic_for_its_own_sake_loses(
        honest in prop::collection::vec(0u128..1_000_000_000, 1..6),
        made in 1_000u128..1_000_000_000,
        gateways in 1u8..4,
    ) {
        let live = (0..gateways).map(gateway).collect();
        let income = |made: u128| {
            let honest = (1..).map(node).zip(honest.iter().copied());
            let lines = honest.chain([(node(0), made)]).map(line).collect();
            let settled = settle(&rates(), &lines, 0, &live, 0).unwrap();
            let ours = |party| match party {
                Party::Node(n) => n == node(0),
                Party::Gateway(_) => true,
            };
            let payouts = settled.payouts.iter().filter(|payout| ours(payout.party));
            payouts.map(|payout| payout.pay).sum::<u128>()
        };
        prop_assert!(income(made) - income(0) < made);
    }
}
