//! Latencies in a fixed amount of memory.
//!
//! Each power of two of microseconds is cut into 32 equal buckets, so a quantile
//! is at most 3 % above the truth and never below it.

use std::time::Duration;

const SUB_BITS: u32 = 5;
const SUB: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB;

/// How often each latency was seen.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    /// Adds one latency.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.count += 1;
        self.max = self.max.max(latency);
    }

    /// Adds all latencies of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// How many latencies there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest latency.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The latency that `permille` of 1000 operations did not exceed.
    pub fn quantile(&self, permille: u64) -> Duration {
        assert!(permille <= 1000);
        let rank = (self.count * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        let upper = Duration::from_micros(upper_bound(found.unwrap_or(0)));
        upper.min(self.max)
    }
}

fn bucket(micros: u64) -> usize {
    if micros < SUB as u64 {
        return micros as usize;
    }
    let shift = micros.ilog2() - SUB_BITS;
    let sub = (micros >> shift) as usize - SUB;
    (shift as usize + 1) * SUB + sub
}

/// The largest value of a bucket.
fn upper_bound(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let (shift, sub) = (bucket / SUB - 1, bucket % SUB);
    let lowest = ((SUB + sub) as u64) << shift;
    lowest + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_of_a_known_set() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let near = |permille: u64, want: u64| {
            let got = histogram.quantile(permille).as_micros() as u64;
            assert!(want <= got && got <= want + want / 32, "{permille}: {got}");
        };
        near(500, 500);
        near(990, 990);
        near(1, 1);
        assert_eq!(histogram.quantile(1000), Duration::from_micros(1000));
        assert_eq!(histogram.max(), Duration::from_micros(1000));
        assert_eq!(histogram.count(), 1000);
    }

    #[test]
    fn an_empty_set_has_no_latency() {
        assert_eq!(Histogram::default().quantile(990), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn every_value_lies_in_its_bucket(micros: u64) {
            let upper = upper_bound(bucket(micros));
            prop_assert!(micros <= upper);
            prop_assert!(upper - micros <= micros / SUB as u64);
            prop_assert_eq!(bucket(upper), bucket(micros));
        }

        #[test]
        fn merging_is_recording_both(left: Vec<u32>, right: Vec<u32>) {
            let fill = |values: &[u32]| {
                let mut histogram = Histogram::default();
                values.iter().for_each(|v| histogram.record(Duration::from_micros((*v).into())));
                histogram
            };
            let mut merged = fill(&left);
            merged.merge(&fill(&right));
            let both = fill(&[left, right].concat());
            prop_assert_eq!(merged.counts, both.counts);
            prop_assert_eq!((merged.count, merged.max), (both.count, both.max));
        }
    }
}
