//! Runs simulations from many seeds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number from the environment.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Runs seeds on all processors, until one fails. The outcomes, by seed.
pub fn run_all<O: Send>(
    seeds: impl Iterator<Item = u64>,
    run: impl Fn(u64) -> O + Sync,
    has_failed: impl Fn(&O) -> bool + Sync,
) -> Vec<(u64, O)> {
    let seeds: Vec<u64> = seeds.collect();
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let outcomes = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while failed.load(Ordering::Relaxed) == 0 {
                    let at = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(seed) = seeds.get(at) else { return };
                    let outcome = run(*seed);
                    failed.fetch_add(u64::from(has_failed(&outcome)), Ordering::Relaxed);
                    outcomes.lock().unwrap().push((*seed, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_by_key(|(seed, _)| *seed);
    outcomes
}
