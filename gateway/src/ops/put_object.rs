//! PutObject: stores the body as a new object, visible all at once or not at
//! all.

use std::sync::Arc;

use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::checksums::{Declared, Fields, trailers};
use super::supported::{WriteOptions, check_key};
use super::{attributes, conditions};
use crate::auth::identity::Caller;
use crate::error::{not_implemented, refuse};
use crate::gateway::{Gateway, now_ms};
use crate::meta::NewVersion;
use crate::object::commit;
use crate::object::upload::{UploadRequest, give_up, upload};

/// The most that one request may carry: 5 GiB.
pub const BODY_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let S3Request { input, headers, extensions, .. } = request;
    let bucket =
        super::bucket(gateway, caller, &input.bucket, input.expected_bucket_owner.as_ref()).await?;
    check_key(&input.key)?;
    check_options(&input)?;
    gateway.funds.check(bucket.account)?;
    let declared = Declared::from_headers(&headers)?;
    check_len(declared.len)?;
    let precondition = conditions::write(input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let mut attributes = attributes::from_headers(&headers, input.metadata.as_ref())?;

    let wanted = UploadRequest {
        account: bucket.account,
        checksum: declared.algorithm(),
        size_hint: declared.len,
    };
    let uploaded = upload(gateway, wanted, body(input.body)).await?;
    let (size, content) = (uploaded.written.size, uploaded.written.content);
    let verified = declared.verify(&uploaded.digested, size, trailers(&extensions));
    if let Err(error) = verified {
        give_up(gateway, content).await;
        return Err(error);
    }
    attributes.checksum.clone_from(&uploaded.digested.checksum);
    let new = NewVersion {
        bucket: bucket.id,
        key: input.key.into_bytes(),
        size,
        etag: uploaded.digested.etag(),
        attributes,
        parts: vec![commit::place(gateway, &bucket, 1, uploaded)?],
        precondition,
        now_ms: now_ms(),
        grace_ms: gateway.grace_ms(),
    };
    let version = commit::version(gateway, new).await?;

    let checksum = Fields::new(version.attributes.checksum.as_ref());
    Ok(S3Response::new(PutObjectOutput {
        e_tag: Some(super::etag(&version.etag)),
        checksum_crc32: checksum.crc32,
        checksum_crc32c: checksum.crc32c,
        checksum_crc64nvme: checksum.crc64nvme,
        checksum_sha1: checksum.sha1,
        checksum_sha256: checksum.sha256,
        checksum_type: checksum.kind,
        server_side_encryption: Some(super::encryption()),
        ..PutObjectOutput::default()
    }))
}

fn check_options(input: &PutObjectInput) -> S3Result<()> {
    if input.write_offset_bytes.is_some() {
        return Err(not_implemented("Appending to an object"));
    }
    WriteOptions {
        acl: input.acl.as_ref(),
        grants: input.grant_full_control.is_some()
            || input.grant_read.is_some()
            || input.grant_read_acp.is_some()
            || input.grant_write_acp.is_some(),
        lock: input.object_lock_mode.is_some()
            || input.object_lock_retain_until_date.is_some()
            || input.object_lock_legal_hold_status.is_some(),
        customer_key: input.sse_customer_algorithm.is_some() || input.sse_customer_key.is_some(),
        encryption: input.server_side_encryption.as_ref(),
        storage_class: input.storage_class.as_ref(),
        tagging: input.tagging.as_deref(),
    }
    .check()
}

/// A body must say how long it is, and not be too long.
pub(super) fn check_len(len: Option<u64>) -> S3Result<()> {
    match len {
        None => Err(refuse(
            S3ErrorCode::MissingContentLength,
            "You must provide the Content-Length HTTP header.",
        )),
        Some(len) if len > BODY_MAX => Err(refuse(
            S3ErrorCode::EntityTooLarge,
            "Your proposed upload exceeds the maximum allowed size",
        )),
        Some(_) => Ok(()),
    }
}

/// The body as a stream; none at all is an empty one.
pub(super) fn body(
    body: Option<s3s::dto::StreamingBlob>,
) -> impl futures::Stream<Item = Result<bytes::Bytes, s3s::StdError>> + Unpin {
    use futures::StreamExt;
    futures::stream::iter(body).flatten()
}
