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

/// A prefix in the old place or a filter with one thing in it (`And` counts as
/// one), and actions that can be had with it.
fn check_filter(rule: &LifecycleRule) -> S3Result<()> {
    match (&rule.prefix, &rule.filter) {
        (Some(_), None) => {}
        (None, Some(filter)) if parts_of(filter) <= 1 => {}
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

fn parts_of(filter: &LifecycleRuleFilter) -> usize {
    let parts = [
        filter.and.is_some(),
        filter.prefix.is_some(),
        filter.tag.is_some(),
        filter.object_size_greater_than.is_some(),
        filter.object_size_less_than.is_some(),
    ];
    parts.into_iter().filter(|part| *part).count()
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
