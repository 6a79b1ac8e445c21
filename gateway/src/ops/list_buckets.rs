//! ListBuckets: the buckets of the asking account.

use std::sync::Arc;

use s3s::dto::{Bucket, ListBucketsInput, ListBucketsOutput, Owner};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access;
use super::timestamp;
use crate::auth::identity::Caller;
use crate::error::refuse;
use crate::gateway::Gateway;
use crate::meta::canonical_id;

/// Buckets on one page.
const PAGE_MAX: i32 = 10_000;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let input = request.input;
    let region = gateway.settings.region.clone();
    let max = input.max_buckets.unwrap_or(PAGE_MAX);
    if !(1..=PAGE_MAX).contains(&max) {
        return Err(refuse(
            S3ErrorCode::InvalidArgument,
            "Argument max-buckets must be an integer between 1 and 10000",
        ));
    }
    let prefix = input.prefix.unwrap_or_default();
    let after = input.continuation_token.unwrap_or_default();
    let max = u32::try_from(max).unwrap_or(1);
    let elsewhere = input.bucket_region.is_some_and(|asked| asked != region);
    let mut buckets = if elsewhere {
        Vec::new()
    } else {
        gateway.meta.buckets_of(access::account(caller)?, &prefix, &after, max + 1).await?
    };
    let is_truncated = buckets.len() > max as usize;
    buckets.truncate(max as usize);

    let account = gateway.meta.account(access::account(caller)?).await?;
    Ok(S3Response::new(ListBucketsOutput {
        continuation_token: buckets.last().filter(|_| is_truncated).map(|last| last.name.clone()),
        buckets: Some(
            buckets
                .into_iter()
                .map(|bucket| Bucket {
                    name: Some(bucket.name),
                    creation_date: Some(timestamp(bucket.created_ms)),
                    bucket_region: Some(region.clone()),
                })
                .collect(),
        ),
        owner: Some(Owner {
            id: Some(canonical_id(access::account(caller)?)),
            display_name: Some(account.display_name),
        }),
        prefix: Some(prefix).filter(|prefix| !prefix.is_empty()),
    }))
}
