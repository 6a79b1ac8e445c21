//! The price of traffic units that are bought before they are used. Pure.
//!
//! ```text
//! S  what the network stakes      P  prepaid money that is not spent yet
//! L  units that are left          price of a unit = (S + P) / L
//! buying with X    units = floor(L * X / (S + P + X))      P += X, L -= units
//! using of a lot   floor(money * units / lot units), the last all that is left
//!                                                          P -= it, L += units
//! ```
//!
//! Who uses units pays what they cost when they were bought, so a whole lot
//! costs exactly its money, and what the network owes is always there: it never
//! depends on the stake. What the published rule would take for it is the
//! [`Curve::reference`]. Not here: whose lots they are (`state`).

use std::collections::VecDeque;

use protocol::ledger_api::CurvePrice;
use protocol::price::Amount;

use crate::fraction::{part, scale_up};

/// The curve at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Curve {
    /// S + P: at least 1.
    pub money: u128,
    /// L.
    pub units: u128,
}

/// Units that were bought together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lot {
    /// How many are left.
    pub units: u128,
    /// What is left of their price.
    pub money: u128,
}

impl Curve {
    /// What `money` buys, or `None` beyond counting.
    pub fn bought(&self, money: u128) -> Option<u128> {
        let after = self.money.checked_add(money)?;
        Some(part(self.units, money, after))
    }

    /// The least that buys `units`, or `None` if so many are not to be had.
    pub fn cost(&self, units: u128) -> Option<u128> {
        let left = self.units.checked_sub(units).filter(|&left| left > 0)?;
        scale_up(self.money, units, left)
    }

    /// What units cost that were used and not bought before: as if they were
    /// bought now, up to half of those that are left. Beyond, each costs what
    /// one does there, so that the price of the last ones is not all the money
    /// there is. The largest number if none are left.
    pub fn charge(&self, used: u128) -> u128 {
        let price = match self.units / 2 {
            _ if used == 0 => Some(0),
            half if used <= half => self.cost(used),
            _ => scale_up(self.money.saturating_mul(2), used, self.units),
        };
        price.unwrap_or(u128::MAX)
    }

    /// R = floor((S + P) * Y / (L + Y)): what using Y units would cost by the
    /// published rule.
    pub fn reference(&self, used: u128) -> u128 {
        match self.units.saturating_add(used) {
            0 => 0,
            all => part(self.money, used, all),
        }
    }
}

impl From<Curve> for CurvePrice {
    fn from(curve: Curve) -> Self {
        Self { money: Amount(curve.money), units: Amount(curve.units) }
    }
}

/// Most lots of an account with one gateway: what it buys beyond joins the
/// youngest, so that small purchases cannot fill the state.
pub const LOTS_MAX: usize = 256;

/// An account's lots with one gateway, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lots(pub VecDeque<Lot>);

impl Lots {
    /// Units that are left in all of them. They are part of what is left to buy
    /// when they are bought, so they can be counted.
    pub fn units(&self) -> u128 {
        self.0.iter().map(|lot| lot.units).sum()
    }

    /// What is left of the price of all of them.
    pub fn money(&self) -> u128 {
        self.0.iter().map(|lot| lot.money).sum()
    }

    /// Adds a lot as the youngest. Both sums fit if those of all lots do.
    pub fn add(&mut self, lot: Lot) {
        let is_full = self.0.len() >= LOTS_MAX;
        match self.0.back_mut().filter(|_| is_full) {
            Some(youngest) => {
                youngest.units += lot.units;
                youngest.money += lot.money;
            }
            None => self.0.push_back(lot),
        }
    }

