//! What the rules of a lifecycle mean. Pure: rules, an object's versions and a
//! clock go in, what is to be done comes out.
//!
//! An age in days counts to the next midnight UTC, as everywhere in S3. With a
//! debug setting a day is shorter; then it counts exactly. Of several rules
//! that apply the first to expire something wins.
//!
//! A transition to a storage class that is kept here as a label changes the
//! label; one to any other class does nothing. Not here: whether a
//! configuration may be set (`check`), and doing what was decided.

use std::time::Duration;

use s3s::dto::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleRule, Tag, Timestamp,
    TransitionStorageClass,
};

use crate::meta::{Millis, Version};
use crate::ops::wanted::CLASSES;

const DAY_MS: Millis = 24 * 3600 * 1000;

/// What time it is, and how long a day lasts.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    now: Millis,
    day_ms: Millis,
}

impl Clock {
    /// A clock whose days last `day`.
    pub fn new(now: Millis, day: Duration) -> Self {
        let day_ms = i64::try_from(day.as_millis()).unwrap_or(DAY_MS).clamp(1, DAY_MS);
        Self { now, day_ms }
    }

    /// A clock whose days are days.
    pub fn real(now: Millis) -> Self {
        Self { now, day_ms: DAY_MS }
    }

    /// When something of `start` is `days` old.
    fn after(self, start: Millis, days: i32) -> Millis {
        let due = start.saturating_add(self.day_ms.saturating_mul(i64::from(days)));
        if self.day_ms < DAY_MS {
            return due;
        }
        let since_midnight = due.rem_euclid(DAY_MS);
        if since_midnight == 0 { due } else { due.saturating_add(DAY_MS - since_midnight) }
    }
}

/// Where a version stands among the versions of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Since when it is not the latest any more.
    pub noncurrent_since: Option<Millis>,
    /// Versions between it and the latest.
    pub newer_noncurrent: i32,
    /// Whether the key has no other version.
    pub is_alone: bool,
}

/// What is to be done with a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Delete the object, as a client would: where there are versions, a delete
    /// marker is put on top.
    Expire,
    /// Remove this version.
    Remove,
    /// Give it another storage class.
    Relabel(String),
}

/// An action, and the rule that asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'a> {
    /// What to do.
    pub action: Action,
    /// The rule's id.
    pub rule: &'a str,
}

/// Decides about one version.
pub fn decide<'a>(
    rules: &'a BucketLifecycleConfiguration,
    key: &[u8],
    version: &Version,
    standing: Standing,
    clock: Clock,
) -> Option<Decision<'a>> {
    let is_due = |(due, rule): (Millis, &'a str)| (due <= clock.now).then_some(rule);
    let ending = match (standing.noncurrent_since, version.delete_marker) {
        (None, false) => expiry(rules, key, version, clock).and_then(is_due).map(expire),
        (None, true) if standing.is_alone => {
            marker_expiry(rules, key, version, clock).and_then(is_due).map(remove)
        }
        (None, true) => None,
        (Some(since), _) => {
            let due = noncurrent_expiry(rules, key, version, (since, standing), clock);
            // The lock is enforced where versions are removed; to ask in vain
            // each time would only cost.
            let is_free = version.delete_marker || version.lock.allows_deletion(false, clock.now);
            due.and_then(is_due).filter(|_| is_free).map(remove)
        }
    };
    ending.or_else(|| relabel(rules, key, version, standing, clock))
}

fn expire(rule: &str) -> Decision<'_> {
    Decision { action: Action::Expire, rule }
}

fn remove(rule: &str) -> Decision<'_> {
    Decision { action: Action::Remove, rule }
}

/// When the latest version expires, and by which rule.
pub fn expiry<'a>(
    rules: &'a BucketLifecycleConfiguration,
    key: &[u8],
    version: &Version,
    clock: Clock,
) -> Option<(Millis, &'a str)> {
    first(rules, |rule| {
        let expiration = rule.expiration.as_ref()?;
        let due = match (expiration.days, &expiration.date) {
            (Some(days), _) => clock.after(version.modified_ms, days),
            (None, Some(date)) => millis(date),
            (None, None) => return None,
        };
        Filter::of(rule).takes(key, version).then_some(due)
    })
}

