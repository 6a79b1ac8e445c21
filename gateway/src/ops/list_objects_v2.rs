//! ListObjectsV2: keys in byte order, page by page.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use s3s::dto::{ListObjectsV2Input, ListObjectsV2Output, Owner};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access;
use super::listing::{Encoding, limit, object, prefixes};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::refuse;
use crate::gateway::Gateway;
use crate::meta::{ListPage, ListQuery, canonical_id};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = request.input;
    let bucket = access::bucket(
        gateway,
        caller,
        &input.bucket,
        input.expected_bucket_owner.as_ref(),
        Action::ListBucket,
    )
    .await?;
    let encoding = Encoding::new(input.encoding_type.as_ref())?;
    let max = limit(input.max_keys, "max-keys")?;
    // An empty token is that of the first page.
    let after = match input.continuation_token.as_deref() {
        Some(token) if !token.is_empty() => parse_token(token)?,
        _ => input.start_after.clone().unwrap_or_default().into_bytes(),
    };
    let query = ListQuery {
        bucket: bucket.id,
        prefix: input.prefix.clone().unwrap_or_default().into_bytes(),
        delimiter: input.delimiter.clone().unwrap_or_default().into_bytes(),
        after,
        limit: max,
    };
    let ListPage { items, prefixes: common, next } = gateway.meta.list(&query).await?;
    let owner = match input.fetch_owner {
        Some(true) => {
            let account = gateway.meta.account(bucket.account).await?;
            let id = Some(canonical_id(bucket.account));
            Some(Owner { id, display_name: Some(account.display_name) })
        }
        _ => None,
    };
    let count = items.len() + common.len();
    let show = |text: &String| encoding.show(text.as_bytes());
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(show(&input.prefix.unwrap_or_default())),
        delimiter: input.delimiter.filter(|delimiter| !delimiter.is_empty()).as_ref().map(show),
        start_after: input.start_after.as_ref().map(show),
        max_keys: i32::try_from(max).ok(),
        key_count: i32::try_from(count).ok(),
        is_truncated: Some(next.is_some()),
        continuation_token: input.continuation_token,
        next_continuation_token: next.map(|next| BASE64_URL_SAFE_NO_PAD.encode(next)),
        encoding_type: input.encoding_type,
        contents: Some(items.iter().map(|item| object(item, encoding, owner.clone())).collect()),
        common_prefixes: Some(prefixes(&common, encoding)),
        ..ListObjectsV2Output::default()
    }))
}

fn parse_token(token: &str) -> S3Result<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(token).ok().filter(|key| !key.is_empty()).ok_or_else(|| {
        refuse(S3ErrorCode::InvalidArgument, "The continuation token provided is incorrect")
    })
}
