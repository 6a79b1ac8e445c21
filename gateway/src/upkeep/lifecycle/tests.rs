//! What lifecycle rules mean, each case in a line.

use s3s::dto::{
    AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration, Tag, Timestamp,
    Transition, TransitionStorageClass,
};

use super::rules::{common_prefix, decide, expiry, is_upload_over};
use super::*;
use crate::meta::{Attributes, Lock, LockMode, Millis};

const DAY: Millis = 24 * 3600 * 1000;
/// Half past ten in the morning.
const MORNING: Millis = 100 * DAY + 10 * 3600 * 1000 + 1_800_000;

fn rule(id: &str) -> LifecycleRule {
    LifecycleRule {
        abort_incomplete_multipart_upload: None,
        expiration: None,
        filter: Some(LifecycleRuleFilter::default()),
        id: Some(id.to_owned()),
        noncurrent_version_expiration: None,
        noncurrent_version_transitions: None,
        prefix: None,
        status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
        transitions: None,
    }
}

fn expires(id: &str, days: i32) -> LifecycleRule {
    let expiration = LifecycleExpiration { days: Some(days), ..LifecycleExpiration::default() };
    LifecycleRule { expiration: Some(expiration), ..rule(id) }
}

fn noncurrent(days: i32, newer: Option<i32>) -> LifecycleRule {
    let expiration = NoncurrentVersionExpiration {
        noncurrent_days: Some(days),
        newer_noncurrent_versions: newer,
    };
    LifecycleRule { noncurrent_version_expiration: Some(expiration), ..rule("n") }
}

fn rules(rules: Vec<LifecycleRule>) -> BucketLifecycleConfiguration {
    BucketLifecycleConfiguration { rules }
}

fn version(modified_ms: Millis) -> Version {
    Version {
        id: 1,
        version_id: "v".into(),
        latest: true,
        delete_marker: false,
        size: 100,
        etag: "e".into(),
        modified_ms,
        attributes: Attributes::default(),
        owner: None,
        lock: Lock::default(),
    }
}

fn tag(key: &str, value: &str) -> Tag {
    Tag { key: Some(key.into()), value: Some(value.into()) }
}

fn action(
    rules: &BucketLifecycleConfiguration,
    version: &Version,
    standing: Standing,
    now: Millis,
) -> Option<Action> {
    decide(rules, b"logs/a", version, standing, Clock::real(now)).map(|decision| decision.action)
}

const LATEST: Standing = Standing { noncurrent_since: None, newer_noncurrent: 0, is_alone: true };

#[test]
fn days_count_to_the_next_midnight() {
    let rules = rules(vec![expires("r", 3)]);
    let due = |at| expiry(&rules, b"k", &version(at), Clock::real(0)).unwrap().0;
    assert_eq!(due(MORNING), 104 * DAY);
    assert_eq!(due(100 * DAY), 103 * DAY, "midnight is midnight");
    assert_eq!(action(&rules, &version(MORNING), LATEST, 104 * DAY - 1), None);
    assert_eq!(action(&rules, &version(MORNING), LATEST, 104 * DAY), Some(Action::Expire));
    // Where a day lasts a second, it is counted exactly.
    let clock = |now| Clock::new(now, std::time::Duration::from_secs(1));
    let decided = |now| decide(&rules, b"k", &version(MORNING), LATEST, clock(now)).is_some();
    assert!(!decided(MORNING + 2999) && decided(MORNING + 3000));
}

#[test]
fn a_date_is_a_date() {
    let date = Timestamp::from(time::OffsetDateTime::from_unix_timestamp(200 * 86_400).unwrap());
    let expiration = LifecycleExpiration { date: Some(date), ..LifecycleExpiration::default() };
    let rules = rules(vec![LifecycleRule { expiration: Some(expiration), ..rule("d") }]);
    assert_eq!(action(&rules, &version(0), LATEST, 200 * DAY - 1), None);
    assert_eq!(action(&rules, &version(199 * DAY), LATEST, 200 * DAY), Some(Action::Expire));
}

#[test]
fn the_first_rule_to_expire_something_wins() {
    let mut off = expires("off", 1);
    off.status = ExpirationStatus::from_static(ExpirationStatus::DISABLED);
    let rules = rules(vec![expires("late", 9), expires("early", 2), off, expires("later", 5)]);
    let found = expiry(&rules, b"k", &version(100 * DAY), Clock::real(0));
    assert_eq!(found, Some((102 * DAY, "early")));
}

