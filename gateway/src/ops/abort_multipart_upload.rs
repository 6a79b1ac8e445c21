//! AbortMultipartUpload: the parts are let go.

use std::sync::Arc;

use s3s::dto::{AbortMultipartUploadInput, AbortMultipartUploadOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::not_implemented;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = request.input;
    let expected_owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, expected_owner).await?;
    Ask::object(caller, &bucket, Action::AbortMultipartUpload, &input.key).check()?;
    if input.if_match_initiated_time.is_some() {
        return Err(not_implemented("Aborting by the time of the beginning"));
    }
    let key = input.key.into_bytes();
    gateway.meta.abort_upload(bucket.id, key, input.upload_id, gateway.not_before()).await?;
    let output = AbortMultipartUploadOutput::default();
    Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
}
