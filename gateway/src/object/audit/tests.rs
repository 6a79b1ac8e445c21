use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const NODE: NodeId = NodeId([1; 32]);

fn score_after(failures: u32, of: u32) -> u32 {
    let mut score = Score::default();
    for n in 0..of {
        // Spread evenly.
        score = score.after(n * failures / of == (n + 1) * failures / of);
    }
    score.millionths()
}

#[test]
fn a_score_is_a_million_until_something_fails() {
    assert_eq!(Score::default().millionths(), 1_000_000);
    assert_eq!(score_after(0, 10_000), 1_000_000);
    assert_eq!(Score::default().after(false).millionths(), 999_000);
}

#[test]
fn who_loses_less_than_three_in_a_hundred_stays_and_who_loses_much_goes() {
    assert!(score_after(300, 10_000) >= 960_000);
    assert!(score_after(600, 10_000) < 960_000);
    // All wrong from the start: after 41 audits.
    let mut score = Score::default();
    let fails = (1..).find(|_| {
        score = score.after(false);
        score.millionths() < 960_000
    });
    assert_eq!(fails, Some(41));
}

#[test]
fn a_score_forgets() {
    let mut score = Score::default();
    for _ in 0..20 {
        score = score.after(false);
    }
    let low = score.millionths();
    for _ in 0..3000 {
        score = score.after(true);
    }
    assert!(low < 985_000 && score.millionths() > 998_000);
}

proptest! {
    #[test]
    fn a_score_stays_in_bounds_and_moves_the_right_way(
        outcomes in prop::collection::vec(any::<bool>(), 0..500),
        alpha in 0i64..2_000_000_000, beta in 0i64..2_000_000_000,
    ) {
        let mut score = Score { alpha, beta };
        for good in outcomes {
            let after = score.after(good);
            prop_assert!(after.alpha >= 0 && after.beta >= 0);
            prop_assert!(after.alpha <= 2_000_000_000 && after.beta <= 2_000_000_000);
            // One millionth for rounding.
            if good {
                prop_assert!(after.millionths() + 1 >= score.millionths());
            } else {
                prop_assert!(after.millionths() <= score.millionths() + 1);
            }
            score = after;
        }
    }

    #[test]
    fn every_group_of_a_shard_can_be_asked_for(len in 1u64..100 * GROUP, n in any::<u64>()) {
        let challenge = Challenge::draw(&[7; 32], NODE, n);
        let group = challenge.group(len);
        prop_assert!(group * GROUP < len);
        prop_assert!((1..=GROUP).contains(&group_len(len, group)));
        prop_assert!(challenge.moment(Duration::from_secs(200)) < Duration::from_secs(200));
    }
}

#[test]
fn challenges_differ_by_seed_node_and_number() {
    let draws = [
        Challenge::draw(&[1; 32], NODE, 0),
        Challenge::draw(&[2; 32], NODE, 0),
        Challenge::draw(&[1; 32], NodeId([2; 32]), 0),
        Challenge::draw(&[1; 32], NODE, 1),
    ];
    let points: HashSet<_> = draws.iter().map(|challenge| challenge.point).collect();
    assert_eq!(points.len(), draws.len());
    assert_ne!(seed(&[1; 32], &[2; 32]), seed(&[2; 32], &[1; 32]));
}

#[test]
fn groups_are_asked_for_evenly() {
    let mut counts = [0u32; 10];
    for n in 0..10_000 {
        let group = Challenge::draw(&[3; 32], NODE, n).group(10 * GROUP);
        counts[usize::try_from(group).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
}

/// Three challenges in each of the 144 epochs of a day find the loss of one
/// shard in a hundred with a probability of 0.987.
#[test]
fn the_loss_of_a_hundredth_is_found_within_a_day() {
    let found = (0..2000u64)
        .filter(|&day| {
            (0..432).any(|n| {
                let challenge = Challenge::draw(&[4; 32], NODE, day * 432 + n);
                u128::from_be_bytes(challenge.point) < u128::MAX / 100
            })
        })
        .count();
    assert!((1950..1995).contains(&found), "{found} of 2000");
}

#[test]
fn bytes_are_asked_for_evenly_however_they_are_cut() {
    // One large shard among many small ones holds nearly all the bytes.
    let mut lens = vec![1000; 255];
    lens.insert(100, 16 << 20);
    let of = |n| by_bytes(lens.iter().copied(), Challenge::draw(&[5; 32], NODE, n).pick).unwrap();
    let large = (0..10_000).filter(|&n| of(n) == 100).count();
    assert!((9750..9920).contains(&large), "{large}");
    assert_eq!(by_bytes([7, 7].into_iter(), 0), Some(0));
    assert_eq!(by_bytes([7, 7].into_iter(), u64::MAX), Some(1));
    assert_eq!(by_bytes(std::iter::empty(), 3), None);
}

#[test]
fn a_folder_is_lost_once_and_not_twice() {
    let once = Score::default().wiped();
    assert!((960_000..980_000).contains(&once.millionths()));
    assert!(once.wiped().millionths() < 960_000);
    let later = (0..2000).fold(once, |score, _| score.after(true));
    assert!(later.wiped().millionths() >= 960_000, "it proved itself since");
}

#[track_caller]
fn check(answer: Result<(), NodeError>, want: Outcome) {
    assert_eq!(outcome_of(&answer), want, "{answer:?}");
}

#[test]
fn outcomes_are_kept_apart() {
    check(Ok(()), Outcome::Passed);
    check(Err(NodeError::Offline("cable".into())), Outcome::Offline);
    check(Err(NodeError::Unknown), Outcome::Offline);
    check(Err(NodeError::Refused(Refusal::Stopping)), Outcome::Contained);
    check(Err(NodeError::Timeout), Outcome::Contained);
    check(Err(NodeError::Refused(Refusal::Busy)), Outcome::Contained);
    check(Err(NodeError::Refused(Refusal::CreditExceeded)), Outcome::Contained);
    check(Err(NodeError::Lie("bytes".into())), Outcome::Failed);
    check(Err(NodeError::Refused(Refusal::NotFound)), Outcome::Failed);
    check(Err(NodeError::Refused(Refusal::Disk)), Outcome::Failed);
}

#[test]
fn silence_fails_only_after_it_was_asked_three_times_more() {
    let rules = AuditRules::default();
    for tries in 1..=3 {
        assert_eq!(settle(&rules, Outcome::Contained, tries), Outcome::Contained);
    }
    assert_eq!(settle(&rules, Outcome::Contained, 4), Outcome::Failed);
    assert_eq!(settle(&rules, Outcome::Offline, 9), Outcome::Offline);
    assert_eq!(settle(&rules, Outcome::Passed, 9), Outcome::Passed);
}

#[test]
fn there_is_an_audit_an_hour_at_least() {
    let rules = AuditRules::default();
    let interval =
        |seconds, vetting| rules.interval(Duration::from_secs(seconds), vetting).as_secs();
    assert_eq!(interval(600, false), 200);
    assert_eq!(interval(600, true), 60);
    assert_eq!(interval(86_400, false), 3600);
}
