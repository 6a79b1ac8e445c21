//! Parts of amounts in integers, exact at any width. Every function says how it
//! rounds; who gets the remainder is the caller's business.

use crate::genesis::SHARES;

/// floor(amount * parts / 10000), without leaving u128 on the way.
pub(crate) fn share(amount: u128, parts: u16) -> u128 {
    let (parts, whole) = (u128::from(parts), u128::from(SHARES));
    amount / whole * parts + amount % whole * parts / whole
}

/// ceil(amount * parts / 10000).
pub(crate) fn share_up(amount: u128, parts: u16) -> u128 {
    let (parts, whole) = (u128::from(parts), u128::from(SHARES));
    amount / whole * parts + (amount % whole * parts).div_ceil(whole)
}

/// floor(a * b / c) for b <= c, without leaving u128 on the way: the product
/// is built bit by bit, and the quotient with it.
pub(crate) fn part(a: u128, b: u128, c: u128) -> u128 {
    assert!(b <= c && c > 0);
    divide(a, b, c).0
}

/// floor(a * b / c) for any b, unless it cannot be counted.
pub(crate) fn scale(a: u128, b: u128, c: u128) -> Option<u128> {
    let whole = a.checked_mul(b.checked_div(c)?)?;
    whole.checked_add(part(a, b % c, c))
}

/// ceil(a * b / c), unless it cannot be counted.
pub(crate) fn scale_up(a: u128, b: u128, c: u128) -> Option<u128> {
    let whole = a.checked_mul(b.checked_div(c)?)?;
    let (quotient, rest) = divide(a, b % c, c);
    whole.checked_add(quotient)?.checked_add(u128::from(rest > 0))
}

/// `total` in proportion to `weights`: rounded down, and what that leaves over
/// goes to the first of the largest, so that the parts add up to the whole.
pub(crate) fn apportion(total: u128, weights: &[u128]) -> Vec<u128> {
    let sum: u128 = weights.iter().sum();
    if sum == 0 {
        assert_eq!(total, 0, "there is nobody to share it");
        return vec![0; weights.len()];
    }
    let mut parts: Vec<u128> = weights.iter().map(|&weight| part(total, weight, sum)).collect();
    let mut largest = 0;
    for (at, weight) in weights.iter().enumerate() {
        if *weight > weights[largest] {
            largest = at;
        }
    }
    parts[largest] += total - parts.iter().sum::<u128>();
    parts
}

/// The quotient and the rest of a * b / c, for b <= c.
fn divide(a: u128, b: u128, c: u128) -> (u128, u128) {
    if let Some(product) = a.checked_mul(b) {
        return (product / c, product % c);
    }
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
    (quotient, rest)
}

/// (x + y) mod c and how often c went into it, for x, y < c.
fn add_mod(x: u128, y: u128, c: u128) -> (u128, u128) {
    if x >= c - y { (x - (c - y), 1) } else { (x + y, 0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn wide_products_divide_exactly(a in any::<u64>(), b in any::<u64>(), c in 1u64..) {
            let (a, b, c) = (u128::from(a), u128::from(b), u128::from(c));
            prop_assert_eq!(part(a, b.min(c), c), a * b.min(c) / c);
            prop_assert_eq!(scale(a, b, c), Some(a * b / c));
            prop_assert_eq!(scale_up(a, b, c), Some((a * b).div_ceil(c)));
            // The same numbers times 2^64 take the long way.
            prop_assert_eq!(part(a << 64, b.min(c) << 64, c << 64), part(a << 64, b.min(c), c));
        }

        #[test]
        fn a_part_of_the_widest_amounts_is_right(a in any::<u128>(), c in 1u128..) {
            prop_assert_eq!(part(a, c, c), a);
            prop_assert_eq!(part(a, 0, c), 0);
            prop_assert_eq!(part(a, 1, c), a / c);
        }

        #[test]
        fn shares_are_floors_and_taxes_ceilings(a in 0u128..u128::MAX / 10_000, p in 0u16..=10_000) {
            prop_assert_eq!(share(a, p), a * u128::from(p) / 10_000);
            prop_assert_eq!(share_up(a, p), (a * u128::from(p)).div_ceil(10_000));
        }

        #[test]
        fn what_is_apportioned_adds_up(
            total in any::<u128>(),
            weights in prop::collection::vec(0u128..1 << 100, 1..9),
        ) {
            prop_assume!(weights.iter().any(|&weight| weight > 0));
            let parts = apportion(total, &weights);
            // No sum of the parts can overflow: they are the whole.
            prop_assert_eq!(parts.iter().sum::<u128>(), total);
            for (part, weight) in parts.iter().zip(weights) {
                prop_assert!(weight > 0 || *part == 0);
            }
        }
    }

    #[test]
    fn what_cannot_be_counted_is_none() {
        assert_eq!(scale(u128::MAX, 2, 1), None);
        assert_eq!(scale_up(u128::MAX, 3, 2), None);
        assert_eq!(scale(1, 1, 0), None);
        assert_eq!(scale_up(7, 1, 2), Some(4));
    }
}