#[test]
fn a_filter_takes_what_has_all_it_asks_for() {
    let takes = |filter: LifecycleRuleFilter, key: &[u8], version: &Version| {
        let rules = rules(vec![LifecycleRule { filter: Some(filter), ..expires("r", 1) }]);
        expiry(&rules, key, version, Clock::real(0)).is_some()
    };
    let mut tagged = version(0);
    tagged.attributes.tags = vec![("a".into(), "1".into()), ("b".into(), "2".into())];
    let none = LifecycleRuleFilter::default;
    let prefix = || LifecycleRuleFilter { prefix: Some("logs/".into()), ..none() };
    assert!(takes(prefix(), b"logs/a", &tagged) && !takes(prefix(), b"log", &tagged));
    let by_tag = |value| LifecycleRuleFilter { tag: Some(tag("a", value)), ..none() };
    assert!(takes(by_tag("1"), b"k", &tagged) && !takes(by_tag("2"), b"k", &tagged));
    assert!(!takes(by_tag("1"), b"k", &version(0)));
    let larger = |size| LifecycleRuleFilter { object_size_greater_than: Some(size), ..none() };
    assert!(takes(larger(99), b"k", &tagged) && !takes(larger(100), b"k", &tagged));
    let smaller = |size| LifecycleRuleFilter { object_size_less_than: Some(size), ..none() };
    assert!(takes(smaller(101), b"k", &tagged) && !takes(smaller(100), b"k", &tagged));
    let and = |prefix: &str, tags: Vec<Tag>| LifecycleRuleFilter {
        and: Some(LifecycleRuleAndOperator {
            prefix: Some(prefix.into()),
            tags: Some(tags),
            object_size_greater_than: Some(10),
            ..LifecycleRuleAndOperator::default()
        }),
        ..none()
    };
    assert!(takes(and("l", vec![tag("a", "1"), tag("b", "2")]), b"logs", &tagged));
    assert!(!takes(and("l", vec![tag("a", "1"), tag("b", "3")]), b"logs", &tagged));
    assert!(!takes(and("x", vec![tag("a", "1")]), b"logs", &tagged));
}

#[test]
fn a_delete_marker_goes_when_nothing_is_below_it() {
    let marker = Version { delete_marker: true, ..version(MORNING) };
    let expiration = LifecycleExpiration {
        expired_object_delete_marker: Some(true),
        ..LifecycleExpiration::default()
    };
    let at_once = rules(vec![LifecycleRule { expiration: Some(expiration), ..rule("m") }]);
    assert_eq!(action(&at_once, &marker, LATEST, MORNING), Some(Action::Remove));
    let below = Standing { is_alone: false, ..LATEST };
    assert_eq!(action(&at_once, &marker, below, MORNING), None);
    assert_eq!(action(&at_once, &version(0), LATEST, MORNING), None, "it is no marker");
    let by_age = rules(vec![expires("r", 3)]);
    assert_eq!(action(&by_age, &marker, LATEST, MORNING), None);
    assert_eq!(action(&by_age, &marker, LATEST, 104 * DAY), Some(Action::Remove));
    let filter = LifecycleRuleFilter { tag: Some(tag("a", "1")), ..Default::default() };
    let by_tag = rules(vec![LifecycleRule { filter: Some(filter), ..expires("r", 3) }]);
    assert_eq!(action(&by_tag, &marker, LATEST, 104 * DAY), None, "a marker has no tags");
}

#[test]
fn noncurrent_versions_age_from_when_they_were_replaced() {
    let at = |newer_noncurrent| Standing {
        noncurrent_since: Some(MORNING),
        newer_noncurrent,
        is_alone: false,
    };
    let plain = rules(vec![noncurrent(3, None), expires("latest only", 1)]);
    let old = Version { latest: false, ..version(0) };
    assert_eq!(action(&plain, &old, at(0), 104 * DAY - 1), None);
    assert_eq!(action(&plain, &old, at(0), 104 * DAY), Some(Action::Remove));
    let keeping = rules(vec![noncurrent(3, Some(2))]);
    assert_eq!(action(&keeping, &old, at(1), 200 * DAY), None);
    assert_eq!(action(&keeping, &old, at(2), 200 * DAY), Some(Action::Remove));
    let marker = Version { delete_marker: true, ..old };
    assert_eq!(action(&plain, &marker, at(0), 104 * DAY), Some(Action::Remove));
}

#[test]
fn z14_rules_leave_locked_versions_alone() {
    let since = Standing { noncurrent_since: Some(0), ..Standing::default() };
    let rules = rules(vec![noncurrent(1, None)]);
    let with = |retention, legal_hold| Version {
        latest: false,
        lock: Lock { retention, legal_hold },
        ..version(0)
    };
    for mode in [LockMode::Governance, LockMode::Compliance] {
        let locked = with(Some((mode, 50 * DAY)), false);
        assert_eq!(action(&rules, &locked, since, 50 * DAY - 1), None, "{mode:?}");
        assert_eq!(action(&rules, &locked, since, 50 * DAY), Some(Action::Remove), "{mode:?}");
    }
    assert_eq!(action(&rules, &with(None, true), since, 1000 * DAY), None);
}

