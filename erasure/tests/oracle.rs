//! Both engines against `reed-solomon-erasure` itself and against the
//! definition of the format, interpolation, which shares no code with either.

use std::num::NonZeroU8;

use erasure::{Codec, DecodeError, Engine, Scheme, ShardIndex, UNIT};
use proptest::prelude::*;
use proptest::sample::subsequence;
use reed_solomon_erasure::galois_8::ReedSolomon;

const ENGINES: [Engine; 2] = [Engine::Rusty, Engine::ReedSolomonErasure];

/// Lengths around the steps of SIMD kernels, and those of tails and full units.
const UNIT_LENS: [usize; 14] =
    [1, 31, 32, 33, 63, 64, 65, 127, 128, 192, 1_000, 4_096, 4_160, UNIT];

fn scheme(data: u8, parity: u8) -> Scheme {
    Scheme::new(NonZeroU8::new(data).unwrap(), NonZeroU8::new(parity).unwrap()).unwrap()
}

/// Bytes without a pattern that coding could hide in (xorshift64).
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// All units of a stripe, coded by the reference crate without our help.
fn reference_units(scheme: Scheme, unit: usize, seed: u64) -> Vec<Vec<u8>> {
    let data = noise(usize::from(scheme.data()) * unit, seed);
    let mut units: Vec<Vec<u8>> = data.chunks(unit).map(<[u8]>::to_vec).collect();
    units.resize(scheme.total().into(), vec![0; unit]);
    let code = ReedSolomon::new(scheme.data().into(), scheme.parity().into()).unwrap();
    code.encode(&mut units).unwrap();
    units
}

fn without<'a>(units: &'a [Vec<u8>], lost: &[usize]) -> Vec<Option<&'a [u8]>> {
    let keep = |(i, unit): (usize, &'a Vec<u8>)| (!lost.contains(&i)).then_some(unit.as_slice());
    units.iter().enumerate().map(keep).collect()
}

#[track_caller]
fn check_encode(codec: &Codec, units: &[Vec<u8>]) {
    let (data, parity) = units.split_at(codec.scheme().data().into());
    // Not zeros, so that an engine that adds to what is there gets caught.
    let mut got = vec![0xa5; parity.len() * parity[0].len()];
    codec.encode_stripe(&data.concat(), &mut got);
    assert!(got == parity.concat(), "parity differs: {codec:?}, unit {}", data[0].len());
}

#[track_caller]
fn check_recovery(codec: &Codec, units: &[Vec<u8>], lost: &[usize]) {
    let left = without(units, lost);
    let data = units[..codec.scheme().data().into()].concat();
    let mut decoded = vec![0xa5; data.len()];
    codec.decode_stripe(&left, &mut decoded).unwrap();
    assert!(decoded == data, "decoded data differs: {codec:?}, lost {lost:?}");

    // Highest first, and one that is at hand: any order and any unit will do.
    let present = (0..units.len()).find(|i| !lost.contains(i));
    let wanted: Vec<usize> = lost.iter().rev().copied().chain(present).collect();
    let indices: Vec<ShardIndex> = wanted.iter().map(|&i| ShardIndex(i as u8)).collect();
    let mut rebuilt = vec![vec![0xa5; 3]; wanted.len()];
    codec.reconstruct(&left, &indices, &mut rebuilt).unwrap();
    for (unit, &index) in rebuilt.iter().zip(&wanted) {
        assert!(*unit == units[index], "unit {index} differs: {codec:?}, lost {lost:?}");
    }
}

#[test]
fn parity_equals_the_reference_for_every_length() {
    for (data, parity) in [(1, 1), (2, 1), (3, 3), (4, 2), (8, 4), (10, 4), (16, 4), (29, 51)] {
        for unit in UNIT_LENS {
            let units = reference_units(scheme(data, parity), unit, unit as u64);
            for engine in ENGINES {
                check_encode(&Codec::new(scheme(data, parity), engine), &units);
            }
        }
    }
}

#[test]
fn the_widest_schemes_work() {
    for (data, parity) in [(1, 254), (128, 127)] {
        let scheme = scheme(data, parity);
        let units = reference_units(scheme, 67, 1);
        let lost: Vec<usize> = (0..usize::from(parity)).collect();
        for engine in ENGINES {
            let codec = Codec::new(scheme, engine);
            check_encode(&codec, &units);
            check_recovery(&codec, &units, &lost);
        }
    }
}

#[test]
fn every_loss_that_4_2_and_3_3_may_survive_is_survived() {
    for scheme in [scheme(4, 2), scheme(3, 3)] {
        let units = reference_units(scheme, 193, 5);
        for engine in ENGINES {
            let codec = Codec::new(scheme, engine);
            for mask in 0..1u32 << scheme.total() {
                let lost: Vec<usize> =
                    (0..scheme.total().into()).filter(|i| mask & 1 << i != 0).collect();
                if lost.len() <= scheme.parity().into() {
                    check_recovery(&codec, &units, &lost);
                }
            }
        }
    }
}

