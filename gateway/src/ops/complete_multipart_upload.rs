//! CompleteMultipartUpload: the parts become one object, in one transaction.
//! Asked again with the same list, it answers the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use s3s::dto::{CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};
use serde::{Deserialize, Serialize};

use super::access::{self, Ask};
use super::checksums::{Fields, name};
use super::encryption;
use super::{announce, conditions, etag};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::refuse;
use crate::events::Name;
use crate::gateway::{Gateway, now_ms};
use crate::meta::{
    Attributes, Checksum, ChecksumAlgorithm, ChecksumKind, CompleteRequest, MetaError, Part,
    Upload, Versioning,
};
use crate::object::digest;

/// The least size of a part that is not the last: 5 MiB.
const PART_MIN: u64 = 5 * 1024 * 1024;

/// Parts in one upload.
const PARTS_MAX: usize = 10_000;

/// What the request says about checksums and size.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Declared {
    /// Of the whole.
    whole: Option<(ChecksumAlgorithm, String)>,
    /// Of parts, by number.
    parts: BTreeMap<i32, String>,
    /// Plain bytes.
    size: Option<u64>,
}

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let input = request.input;
    let expected_owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, expected_owner).await?;
    Ask::object(caller, &bucket, Action::PutObject, &input.key).check()?;
    let parts = input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref());
    let parts = parts.unwrap_or_default();
    if parts.is_empty() || parts.len() > PARTS_MAX {
        return Err(refuse(
            S3ErrorCode::MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema",
        ));
    }
    let declared = declared(&input, parts);
    let name = Name::CompleteMultipartUpload;
    let request = CompleteRequest {
        events: announce::of(gateway, caller, &bucket, &input.key, &[name]),
        upload: input.upload_id.clone(),
        parts: parts.iter().map(named).collect::<S3Result<_>>()?,
        assemble,
        declared: serde_json::to_string(&declared).unwrap_or_default(),
        part_min: PART_MIN,
        precondition: conditions::write(input.if_match.as_ref(), input.if_none_match.as_ref())?,
        entropy: super::entropy(),
        now_ms: now_ms(),
        grace_ms: gateway.grace_ms(),
    };
    let key = input.key.clone().into_bytes();
    let completed =
        match gateway.meta.complete_upload(bucket.id, key.clone(), request.clone()).await {
            // Nothing was written for this, and asking again gives the same answer.
            Err(MetaError::CommitUnknown) => {
                gateway.meta.complete_upload(bucket.id, key, request).await?
            }
            other => other?,
        };

    let told = encryption::told(&completed.attributes.encryption);
    let checksum = Fields::new(completed.attributes.checksum.as_ref());
    Ok(S3Response::new(CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(etag(&completed.etag)),
        checksum_crc32: checksum.crc32,
        checksum_crc32c: checksum.crc32c,
        checksum_crc64nvme: checksum.crc64nvme,
        checksum_sha1: checksum.sha1,
        checksum_sha256: checksum.sha256,
        checksum_type: checksum.kind,
        version_id: (bucket.versioning == Versioning::Enabled).then_some(completed.version_id),
        server_side_encryption: told.kind,
        ssekms_key_id: told.kms_key_id,
        ..CompleteMultipartUploadOutput::default()
    }))
}

/// The number and entity tag of a part in the request.
fn named(part: &CompletedPart) -> S3Result<(i32, String)> {
    match (part.part_number, &part.e_tag) {
        (Some(number), Some(etag)) => Ok((number, etag.value().to_owned())),
        _ => {
            Err(refuse(S3ErrorCode::MalformedXML, "Every part must have a PartNumber and an ETag"))
        }
    }
}

fn declared(input: &CompleteMultipartUploadInput, parts: &[CompletedPart]) -> Declared {
    let first = |values: [&Option<String>; 5]| values.into_iter().flatten().next().cloned();
    let of_part = |part: &CompletedPart| {
        let value = first([
            &part.checksum_crc32,
            &part.checksum_crc32c,
            &part.checksum_crc64nvme,
            &part.checksum_sha1,
            &part.checksum_sha256,
        ]);
        Some((part.part_number?, value?))
    };
    let of_whole = [
        (ChecksumAlgorithm::Crc32, &input.checksum_crc32),
        (ChecksumAlgorithm::Crc32C, &input.checksum_crc32c),
        (ChecksumAlgorithm::Crc64Nvme, &input.checksum_crc64nvme),
        (ChecksumAlgorithm::Sha1, &input.checksum_sha1),
        (ChecksumAlgorithm::Sha256, &input.checksum_sha256),
    ];
    let mut of_whole = of_whole
        .into_iter()
        .filter_map(|(algorithm, value)| Some((algorithm, value.as_ref()?.clone())));
    Declared {
        whole: of_whole.next(),
        parts: parts.iter().filter_map(of_part).collect(),
        size: input.mpu_object_size.and_then(|size| u64::try_from(size).ok()),
    }
}

