//! The cluster, simulated from many seeds: whatever goes wrong, nothing that
//! was acknowledged is lost, nobody is given wrong bytes, and in the end
//! everything is whole.
//!
//! `STRATOS_TEST_SCALE` multiplies the seeds; `STRATOS_TEST_SEED` runs from
//! another one. See docs/testing.md.

mod seeds;

use std::collections::BTreeMap;
use std::time::Instant;

use seeds::setting;
use simulation::cluster::{Fault, Outcome, World, faults};
use simulation::rules::{ALL, Rule, Rules};

/// Seeds of a usual run.
const SEEDS: u64 = 2_000;

/// Seeds that failed once.
const REGRESSIONS: [u64; 0] = [];

/// Runs seeds on all processors, until one fails.
fn run_all(seeds: impl Iterator<Item = u64>, rules: Rules) -> Vec<(u64, Outcome)> {
    seeds::run_all(seeds, |seed| World::new(seed, rules).run(), |it| it.violation.is_some())
}

#[test]
fn nothing_acknowledged_is_lost_whatever_goes_wrong() {
    let first = setting("STRATOS_TEST_SEED").unwrap_or(0);
    let seeds = SEEDS * setting("STRATOS_TEST_SCALE").unwrap_or(1);
    let started = Instant::now();
    let outcomes = run_all(REGRESSIONS.into_iter().chain(first..first + seeds), Rules::KEPT);
    for (seed, outcome) in &outcomes {
        if let Some(what) = &outcome.violation {
            panic!("seed {seed}, after {} ms: {what}", outcome.time);
        }
    }
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut time, mut events, mut acknowledged, mut read, mut repaired) = (0, 0, 0, 0, 0);
    for (_, outcome) in &outcomes {
        for (name, count) in &outcome.faults {
            *counts.entry(name).or_default() += count;
        }
        time += outcome.time;
        events += outcome.events;
        acknowledged += outcome.acknowledged;
        read += outcome.read;
        repaired += outcome.repaired;
    }
    let hours = time as f64 / 3_600_000.0;
    let speed = time as f64 / started.elapsed().as_millis().max(1) as f64;
    println!("{hours:.0} hours, {speed:.0} times as fast as they would be, {events} events");
    println!("{acknowledged} objects stored, {read} read, {repaired} shards repaired");
    println!("{counts:?}");
    let names = faults::ALL.map(Fault::name).into_iter().chain(["clock skew"]);
    for name in names {
        let count = counts.get(name).copied().unwrap_or(0);
        assert!(count >= seeds / 4, "{name} came only {count} times");
    }
    let least = seeds * 20;
    assert!(acknowledged > least && read > least && repaired > least, "too little was done");
}

#[test]
fn a_seed_has_one_history() {
    for seed in 0..20 {
        let [one, two] = [(); 2].map(|()| World::new(seed, Rules::KEPT).run());
        assert_eq!((one.trace, one.events), (two.trace, two.events), "seed {seed}");
    }
    let [one, two] = [0, 1].map(|seed| World::new(seed, Rules::KEPT).run());
    assert_ne!(one.trace, two.trace);
}

/// Rules whose breach needs more of a coincidence than some hundred seeds have,
/// or multipart uploads, which are not in here. The model that is searched to
/// its end (`commit_model`) notices each of them.
const RARE: [Rule; 6] = [
    Rule::AbortNeedsOpen,
    Rule::RepairNeedsItsPlace,
    Rule::RepairOwnsItsPlace,
    Rule::RepairOfThisLife,
    Rule::OneShardANode,
    Rule::LateIsOfFirstGeneration,
];

#[test]
fn without_any_one_rule_some_seed_goes_wrong() {
    for rule in ALL.into_iter().filter(|rule| !RARE.contains(rule)) {
        let outcomes = run_all(0..400, Rules::without(rule));
        let found = outcomes
            .iter()
            .find_map(|(seed, outcome)| Some((seed, outcome.time, outcome.violation.as_ref()?)));
        let Some((seed, time, what)) = found else {
            panic!("no seed notices that {rule:?} is broken");
        };
        println!("without {rule:?}: seed {seed}, {time} ms: {what}");
    }
}
