//! DeleteObject: the object is gone when this returns; its shards go later.

use std::sync::Arc;

use s3s::dto::{DeleteObjectInput, DeleteObjectOutput, ETagCondition};
use s3s::{S3Request, S3Response, S3Result};

use super::supported::check_version_id;
use crate::auth::identity::Caller;
use crate::error::not_implemented;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let input = request.input;
    let bucket =
        super::bucket(gateway, caller, &input.bucket, input.expected_bucket_owner.as_ref()).await?;
    check_version_id(input.version_id.as_deref())?;
    if input.if_match_size.is_some() || input.if_match_last_modified_time.is_some() {
        return Err(not_implemented("Deleting by size or time"));
    }
    let if_match = input.if_match.map(|condition| match condition {
        ETagCondition::Any => "*".to_owned(),
        ETagCondition::ETag(etag) => etag.into_value(),
    });
    let key = input.key.into_bytes();
    gateway.meta.delete_object(bucket.id, key, if_match, gateway.not_before()).await?;
    Ok(S3Response::with_status(DeleteObjectOutput::default(), http::StatusCode::NO_CONTENT))
}
