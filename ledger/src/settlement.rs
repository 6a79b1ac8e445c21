//! How what accounts paid in an epoch is shared. Pure integers; every
//! remainder has a name.
//!
//! ```text
//! D_i  what node i earned by its receipts             D = sum of D_i
//! G_i  = floor(D_i * rho_resource / 10000)            T_i = ceil(G_i * tax / 10000)    pay_i = G_i - T_i
//! G_M  = floor(floor(D * rho_meta / 10000) / m)       for each of the m live gateways, taxed alike
//! C    = D - sum(G_i) - m * G_M                       treasury: the chain's share and every remainder
//! E    = min(tier_emission, C)                        minted for the nodes by D_i, rounded down
//! ```
//!
//! E never exceeds C, so no coalition of payers, gateways and nodes takes out
//! more than it pays in. Not here: which receipts count (`state`).

use std::collections::{BTreeMap, BTreeSet};

use protocol::{GatewayId, NodeId};

use crate::account::Party;
use crate::genesis::{Params, SHARES};

/// What one party gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Who.
    pub party: Party,
    /// After tax.
    pub pay: u128,
    /// What goes to the repair fund.
    pub tax: u128,
    /// Newly minted, untaxed.
    pub emission: u128,
}

/// How an epoch's money is shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// In ascending order of party, each once.
    pub payouts: Vec<Payout>,
    /// D: what accounts paid.
    pub debited: u128,
    /// Sum of what parties get of it.
    pub paid: u128,
    /// Sum of the taxes.
    pub tax: u128,
    /// C: the chain's share and every rounding remainder.
    pub treasury: u128,
    /// Sum of what is minted.
    pub emission: u128,
}

/// Shares what the nodes of one epoch earned, with at most `mintable` minted.
/// `None` when the sum cannot be counted, which no covered epoch reaches.
pub fn settle(
    params: &Params,
    earned: &BTreeMap<NodeId, u128>,
    live: &BTreeSet<GatewayId>,
    mintable: u128,
) -> Option<Settlement> {
    let debited = earned.values().try_fold(0u128, |sum, &d| sum.checked_add(d))?;
    let mut gross = BTreeMap::new();
    for (&node, &d) in earned {
        gross.insert(Party::Node(node), share(d, params.rho_resource));
    }
    if let Some(m) = u128::try_from(live.len()).ok().filter(|&m| m > 0) {
        let each = share(debited, params.rho_meta) / m;
        for &gateway in live {
            gross.insert(Party::Gateway(gateway), each);
        }
    }
    // The shares are at most the whole, since their parts are at most 10000.
    let treasury = debited - gross.values().sum::<u128>();
    let emission_cap = params.tier_emission.0.min(treasury).min(mintable);

    let mut settlement = Settlement { debited, treasury, ..Settlement::default() };
    for (party, gross) in gross {
        let tax = share_up(gross, params.tax);
        let emission = match party {
            Party::Node(node) if debited > 0 => mul_div(emission_cap, earned[&node], debited),
            _ => 0,
        };
        settlement.paid += gross - tax;
        settlement.tax += tax;
        settlement.emission += emission;
        settlement.payouts.push(Payout { party, pay: gross - tax, tax, emission });
    }
    assert_eq!(
        settlement.paid + settlement.tax + settlement.treasury,
        debited,
        "settlement neither makes nor loses money"
    );
    assert!(settlement.emission <= treasury, "no more is minted than the treasury takes");
    Some(settlement)
}

/// floor(amount * parts / 10000), without leaving u128 on the way.
fn share(amount: u128, parts: u16) -> u128 {
    let (parts, whole) = (u128::from(parts), u128::from(SHARES));
    amount / whole * parts + amount % whole * parts / whole
}

/// ceil(amount * parts / 10000).
fn share_up(amount: u128, parts: u16) -> u128 {
    let (parts, whole) = (u128::from(parts), u128::from(SHARES));
    amount / whole * parts + (amount % whole * parts).div_ceil(whole)
}

/// floor(a * b / c) for b <= c, without leaving u128 on the way: the product
/// is built bit by bit, and the quotient with it.
fn mul_div(a: u128, b: u128, c: u128) -> u128 {
    assert!(b <= c && c > 0);
    let (mut quotient, mut rest) = (0u128, 0u128);
    for bit in (0..u128::BITS).rev() {
        // quotient * c + rest = b * (the bits of a so far), with rest < c.
        let (twice, carry) = add_mod(rest, rest, c);
        quotient = 2 * quotient + carry;
        rest = twice;
        if a >> bit & 1 == 1 {
            let (sum, carry) = add_mod(rest, b % c, c);
            quotient += carry + u128::from(b == c);
            rest = sum;
        }
    }
    quotient
}

