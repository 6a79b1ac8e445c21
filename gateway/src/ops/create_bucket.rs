//! CreateBucket.

use std::sync::Arc;

use s3s::dto::{BucketCannedACL, CreateBucketInput, CreateBucketOutput};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access;
use crate::auth::identity::Caller;
use crate::error::{not_implemented, refuse};
use crate::gateway::{Gateway, now_ms};
use crate::meta::{BucketConfig, MetaError, NewBucket};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let input = request.input;
    check_options(&input)?;
    check_location(gateway, &input)?;
    gateway.funds.check(access::account(caller)?)?;
    let new = NewBucket {
        wrapped_key: gateway.new_bucket_key(&input.bucket),
        name: input.bucket.clone(),
        account: access::account(caller)?,
        config: BucketConfig::default(),
        now_ms: now_ms(),
    };
    let region = &gateway.settings.region;
    match gateway.meta.create_bucket(new).await {
        // As in us-east-1: making one's own bucket again is no error.
        Err(MetaError::BucketExists { own: true }) if region == "us-east-1" => {}
        other => other?,
    }
    let location = Some(format!("/{}", input.bucket));
    Ok(S3Response::new(CreateBucketOutput { location }))
}

fn check_options(input: &CreateBucketInput) -> S3Result<()> {
    let is_private = input.acl.as_ref().is_none_or(|acl| acl.as_str() == BucketCannedACL::PRIVATE);
    let has_grants = input.grant_full_control.is_some()
        || input.grant_read.is_some()
        || input.grant_read_acp.is_some()
        || input.grant_write.is_some()
        || input.grant_write_acp.is_some();
    if !is_private || has_grants {
        return Err(not_implemented("Access control by ACL other than private"));
    }
    if input.object_lock_enabled_for_bucket == Some(true) {
        return Err(not_implemented("Object lock"));
    }
    Ok(())
}

/// The bucket must be meant for this region.
fn check_location(gateway: &Gateway, input: &CreateBucketInput) -> S3Result<()> {
    let configuration = input.create_bucket_configuration.as_ref();
    let constraint = configuration.and_then(|asked| asked.location_constraint.as_ref());
    let Some(constraint) = constraint.map(|asked| asked.as_str()) else { return Ok(()) };
    let ours = [gateway.settings.region.as_str(), "us-east-1", ""];
    if ours.contains(&constraint) {
        return Ok(());
    }
    Err(refuse(
        S3ErrorCode::InvalidLocationConstraint,
        "The specified location-constraint is not valid",
    ))
}
