//! What a random history holds, and what should come out of it by plain
//! arithmetic, with nothing of the ledger's.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol::AccountId;
use protocol::price::Amount;
use protocol::statement::gateway_account;

use super::world::{OPENING, account, gateway, node};
use crate::account::{Account, Book, Party};
use crate::state::State;

pub(crate) const GATEWAYS: u8 = 3;
pub(crate) const NODES: u8 = 4;
/// Accounts of each gateway.
pub(crate) const ACCOUNTS: u8 = 2;

/// How a gateway states what its accounts used.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stating {
    /// So that it adds up, split at this percentage.
    Honestly(u8),
    /// One atto-credit too much.
    TooMuch,
    /// Not at all.
    Silently,
}

/// Traffic of one lane: gateway, node, lane, and the steps of its counters.
pub(crate) type Traffic = (u8, u8, u16, Vec<u64>);

#[derive(Clone, Debug)]
pub(crate) struct EpochPlan {
    /// Gateway, account and amount.
    pub(crate) reserves: Vec<(u8, u8, u32)>,
    pub(crate) traffic: Vec<Traffic>,
    pub(crate) stating: Vec<Stating>,
    /// Decides the order of arrival.
    pub(crate) shuffle: u64,
}

fn stating() -> impl Strategy<Value = Stating> {
    prop_oneof![
        6 => (0u8..=100).prop_map(Stating::Honestly),
        1 => Just(Stating::TooMuch),
        1 => Just(Stating::Silently),
    ]
}

fn epoch_plan() -> impl Strategy<Value = EpochPlan> {
    let traffic = (0..GATEWAYS, 0..NODES, 0u16..2, prop::collection::vec(0u64..500_000, 1..4));
    (
        prop::collection::vec((0..GATEWAYS, 0..ACCOUNTS, 1u32..400_000), 2..12),
        prop::collection::vec(traffic, 0..7),
        prop::collection::vec(stating(), usize::from(GATEWAYS)),
        any::<u64>(),
    )
        .prop_map(|(reserves, traffic, stating, shuffle)| EpochPlan {
            reserves,
            traffic,
            stating,
            shuffle,
        })
}

pub(crate) fn plans() -> impl Strategy<Value = Vec<EpochPlan>> {
    prop::collection::vec(epoch_plan(), 1..4)
}

/// What gateways have to pay in: nothing, hardly anything, or enough.
pub(crate) fn bonds() -> impl Strategy<Value = u128> {
    prop_oneof![Just(0), Just(200_000), Just(4_000_000)]
}

pub(crate) fn account_of(g: u8, a: u8) -> AccountId {
    account(g * ACCOUNTS + a)
}

/// What nodes claim in the end: amount and bytes by gateway and node.
pub(crate) type Claims = BTreeMap<(u8, u8), (u128, u64)>;

/// What each account is said to have used.
pub(crate) fn statements(plan: &EpochPlan, g: u8, owed: u128) -> Vec<(u8, u128)> {
    match plan.stating[usize::from(g)] {
        Stating::Honestly(_) if owed == 0 => Vec::new(),
        Stating::Honestly(percent) => {
            let first = owed * u128::from(percent) / 100;
            vec![(0, first), (1, owed - first)]
        }
        Stating::TooMuch => vec![(0, owed + 1)],
        Stating::Silently => Vec::new(),
    }
}

/// What must hold of the money, by plain arithmetic.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub(crate) struct Model {
    available: BTreeMap<(u8, u8), u128>,
    reserved: BTreeMap<(u8, u8), u128>,
    spent: BTreeMap<(u8, u8), u128>,
    nodes: BTreeMap<u8, u128>,
    gateways: BTreeMap<u8, u128>,
    /// What is left on each gateway's own account.
    own: BTreeMap<u8, u128>,
    /// What is left of each gateway's bond, where they have one.
    bonds: BTreeMap<u8, u128>,
    /// After which plan each gateway was revoked.
    revoked: BTreeMap<u8, usize>,
    /// How many plans were settled.
    settled: usize,
    repair: u128,
    treasury: u128,
}

impl Model {
    pub(crate) fn new(bond: u128) -> Self {
        let mut model = Self::default();
        for g in 0..GATEWAYS {
            if bond > 0 {
                model.bonds.insert(g, bond);
            }
            model.own.insert(g, OPENING.0);
            for a in 0..ACCOUNTS {
                model.available.insert((g, a), OPENING.0);
            }
        }
        model
    }

    pub(crate) fn reserve(&mut self, g: u8, a: u8, amount: u128) -> bool {
        let with_it: u128 = (0..ACCOUNTS).filter_map(|a| self.reserved.get(&(g, a))).sum();
        let is_within = self.bonds.get(&g).is_none_or(|bond| with_it + amount <= bond / 4);
        let available = self.available.get_mut(&(g, a)).unwrap();
        if *available < amount || self.revoked.contains_key(&g) || !is_within {
            return false;
        }
        *available -= amount;
        *self.reserved.entry((g, a)).or_default() += amount;
        true
    }

    /// Whether something may be settled of a gateway in the next plan. When it
    /// was revoked, the epoch of that one was open already.
    pub(crate) fn takes_part(&self, g: u8) -> bool {
        self.revoked.get(&g).is_none_or(|&after| self.settled <= after)
    }

