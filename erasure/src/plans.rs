//! Remembers how to decode with a given set of units.
//!
//! Which units are at hand and which are wanted decides a matrix; inverting it
//! costs as much as coding a small stripe, and the stripes of one read all need
//! the same one. Not here: what a plan is; each engine has its own.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::scheme::Scheme;

/// Which units of a stripe. A scheme has at most 255.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct UnitSet([u64; 4]);

impl UnitSet {
    pub(crate) fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    pub(crate) fn contains(self, index: usize) -> bool {
        self.0[index / 64] & (1 << (index % 64)) != 0
    }

    /// The members, lowest first.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..256).filter(move |&index| self.contains(index))
    }
}

impl FromIterator<usize> for UnitSet {
    fn from_iter<I: IntoIterator<Item = usize>>(indices: I) -> Self {
        let mut set = Self::default();
        indices.into_iter().for_each(|index| set.insert(index));
        set
    }
}

/// What to compute from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    /// Exactly `needed` units that are at hand.
    pub(crate) sources: UnitSet,
    /// Units to compute, none of them a source.
    pub(crate) wanted: UnitSet,
}

/// Bytes that the plans of one codec may take, roughly.
const BUDGET: usize = 4 << 20;

/// What an expanded coefficient takes in the dearer of the two engines.
const COEFFICIENT: usize = 32;

/// Plans by pattern.
///
/// A hit takes a read lock for the time of one look-up, nanoseconds against the
/// microseconds that a stripe takes.
pub(crate) struct PlanCache<P> {
    capacity: usize,
    plans: RwLock<HashMap<Pattern, Arc<P>>>,
}

impl<P> PlanCache<P> {
    pub(crate) fn new(scheme: Scheme) -> Self {
        let largest = usize::from(scheme.data()) * usize::from(scheme.parity()) * COEFFICIENT;
        // 8+4 has 495 ways to choose its sources and they all fit; the widest
        // schemes still keep the few that a repair or a long read repeats.
        Self { capacity: (BUDGET / largest).clamp(16, 1024), plans: RwLock::default() }
    }

    pub(crate) fn get_or_build(&self, pattern: Pattern, build: impl FnOnce() -> P) -> Arc<P> {
        // A panic cannot leave the map half changed, so poison means nothing.
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&pattern) {
            return plan.clone();
        }
        drop(plans);

        // Built outside the lock: two threads may build the same plan, which
        // is cheaper than one of them holding up all the others.
        let plan = Arc::new(build());
        let mut plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= self.capacity {
            // Starting over needs no bookkeeping on a hit, and a plan is
            // rebuilt in microseconds.
            plans.clear();
        }
        plans.insert(pattern, plan.clone());
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(source: usize) -> Pattern {
        Pattern { sources: UnitSet::from_iter([source]), wanted: UnitSet::default() }
    }

    #[test]
    fn a_set_holds_what_was_inserted() {
        let indices = [0, 63, 64, 127, 200, 254];
        let set = UnitSet::from_iter(indices);
        assert_eq!(set.iter().collect::<Vec<_>>(), indices);
        assert!(!set.contains(1));
    }

    #[test]
    fn a_plan_is_built_once() {
        let cache = PlanCache::new("4+2".parse().unwrap());
        assert_eq!(*cache.get_or_build(pattern(1), || "first"), "first");
        assert_eq!(*cache.get_or_build(pattern(1), || panic!("built again")), "first");
        assert_eq!(*cache.get_or_build(pattern(2), || "other"), "other");
    }

    #[test]
    fn plans_stay_within_the_budget() {
        for scheme in ["1+1", "4+2", "8+4", "16+4", "29+51", "128+127"] {
            let scheme: Scheme = scheme.parse().unwrap();
            let mut cache = PlanCache::new(scheme);
            let largest = usize::from(scheme.data()) * usize::from(scheme.parity()) * COEFFICIENT;
            assert!(cache.capacity * largest <= 2 * BUDGET + largest, "{scheme}");

            cache.capacity = cache.capacity.min(200);
            for source in 0..255 {
                cache.get_or_build(pattern(source), || source);
                assert!(cache.plans.read().unwrap().len() <= cache.capacity, "{scheme}");
            }
            assert_eq!(*cache.get_or_build(pattern(254), || panic!("the newest stays")), 254);
        }
    }
}
