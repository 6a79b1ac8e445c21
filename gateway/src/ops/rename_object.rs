//! RenameObject, as in S3 Express (`PUT ?renameObject` with
//! `x-amz-rename-source`): one row gets another key, all at once. Only in buckets
//! without versions.

use std::sync::Arc;

use http::HeaderMap;
use s3s::{S3ErrorCode, S3Result};

use super::access::{self, Ask};
use super::conditions;
use super::wanted::check_key;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::refuse;
use crate::gateway::{Gateway, now_ms};
use crate::http::text::percent_decode;
use crate::meta::{Precondition, RenameRequest};

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
    for (action, key) in
        [(Action::GetObject, &source), (Action::DeleteObject, &source), (Action::PutObject, &key)]
    {
        let ask = Ask::object(caller, &bucket, action, key);
        match action {
            Action::PutObject => ask.check()?,
            _ => {
                access::version(gateway, ask, None).await?;
            }
        }
    }
    let tag = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.map(|value| value.trim_matches('"').to_owned())
    };
    let request = RenameRequest {
        bucket: bucket.id,
        from: source.into_bytes(),
        to: key.into_bytes(),
        source: Precondition {
            matches: tag("x-amz-rename-source-if-match"),
            other_than: tag("x-amz-rename-source-if-none-match"),
            ..Precondition::default()
        },
        destination: conditions::write_from_headers(headers)?,
        now_ms: now_ms(),
        grace_ms: gateway.grace_ms(),
    };
    Ok(gateway.meta.rename(request).await?)
}

/// The key that is renamed: `/key` or `/bucket/key`, percent-encoded.
fn source(headers: &HeaderMap, bucket: &str) -> S3Result<String> {
    let invalid = || {
        refuse(S3ErrorCode::InvalidArgument, "x-amz-rename-source must name a key of this bucket")
    };
    let value = headers.get("x-amz-rename-source").and_then(|value| value.to_str().ok());
    let decoded = percent_decode(value.ok_or_else(invalid)?).ok_or_else(invalid)?;
    let key = decoded.strip_prefix('/').unwrap_or(&decoded);
    let key = key.strip_prefix(bucket).and_then(|rest| rest.strip_prefix('/')).unwrap_or(key);
    Ok(key.to_owned())
}
