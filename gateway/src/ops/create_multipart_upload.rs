//! CreateMultipartUpload: begins an upload in parts.

use std::sync::Arc;

use s3s::dto::{ChecksumType, CreateMultipartUploadInput, CreateMultipartUploadOutput};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::checksums::{kind, name, parse_name};
use super::encryption;
use super::wanted::Wanted;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::refuse;
use crate::gateway::{Gateway, now_ms};
use crate::meta::{Checksum, ChecksumAlgorithm, ChecksumKind, Promised, Upload};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let S3Request { input, headers, .. } = request;
    let expected_owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, expected_owner).await?;
    Ask::object(caller, &bucket, Action::PutObject, &input.key).check()?;
    // An upload is gone on with by who began it: that must be somebody.
    access::account(caller)?;
    let (now, given) = (now_ms(), (&headers, input.metadata.as_ref()));
    let wanted = Wanted::new(gateway, caller, &bucket, &input.key, given, now).await?;
    gateway.check_write(bucket.account)?;
    let told = encryption::told(&wanted.sealing.encryption);
    let mut attributes = wanted.attributes;
    let algorithm = input.checksum_algorithm.as_ref().map(|name| parse_name(name.as_str()));
    attributes.checksum = promised(algorithm.transpose()?, input.checksum_type.as_ref())?;

    let upload = Upload {
        id: hex::encode(protocol::keys::random::<16>()),
        bucket: bucket.id,
        key: input.key.clone().into_bytes(),
        account: caller.identity.account,
        created_ms: now,
        attributes,
        promised: Promised { lock: wanted.lock, owner: wanted.owner },
    };
    gateway.meta.begin_upload(upload.clone()).await?;
    let checksum = upload.attributes.checksum;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload.id),
        checksum_algorithm: checksum
            .as_ref()
            .map(|checksum| s3s::dto::ChecksumAlgorithm::from_static(name(checksum.algorithm))),
        checksum_type: checksum.map(|checksum| kind(checksum.kind)),
        server_side_encryption: told.kind,
        ssekms_key_id: told.kms_key_id,
        sse_customer_algorithm: told.customer_algorithm,
        sse_customer_key_md5: told.customer_key_md5,
        ..CreateMultipartUploadOutput::default()
    }))
}

/// What kind of checksum the object will have. Its value is not known yet. Pure.
fn promised(
    algorithm: Option<ChecksumAlgorithm>,
    asked: Option<&ChecksumType>,
) -> S3Result<Option<Checksum>> {
    let Some(algorithm) = algorithm else {
        if asked.is_some() {
            return Err(refuse(
                S3ErrorCode::InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            ));
        }
        return Ok(None);
    };
    let is_sha = matches!(algorithm, ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256);
    let kind = match asked.map(ChecksumType::as_str) {
        None if algorithm == ChecksumAlgorithm::Crc64Nvme => ChecksumKind::FullObject,
        None => ChecksumKind::Composite,
        Some(ChecksumType::FULL_OBJECT) if !is_sha => ChecksumKind::FullObject,
        Some(ChecksumType::COMPOSITE) if algorithm != ChecksumAlgorithm::Crc64Nvme => {
            ChecksumKind::Composite
        }
        Some(other) => {
            let message = format!(
                "The {other} checksum type cannot be used with the {} checksum algorithm.",
                name(algorithm).to_lowercase()
            );
            return Err(refuse(S3ErrorCode::InvalidRequest, message));
        }
    };
    Ok(Some(Checksum { algorithm, kind, value: String::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_checksums() {
        let kind = |algorithm, asked: Option<&'static str>| {
            let asked = asked.map(ChecksumType::from_static);
            promised(Some(algorithm), asked.as_ref()).ok().flatten().map(|checksum| checksum.kind)
        };
        use ChecksumAlgorithm::{Crc32, Crc64Nvme, Sha256};
        use ChecksumKind::{Composite, FullObject};
        assert_eq!(kind(Crc32, None), Some(Composite));
        assert_eq!(kind(Crc64Nvme, None), Some(FullObject));
        assert_eq!(kind(Crc32, Some("FULL_OBJECT")), Some(FullObject));
        assert_eq!(kind(Sha256, Some("FULL_OBJECT")), None);
        assert_eq!(kind(Crc64Nvme, Some("COMPOSITE")), None);
        assert!(promised(None, Some(&ChecksumType::from_static("COMPOSITE"))).is_err());
    }
}
