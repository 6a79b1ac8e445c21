//! RenameObject, as in S3 Express (`PUT ?renameObject` with
//! `x-amz-rename-source`): one row gets another key, all at once. Only in buckets
//! without versions.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE};
use s3s::dto::{ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result};

use super::access::{self, Ask};
use super::conditions::{self, ReadConditions};
use super::wanted::check_key;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::{not_implemented, refuse};
use crate::gateway::{Gateway, now_ms};
use crate::http::text::percent_decode;
use crate::meta::{Precondition, RenameRequest, Version};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    (bucket, key): (&str, String),
    headers: &HeaderMap,
) -> S3Result<()> {
    let bucket = access::find_bucket(gateway, bucket, None).await?;
    check_key(&key)?;
    let source = source(headers, &bucket.name)?;
    check_key(&source)?;
    let ask = |action, key| Ask::object(caller, &bucket, action, key);
    access::version(gateway, ask(Action::DeleteObject, &source), None).await?;
    let found = access::version(gateway, ask(Action::GetObject, &source), None).await?;
    ask(Action::PutObject, &key).check()?;
    let matches = check_source(headers, &found)?;
    let request = RenameRequest {
        bucket: bucket.id,
        from: source.into_bytes(),
        to: key.into_bytes(),
        source: Precondition { matches, ..Precondition::default() },
        destination: destination(headers)?,
        now_ms: now_ms(),
        grace_ms: gateway.grace_ms(),
    };
    Ok(gateway.meta.rename(request).await?)
}

/// Checks the conditions on the source. If there are any, what they held for is
/// what is renamed: the entity tag that it must still have then.
fn check_source(headers: &HeaderMap, source: &Version) -> S3Result<Option<String>> {
    let text = |name: &str| {
        let value = headers.get(format!("x-amz-rename-source-{name}"));
        value.filter(|value| !value.is_empty())
    };
    let invalid = |name: &str| {
        let message = format!("The value of x-amz-rename-source-{name} is not valid.");
        refuse(S3ErrorCode::InvalidArgument, message)
    };
    let tag = |name: &str| {
        let parsed = text(name).map(|value| ETagCondition::parse_http_header(value.as_bytes()));
        parsed.transpose().map_err(|_| invalid(name))
    };
    let time = |name: &str| {
        let parsed = text(name).map(|value| {
            let value = value.to_str().map_err(|_| invalid(name))?;
            Timestamp::parse(TimestampFormat::HttpDate, value).map_err(|_| invalid(name))
        });
        parsed.transpose()
    };
    let (matches, none_match) = (tag("if-match")?, tag("if-none-match")?);
    let (modified, unmodified) = (time("if-modified-since")?, time("if-unmodified-since")?);
    let asked = ReadConditions {
        matches: matches.as_ref(),
        none_match: none_match.as_ref(),
        modified_since: modified.as_ref(),
        unmodified_since: unmodified.as_ref(),
    };
    asked.check_source(source)?;
    let any = matches.is_some() || none_match.is_some() || modified.is_some();
    Ok((any || unmodified.is_some()).then(|| source.etag.clone()))
}

/// What must hold of the object that has the new key.
fn destination(headers: &HeaderMap) -> S3Result<Precondition> {
    if headers.contains_key(IF_MODIFIED_SINCE) || headers.contains_key(IF_UNMODIFIED_SINCE) {
        return Err(not_implemented("A time as the condition of what is replaced"));
    }
    conditions::write_from_headers(headers)
}

/// The key that is renamed, percent-encoded: clients send `key`, `/key` or
/// `/bucket/key`.
fn source(headers: &HeaderMap, bucket: &str) -> S3Result<String> {
    let invalid = || {
        refuse(S3ErrorCode::InvalidArgument, "x-amz-rename-source must name a key of this bucket")
    };
    let value = headers.get("x-amz-rename-source").and_then(|value| value.to_str().ok());
    let decoded = percent_decode(value.ok_or_else(invalid)?).ok_or_else(invalid)?;
    let Some(path) = decoded.strip_prefix('/') else { return Ok(decoded) };
    let key = path.strip_prefix(bucket).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path);
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_a_key_or_a_path() {
        let read = |value: &str| {
            let headers = [("x-amz-rename-source", value)];
            let headers = headers
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
            source(&headers.collect(), "photos").map_err(|error| error.code().as_str().to_owned())
        };
        for (value, key) in [
            ("cat.jpg", "cat.jpg"),
            ("/cat.jpg", "cat.jpg"),
            ("/photos/cat.jpg", "cat.jpg"),
            // Only with a slash in front is it a path.
            ("photos/cat.jpg", "photos/cat.jpg"),
            ("/photos2/cat.jpg", "photos2/cat.jpg"),
            ("a%2Fb%20c", "a/b c"),
        ] {
            assert_eq!(read(value), Ok(key.to_owned()), "{value}");
        }
        assert_eq!(read("%zz"), Err("InvalidArgument".to_owned()));
        assert!(source(&HeaderMap::new(), "photos").is_err());
    }
}
