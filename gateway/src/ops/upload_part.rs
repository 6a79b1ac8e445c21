//! UploadPart: stores one part of a multipart upload.

use std::sync::Arc;

use s3s::dto::{UploadPartInput, UploadPartOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::checksums::{Declared, Fields, name, trailers};
use super::encryption::{self, KeyOf};
use super::put_object::{body, check_len};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::cost;
use crate::error::refuse;
use crate::gateway::{Gateway, now_ms};
use crate::meta::PartCommit;
use crate::object::commit;
use crate::object::upload::{UploadRequest, give_up, upload};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let S3Request { input, headers, extensions, .. } = request;
    let expected_owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, expected_owner).await?;
    Ask::object(caller, &bucket, Action::PutObject, &input.key).check()?;
    check_number(input.part_number)?;
    gateway.check_write(bucket.account)?;
    let found = gateway.meta.upload(bucket.id, input.key.as_bytes(), &input.upload_id).await?;
    access::own_upload(caller, &bucket, &found)?;
    let encryption = &found.attributes.encryption;
    let sealing =
        encryption::for_read(gateway, &bucket, encryption, &headers, KeyOf::Object).await?;
    let declared = Declared::from_headers(&headers)?;
    check_len(declared.len)?;

    let promised = found.attributes.checksum.as_ref().map(|checksum| checksum.algorithm);
    if let (Some(promised), Some(sent)) = (promised, declared.algorithm())
        && promised != sent
    {
        let message = format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            name(promised).to_lowercase(),
            name(sent).to_lowercase()
        );
        return Err(refuse(s3s::S3ErrorCode::InvalidRequest, message));
    }
    let wanted = UploadRequest {
        account: bucket.account,
        checksum: promised.or(declared.algorithm()),
        size_hint: declared.len,
    };
    let uploaded = upload(gateway, wanted, body(input.body)).await?;
    let (size, content) = (uploaded.written.size, uploaded.written.content);
    let verified = declared.verify(&uploaded.digested, size, trailers(&extensions));
    if let Err(error) = verified {
        give_up(gateway, content).await;
        return Err(error);
    }
    let (etag, checksum) = (uploaded.digested.etag(), uploaded.digested.checksum.clone());
    let placed = commit::place(gateway, &bucket, &sealing.key, input.part_number, uploaded);
    let (now_ms, grace_ms) = (now_ms(), gateway.grace_ms());
    commit::part(gateway, PartCommit { upload: found.id, placed, now_ms, grace_ms }).await?;

    let told = encryption::told(&sealing.encryption);
    let checksum = Fields::new(checksum.as_ref());
    let mut response = S3Response::new(UploadPartOutput {
        e_tag: Some(super::etag(&etag)),
        checksum_crc32: checksum.crc32,
        checksum_crc32c: checksum.crc32c,
        checksum_crc64nvme: checksum.crc64nvme,
        checksum_sha1: checksum.sha1,
        checksum_sha256: checksum.sha256,
        server_side_encryption: told.kind,
        ssekms_key_id: told.kms_key_id,
        sse_customer_algorithm: told.customer_algorithm,
        sse_customer_key_md5: told.customer_key_md5,
        ..UploadPartOutput::default()
    });
    cost::tell(gateway, &headers, cost::put(gateway, size), &mut response.headers);
    Ok(response)
}

/// Parts are numbered from 1 to 10,000.
pub(super) fn check_number(number: i32) -> S3Result<()> {
    if (1..=10_000).contains(&number) {
        return Ok(());
    }
    Err(refuse(
        s3s::S3ErrorCode::InvalidArgument,
        "Part number must be an integer between 1 and 10000, inclusive",
    ))
}
