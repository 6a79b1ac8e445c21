//! GetObjectLegalHold: whether a version is held.

use std::sync::Arc;

use s3s::dto::{GetObjectLegalHoldInput, GetObjectLegalHoldOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::lock;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetObjectLegalHoldInput>,
) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, owner).await?;
    let id = input.version_id.as_deref();
    let action = Action::GetObjectLegalHold;
    let ask = Ask::object(caller, &bucket, action, &input.key);
    let version = access::version(gateway, ask, id).await?;
    if bucket.config.object_lock.is_none() {
        return Err(lock::not_configured());
    }
    let legal_hold = Some(lock::to_hold(&version.lock));
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold }))
}
