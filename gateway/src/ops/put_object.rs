//! PutObject: stores the body as a new object, visible all at once or not at
//! all. With `x-amz-write-offset-bytes` it is appended to the object that is
//! there.

use std::sync::Arc;

use s3s::dto::{PutObjectInput, PutObjectOutput};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::checksums::{Declared, Fields, trailers};
use super::wanted::Wanted;
use super::{announce, append, conditions, encryption};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::cost;
use crate::error::refuse;
use crate::gateway::{Gateway, now_ms};
use crate::meta::NewVersion;
use crate::object::commit;
use crate::object::upload::{UploadRequest, give_up, upload};
use crate::upkeep::lifecycle;

/// The most that one request may carry: 5 GiB.
pub const BODY_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// In the extensions of a request whose body has no length of its own: it ends
/// where it ends, or with an error if that is not where it should.
#[derive(Clone, Copy, Debug)]
pub struct OpenEnded {
    /// No more bytes than this.
    pub at_most: u64,
}

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let open_ended = request.extensions.get::<OpenEnded>().map(|body| body.at_most);
    let S3Request { input, headers, extensions, .. } = request;
    let expected_owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, expected_owner).await?;
    Ask::object(caller, &bucket, Action::PutObject, &input.key).check()?;
    let now = now_ms();
    let given = (&headers, input.metadata.as_ref());
    let mut wanted = Wanted::new(gateway, caller, &bucket, &input.key, given, now).await?;
    gateway.check_write(bucket.account)?;
    let declared = Declared::from_headers(&headers)?;
    let len = declared.len.or(open_ended);
    check_len(len)?;
    let precondition = conditions::write(input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let appended_to = match input.write_offset_bytes {
        Some(offset) => Some(append::find(gateway, caller, &bucket, &input.key, offset).await?),
        None => None,
    };

    let request =
        UploadRequest { account: bucket.account, checksum: declared.algorithm(), size_hint: len };
    let uploaded = upload(gateway, request, body(input.body)).await?;
    let (size, content) = (uploaded.written.size, uploaded.written.content);
    let verified = declared.verify(&uploaded.digested, size, trailers(&extensions));
    if let Err(error) = verified {
        give_up(gateway, content).await;
        return Err(error);
    }
    wanted.attributes.checksum.clone_from(&uploaded.digested.checksum);
    let new = NewVersion {
        bucket: bucket.id,
        events: announce::created(gateway, caller, &bucket, &input.key),
        key: input.key.clone().into_bytes(),
        size,
        etag: uploaded.digested.etag(),
        attributes: wanted.attributes,
        owner: wanted.owner,
        lock: wanted.lock,
        entropy: super::entropy(),
        parts: vec![commit::place(gateway, &bucket, &wanted.sealing.key, 1, uploaded)],
        precondition,
        now_ms: now_ms(),
        grace_ms: gateway.grace_ms(),
    };
    let new = match appended_to {
        Some(to) => to.extend(&wanted.sealing, new)?,
        None => new,
    };
    let version = commit::version(gateway, new).await?;

    let checksum = Fields::new(version.attributes.checksum.as_ref());
    let told = encryption::told(&version.attributes.encryption);
    let mut response = S3Response::new(PutObjectOutput {
        e_tag: Some(super::etag(&version.etag)),
        expiration: lifecycle::expiration(&bucket, &input.key, &version),
        version_id: super::new_version_id(&bucket, &version),
        size: input.write_offset_bytes.map(|_| super::size(version.size)),
        checksum_crc32: checksum.crc32,
        checksum_crc32c: checksum.crc32c,
        checksum_crc64nvme: checksum.crc64nvme,
        checksum_sha1: checksum.sha1,
        checksum_sha256: checksum.sha256,
        checksum_type: checksum.kind,
        server_side_encryption: told.kind,
        ssekms_key_id: told.kms_key_id,
        sse_customer_algorithm: told.customer_algorithm,
        sse_customer_key_md5: told.customer_key_md5,
        ..PutObjectOutput::default()
    });
    cost::tell(gateway, &headers, cost::put(gateway, size), &mut response.headers);
    Ok(response)
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
