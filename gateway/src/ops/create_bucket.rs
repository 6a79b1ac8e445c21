//! CreateBucket: with its ACL, ownership and object lock from the start.

use std::sync::Arc;

use s3s::dto::{
    CreateBucketConfiguration, CreateBucketInput, CreateBucketOutput, ObjectLockConfiguration,
    ObjectLockEnabled,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::{access, acls, checked};
use crate::auth::acl::{Acl, AclRequest};
use crate::auth::authorize::{Access, Action, authorize, bucket_arn};
use crate::auth::identity::Caller;
use crate::auth::policy::Context;
use crate::auth::public_access::{Ownership, PublicAccessBlock};
use crate::auth::request_context;
use crate::error::{custom, refuse};
use crate::gateway::{Gateway, now_ms};
use crate::meta::{BucketConfig, MetaError, NewBucket, canonical_id};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let S3Request { input, headers, .. } = request;
    let account = access::account(caller)?;
    may_create(caller, &input.bucket)?;
    check_name(&input.bucket)?;
    check_location(gateway, input.create_bucket_configuration.as_ref())?;
    let ownership = match &input.object_ownership {
        Some(asked) => Some(checked::parse_ownership(asked.as_str()).ok_or_else(|| {
            refuse(S3ErrorCode::InvalidArgument, "Invalid x-amz-object-ownership header")
        })?),
        None => None,
    };
    let asked = acls::from_headers(gateway, &headers).await?;
    let config = BucketConfig {
        acl: acl(&asked, ownership, &canonical_id(account))?,
        ownership,
        object_lock: input.object_lock_enabled_for_bucket.unwrap_or(false).then(locked),
        ..BucketConfig::default()
    };
    gateway.check_write(account)?;
    let new_acl = config.acl.clone();
    let new = NewBucket {
        wrapped_key: gateway.new_bucket_key(&input.bucket),
        name: input.bucket.clone(),
        account,
        config,
        now_ms: now_ms(),
    };
    match gateway.meta.create_bucket(new).await {
        Err(MetaError::BucketExists { own: true }) => {
            again(gateway, &input.bucket, new_acl.as_ref()).await?;
        }
        other => other?,
    }
    let location = Some(format!("/{}", input.bucket));
    Ok(S3Response::new(CreateBucketOutput { location }))
}

/// Making one's own bucket again: as in us-east-1 that is no error, unless it
/// would get another ACL.
async fn again(gateway: &Gateway, name: &str, acl: Option<&Acl>) -> S3Result<()> {
    let bucket = gateway.meta.bucket(name).await?;
    if gateway.settings.region != "us-east-1" {
        return Err(MetaError::BucketExists { own: true }.into());
    }
    let is_private = |acl: Option<&Acl>| acl.is_none_or(Acl::is_private);
    let has = bucket.config.acl.as_ref();
    if has == acl || (is_private(has) && is_private(acl)) {
        return Ok(());
    }
    Err(MetaError::BucketExists { own: false }.into())
}

/// Only the key's own policies have a say: there is no bucket yet.
fn may_create(caller: &Caller, name: &str) -> S3Result<()> {
    let who = &caller.identity;
    let context = match who.policies.is_empty() {
        true => Context::default(),
        false => request_context::of(caller, &caller.facts.headers, &caller.facts.query, now_ms()),
    };
    authorize(&Access {
        who,
        action: Action::CreateBucket,
        resource: &bucket_arn(name),
        bucket_owner: &who.canonical_id,
        bucket_acl: None,
        object: None,
        policy: None,
        ownership: Ownership::BucketOwnerEnforced,
        public_access: PublicAccessBlock::default(),
        context: &context,
    })?;
    Ok(())
}

fn acl(asked: &AclRequest, ownership: Option<Ownership>, owner: &str) -> S3Result<Option<Acl>> {
    if *asked == AclRequest::None {
        return Ok(None);
    }
    let acl = asked.for_bucket(owner).map_err(acls::refusal)?;
    if ownership.is_some_and(|ownership| !ownership.suits(&acl)) {
        return Err(custom(
            "InvalidBucketAclWithObjectOwnership",
            http::StatusCode::BAD_REQUEST,
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        ));
    }
    Ok(Some(acl))
}

fn locked() -> ObjectLockConfiguration {
    ObjectLockConfiguration {
        object_lock_enabled: Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED)),
        rule: None,
    }
}

/// What the S3 layer lets pass: labels begin and end with a letter or digit.
fn check_name(name: &str) -> S3Result<()> {
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    if name.split('.').all(label) {
        return Ok(());
    }
    Err(refuse(S3ErrorCode::InvalidBucketName, "The specified bucket is not valid."))
}

/// The bucket must be meant for this region.
fn check_location(
    gateway: &Gateway,
    configuration: Option<&CreateBucketConfiguration>,
) -> S3Result<()> {
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
