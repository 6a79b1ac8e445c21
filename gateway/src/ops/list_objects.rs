//! ListObjects, the first version: the marker is a key.

use std::sync::Arc;

use s3s::dto::{ListObjectsInput, ListObjectsOutput, Owner};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use super::listing::{Encoding, limit, object, prefixes};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::{ListPage, ListQuery, canonical_id};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
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
    let query = ListQuery {
        bucket: bucket.id,
        prefix: input.prefix.clone().unwrap_or_default().into_bytes(),
        delimiter: input.delimiter.clone().unwrap_or_default().into_bytes(),
        after: input.marker.clone().unwrap_or_default().into_bytes(),
        limit: max,
    };
    let ListPage { items, prefixes: common, next } = gateway.meta.list(&query).await?;
    let account = gateway.meta.account(bucket.account).await?;
    let owner =
        Owner { id: Some(canonical_id(bucket.account)), display_name: Some(account.display_name) };
    let show = |text: &String| encoding.show(text.as_bytes());
    let is_truncated = next.is_some();
    // Without a delimiter clients go on from the last key.
    let next_marker = next.filter(|_| !query.delimiter.is_empty());
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(show(&input.prefix.unwrap_or_default())),
        marker: Some(show(&input.marker.unwrap_or_default())),
        delimiter: input.delimiter.filter(|delimiter| !delimiter.is_empty()).as_ref().map(show),
        max_keys: i32::try_from(max).ok(),
        is_truncated: Some(is_truncated),
        next_marker: next_marker.map(|next| encoding.show(&next)),
        encoding_type: input.encoding_type,
        contents: Some(
            items.iter().map(|item| object(item, encoding, Some(owner.clone()))).collect(),
        ),
        common_prefixes: Some(prefixes(&common, encoding)),
        ..ListObjectsOutput::default()
    }))
}