/// (x + y) mod c and how often c went into it, for x, y < c.
fn add_mod(x: u128, y: u128, c: u128) -> (u128, u128) {
    if x >= c - y { (x - (c - y), 1) } else { (x + y, 0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocol::price::Amount;

    use super::*;

    fn params() -> Params {
        Params::for_epoch(1000, Amount::ZERO)
    }

    fn nodes(earned: &[u128]) -> BTreeMap<NodeId, u128> {
        let id = |n: usize| NodeId([u8::try_from(n).unwrap(); 32]);
        earned.iter().enumerate().map(|(n, &d)| (id(n), d)).collect()
    }

    fn gateways(m: u8) -> BTreeSet<GatewayId> {
        (0..m).map(|n| GatewayId([n; 32])).collect()
    }

    #[test]
    fn the_split_is_60_20_20_less_a_hundredth() {
        let settled = settle(&params(), &nodes(&[1_000_000, 0]), &gateways(2), u128::MAX).unwrap();
        let pays: Vec<u128> = settled.payouts.iter().map(|payout| payout.pay).collect();
        assert_eq!(pays, [594_000, 0, 99_000, 99_000]);
        assert_eq!((settled.tax, settled.treasury), (8_000, 200_000));
    }

    #[test]
    fn remainders_go_to_the_treasury_and_tax_rounds_up() {
        let settled = settle(&params(), &nodes(&[7]), &gateways(3), u128::MAX).unwrap();
        // G = 4, taxed 1; G_M = floor(1 / 3) = 0; C = 7 - 4.
        assert_eq!(settled.payouts[0].pay, 3);
        assert_eq!((settled.paid, settled.tax, settled.treasury), (3, 1, 3));
    }

    #[test]
    fn an_empty_epoch_settles_to_nothing() {
        assert_eq!(
            settle(&params(), &BTreeMap::new(), &gateways(0), u128::MAX),
            Some(Settlement::default())
        );
    }

    #[test]
    fn what_cannot_be_counted_is_not_settled() {
        assert_eq!(settle(&params(), &nodes(&[u128::MAX, 1]), &gateways(1), u128::MAX), None);
        let settled = settle(&params(), &nodes(&[u128::MAX]), &gateways(1), u128::MAX).unwrap();
        assert_eq!(settled.debited, u128::MAX);
    }

    #[test]
    fn what_is_minted_follows_the_traffic_and_never_exceeds_the_treasury() {
        let params = Params { tier_emission: Amount(1000), ..params() };
        let settled = settle(&params, &nodes(&[900, 100]), &gateways(1), u128::MAX).unwrap();
        assert_eq!(settled.treasury, 200);
        let minted: Vec<u128> = settled.payouts.iter().map(|payout| payout.emission).collect();
        assert_eq!(minted, [180, 20, 0]);
    }

    proptest! {
        #[test]
        fn every_settlement_conserves(
            earned in prop::collection::vec(0u128..u128::MAX / 64, 0..20),
            m in 0u8..5,
            emission in any::<u128>(),
            tax in 0u16..=10_000,
        ) {
            let params = Params { tier_emission: Amount(emission), tax, ..params() };
            let settled = settle(&params, &nodes(&earned), &gateways(m), u128::MAX).unwrap();
            prop_assert_eq!(settled.debited, earned.iter().sum::<u128>());
            let paid: u128 = settled.payouts.iter().map(|payout| payout.pay + payout.tax).sum();
            prop_assert_eq!(paid + settled.treasury, settled.debited);
            prop_assert!(settled.emission <= settled.treasury);
        }

        #[test]
        fn wide_products_divide_exactly(a in any::<u64>(), b in any::<u64>(), c in 1u64..) {
            let (b, c) = (u128::from(b.min(c)), u128::from(c));
            prop_assert_eq!(mul_div(u128::from(a), b, c), u128::from(a) * b / c);
        }

        #[test]
        fn a_part_of_the_widest_amounts_is_right(a in any::<u128>(), c in 1u128..) {
            prop_assert_eq!(mul_div(a, c, c), a);
            prop_assert_eq!(mul_div(a, 0, c), 0);
            prop_assert_eq!(mul_div(a, 1, c), a / c);
        }

        #[test]
        fn shares_are_floors_and_taxes_ceilings(a in 0u128..u128::MAX / 10_000, p in 0u16..=10_000) {
            prop_assert_eq!(share(a, p), a * u128::from(p) / 10_000);
            prop_assert_eq!(share_up(a, p), (a * u128::from(p)).div_ceil(10_000));
        }
    }
}