/// When a delete marker with nothing below it goes.
fn marker_expiry<'a>(
    rules: &'a BucketLifecycleConfiguration,
    key: &[u8],
    marker: &Version,
    clock: Clock,
) -> Option<(Millis, &'a str)> {
    first(rules, |rule| {
        let expiration = rule.expiration.as_ref()?;
        let due = match (expiration.expired_object_delete_marker, expiration.days) {
            (Some(true), _) => Millis::MIN,
            (_, Some(days)) => clock.after(marker.modified_ms, days),
            (_, None) => millis(expiration.date.as_ref()?),
        };
        Filter::of(rule).takes(key, marker).then_some(due)
    })
}

fn noncurrent_expiry<'a>(
    rules: &'a BucketLifecycleConfiguration,
    key: &[u8],
    version: &Version,
    (since, standing): (Millis, Standing),
    clock: Clock,
) -> Option<(Millis, &'a str)> {
    first(rules, |rule| {
        let expiration = rule.noncurrent_version_expiration.as_ref()?;
        let keep = expiration.newer_noncurrent_versions.unwrap_or(0);
        let due = clock.after(since, expiration.noncurrent_days?);
        let applies = keep <= standing.newer_noncurrent && Filter::of(rule).takes(key, version);
        applies.then_some(due)
    })
}

/// When an upload that was not completed is given up.
pub fn upload_expiry<'a>(
    rules: &'a BucketLifecycleConfiguration,
    key: &[u8],
    created_ms: Millis,
    clock: Clock,
) -> Option<(Millis, &'a str)> {
    first(rules, |rule| {
        let days = rule.abort_incomplete_multipart_upload.as_ref()?.days_after_initiation?;
        let filter = Filter::of(rule);
        let applies = filter.is_of_keys_alone() && key.starts_with(filter.prefix.as_bytes());
        applies.then(|| clock.after(created_ms, days))
    })
}

/// Whether an upload is to be given up now.
pub fn is_upload_over(
    rules: &BucketLifecycleConfiguration,
    key: &[u8],
    created_ms: Millis,
    clock: Clock,
) -> bool {
    upload_expiry(rules, key, created_ms, clock).is_some_and(|(due, _)| due <= clock.now)
}

/// The last storage class that it should have come to by now, if that is not the
/// one it has.
fn relabel<'a>(
    rules: &'a BucketLifecycleConfiguration,
    key: &[u8],
    version: &Version,
    standing: Standing,
    clock: Clock,
) -> Option<Decision<'a>> {
    if version.delete_marker {
        return None;
    }
    let mut last: Option<(Millis, &str, &'a str)> = None;
    for rule in enabled(rules).filter(|rule| Filter::of(rule).takes(key, version)) {
        for (due, class) in transitions(rule, version, standing, clock) {
            let is_later = last.is_none_or(|(other, _, _)| other < due);
            if due <= clock.now && is_later && is_label(class) {
                last = Some((due, class.as_str(), id(rule)));
            }
        }
    }
    let (_, class, rule) = last?;
    let present = version.attributes.storage_class.as_deref().unwrap_or(CLASSES[0]);
    let action = Action::Relabel(class.to_owned());
    (class != present).then_some(Decision { action, rule })
}

fn transitions<'a>(
    rule: &'a LifecycleRule,
    version: &Version,
    standing: Standing,
    clock: Clock,
) -> Vec<(Millis, &'a TransitionStorageClass)> {
    match standing.noncurrent_since {
        None => {
            let transitions = rule.transitions.iter().flatten();
            let due = |days: Option<i32>, date: Option<&Timestamp>| match days {
                Some(days) => Some(clock.after(version.modified_ms, days)),
                None => date.map(millis),
            };
            transitions
                .filter_map(|t| Some((due(t.days, t.date.as_ref())?, t.storage_class.as_ref()?)))
                .collect()
        }
        Some(since) => {
            let transitions = rule.noncurrent_version_transitions.iter().flatten();
            transitions
                .filter(|t| t.newer_noncurrent_versions.unwrap_or(0) <= standing.newer_noncurrent)
                .filter_map(|t| {
                    Some((clock.after(since, t.noncurrent_days?), t.storage_class.as_ref()?))
                })
                .collect()
        }
    }
}

