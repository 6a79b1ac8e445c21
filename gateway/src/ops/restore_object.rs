//! RestoreObject: nothing here is ever archived, so there is nothing to restore.

use std::sync::Arc;

use s3s::dto::{RestoreObjectInput, RestoreObjectOutput};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::{not_implemented, refuse};
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<RestoreObjectInput>,
) -> S3Result<S3Response<RestoreObjectOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, owner).await?;
    let ask = Ask::object(caller, &bucket, Action::RestoreObject, &input.key);
    access::version(gateway, ask, input.version_id.as_deref()).await?;
    if input.restore_request.is_some_and(|asked| asked.select_parameters.is_some()) {
        return Err(not_implemented("S3 Select"));
    }
    Err(refuse(
        S3ErrorCode::InvalidObjectState,
        "Restore is not allowed for the object's current storage class",
    ))
}
