//! Units that are bought on the curve: in such a network vouchers and
//! statements count traffic units, and setting money aside buys them.
//!
//! Everything that is compared is units; money comes in at the edges only, at
//! the price of the moment. Pure.

use protocol::ledger_api::CurvePrice;
use protocol::price::Amount;

/// The units that `money` buys now: floor(L * X / (M + X)).
pub fn units_for(curve: CurvePrice, money: Amount) -> Amount {
    let whole = curve.money.0.saturating_add(money.0);
    if whole == 0 {
        return Amount::ZERO;
    }
    Amount(mul_div(curve.units.0, money.0, whole))
}

/// What `units` cost now, rounded up: M * u / (L - u). At most half of the
/// units that are left are bought at once: their price rises as they go, and
/// the next look buys the rest.
pub fn money_for(curve: CurvePrice, units: Amount) -> Amount {
    let units = units.0.min(curve.units.0 / 2);
    if units == 0 {
        return Amount::ZERO;
    }
    let left = curve.units.0 - units;
    let floor = mul_div(curve.money.0, units, left);
    // What is cut off by rounding could be the last unit.
    Amount(floor.saturating_add(1))
}

/// floor(a * b / c) for b <= c, without leaving u128 on the way: the product
/// is built bit by bit, and the quotient with it.
fn mul_div(a: u128, b: u128, c: u128) -> u128 {
    assert!(b <= c && c > 0);
    if b == c {
        return a;
    }
    let (mut quotient, mut rest) = (0u128, 0u128);
    for bit in (0..u128::BITS).rev() {
        // quotient * c + rest = b * (the bits of a so far), with rest < c.
        let (twice, carry) = add_mod(rest, rest, c);
        quotient = 2 * quotient + carry;
        rest = twice;
        if a >> bit & 1 == 1 {
            let (sum, carry) = add_mod(rest, b, c);
            quotient += carry;
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

    use super::*;

    fn curve(money: u128, units: u128) -> CurvePrice {
        CurvePrice { money: Amount(money), units: Amount(units) }
    }

    #[test]
    fn what_is_bought_gets_dearer_the_less_is_left() {
        // 100 of money for 1000 units.
        let curve = curve(100, 1000);
        assert_eq!(units_for(curve, Amount(100)), Amount(500));
        assert_eq!(units_for(curve, Amount(300)), Amount(750));
        assert_eq!(units_for(curve, Amount::ZERO), Amount::ZERO);
        assert_eq!(money_for(curve, Amount(500)), Amount(101));
        assert_eq!(money_for(curve, Amount(900)), Amount(101), "half of them at once");
        assert_eq!(money_for(curve, Amount::ZERO), Amount::ZERO);
    }

    proptest! {
        /// What we pay is enough for what we want, and hardly more.
        #[test]
        fn the_price_is_enough_and_not_more(
            money in 1u128..1 << 96, units in 2u128..1 << 100, part in 1u128..1 << 100,
        ) {
            let curve = curve(money, units);
            let wanted = (part % (units / 2)).max(1);
            let price = money_for(curve, Amount(wanted));
            prop_assert!(units_for(curve, price).0 >= wanted);
            let less = Amount(price.0.saturating_sub(2));
            prop_assert!(units_for(curve, less).0 <= wanted);
        }
    }
}
