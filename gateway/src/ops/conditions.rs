//! Conditional requests: RFC 9110 section 13 with the precedence of S3. Pure.

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use s3s::dto::{ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::error::{not_implemented, refuse};
use crate::meta::{Precondition, Version};
use crate::ops::{etag, timestamp};

/// The conditions of a read, or of the source of a copy.
#[derive(Debug, Default)]
pub struct ReadConditions<'a> {
    /// `If-Match`.
    pub matches: Option<&'a ETagCondition>,
    /// `If-None-Match`.
    pub none_match: Option<&'a ETagCondition>,
    /// `If-Modified-Since`.
    pub modified_since: Option<&'a Timestamp>,
    /// `If-Unmodified-Since`.
    pub unmodified_since: Option<&'a Timestamp>,
}

/// What a read should answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The object.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl ReadConditions<'_> {
    /// Decides. An entity tag condition makes the time condition of its pair
    /// irrelevant.
    pub fn decide(&self, version: &Version) -> Verdict {
        // HTTP dates have whole seconds.
        let modified = timestamp(version.modified_ms / 1000 * 1000);
        if let Some(condition) = self.matches {
            if !holds(condition, &version.etag) {
                return Verdict::Failed;
            }
        } else if self.unmodified_since.is_some_and(|since| modified > *since) {
            return Verdict::Failed;
        }
        if let Some(condition) = self.none_match {
            if holds(condition, &version.etag) {
                return Verdict::NotModified;
            }
        } else if self.modified_since.is_some_and(|since| modified <= *since) {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// The decision as an answer to GET or HEAD.
    pub fn check(&self, version: &Version) -> S3Result<()> {
        match self.decide(version) {
            Verdict::Proceed => Ok(()),
            Verdict::Failed => Err(failed()),
            Verdict::NotModified => {
                let mut error = S3Error::new(S3ErrorCode::NotModified);
                let mut headers = http::HeaderMap::new();
                if let Ok(value) = etag(&version.etag).to_http_header() {
                    headers.insert(http::header::ETAG, value);
                }
                error.set_headers(headers);
                Err(error)
            }
        }
    }

    /// The decision as an answer to a copy: there is no "not modified".
    pub fn check_source(&self, version: &Version) -> S3Result<()> {
        if self.decide(version) == Verdict::Proceed { Ok(()) } else { Err(failed()) }
    }
}

fn failed() -> S3Error {
    refuse(
        S3ErrorCode::PreconditionFailed,
        "At least one of the pre-conditions you specified did not hold",
    )
}

fn holds(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.value() == etag,
    }
}

/// The preconditions of a write.
pub fn write(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<Precondition> {
    if if_match.is_some() && if_none_match.is_some() {
        return Err(not_implemented("If-Match together with If-None-Match on a write"));
    }
    let mut precondition = Precondition {
        matches: if_match.map(|condition| match condition {
            ETagCondition::Any => "*".to_owned(),
            ETagCondition::ETag(etag) => etag.value().to_owned(),
        }),
        ..Precondition::default()
    };
    match if_none_match {
        None => {}
        Some(ETagCondition::Any) => precondition.absent = true,
        Some(ETagCondition::ETag(etag)) => precondition.other_than = Some(etag.value().to_owned()),
    }
    Ok(precondition)
}

/// The same from the headers of a request, where the S3 types have no fields for
/// them.
pub fn write_from_headers(headers: &HeaderMap) -> S3Result<Precondition> {
    let condition = |name: HeaderName| {
        let value = headers.get(&name).filter(|value| !value.is_empty());
        let parsed = value.map(|value| ETagCondition::parse_http_header(value.as_bytes()));
        parsed.transpose().map_err(|_| {
            refuse(S3ErrorCode::InvalidArgument, format!("The value of {name} is no entity tag."))
        })
    };
    write(condition(IF_MATCH)?.as_ref(), condition(IF_NONE_MATCH)?.as_ref())
}

#[cfg(test)]
mod tests {
    use s3s::dto::ETag;

    use super::*;
    use crate::meta::Attributes;

    fn version() -> Version {
        Version {
            id: 1,
            version_id: "null".into(),
            delete_marker: false,
            size: 1,
            etag: "abc".into(),
            modified_ms: 10_500,
            attributes: Attributes::default(),
            latest: true,
            owner: None,
            lock: crate::meta::Lock::default(),
        }
    }

    #[test]
    fn preconditions_of_a_copy_are_in_its_headers() {
        let read = |name: HeaderName, value: &str| {
            let headers = [(name, value.parse().unwrap())].into_iter().collect();
            write_from_headers(&headers).map_err(|error| error.code().as_str().to_owned())
        };
        assert_eq!(read(IF_MATCH, ""), Ok(Precondition::default()));
        assert_eq!(read(IF_NONE_MATCH, "*").map(|it| it.absent), Ok(true));
        assert_eq!(read(IF_MATCH, "\"abc\"").map(|it| it.matches), Ok(Some("abc".to_owned())));
        assert_eq!(read(IF_MATCH, "\"abc"), Err("InvalidArgument".to_owned()));
    }

    #[test]
    fn precedence() {
        let tag = |value: &str| ETagCondition::ETag(ETag::Strong(value.into()));
        let (same, other) = (tag("abc"), tag("x"));
        let (before, at, after) = (timestamp(9_000), timestamp(10_000), timestamp(11_000));
        let none = ReadConditions::default;
        let check = |conditions: ReadConditions<'_>, verdict| {
            assert_eq!(conditions.decide(&version()), verdict, "{conditions:?}");
        };
        check(none(), Verdict::Proceed);
        check(ReadConditions { matches: Some(&same), ..none() }, Verdict::Proceed);
        check(ReadConditions { matches: Some(&ETagCondition::Any), ..none() }, Verdict::Proceed);
        check(ReadConditions { matches: Some(&other), ..none() }, Verdict::Failed);
        check(ReadConditions { none_match: Some(&same), ..none() }, Verdict::NotModified);
        check(ReadConditions { none_match: Some(&other), ..none() }, Verdict::Proceed);
        check(ReadConditions { unmodified_since: Some(&before), ..none() }, Verdict::Failed);
        check(ReadConditions { unmodified_since: Some(&at), ..none() }, Verdict::Proceed);
        check(ReadConditions { modified_since: Some(&before), ..none() }, Verdict::Proceed);
        check(ReadConditions { modified_since: Some(&at), ..none() }, Verdict::NotModified);
        check(ReadConditions { modified_since: Some(&after), ..none() }, Verdict::NotModified);
        // The entity tag decides over the time.
        let both =
            ReadConditions { matches: Some(&same), unmodified_since: Some(&before), ..none() };
        check(both, Verdict::Proceed);
        let both =
            ReadConditions { none_match: Some(&other), modified_since: Some(&after), ..none() };
        check(both, Verdict::Proceed);
    }
}
