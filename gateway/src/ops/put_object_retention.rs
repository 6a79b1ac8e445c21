//! PutObjectRetention: locks a version until a date.

use std::sync::Arc;

use s3s::dto::{PutObjectRetentionInput, PutObjectRetentionOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::lock;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::{Gateway, now_ms};
use crate::meta::Version;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutObjectRetentionInput>,
) -> S3Result<S3Response<PutObjectRetentionOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, owner).await?;
    let id = input.version_id.as_deref();
    let action = Action::PutObjectRetention;
    let ask = Ask::object(caller, &bucket, action, &input.key);
    let version = access::version(gateway, ask, id).await?;
    if bucket.config.object_lock.is_none() {
        return Err(lock::not_configured());
    }
    let now = now_ms();
    let asked = lock::asked(input.retention.as_ref(), now)?;
    let bypass = input.bypass_governance_retention.unwrap_or(false);
    if bypass {
        let bypassing = Ask::object(caller, &bucket, Action::BypassGovernanceRetention, &input.key);
        bypassing.version(&version).check()?;
    }
    let change = move |version: &mut Version| {
        lock::check_change(version.lock.retention, asked, bypass, now)?;
        version.lock.retention = asked;
        Ok(())
    };
    gateway
        .meta
        .change_version(bucket.id, input.key.into_bytes(), Some(version.version_id), change)
        .await?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}
