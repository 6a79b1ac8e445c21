//! QUIC, simulated from many seeds: what was stored stays, also across a crash;
//! an answer that was cut off is never taken for a whole one; and when the
//! lines are sound again, everybody gets on.
//!
//! `STRATOS_TEST_SCALE` multiplies the seeds; `STRATOS_TEST_SEED` runs from
//! another one. See docs/testing.md.

mod seeds;

use std::collections::BTreeMap;
use std::time::Instant;

use seeds::setting;
use simulation::quic::faults::Trouble;
use simulation::quic::node::Misdeed;
use simulation::quic::world::{Outcome, run};
use simulation::quic::{END, Flaw};

/// Seeds of a usual run.
const SEEDS: u64 = 200;

/// Seeds that failed once.
const REGRESSIONS: [u64; 0] = [];

fn run_all(seeds: impl Iterator<Item = u64>, flaw: Flaw) -> Vec<(u64, Outcome)> {
    seeds::run_all(seeds, |seed| run(seed, flaw), |outcome| outcome.violation.is_some())
}

#[test]
fn what_was_stored_stays_and_no_cut_goes_unnoticed() {
    let first = setting("STRATOS_TEST_SEED").unwrap_or(0);
    let seeds = SEEDS * setting("STRATOS_TEST_SCALE").unwrap_or(1);
    let started = Instant::now();
    let outcomes = run_all(REGRESSIONS.into_iter().chain(first..first + seeds), Flaw::None);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut time, mut recovery) = (0.0, Vec::new());
    for (seed, outcome) in &outcomes {
        if let Some(what) = &outcome.violation {
            panic!("seed {seed}, after {:?}: {what}", outcome.time);
        }
        assert!(outcome.time >= END, "seed {seed} ended after {:?}", outcome.time);
        time += outcome.time.as_secs_f64();
        recovery.push((outcome.recovery, seed));
        for (name, count) in &outcome.counts {
            *counts.entry(name).or_default() += count;
        }
    }
    let speed = time / started.elapsed().as_secs_f64();
    println!("{:.1} hours, {speed:.0} times as fast as they would be", time / 3600.0);
    println!("{counts:?}");
    recovery.sort();
    let [median, worst] = [recovery.len() / 2, recovery.len() - 1].map(|at| recovery[at]);
    println!("everybody got on after {:?}, at worst {:?} (seed {})", median.0, worst.0, worst.1);

    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    let troubles = Trouble::ALL.map(Trouble::name).into_iter();
    let misdeeds = Misdeed::ALL.map(Misdeed::name).into_iter();
    for name in troubles.chain(misdeeds).chain(["put given up", "put again"]) {
        assert!(count(name) >= seeds / 2, "{name} came only {} times", count(name));
    }
    // Faults did what they are for.
    for name in ["datagram lost", "datagram reordered", "datagram late"] {
        assert!(count(name) >= seeds * 50, "{name} only {} times", count(name));
    }
    assert!(count("unsynced write lost") >= seeds / 2, "crashes hit nothing");
    assert!(count("lie noticed") >= seeds / 2, "lies were not noticed");
    let least = seeds * 50;
    assert!(count("stored") > least && count("read") > least, "too little was done");
    assert!(count("deleted") > seeds * 10, "too little was deleted");
}

/// The hash covers when each datagram was sent, when it came and how long it
/// was. Keys and connection ids are random all the same, and change none of it.
#[test]
fn a_seed_has_one_history() {
    for seed in 0..5 {
        let [one, two] = [(); 2].map(|()| run(seed, Flaw::None));
        assert_eq!(one.trace, two.trace, "seed {seed}");
        assert_eq!(one.counts, two.counts, "seed {seed}");
    }
    let [one, two] = [0, 1].map(|seed| run(seed, Flaw::None));
    assert_ne!(one.trace, two.trace);
}

#[test]
fn a_flaw_of_the_node_is_noticed_by_some_seed() {
    let early_stored: &[&str] = &["was stored and is"];
    let early_deleted: &[&str] = &["was deleted and is there", "deleted Done"];
    let cut_body: &[&str] = &["given up", "GivenUp", "should not be there", "already used"];
    let deaf: &[&str] = &["gets nothing done"];
    for (flaw, symptoms) in [
        (Flaw::EarlyStored, early_stored),
        (Flaw::EarlyDeleted, early_deleted),
        (Flaw::KeepsCutBody, cut_body),
        (Flaw::Deaf, deaf),
    ] {
        let outcomes = run_all(0..40, flaw);
        let found = outcomes
            .iter()
            .find_map(|(seed, outcome)| Some((seed, outcome.time, outcome.violation.as_ref()?)));
        let Some((seed, time, what)) = found else { panic!("no seed notices {flaw:?}") };
        println!("{flaw:?}: seed {seed}, {time:?}: {what}");
        let is_expected = symptoms.iter().any(|symptom| what.contains(symptom));
        assert!(is_expected, "{flaw:?} was noticed by something else: {what}");
    }
}
