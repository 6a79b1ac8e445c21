//! The protocol, searched: as it is nothing goes wrong in any state, and
//! without any one of its rules something does.
//!
//! Release runs raise `STRATOS_TEST_SCALE`; see docs/testing.md.

use simulation::commit::Scenario;
use simulation::commit::state::Kind;
use simulation::explore::{Searched, search};
use simulation::rules::{ALL, Rule, Rules};

const BASE: Scenario = Scenario {
    name: "",
    nodes: 3,
    shards: 3,
    writers: [Some(Kind::Put), None],
    copies: false,
    deletes: false,
    lost_replies: true,
    repairs: 0,
    wipes: 1,
    rules: Rules::KEPT,
};

/// Each is small enough to be searched to its end.
const SCENARIOS: [Scenario; 7] = [
    Scenario { name: "one put, two losses", wipes: 2, deletes: true, ..BASE },
    Scenario {
        name: "two conditional puts and a delete",
        writers: [Some(Kind::PutIfAbsent); 2],
        shards: 2,
        nodes: 2,
        deletes: true,
        ..BASE
    },
    Scenario {
        name: "a multipart upload, its part sent twice",
        writers: [Some(Kind::Part); 2],
        shards: 2,
        nodes: 2,
        deletes: true,
        wipes: 2,
        ..BASE
    },
    Scenario {
        name: "a multipart upload and a put to the same key",
        writers: [Some(Kind::Part), Some(Kind::Put)],
        shards: 2,
        nodes: 2,
        copies: true,
        ..BASE
    },
    Scenario {
        name: "repairs of two shards, two losses",
        nodes: 4,
        shards: 2,
        repairs: 3,
        wipes: 2,
        lost_replies: false,
        deletes: true,
        ..BASE
    },
    Scenario {
        name: "repairs of three shards, two losses",
        nodes: 4,
        repairs: 2,
        wipes: 2,
        lost_replies: false,
        ..BASE
    },
    Scenario {
        name: "two puts, a copy and a delete",
        writers: [Some(Kind::Put); 2],
        shards: 2,
        nodes: 2,
        copies: true,
        deletes: true,
        ..BASE
    },
];

/// Searched to its end, too, where there is a gigabyte and a minute or two.
const LARGE: Scenario =
    Scenario { name: "the same with three shards", shards: 3, nodes: 3, ..SCENARIOS[6] };

const LIMIT: usize = 40_000_000;

fn report(scenario: &Scenario, found: &Searched<simulation::commit::Action>) {
    println!("{}: {} states, {} steps", scenario.name, found.states, found.steps);
    if let Some(violation) = &found.violation {
        println!("  {}", violation.what);
        println!("  {:?}", violation.trace);
    }
}

/// How much more than usual is tried.
fn scale() -> u64 {
    std::env::var("STRATOS_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

#[test]
fn nothing_goes_wrong_in_any_state() {
    let mut states = 0;
    let large = (scale() > 1).then_some(&LARGE);
    for scenario in SCENARIOS.iter().chain(large) {
        let found = search(scenario, LIMIT);
        report(scenario, &found);
        assert!(found.violation.is_none(), "{}", scenario.name);
        assert!(!found.is_cut, "{}", scenario.name);
        states += found.states;
    }
    println!("{states} states in all");
    assert!(states >= 1_000_000, "{states} states are too few to say much");
}

/// The scenario in which a broken rule shows soonest.
fn that_shows(rule: Rule) -> &'static Scenario {
    match rule {
        Rule::ReadsAreVerified
        | Rule::IntentFirst
        | Rule::CommitNeedsOpen
        | Rule::ReceiptsOfThisLife
        | Rule::QuorumAboveData
        | Rule::UnknownDeletesNothing
        | Rule::UnknownClosesUpload => &SCENARIOS[0],
        Rule::ConditionInCommit => &SCENARIOS[1],
        Rule::AbortNeedsOpen => &SCENARIOS[2],
        Rule::CopyNeedsLive | Rule::CondemnUnreferenced => &SCENARIOS[6],
        Rule::RepairNeedsSameGeneration
        | Rule::RepairNeedsItsPlace
        | Rule::RepairOwnsItsPlace
        | Rule::RepairOfThisLife => &SCENARIOS[4],
        Rule::OneShardANode | Rule::CountedIsNotEmptied | Rule::LateIsOfFirstGeneration => {
            &SCENARIOS[5]
        }
    }
}

#[test]
fn without_any_one_rule_something_goes_wrong() {
    // In the model every shard is what it should be.
    for rule in ALL.into_iter().filter(|rule| *rule != Rule::ReadsAreVerified) {
        let broken = Scenario { rules: Rules::without(rule), ..*that_shows(rule) };
        let found = search(&broken, LIMIT);
        println!("without {rule:?}:");
        report(&broken, &found);
        assert!(found.violation.is_some(), "nothing notices that {rule:?} is broken");
    }
    assert_eq!(ALL.len(), Rule::LateIsOfFirstGeneration as usize + 1, "every rule is tried");
}
