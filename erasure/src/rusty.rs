//! The fast engine: SIMD kernels chosen at run time, fed with the matrix of
//! `reed-solomon-erasure` so that the bytes are the same.

use rusty_erasure::compat::reed_solomon_erasure_matrix;
use rusty_erasure::{Coder, DecodePlan};

use crate::codec::Backend;
use crate::plans::{Pattern, PlanCache};
use crate::scheme::Scheme;

pub(crate) struct Rusty {
    coder: Coder,
    plans: PlanCache<DecodePlan>,
}

impl Rusty {
    pub(crate) fn new(scheme: Scheme) -> Self {
        let matrix = reed_solomon_erasure_matrix(scheme.data().into(), scheme.parity().into())
            .expect("every scheme has 1 to 254 data shards and at most 255 in all");
        let coder = rusty_erasure::coder(matrix).expect("every scheme has parity rows");
        Self { coder, plans: PlanCache::new(scheme) }
    }

    fn plan(&self, pattern: Pattern) -> DecodePlan {
        let total = self.coder.k() + self.coder.p();
        let present: Vec<bool> = (0..total).map(|i| pattern.sources.contains(i)).collect();
        let wanted: Vec<usize> = pattern.wanted.iter().collect();
        self.coder
            .decode_plan(&present, &wanted)
            .expect("any `needed` rows of the matrix are independent")
    }
}

impl Backend for Rusty {
    fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) {
        self.coder.encode(data, parity).expect("the codec checked counts and lengths");
    }

    fn recover(&self, pattern: Pattern, units: &[Option<&[u8]>], out: &mut [&mut [u8]]) {
        let plan = self.plans.get_or_build(pattern, || self.plan(pattern));
        self.coder.recover_with(&plan, units, out).expect("the codec checked counts and lengths");
    }
}

#[cfg(test)]
mod tests {
    use reed_solomon_erasure::galois_8::ReedSolomon;
    use rusty_erasure::kernels_named;

    use super::*;
    use crate::plans::UnitSet;

    /// Lengths around the steps of the kernels, so that each of their loops and
    /// the rest after it are entered.
    const LENS: [usize; 8] = [1, 15, 33, 64, 127, 129, 300, 1_037];

    /// The processor decides which kernels run; those that it passes over here
    /// are the ones some other machine will use.
    #[test]
    fn all_kernels_of_this_processor_agree_with_the_reference() {
        let sets = ["scalar", "ssse3", "avx2", "gfni", "neon"].map(kernels_named);
        for kernels in sets.into_iter().flatten() {
            for (data, parity) in [(1, 1), (3, 3), (4, 2), (8, 4), (12, 7)] {
                let matrix = reed_solomon_erasure_matrix(data, parity).unwrap();
                let scheme = format!("{data}+{parity}").parse().unwrap();
                let coder = Coder::with_kernels(matrix, kernels).unwrap();
                let rusty = Rusty { coder, plans: PlanCache::new(scheme) };
                LENS.iter().for_each(|&len| check(&rusty, data, parity, len));
            }
        }
    }

    #[track_caller]
    fn check(rusty: &Rusty, data: usize, parity: usize, len: usize) {
        let byte = |unit: usize, i: usize| ((i + 1) * (unit * 34 + 67) / 13) as u8;
        let mut units: Vec<Vec<u8>> =
            (0..data + parity).map(|unit| (0..len).map(|i| byte(unit, i)).collect()).collect();
        ReedSolomon::new(data, parity).unwrap().encode(&mut units).unwrap();
        let at_hand: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();

        let mut out = vec![vec![0xa5; len]; parity];
        let mut slots: Vec<&mut [u8]> = out.iter_mut().map(Vec::as_mut_slice).collect();
        rusty.encode(&at_hand[..data], &mut slots);
        let name = rusty.coder.kernels().name;
        assert!(out == units[data..], "{name} encodes {data}+{parity} units of {len} wrongly");

        // The last `data` units bring back the first `parity`.
        let sources = (parity..data + parity).collect::<UnitSet>();
        let wanted = (0..parity).collect::<UnitSet>();
        let left: Vec<Option<&[u8]>> =
            at_hand.iter().enumerate().map(|(i, &u)| sources.contains(i).then_some(u)).collect();
        let mut slots: Vec<&mut [u8]> = out.iter_mut().map(Vec::as_mut_slice).collect();
        rusty.recover(Pattern { sources, wanted }, &left, &mut slots);
        assert!(out == units[..parity], "{name} decodes {data}+{parity} units of {len} wrongly");
    }
}
