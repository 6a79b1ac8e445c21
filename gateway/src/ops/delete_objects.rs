//! DeleteObjects: up to 1,000 keys, each with an outcome of its own.

use std::sync::Arc;

use futures::{StreamExt, stream};
use s3s::dto::{DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error, ObjectIdentifier};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::access;
use super::checksums::{Declared, trailers};
use super::delete_object::{Wanted, delete, seconds};
use crate::auth::identity::Caller;
use crate::error::{not_implemented, refuse};
use crate::gateway::Gateway;
use crate::http::guard::BodyRecord;
use crate::meta::{Bucket, DeleteCondition, Deleted};

/// Keys in one request.
const KEYS_MAX: usize = 1000;

/// Deletes that wait for the same transaction.
const TOGETHER: usize = 64;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let S3Request { input, headers, extensions, .. } = request;
    let declared = Declared::from_headers(&headers)?;
    if !declared.is_protected() {
        return Err(refuse(
            S3ErrorCode::InvalidRequest,
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        ));
    }
    // The guard looked at the document on its way to the parser.
    let read = extensions.get::<BodyRecord>().and_then(BodyRecord::take_digests);
    let (digested, len) = read.ok_or(S3ErrorCode::InternalError)?;
    declared.verify(&digested, len, trailers(&extensions))?;
    let expected_owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, expected_owner).await?;
    if input.mfa.is_some() {
        return Err(not_implemented("MFA delete"));
    }
    let bypass = input.bypass_governance_retention.unwrap_or(false);
    let objects = input.delete.objects;
    if objects.is_empty() || objects.len() > KEYS_MAX {
        return Err(refuse(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        ));
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    let outcomes: Vec<_> = stream::iter(objects)
        .map(|object| delete_one(gateway, caller, &bucket, object, bypass))
        .buffered(TOGETHER)
        .collect()
        .await;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (object, outcome) in outcomes {
        match outcome {
            Ok(_) if quiet => {}
            Ok(done) => deleted.push(DeletedObject {
                key: Some(object.key),
                version_id: object.version_id,
                delete_marker: done.delete_marker.then_some(true),
                delete_marker_version_id: done.version_id.filter(|_| done.delete_marker),
            }),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(object.key),
                version_id: object.version_id,
            }),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..DeleteObjectsOutput::default()
    }))
}

async fn delete_one(
    gateway: &Gateway,
    caller: &Caller,
    bucket: &Bucket,
    object: ObjectIdentifier,
    bypass: bool,
) -> (ObjectIdentifier, Result<Deleted, S3Error>) {
    let condition = DeleteCondition {
        etag: object.e_tag.as_ref().map(|etag| etag.value().to_owned()),
        size: object.size.and_then(|size| u64::try_from(size).ok()),
        modified_s: object.last_modified_time.as_ref().map(seconds),
    };
    let (key, version_id) = (object.key.clone(), object.version_id.clone());
    let wanted = Wanted { key, version_id, condition, bypass };
    let outcome = delete(gateway, caller, bucket, wanted).await;
    (object, outcome)
}
