//! Object lock: what a request asks for, what a bucket gives by default, and
//! which changes of a lock may be made. Pure; the lock itself is enforced by
//! `meta`, in the transaction that would remove a version.

use http::HeaderMap;
use s3s::dto::{
    DefaultRetention, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode,
    ObjectLockRetention, ObjectLockRetentionMode, Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::error::{custom, refuse};
use crate::meta::{Bucket, Lock, LockMode, MetaError, Millis};

const DAY_MS: Millis = 24 * 3600 * 1000;

/// The lock of a new version: what the headers ask for, or the bucket's default.
pub fn of_new(bucket: &Bucket, headers: &HeaderMap, now: Millis) -> S3Result<Lock> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let mode = text("x-amz-object-lock-mode");
    let until = text("x-amz-object-lock-retain-until-date");
    let hold = text("x-amz-object-lock-legal-hold");
    let Some(configured) = &bucket.config.object_lock else {
        if mode.is_some() || until.is_some() || hold.is_some() {
            return Err(not_configured());
        }
        return Ok(Lock::default());
    };
    let retention = match (mode, until) {
        (None, None) => {
            let rule = configured.rule.as_ref().and_then(|rule| rule.default_retention.as_ref());
            rule.and_then(|rule| by_default(rule, now))
        }
        (Some(mode), Some(until)) => {
            let until = Timestamp::parse(s3s::dto::TimestampFormat::DateTime, until);
            let until = until
                .map_err(|_| bad("The retain until date must be provided in ISO 8601 format"))?;
            Some((parse_mode(mode)?, future(&until, now)?))
        }
        _ => {
            return Err(bad(
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            ));
        }
    };
    let legal_hold = match hold {
        None | Some("OFF") => false,
        Some("ON") => true,
        Some(_) => return Err(bad("Legal Hold must be either of 'ON' or 'OFF'")),
    };
    Ok(Lock { retention, legal_hold })
}

fn bad(message: &'static str) -> S3Error {
    refuse(S3ErrorCode::InvalidArgument, message)
}

/// What is said of a lock in a bucket that has none.
pub fn not_configured() -> S3Error {
    refuse(S3ErrorCode::InvalidRequest, "Bucket is missing Object Lock Configuration")
}

fn parse_mode(mode: &str) -> S3Result<LockMode> {
    match mode {
        "GOVERNANCE" => Ok(LockMode::Governance),
        "COMPLIANCE" => Ok(LockMode::Compliance),
        _ => Err(bad("Unknown wormMode directive.")),
    }
}

fn future(until: &Timestamp, now: Millis) -> S3Result<Millis> {
    let until = millis(until);
    if until <= now {
        return Err(bad("The retain until date must be in the future!"));
    }
    Ok(until)
}