/// GF(2^8) with polynomial 0x11d, bit by bit.
fn mul(a: u8, b: u8) -> u8 {
    let mut product = 0;
    for bit in (0..8).rev() {
        let carry = product & 0x80 != 0;
        product <<= 1;
        if carry {
            product ^= 0x1d;
        }
        if b >> bit & 1 == 1 {
            product ^= a;
        }
    }
    product
}

fn inverse(a: u8) -> u8 {
    (1..=255).find(|&b| mul(a, b) == 1).expect("only zero has no inverse")
}

/// What each of `count` values weighs in the value at `x` of the polynomial
/// that has them at 0, 1, 2 and so on (Lagrange).
fn weights(count: u8, x: u8) -> Vec<u8> {
    let weight = |j: u8| {
        let others = (0..count).filter(|&i| i != j);
        others.fold(1, |product, i| mul(product, mul(x ^ i, inverse(j ^ i))))
    };
    (0..count).map(weight).collect()
}

#[test]
fn parity_is_the_value_of_the_polynomial_through_the_data() {
    for (data, parity) in [(1, 3), (4, 2), (3, 3), (8, 4), (20, 30)] {
        let (scheme, unit) = (scheme(data, parity), 300);
        let bytes = noise(usize::from(data) * unit, 9);
        let mut want = Vec::new();
        for x in data..scheme.total() {
            let weights = weights(data, x);
            want.extend((0..unit).map(|column| {
                let values = bytes.iter().skip(column).step_by(unit);
                values.zip(&weights).fold(0, |sum, (&value, &weight)| sum ^ mul(value, weight))
            }));
        }
        for engine in ENGINES {
            let mut parity = vec![0; want.len()];
            Codec::new(scheme, engine).encode_stripe(&bytes, &mut parity);
            assert_eq!(parity, want, "{scheme} {engine}");
        }
    }
}

/// A scheme, a unit length, and which units are lost: from none to all.
fn any_loss() -> impl Strategy<Value = (Scheme, usize, Vec<usize>)> {
    (1..=20u8, 1..=12u8, 1..600usize).prop_flat_map(|(data, parity, unit)| {
        let total = usize::from(data + parity);
        let lost = subsequence((0..total).collect::<Vec<_>>(), 0..=total);
        (Just(scheme(data, parity)), Just(unit), lost)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn losses_up_to_parity_are_survived_and_no_more(
        (scheme, unit, lost) in any_loss(),
        seed in any::<u64>(),
    ) {
        let units = reference_units(scheme, unit, seed);
        let needed = usize::from(scheme.needed());
        let present = units.len() - lost.len();
        for engine in ENGINES {
            let codec = Codec::new(scheme, engine);
            check_encode(&codec, &units);
            if present >= needed {
                check_recovery(&codec, &units, &lost);
                continue;
            }
            let left = without(&units, &lost);
            let mut out = vec![0xa5; needed * unit];
            let too_few = Err(DecodeError::TooFew { present, needed });
            prop_assert_eq!(codec.decode_stripe(&left, &mut out), too_few);
            prop_assert!(out.iter().all(|&byte| byte == 0xa5), "out was touched");

            let wanted = ShardIndex(lost[0] as u8);
            prop_assert_eq!(codec.reconstruct(&left, &[wanted], &mut [Vec::new()]), too_few);
        }
    }
}

#[test]
fn a_unit_of_another_length_is_refused() {
    let units = reference_units(scheme(4, 2), 128, 3);
    for engine in ENGINES {
        let codec = Codec::new(scheme(4, 2), engine);
        for short in 1..6 {
            let mut left = without(&units, &[]);
            left[short] = Some(&units[short][..64]);
            let index = ShardIndex(short as u8);
            let want = Err(DecodeError::UnitLength { index, len: 64, expected: 128 });
            assert_eq!(codec.decode_stripe(&left, &mut [0; 512]), want);
            assert_eq!(codec.reconstruct(&left, &[index], &mut [Vec::new()]), want);
        }
    }
}

#[test]
fn clones_decode_on_many_threads() {
    let scheme = scheme(8, 4);
    let units = reference_units(scheme, 300, 11);
    for engine in ENGINES {
        let codec = Codec::new(scheme, engine);
        std::thread::scope(|threads| {
            for first in 0..4 {
                let (codec, units) = (codec.clone(), &units);
                threads.spawn(move || {
                    for second in 1..12 {
                        check_recovery(&codec, units, &[first, (first + second) % 12]);
                    }
                });
            }
        });
    }
}