    /// Takes `units` out, the oldest first, and says what they cost; `None`, and
    /// nothing is taken, if there are not so many.
    pub fn take(&mut self, mut units: u128) -> Option<u128> {
        if units > self.units() {
            return None;
        }
        let mut cost = 0;
        while units > 0 {
            let lot = self.0.front_mut().expect("there are as many units");
            if units < lot.units {
                let money = part(lot.money, units, lot.units);
                lot.units -= units;
                lot.money -= money;
                return Some(cost + money);
            }
            units -= lot.units;
            cost += lot.money;
            self.0.pop_front();
        }
        Some(cost)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The curve, and what it holds: everything that can happen to it.
    #[derive(Clone)]
    struct Pool {
        stake: u128,
        prepaid: u128,
        units: u128,
    }

    impl Pool {
        fn curve(&self) -> Curve {
            Curve { money: self.stake + self.prepaid, units: self.units }
        }

        fn buy(&mut self, money: u128) -> Lots {
            let units = self.curve().bought(money).unwrap();
            self.prepaid += money;
            self.units -= units;
            Lots(VecDeque::from([Lot { units, money }]))
        }

        fn redeem(&mut self, lots: &mut Lots, units: u128) -> u128 {
            let money = lots.take(units).unwrap();
            self.prepaid -= money;
            self.units += units;
            money
        }
    }

    #[test]
    fn a_lot_wholly_used_costs_the_published_price() {
        // 1000 staked, 1000 units: 1000 buys 500 exactly.
        let mut pool = Pool { stake: 1000, prepaid: 0, units: 1000 };
        let mut lots = pool.buy(1000);
        assert_eq!(lots.units(), 500);
        let reference = pool.curve().reference(500);
        assert_eq!(pool.redeem(&mut lots, 500), reference);
        assert_eq!(reference, 1000);
    }

    #[test]
    fn stake_that_leaves_makes_nothing_insolvent() {
        // By the published rule 1333 would be owed where 1000 are held, were it
        // redeemed after 400 of 1000 staked left.
        let mut pool = Pool { stake: 1000, prepaid: 0, units: 1000 };
        let mut lots = pool.buy(1000);
        (pool.stake, pool.units) = (600, 100);
        assert_eq!(pool.curve().reference(500), 1333);
        assert_eq!(pool.redeem(&mut lots, 500), 1000);
        assert_eq!(pool.prepaid, 0);
    }

    #[test]
    fn who_bought_early_is_not_paid_by_who_bought_late() {
        let mut pool = Pool { stake: 1000, prepaid: 0, units: 1000 };
        let mut early = pool.buy(100);
        let mut late = pool.buy(5000);
        // The published rule would value the early units at the late price.
        assert!(pool.curve().reference(early.units()) > 500);
        let early_units = early.units();
        assert_eq!(pool.redeem(&mut early, early_units), 100);
        let late_units = late.units();
        assert_eq!(pool.redeem(&mut late, late_units), 5000);
        assert_eq!((pool.prepaid, pool.units), (0, 1000));
    }

    #[test]
    fn units_that_were_not_bought_cost_no_less_the_more_there_are_and_not_everything() {
        let curve = Curve { money: 1000, units: 1000 };
        assert_eq!(curve.charge(0), 0);
        assert_eq!(curve.charge(500), 1000);
        assert_eq!(curve.charge(501), 1002, "it goes on from there");
        assert_eq!(curve.charge(5000), 10_000);
        let empty = Curve { money: 1000, units: 0 };
        assert_eq!((empty.charge(0), empty.charge(1)), (0, u128::MAX));
    }

    #[test]
    fn small_purchases_join_the_youngest_lot_and_lose_nothing() {
        let mut lots = Lots::default();
        for n in 0..1000 {
            lots.add(Lot { units: n + 1, money: 2 * n });
        }
        assert_eq!(lots.0.len(), LOTS_MAX);
        assert_eq!((lots.units(), lots.money()), (500_500, 999_000));
        assert_eq!(lots.0[0], Lot { units: 1, money: 0 });
        assert_eq!(lots.take(500_500), Some(999_000));
    }

    #[test]
    fn what_is_not_to_be_had_has_no_cost() {
        let curve = Curve { money: 1000, units: 1000 };
        assert_eq!(curve.cost(500), Some(1000));
        assert_eq!((curve.cost(1000), curve.cost(1001)), (None, None));
        assert_eq!(curve.bought(u128::MAX), None);
        assert_eq!(Curve { money: 1, units: 0 }.bought(7), Some(0));
        assert_eq!(Lots::default().take(1), None);
        assert_eq!(Lots::default().take(0), Some(0));
    }

    proptest! {
        #[test]
        fn one_lot_agrees_with_the_published_price_to_a_unit(
            stake in 1u128..1 << 60,
            units in 1u128..1 << 60,
            money in 1u128..1 << 60,
        ) {
            let mut pool = Pool { stake, prepaid: 0, units };
            let mut lots = pool.buy(money);
            let bought = lots.units();
            let before = pool.curve();
            let reference = before.reference(bought);
            prop_assert_eq!(pool.redeem(&mut lots, bought), if bought > 0 { money } else { 0 });
            // Units are whole, and money may buy a part of one more: what was
            // paid lies between the published prices of these units and of one
            // more.
            prop_assert!(reference <= money);
            let one_more = Curve { units: units - bought - 1, ..before };
            prop_assert!(money <= one_more.reference(bought + 1));
        }

        /// Whatever is bought and used in whatever order: all that is ever taken
        /// out of lots is what was paid in, and each lot pays for itself.
        #[test]
        fn nobody_gains_on_the_curve_and_it_owes_nothing(
            stake in 1u128..1 << 50,
            units in 1u128..1 << 50,
            steps in prop::collection::vec((0usize..3, 1u128..1 << 40, any::<u8>(), 0u128..1 << 50), 1..40),
        ) {
            let mut pool = Pool { stake, prepaid: 0, units };
            let mut owners = vec![Lots::default(); 3];
            let (mut paid, mut used) = ([0u128; 3], [0u128; 3]);
            for (who, money, portion, new_stake) in steps {
                if portion % 3 == 0 {
                    let lot = pool.buy(money);
                    owners[who].0.extend(lot.0);
                    paid[who] += money;
                } else {
                    let units = part(owners[who].units(), portion.into(), 255);
                    used[who] += pool.redeem(&mut owners[who], units);
                }
                pool.stake = new_stake.max(1);
                let held: u128 = owners.iter().map(Lots::money).sum();
                prop_assert_eq!(held, pool.prepaid);
                for who in 0..3 {
                    prop_assert_eq!(used[who] + owners[who].money(), paid[who]);
                }
            }
        }

        #[test]
        fn what_is_said_to_be_the_cost_buys_as_much(
            money in 1u128..1 << 60, units in 1u128..1 << 60, wanted in 1u128..1 << 60,
        ) {
            let curve = Curve { money, units };
            if let Some(cost) = curve.cost(wanted) {
                prop_assert!(curve.bought(cost).unwrap() >= wanted);
                prop_assert!(curve.bought(cost - 1).unwrap() < wanted);
            }
        }
    }
}