/// Whether a storage class is kept here.
pub fn is_label(class: &TransitionStorageClass) -> bool {
    CLASSES.contains(&class.as_str())
}

/// What all keys that any rule is about begin with.
pub fn common_prefix(rules: &BucketLifecycleConfiguration) -> &str {
    let mut prefixes = enabled(rules).map(|rule| Filter::of(rule).prefix);
    let Some(first) = prefixes.next() else { return "" };
    prefixes.fold(first, |common, prefix| {
        let same = common.bytes().zip(prefix.bytes()).take_while(|(a, b)| a == b).count();
        let same = (0..=same).rev().find(|&at| common.is_char_boundary(at)).unwrap_or(0);
        &common[..same]
    })
}

/// Whether any rule can do anything.
pub fn is_active(rules: &BucketLifecycleConfiguration) -> bool {
    enabled(rules).next().is_some()
}

fn enabled(rules: &BucketLifecycleConfiguration) -> impl Iterator<Item = &LifecycleRule> {
    rules.rules.iter().filter(|rule| rule.status.as_str() == ExpirationStatus::ENABLED)
}

/// The rule by which something is due first.
fn first(
    rules: &BucketLifecycleConfiguration,
    due: impl Fn(&LifecycleRule) -> Option<Millis>,
) -> Option<(Millis, &str)> {
    let dues = enabled(rules).filter_map(|rule| Some((due(rule)?, id(rule))));
    dues.min_by_key(|(due, _)| *due)
}

fn id(rule: &LifecycleRule) -> &str {
    rule.id.as_deref().unwrap_or_default()
}

/// A date as metadata has it.
pub(super) fn millis(date: &Timestamp) -> Millis {
    let date: time::OffsetDateTime = date.clone().into();
    i64::try_from(date.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Which objects a rule is about: all that is asked for must hold.
pub(super) struct Filter<'a> {
    pub prefix: &'a str,
    pub tags: Vec<&'a Tag>,
    pub larger_than: Option<i64>,
    pub smaller_than: Option<i64>,
}

impl<'a> Filter<'a> {
    pub fn of(rule: &'a LifecycleRule) -> Self {
        let filter = rule.filter.as_ref();
        let and = filter.and_then(|filter| filter.and.as_ref());
        let prefix = rule.prefix.as_ref();
        let prefix = prefix.or_else(|| filter?.prefix.as_ref()).or_else(|| and?.prefix.as_ref());
        let tag = filter.and_then(|filter| filter.tag.as_ref());
        Self {
            prefix: prefix.map_or("", String::as_str),
            tags: tag
                .into_iter()
                .chain(and.and_then(|and| and.tags.as_ref()).into_iter().flatten())
                .collect(),
            larger_than: filter
                .and_then(|filter| filter.object_size_greater_than)
                .or_else(|| and?.object_size_greater_than),
            smaller_than: filter
                .and_then(|filter| filter.object_size_less_than)
                .or_else(|| and?.object_size_less_than),
        }
    }

    /// Whether it asks for nothing but a prefix.
    pub fn is_of_keys_alone(&self) -> bool {
        self.tags.is_empty() && self.larger_than.is_none() && self.smaller_than.is_none()
    }

    fn takes(&self, key: &[u8], version: &Version) -> bool {
        if !key.starts_with(self.prefix.as_bytes()) {
            return false;
        }
        if version.delete_marker {
            // It has neither tags nor a size.
            return self.is_of_keys_alone();
        }
        let size = i64::try_from(version.size).unwrap_or(i64::MAX);
        let has = |tag: &Tag| {
            let (key, value) = (tag.key.as_deref(), tag.value.as_deref().unwrap_or_default());
            version.attributes.tags.iter().any(|(k, v)| Some(k.as_str()) == key && v == value)
        };
        self.larger_than.is_none_or(|bound| bound < size)
            && self.smaller_than.is_none_or(|bound| size < bound)
            && self.tags.iter().all(|tag| has(tag))
    }
}
