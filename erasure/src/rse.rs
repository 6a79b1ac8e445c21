//! The reference engine: `reed-solomon-erasure`, which defines the format.

use reed_solomon_erasure::galois_8::{ReedSolomon, mul_slice, mul_slice_xor};

use crate::codec::Backend;
use crate::plans::{Pattern, PlanCache};
use crate::scheme::Scheme;

pub(crate) struct Rse {
    code: ReedSolomon,
    plans: PlanCache<Coefficients>,
}

/// For each wanted unit, what to multiply each source by before adding up.
struct Coefficients(Vec<Vec<u8>>);

impl Rse {
    pub(crate) fn new(scheme: Scheme) -> Self {
        let code = ReedSolomon::new(scheme.data().into(), scheme.parity().into())
            .expect("every scheme has data, parity, and at most 255 shards in all");
        Self { code, plans: PlanCache::new(scheme) }
    }

    /// The crate decodes in place, which would cost a copy of every source,
    /// and keeps its matrices to itself. But decoding is linear: sources that
    /// are the rows of the identity come out as the coefficients.
    fn plan(&self, pattern: Pattern) -> Coefficients {
        let mut units: Vec<Option<Vec<u8>>> = vec![None; self.code.total_shard_count()];
        for (position, source) in pattern.sources.iter().enumerate() {
            let mut row = vec![0; self.code.data_shard_count()];
            row[position] = 1;
            units[source] = Some(row);
        }
        self.code.reconstruct(&mut units).expect("any `needed` units bring the rest back");
        let row = |index: usize| units[index].take().expect("reconstruct filled every unit");
        Coefficients(pattern.wanted.iter().map(row).collect())
    }
}

impl Backend for Rse {
    fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) {
        self.code.encode_sep(data, parity).expect("the codec checked counts and lengths");
    }

    fn recover(&self, pattern: Pattern, units: &[Option<&[u8]>], out: &mut [&mut [u8]]) {
        let plan = self.plans.get_or_build(pattern, || self.plan(pattern));
        for (position, source) in pattern.sources.iter().enumerate() {
            let source = units[source].expect("a source is at hand");
            for (target, coefficients) in out.iter_mut().zip(&plan.0) {
                // The first source overwrites, so `out` need not be zeroed.
                let apply = if position == 0 { mul_slice } else { mul_slice_xor };
                apply(coefficients[position], source, target);
            }
        }
    }
}
