//! DeleteObjects: up to 1,000 keys, each with an outcome of its own.

use std::sync::Arc;

use futures::{StreamExt, stream};
use s3s::dto::{DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error, ObjectIdentifier};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::checksums::{Declared, trailers};
use super::supported::{check_key, check_version_id};
use crate::auth::identity::Caller;
use crate::error::{not_implemented, refuse};
use crate::gateway::Gateway;
use crate::http::guard::BodyRecord;
use crate::meta::Bucket;

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
    let bucket =
        super::bucket(gateway, caller, &input.bucket, input.expected_bucket_owner.as_ref()).await?;
    let objects = input.delete.objects;
    if objects.is_empty() || objects.len() > KEYS_MAX {
        return Err(refuse(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        ));
    }
    let quiet = input.delete.quiet.unwrap_or(false);
    let outcomes: Vec<_> = stream::iter(objects)
        .map(|object| delete(gateway, &bucket, object))
        .buffered(TOGETHER)
        .collect()
        .await;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (object, outcome) in outcomes {
        match outcome {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(DeletedObject {
                key: Some(object.key),
                version_id: object.version_id,
                ..DeletedObject::default()
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

async fn delete(
    gateway: &Gateway,
    bucket: &Bucket,
    object: ObjectIdentifier,
) -> (ObjectIdentifier, Result<(), S3Error>) {
    let deleted = async {
        check_key(&object.key)?;
        check_version_id(object.version_id.as_deref())?;
        if object.size.is_some() || object.last_modified_time.is_some() {
            return Err(not_implemented("Deleting by size or time"));
        }
        let if_match = object.e_tag.as_ref().map(|etag| etag.value().to_owned());
        let key = object.key.clone().into_bytes();
        let not_before = gateway.not_before();
        Ok(gateway.meta.delete_object(bucket.id, key, if_match, not_before).await?)
    };
    let outcome = deleted.await;
    (object, outcome)
}