#[test]
fn transitions_change_labels_that_are_kept_here() {
    let to = |days, class: &'static str| Transition {
        days: Some(days),
        date: None,
        storage_class: Some(TransitionStorageClass::from_static(class)),
    };
    let transitions = vec![to(1, "STANDARD_IA"), to(5, "ONEZONE_IA"), to(9, "GLACIER")];
    let moves = LifecycleRule { transitions: Some(transitions), ..rule("t") };
    let rules = rules(vec![moves, expires("r", 30)]);
    let relabel = |class: &str| Some(Action::Relabel(class.to_owned()));
    let mut object = version(0);
    assert_eq!(action(&rules, &object, LATEST, DAY - 1), None);
    assert_eq!(action(&rules, &object, LATEST, DAY), relabel("STANDARD_IA"));
    assert_eq!(action(&rules, &object, LATEST, 20 * DAY), relabel("ONEZONE_IA"));
    object.attributes.storage_class = Some("ONEZONE_IA".into());
    assert_eq!(action(&rules, &object, LATEST, 20 * DAY), None, "it has it already");
    assert_eq!(action(&rules, &object, LATEST, 30 * DAY), Some(Action::Expire));
}

#[test]
fn uploads_that_were_not_completed_are_given_up() {
    let abort = AbortIncompleteMultipartUpload { days_after_initiation: Some(2) };
    let filter = LifecycleRuleFilter { prefix: Some("logs/".into()), ..Default::default() };
    let rules = rules(vec![LifecycleRule {
        abort_incomplete_multipart_upload: Some(abort),
        filter: Some(filter),
        ..rule("a")
    }]);
    let is_over = |key: &[u8], now| is_upload_over(&rules, key, MORNING, Clock::real(now));
    assert!(!is_over(b"logs/a", 103 * DAY - 1) && is_over(b"logs/a", 103 * DAY));
    assert!(!is_over(b"other", 103 * DAY));
}

#[test]
fn only_keys_that_a_rule_can_mean_are_gone_through() {
    let with = |prefixes: &[&str]| {
        let rule = |prefix: &&str| LifecycleRule {
            filter: None,
            prefix: Some((*prefix).to_owned()),
            ..expires("r", 1)
        };
        common_prefix(&rules(prefixes.iter().map(rule).collect())).to_owned()
    };
    assert_eq!(with(&["logs/a/", "logs/b/"]), "logs/");
    assert_eq!(with(&["logs/"]), "logs/");
    assert_eq!(with(&["logs/", ""]), "");
    assert_eq!(with(&["aä", "aö"]), "a", "characters are not cut");
}

#[test]
fn a_walk_says_where_each_version_stands() {
    let listed = |key: &str, modified_ms| Listed { key: key.into(), version: version(modified_ms) };
    let mut walk = Walk::default();
    let all = [listed("a", 9), listed("a", 5), listed("a", 3), listed("b", 7)];
    let mut seen: Vec<_> = all.into_iter().filter_map(|listed| walk.next(listed)).collect();
    seen.extend(walk.end());
    let standings: Vec<_> = seen.into_iter().map(|(_, standing)| standing).collect();
    let behind = |since, newer_noncurrent| Standing {
        noncurrent_since: Some(since),
        newer_noncurrent,
        is_alone: false,
    };
    let top = Standing { is_alone: false, ..LATEST };
    assert_eq!(standings, [top, behind(9, 0), behind(5, 1), LATEST]);
}

#[test]
fn configurations_that_mean_nothing_are_refused() {
    let code = |rules: Vec<LifecycleRule>| {
        let mut config = BucketLifecycleConfiguration { rules };
        let checked = check::check(&mut config);
        checked.err().map(|error| error.code().as_str().to_owned()).unwrap_or_default()
    };
    assert_eq!(code(vec![expires("a", 1), expires("b", 1)]), "");
    assert_eq!(code(vec![]), "MalformedXML");
    assert_eq!(code(vec![expires("a", 1), expires("a", 2)]), "InvalidArgument");
    assert_eq!(code(vec![expires(&"a".repeat(256), 1)]), "InvalidArgument");
    assert_eq!(code(vec![expires("a", 0)]), "InvalidArgument");
    assert_eq!(code(vec![rule("a")]), "InvalidRequest", "it does nothing");
    assert_eq!(code(vec![LifecycleRule { filter: None, ..expires("a", 1) }]), "MalformedXML");
    let both = LifecycleRule { prefix: Some("p".into()), ..expires("a", 1) };
    assert_eq!(code(vec![both]), "MalformedXML");
    let mut enabled = expires("a", 1);
    enabled.status = ExpirationStatus::from_static("enabled");
    assert_eq!(code(vec![enabled]), "MalformedXML");
    let date = Timestamp::from(time::OffsetDateTime::from_unix_timestamp(20_200_101).unwrap());
    let expiration = LifecycleExpiration { date: Some(date), ..LifecycleExpiration::default() };
    let noon = LifecycleRule { expiration: Some(expiration), ..rule("a") };
    assert_eq!(code(vec![noon]), "InvalidArgument");
    let mut config = rules(vec![LifecycleRule { id: None, ..expires("", 1) }]);
    check::check(&mut config).unwrap();
    assert!(config.rules[0].id.as_ref().is_some_and(|id| !id.is_empty()));
}
