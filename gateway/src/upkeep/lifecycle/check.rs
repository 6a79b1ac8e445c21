//! Whether a lifecycle configuration may be set. Pure.

use s3s::dto::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::rules::{Filter, is_label, millis};
use crate::error::refuse;

/// Rules in one configuration.
const RULES_MAX: usize = 1000;
/// Longest id of a rule.
const ID_MAX: usize = 255;
const DAY_MS: i64 = 24 * 3600 * 1000;

fn malformed() -> S3Error {
    refuse(
        S3ErrorCode::MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

fn argument(message: &'static str) -> S3Error {
    refuse(S3ErrorCode::InvalidArgument, message)
}

fn request(message: &'static str) -> S3Error {
    refuse(S3ErrorCode::InvalidRequest, message)
}

/// Checks a configuration as it came, and gives ids to rules that have none.
pub fn check(config: &mut BucketLifecycleConfiguration) -> S3Result<()> {
    if config.rules.is_empty() || config.rules.len() > RULES_MAX {
        return Err(malformed());
    }
    for rule in &mut config.rules {
        if rule.id.as_ref().is_none_or(String::is_empty) {
            rule.id = Some(hex::encode(protocol::keys::random::<16>()));
        }
        check_rule(rule)?;
    }
    let mut ids: Vec<_> = config.rules.iter().filter_map(|rule| rule.id.as_deref()).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(argument("Rule ID must be unique. Found same ID for more than one rule"));
    }
    Ok(())
}

fn check_rule(rule: &LifecycleRule) -> S3Result<()> {
    if rule.id.as_ref().is_some_and(|id| id.len() > ID_MAX) {
        return Err(argument("ID length should not exceed allowed limit of 255"));
    }
    if ![ExpirationStatus::ENABLED, ExpirationStatus::DISABLED].contains(&rule.status.as_str()) {
        return Err(malformed());
    }
    check_filter(rule)?;
    check_actions(rule)?;
    let dates = rule.transitions.iter().flatten().filter_map(|t| t.date.as_ref());
    for date in dates.chain(rule.expiration.iter().filter_map(|e| e.date.as_ref())) {
        check_date(date)?;
    }
    let later = rule.noncurrent_version_transitions.iter().flatten();
    let classes = rule.transitions.iter().flatten().map(|t| &t.storage_class);
    for class in classes.chain(later.map(|t| &t.storage_class)) {
        let class = class.as_ref().ok_or_else(malformed)?;
        if !is_label(class) {
            tracing::info!(
                class = class.as_str(),
                "lifecycle: transitions to this storage class do nothing"
            );
        }
    }
    Ok(())
}

/// A prefix in the old place or a filter, and actions that can be had with it.
fn check_filter(rule: &LifecycleRule) -> S3Result<()> {
    match (&rule.prefix, &rule.filter) {
        (Some(_), None) => {}
        (None, Some(filter)) if is_one_filter(filter) => {}
        _ => return Err(malformed()),
    }
    let filter = Filter::of(rule);
    let sizes = filter.larger_than.iter().chain(&filter.smaller_than);
    if sizes.clone().any(|size| *size < 0) {
        return Err(argument("Object sizes of a filter must not be negative"));
    }
    if let (Some(more), Some(less)) = (filter.larger_than, filter.smaller_than)
        && less <= more
    {
        return Err(request(
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'",
        ));
    }
    let marker = rule.expiration.as_ref().and_then(|e| e.expired_object_delete_marker);
    if !filter.is_of_keys_alone() {
        if marker.is_some() {
            return Err(request(
                "ExpiredObjectDeleteMarker cannot be specified with tags or sizes",
            ));
        }
        if rule.abort_incomplete_multipart_upload.is_some() {
            return Err(request(
                "AbortIncompleteMultipartUpload cannot be specified with tags or sizes",
            ));
        }
    }
    Ok(())
}

/// Whether a filter says one thing. S3 wants several parts inside `And`; other
/// gateways take them beside each other, too, and so does this one, as long as no
/// part says something else than its twin: all of them must hold.
fn is_one_filter(filter: &LifecycleRuleFilter) -> bool {
    let Some(and) = &filter.and else { return true };
    let wider = |outer: &String| and.prefix.as_ref().is_none_or(|p| outer.starts_with(p));
    filter.prefix.as_ref().is_none_or(wider)
        && (filter.object_size_greater_than.is_none() || and.object_size_greater_than.is_none())
        && (filter.object_size_less_than.is_none() || and.object_size_less_than.is_none())
}

fn check_actions(rule: &LifecycleRule) -> S3Result<()> {
    let transitions = rule.transitions.iter().flatten();
    let later = rule.noncurrent_version_transitions.iter().flatten();
    if rule.expiration.is_none()
        && rule.noncurrent_version_expiration.is_none()
        && rule.abort_incomplete_multipart_upload.is_none()
        && transitions.clone().count() + later.clone().count() == 0
    {
        return Err(request("At least one action needs to be specified in a rule"));
    }
    if let Some(expiration) = &rule.expiration {
        check_expiration(expiration)?;
    }
    if let Some(noncurrent) = &rule.noncurrent_version_expiration {
        let days = noncurrent.noncurrent_days.ok_or_else(malformed)?;
        positive(
            days,
            "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer",
        )?;
        let newer = noncurrent.newer_noncurrent_versions.unwrap_or(1);
        positive(newer, "'NewerNoncurrentVersions' must be a positive integer")?;
    }
    if let Some(abort) = &rule.abort_incomplete_multipart_upload {
        let days = abort.days_after_initiation.ok_or_else(malformed)?;
        positive(
            days,
            "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer",
        )?;
    }
    for transition in transitions {
        if transition.days.is_some() == transition.date.is_some() {
            return Err(malformed());
        }
        if transition.days.is_some_and(|days| days < 0) {
            return Err(argument("'Days' in Transition action must be nonnegative"));
        }
    }
    for transition in later {
        if transition.noncurrent_days.ok_or_else(malformed)? < 0 {
            return Err(argument(
                "'NoncurrentDays' in NoncurrentVersionTransition action must be nonnegative",
            ));
        }
    }
    Ok(())
}

fn check_expiration(expiration: &LifecycleExpiration) -> S3Result<()> {
    let given = [
        expiration.days.is_some(),
        expiration.date.is_some(),
        expiration.expired_object_delete_marker.is_some(),
    ];
    if given.into_iter().filter(|given| *given).count() != 1 {
        return Err(malformed());
    }
    positive(
        expiration.days.unwrap_or(1),
        "'Days' for Expiration action must be a positive integer",
    )
}

fn positive(number: i32, message: &'static str) -> S3Result<()> {
    if number > 0 { Ok(()) } else { Err(argument(message)) }
}

fn check_date(date: &Timestamp) -> S3Result<()> {
    match millis(date).rem_euclid(DAY_MS) {
        0 => Ok(()),
        _ => Err(argument("'Date' must be at midnight GMT")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The code of the refusal of one rule, or "".
    fn verdict(rule: Value) -> String {
        let rule: LifecycleRule = serde_json::from_value(rule).unwrap();
        code(vec![rule])
    }

    fn code(rules: Vec<LifecycleRule>) -> String {
        let checked = check(&mut BucketLifecycleConfiguration { rules });
        checked.err().map_or_else(String::new, |error| error.code().as_str().to_owned())
    }

    /// A rule that is right, with this instead of what it had.
    fn with(changed: Value) -> Value {
        let mut rule = json!({
            "id": "r", "status": "Enabled", "filter": {"prefix": "logs/"}, "expiration": {"days": 1}
        });
        for (name, value) in changed.as_object().unwrap() {
            rule[name] = value.clone();
        }
        rule
    }

    #[test]
    fn rules_that_make_sense_pass() {
        let and = json!({"prefix": "a", "tags": [{"key": "k", "value": "v"}]});
        for changed in [
            json!({}),
            json!({"status": "Disabled"}),
            json!({"filter": {}}),
            json!({"filter": null, "prefix": ""}),
            json!({"filter": {"tag": {"key": "k", "value": "v"}}}),
            json!({"filter": {"and": and}}),
            // Not in AWS, but it can only mean one thing.
            json!({"filter": {"prefix": "abc", "object_size_greater_than": 10}}),
            json!({"filter": {"prefix": "abc", "and": and}}),
            json!({"expiration": {"expired_object_delete_marker": true}}),
            json!({"noncurrent_version_expiration":
                {"noncurrent_days": 1, "newer_noncurrent_versions": 3}}),
            json!({"expiration": null, "abort_incomplete_multipart_upload":
                {"days_after_initiation": 1}}),
        ] {
            assert_eq!(verdict(with(changed.clone())), "", "{changed}");
        }
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let tag = json!({"key": "k", "value": "v"});
        for (changed, code) in [
            (json!({"status": "enabled"}), "MalformedXML"),
            (json!({"id": "x".repeat(256)}), "InvalidArgument"),
            (json!({"prefix": "a"}), "MalformedXML"),
            (json!({"filter": null}), "MalformedXML"),
            (json!({"filter": {"prefix": "b", "and": {"prefix": "a"}}}), "MalformedXML"),
            (json!({"filter": {"object_size_greater_than": -1}}), "InvalidArgument"),
            (
                json!({"filter": {"and":
                    {"object_size_greater_than": 5, "object_size_less_than": 5}}}),
                "InvalidRequest",
            ),
            (json!({"expiration": null}), "InvalidRequest"),
            (json!({"expiration": {}}), "MalformedXML"),
            (json!({"expiration": {"days": 0}}), "InvalidArgument"),
            (json!({"expiration": {"days": -1}}), "InvalidArgument"),
            (
                json!({"expiration": {"days": 1, "expired_object_delete_marker": true}}),
                "MalformedXML",
            ),
            (
                json!({"filter": {"tag": tag},
                    "expiration": {"expired_object_delete_marker": true}}),
                "InvalidRequest",
            ),
            (
                json!({"filter": {"tag": tag},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 1}}),
                "InvalidRequest",
            ),
            (
                json!({"abort_incomplete_multipart_upload": {"days_after_initiation": 0}}),
                "InvalidArgument",
            ),
            (json!({"noncurrent_version_expiration": {}}), "MalformedXML"),
            (json!({"noncurrent_version_expiration": {"noncurrent_days": 0}}), "InvalidArgument"),
        ] {
            assert_eq!(verdict(with(changed.clone())), code, "{changed}");
        }
        assert_eq!(code(vec![]), "MalformedXML");
    }

    #[test]
    fn ids_are_unique_and_given_to_who_has_none() {
        let rule = |changed| serde_json::from_value::<LifecycleRule>(with(changed)).unwrap();
        assert_eq!(code(vec![rule(json!({})), rule(json!({}))]), "InvalidArgument");
        let rules = vec![rule(json!({"id": null})), rule(json!({"id": ""}))];
        let mut config = BucketLifecycleConfiguration { rules };
        check(&mut config).unwrap();
        let ids: Vec<_> = config.rules.iter().filter_map(|rule| rule.id.as_deref()).collect();
        assert!(ids.len() == 2 && ids[0] != ids[1] && !ids[0].is_empty());
    }

    #[test]
    fn dates_are_at_midnight() {
        let on = |date: &str| {
            let date = Timestamp::parse(s3s::dto::TimestampFormat::DateTime, date).unwrap();
            let mut rule: LifecycleRule = serde_json::from_value(with(json!({}))).unwrap();
            rule.expiration =
                Some(LifecycleExpiration { date: Some(date), ..LifecycleExpiration::default() });
            code(vec![rule])
        };
        assert_eq!(on("2030-01-01T00:00:00Z"), "");
        assert_eq!(on("2030-01-01T00:00:01Z"), "InvalidArgument");
        assert_eq!(on("2030-01-01T12:00:00.000Z"), "InvalidArgument");
    }
}
