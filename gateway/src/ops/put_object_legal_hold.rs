//! PutObjectLegalHold: holds a version, or lets it go.

use std::sync::Arc;

use s3s::dto::{PutObjectLegalHoldInput, PutObjectLegalHoldOutput};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::lock;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::refuse;
use crate::gateway::Gateway;
use crate::meta::Version;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutObjectLegalHoldInput>,
) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, owner).await?;
    let id = input.version_id.as_deref();
    let action = Action::PutObjectLegalHold;
    let ask = Ask::object(caller, &bucket, action, &input.key);
    let version = access::version(gateway, ask, id).await?;
    if bucket.config.object_lock.is_none() {
        return Err(lock::not_configured());
    }
    let status = input.legal_hold.and_then(|hold| hold.status);
    let hold = match status.as_ref().map(|status| status.as_str()) {
        Some("ON") => true,
        Some("OFF") => false,
        _ => {
            return Err(refuse(
                S3ErrorCode::MalformedXML,
                "The status of a legal hold is ON or OFF",
            ));
        }
    };
    let change = move |version: &mut Version| {
        version.lock.legal_hold = hold;
        Ok(())
    };
    gateway
        .meta
        .change_version(bucket.id, input.key.into_bytes(), Some(version.version_id), change)
        .await?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}
