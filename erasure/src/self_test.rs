//! Proves that an engine, on this machine, computes the stored format.
//!
//! Engines pick their kernels by processor, so the tests of a build say nothing
//! about the machine it runs on. A process that stores or reads data runs this
//! once at start and refuses to go on when it fails.

use thiserror::Error;

use crate::codec::{Codec, Engine};
use crate::golden::{GOLDEN_UNIT, Golden, VECTORS, data_unit};
use crate::scheme::{Scheme, ShardIndex};

/// The engine computed something else than the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("erasure engine {engine} failed its self-test: wrong {step} for scheme {scheme}")]
pub struct SelfTestError {
    /// The engine that must not be used.
    pub engine: Engine,
    /// The scheme it was tested with.
    pub scheme: Scheme,
    /// What came out wrong: "parity", "decoded data" or "rebuilt units".
    pub step: &'static str,
}

/// Checks an engine against frozen vectors. Takes a few milliseconds.
pub fn self_test(engine: Engine) -> Result<(), SelfTestError> {
    VECTORS.iter().try_for_each(|golden| check(engine, golden))
}

/// Units are a golden unit repeated, and one cut short: long enough for the
/// widest kernels, with an odd rest for those that finish byte by byte. Coding
/// works column by column, so the parity repeats in the same way.
const UNIT_LEN: usize = 5 * GOLDEN_UNIT + 37;

fn check(engine: Engine, golden: &Golden) -> Result<(), SelfTestError> {
    let scheme: Scheme = golden.scheme.parse().expect("golden schemes are well formed");
    let fail = |step| Err(SelfTestError { engine, scheme, step });
    let codec = Codec::new(scheme, engine);

    let stretch = |unit: &[u8]| unit.iter().copied().cycle().take(UNIT_LEN).collect::<Vec<u8>>();
    let data: Vec<u8> = (0..scheme.data()).flat_map(|i| stretch(&data_unit(i))).collect();
    let parity: Vec<u8> =
        parse_hex(golden.parity).chunks_exact(GOLDEN_UNIT).flat_map(stretch).collect();

    let mut encoded = vec![0; parity.len()];
    codec.encode_stripe(&data, &mut encoded);
    if encoded != parity {
        return fail("parity");
    }

    // Each run of as many neighbours as may be lost, so that every unit is
    // missed with data alone, with parity alone and with both.
    let units: Vec<&[u8]> =
        data.chunks_exact(UNIT_LEN).chain(parity.chunks_exact(UNIT_LEN)).collect();
    for first in 0..scheme.total() {
        let lost: Vec<ShardIndex> = (first..scheme.total())
            .chain(0..first)
            .take(scheme.parity().into())
            .map(ShardIndex)
            .collect();
        let mut left: Vec<Option<&[u8]>> = units.iter().copied().map(Some).collect();
        lost.iter().for_each(|&index| left[usize::from(index)] = None);

        let mut decoded = vec![0; data.len()];
        if codec.decode_stripe(&left, &mut decoded).is_err() || decoded != data {
            return fail("decoded data");
        }
        let mut rebuilt = vec![Vec::new(); lost.len()];
        let same = |(unit, &index): (&Vec<u8>, &ShardIndex)| unit == units[usize::from(index)];
        if codec.reconstruct(&left, &lost, &mut rebuilt).is_err()
            || !rebuilt.iter().zip(&lost).all(same)
        {
            return fail("rebuilt units");
        }
    }
    Ok(())
}

fn parse_hex(hex: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("golden vectors are hexadecimal") as u8;
    hex.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[cfg(test)]
mod tests {
    use reed_solomon_erasure::galois_8::ReedSolomon;

    use super::*;

    const ENGINES: [Engine; 2] = [Engine::Rusty, Engine::ReedSolomonErasure];

    #[test]
    fn both_engines_pass() {
        for engine in ENGINES {
            assert_eq!(self_test(engine), Ok(()));
        }
    }

    #[test]
    fn golden_vectors_are_what_the_reference_computes() {
        for golden in &VECTORS {
            let scheme: Scheme = golden.scheme.parse().unwrap();
            let code = ReedSolomon::new(scheme.data().into(), scheme.parity().into()).unwrap();
            let data: Vec<_> = (0..scheme.data()).map(data_unit).collect();
            let mut parity = vec![[0; GOLDEN_UNIT]; scheme.parity().into()];
            code.encode_sep(&data, &mut parity).unwrap();
            let hex: String = parity.concat().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, golden.parity, "{scheme}");
        }
    }

    #[test]
    fn one_wrong_digit_fails() {
        for engine in ENGINES {
            for golden in &VECTORS {
                let last = golden.parity.len() - 1;
                let wrong = if golden.parity.ends_with('0') { "1" } else { "0" };
                let parity: &'static str = (golden.parity[..last].to_owned() + wrong).leak();
                let scheme: Scheme = golden.scheme.parse().unwrap();
                let got = check(engine, &Golden { scheme: golden.scheme, parity });
                assert_eq!(got, Err(SelfTestError { engine, scheme, step: "parity" }));
            }
        }
    }

    #[test]
    fn every_data_unit_holds_every_byte_value() {
        for index in 0..10 {
            let mut unit = data_unit(index);
            unit.sort_unstable();
            assert!(unit.iter().copied().eq(0..=u8::MAX), "unit {index}");
        }
    }

    #[test]
    fn the_error_names_engine_scheme_and_step() {
        let scheme = "4+2".parse().unwrap();
        let error = SelfTestError { engine: Engine::Rusty, scheme, step: "parity" };
        let want = "erasure engine rusty failed its self-test: wrong parity for scheme 4+2";
        assert_eq!(error.to_string(), want);
    }
}