fn millis(time: &Timestamp) -> Millis {
    let time: time::OffsetDateTime = time.clone().into();
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

/// Mode and date of a bucket's default retention.
fn by_default(rule: &DefaultRetention, now: Millis) -> Option<(LockMode, Millis)> {
    let mode = parse_mode(rule.mode.as_ref()?.as_str()).ok()?;
    let days = match (rule.days, rule.years) {
        (Some(days), _) => i64::from(days),
        (None, Some(years)) => i64::from(years) * 365,
        (None, None) => return None,
    };
    Some((mode, now.saturating_add(days.saturating_mul(DAY_MS))))
}

/// Checks a bucket's default: a mode and one positive length.
pub fn check_default(rule: &DefaultRetention) -> S3Result<()> {
    let malformed = || {
        refuse(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    };
    let mode = rule.mode.as_ref().ok_or_else(malformed)?;
    parse_mode(mode.as_str()).map_err(|_| malformed())?;
    match (rule.days, rule.years) {
        (Some(days), None) if (1..=36_500).contains(&days) => Ok(()),
        (None, Some(years)) if (1..=100).contains(&years) => Ok(()),
        (Some(_), Some(_)) | (None, None) => Err(malformed()),
        _ => Err(custom(
            "InvalidRetentionPeriod",
            http::StatusCode::BAD_REQUEST,
            "Default retention period must be a positive integer value",
        )),
    }
}

/// The retention that a document asks for; none lifts it.
pub fn asked(
    document: Option<&ObjectLockRetention>,
    now: Millis,
) -> S3Result<Option<(LockMode, Millis)>> {
    let malformed = || {
        refuse(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    };
    let Some(document) = document else { return Ok(None) };
    match (&document.mode, &document.retain_until_date) {
        (None, None) => Ok(None),
        (Some(mode), Some(until)) => {
            let mode = parse_mode(mode.as_str()).map_err(|_| malformed())?;
            Ok(Some((mode, future(until, now)?)))
        }
        _ => Err(malformed()),
    }
}

/// Whether retention may be changed from `old` to `new`: it may be made longer;
/// GOVERNANCE may become anything by who may bypass it.
pub fn check_change(
    old: Option<(LockMode, Millis)>,
    new: Option<(LockMode, Millis)>,
    bypass: bool,
    now: Millis,
) -> Result<(), MetaError> {
    let Some((mode, until)) = old.filter(|(_, until)| now < *until) else { return Ok(()) };
    let stricter = new.is_some_and(|(new_mode, new_until)| until <= new_until && new_mode == mode);
    if stricter || (mode == LockMode::Governance && bypass) {
        return Ok(());
    }
    Err(MetaError::Locked)
}

/// Retention as S3 types have it.
pub fn to_retention(lock: &Lock) -> Option<ObjectLockRetention> {
    let (mode, until) = lock.retention?;
    Some(ObjectLockRetention {
        mode: Some(ObjectLockRetentionMode::from_static(name(mode))),
        retain_until_date: Some(super::timestamp(until)),
    })
}

/// The mode, date and hold as headers of an answer have them.
pub fn told(
    lock: &Lock,
    bucket: &Bucket,
) -> (Option<ObjectLockMode>, Option<Timestamp>, Option<ObjectLockLegalHoldStatus>) {
    if bucket.config.object_lock.is_none() {
        return (None, None, None);
    }
    let mode = lock.retention.map(|(mode, _)| ObjectLockMode::from_static(name(mode)));
    let until = lock.retention.map(|(_, until)| super::timestamp(until));
    let hold = lock.legal_hold.then(|| ObjectLockLegalHoldStatus::from_static("ON"));
    (mode, until, hold)
}

/// The legal hold as a document has it.
pub fn to_hold(lock: &Lock) -> ObjectLockLegalHold {
    let status = if lock.legal_hold { "ON" } else { "OFF" };
    ObjectLockLegalHold { status: Some(ObjectLockLegalHoldStatus::from_static(status)) }
}

fn name(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => ObjectLockMode::GOVERNANCE,
        LockMode::Compliance => ObjectLockMode::COMPLIANCE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn z14_retention_only_gets_longer() {
        use LockMode::{Compliance, Governance};
        let allowed = |old, new, bypass| check_change(old, new, bypass, 100).is_ok();
        assert!(allowed(None, Some((Compliance, 200)), false));
        assert!(allowed(Some((Governance, 200)), Some((Governance, 200)), false));
        assert!(!allowed(Some((Governance, 200)), Some((Compliance, 300)), false));
        assert!(allowed(Some((Governance, 200)), Some((Compliance, 300)), true));
        assert!(!allowed(Some((Governance, 200)), Some((Governance, 199)), false));
        assert!(!allowed(Some((Governance, 200)), None, false));
        assert!(allowed(Some((Governance, 200)), None, true));
        assert!(!allowed(Some((Compliance, 200)), Some((Governance, 300)), true));
        assert!(!allowed(Some((Compliance, 200)), Some((Compliance, 199)), true));
        assert!(!allowed(Some((Compliance, 200)), None, true));
        assert!(allowed(Some((Compliance, 100)), None, false), "it is over");
    }

    #[test]
    fn z14_a_lock_forbids_deletion() {
        let lock = |retention, legal_hold| Lock { retention, legal_hold };
        let governance = lock(Some((LockMode::Governance, 200)), false);
        assert!(!governance.allows_deletion(false, 199));
        assert!(governance.allows_deletion(true, 199));
        assert!(governance.allows_deletion(false, 200));
        let compliance = lock(Some((LockMode::Compliance, 200)), false);
        assert!(!compliance.allows_deletion(true, 199));
        let held = lock(None, true);
        assert!(!held.allows_deletion(true, i64::MAX));
    }
}