/// Entity tag and attributes of the whole. Pure: runs inside the transaction.
fn assemble(
    upload: &Upload,
    parts: &[Part],
    declared: &str,
) -> Result<(String, Attributes), MetaError> {
    let declared: Declared =
        serde_json::from_str(declared).map_err(|_| MetaError::Corrupt("a declaration"))?;
    for part in parts {
        let Some(value) = declared.parts.get(&part.number) else { continue };
        if part.checksum.as_ref().map(|checksum| &checksum.value) != Some(value) {
            return Err(MetaError::InvalidPart(part.number));
        }
    }
    let size: u64 = parts.iter().map(|part| part.size).sum();
    if declared.size.is_some_and(|declared| declared != size) {
        return Err(MetaError::BadComplete(
            "the provided 'x-amz-mp-object-size' header value does not match what was computed"
                .into(),
        ));
    }
    let etag = digest::multipart_etag(parts.iter().map(|part| part.etag.as_str()))
        .ok_or(MetaError::Corrupt("an entity tag"))?;
    let mut attributes = upload.attributes.clone();
    attributes.checksum = whole_checksum(upload, parts);
    check_whole(declared.whole.as_ref(), attributes.checksum.as_ref())?;
    Ok((etag, attributes))
}

/// Compares the checksum of the whole with what the parts make.
fn check_whole(
    declared: Option<&(ChecksumAlgorithm, String)>,
    computed: Option<&Checksum>,
) -> Result<(), MetaError> {
    let Some((algorithm, declared)) = declared else { return Ok(()) };
    let name = name(*algorithm);
    let computed = computed.filter(|computed| computed.algorithm == *algorithm);
    let computed = computed.ok_or_else(|| {
        MetaError::BadComplete(format!("the upload was not begun with a {name} checksum"))
    })?;
    // Clients declare a composite checksum with or without the number of parts.
    let plain = computed.value.split('-').next().unwrap_or_default();
    if *declared == computed.value || declared == plain {
        return Ok(());
    }
    let message = format!("the {name} you specified did not match the calculated checksum");
    Err(MetaError::BadDigest(message))
}

fn whole_checksum(upload: &Upload, parts: &[Part]) -> Option<Checksum> {
    let promised = upload.attributes.checksum.as_ref()?;
    let values: Option<Vec<&str>> = parts
        .iter()
        .map(|part| part.checksum.as_ref().map(|checksum| checksum.value.as_str()))
        .collect();
    let values = values?;
    match promised.kind {
        ChecksumKind::Composite => digest::composite(promised.algorithm, values.into_iter()),
        ChecksumKind::FullObject => {
            let sizes = parts.iter().map(|part| part.size);
            digest::combine(promised.algorithm, values.into_iter().zip(sizes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_the_whole_is_compared_as_it_was_declared() {
        use ChecksumAlgorithm::{Crc32, Sha256};
        let computed =
            |kind, value: &str| Some(Checksum { algorithm: Crc32, kind, value: value.to_owned() });
        let check = |(algorithm, value): (_, &str), computed: &Option<Checksum>| {
            let declared = (algorithm, value.to_owned());
            let checked = check_whole(Some(&declared), computed.as_ref());
            checked.map_err(|error| s3s::S3Error::from(error).code().as_str().to_owned())
        };
        let composite = computed(ChecksumKind::Composite, "AAAAAA==-2");
        let full = computed(ChecksumKind::FullObject, "AAAAAA==");
        let refused = |code: &str| Err(code.to_owned());
        assert_eq!(check((Crc32, "AAAAAA==-2"), &composite), Ok(()));
        assert_eq!(check((Crc32, "AAAAAA=="), &composite), Ok(()));
        assert_eq!(check((Crc32, "AAAAAA==-3"), &composite), refused("BadDigest"));
        assert_eq!(check((Crc32, "BBBBBB==-2"), &composite), refused("BadDigest"));
        assert_eq!(check((Crc32, "AAAAAA=="), &full), Ok(()));
        assert_eq!(check((Crc32, "AAAAAA==-2"), &full), refused("BadDigest"));
        assert_eq!(check((Sha256, "AAAAAA=="), &full), refused("InvalidRequest"));
        assert_eq!(check((Crc32, "AAAAAA=="), &None), refused("InvalidRequest"));
        assert!(check_whole(None, None).is_ok());
    }
}