    /// What was set aside with a gateway that was revoked is free again.
    fn return_reserves(&mut self) {
        for g in (0..GATEWAYS).filter(|&g| !self.takes_part(g)).collect::<Vec<_>>() {
            for a in 0..ACCOUNTS {
                let returned = self.reserved.remove(&(g, a)).unwrap_or_default();
                *self.available.get_mut(&(g, a)).unwrap() += returned;
            }
        }
    }

    pub(crate) fn settle(&mut self, plan: &EpochPlan, claimed: &Claims) {
        let mut earned = BTreeMap::<u8, u128>::new();
        let (mut live, mut debited) = (Vec::new(), 0);
        for g in (0..GATEWAYS).filter(|&g| self.takes_part(g)).collect::<Vec<_>>() {
            let claims: Vec<_> = claimed.iter().filter(|((of, _), _)| *of == g).collect();
            let owed: u128 = claims.iter().map(|(_, claim)| claim.0).sum();
            let stated = statements(plan, g, owed);
            let sum = stated.iter().map(|(_, amount)| amount).sum::<u128>();
            let reserved = |a| self.reserved.get(&(g, a)).copied().unwrap_or_default();
            let mut charges: Vec<(u8, u128)> =
                stated.iter().map(|&(a, amount)| (a, amount.min(reserved(a)))).collect();
            let keeps_rules = sum <= owed;
            if sum > owed {
                self.revoked.entry(g).or_insert(self.settled + 1);
            }
            if claims.is_empty() {
                continue;
            }
            let (own, pay) = (self.own.get_mut(&g).unwrap(), self.gateways.entry(g).or_default());
            let charged = |charges: &[(u8, u128)]| charges.iter().map(|(_, c)| c).sum::<u128>();
            let bond = self.bonds.get(&g).copied().unwrap_or_default();
            let open = owed.saturating_sub(charged(&charges));
            let is_short = open > *own + *pay + bond;
            if !keeps_rules || (is_short && charged(&charges) > bond / 4) {
                charges.clear();
            }
            let rest = owed - charged(&charges);
            let from_own = rest.min(*own);
            let from_pay = (rest - from_own).min(*pay);
            *own -= from_own;
            *pay -= from_pay;
            let from_bond = (rest - from_own - from_pay).min(bond);
            let paid = from_own + from_pay + from_bond;
            if let Some(bond) = self.bonds.get_mut(&g) {
                *bond -= from_bond;
                if paid < rest {
                    self.revoked.entry(g).or_insert(self.settled + 1);
                }
            }
            let money = owed - rest + paid;
            debited += money;
            if keeps_rules && paid == rest {
                live.push(g);
            }
            for (a, amount) in charges {
                *self.reserved.entry((g, a)).or_default() -= amount;
                *self.spent.entry((g, a)).or_default() += amount;
            }
            for ((_, n), claim) in claims {
                // Small enough for plain arithmetic.
                let part = (money * claim.0).checked_div(owed).unwrap_or(0);
                *earned.entry(*n).or_default() += part;
            }
        }
        let shared: u128 = earned.values().sum();
        let mut left = debited;
        for (n, d) in earned {
            let gross = d * 6 / 10;
            let tax = gross.div_ceil(100);
            *self.nodes.entry(n).or_default() += gross - tax;
            self.repair += tax;
            left -= gross;
        }
        for &g in &live {
            let gross = shared * 2 / 10 / live.len() as u128;
            let tax = gross.div_ceil(100);
            *self.gateways.entry(g).or_default() += gross - tax;
            self.repair += tax;
            left -= gross;
        }
        self.treasury += left;
        self.settled += 1;
        self.return_reserves();
    }

    #[track_caller]
    pub(crate) fn assert_agrees(&self, state: &State) {
        let book = state.book();
        for g in 0..GATEWAYS {
            for a in 0..ACCOUNTS {
                let (id, key) = (account_of(g, a), (g, a));
                let of = |map: &BTreeMap<(u8, u8), u128>| {
                    Amount(map.get(&key).copied().unwrap_or_default())
                };
                assert_eq!(book.balance(Account::Available(id)), of(&self.available));
                assert_eq!(book.balance(Account::Reserved(gateway(g), id)), of(&self.reserved));
                assert_eq!(state.customers()[&id].spent, of(&self.spent));
            }
            let own = gateway_account(gateway(g));
            assert_eq!(book.balance(Account::Available(own)).0, self.own[&g]);
            let bond = self.bonds.get(&g).copied().unwrap_or_default();
            assert_eq!(book.balance(Account::Bond(gateway(g))).0, bond);
            assert_eq!(state.is_gateway(gateway(g)), !self.revoked.contains_key(&g));
            let earned = self.gateways.get(&g).copied().unwrap_or_default();
            assert_eq!(earnings(book, Party::Gateway(gateway(g))), earned);
        }
        for n in 0..NODES {
            let earned = self.nodes.get(&n).copied().unwrap_or_default();
            assert_eq!(earnings(book, Party::Node(node(n))), earned);
            assert_eq!(state.nodes()[&node(n)].earned, Amount(earned));
        }
        assert_eq!(book.balance(Account::RepairFund), Amount(self.repair));
        assert_eq!(book.balance(Account::Treasury), Amount(self.treasury));
    }
}

fn earnings(book: &Book, party: Party) -> u128 {
    let waiting = book.balance(Account::Immature(party)).0;
    waiting + book.balance(Account::Mature(party)).0
}
