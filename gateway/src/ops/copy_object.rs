//! CopyObject: the copy shares the shards of its source; only keys are wrapped
//! anew. Bytes move when another checksum is asked for.

use std::sync::Arc;

use http::HeaderMap;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, MetadataDirective,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::checksums::{Fields, parse_name};
use super::conditions::{self, ReadConditions};
use super::supported::{WriteOptions, check_key, check_version_id};
use super::{LOOKS, attributes, etag, timestamp};
use crate::auth::identity::Caller;
use crate::error::{busy, not_implemented, refuse};
use crate::gateway::{Gateway, now_ms};
use crate::meta::{
    Attributes, Bucket, ChecksumAlgorithm, MetaError, NewVersion, Part, Placed, Precondition,
    Version,
};
use crate::object::commit;
use crate::object::download;
use crate::object::upload::{UploadRequest, upload};

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let S3Request { input, headers, .. } = request;
    let bucket =
        super::bucket(gateway, caller, &input.bucket, input.expected_bucket_owner.as_ref()).await?;
    check_key(&input.key)?;
    check_options(&input)?;
    let precondition = conditions::write_from_headers(&headers)?;
    for _ in 0..LOOKS {
        let source = Source::find(
            gateway,
            caller,
            &input.copy_source,
            input.expected_source_bucket_owner.as_ref(),
        )
        .await?;
        let new = copied(gateway, &bucket, &input, &headers, source).await?;
        match commit::version(gateway, NewVersion { precondition: precondition.clone(), ..new })
            .await
        {
            // Replaced or deleted since it was looked up.
            Err(MetaError::SourceGone) => {}
            other => return Ok(answer(&other?)),
        }
    }
    Err(busy())
}

fn answer(version: &Version) -> S3Response<CopyObjectOutput> {
    let checksum = Fields::new(version.attributes.checksum.as_ref());
    S3Response::new(CopyObjectOutput {
        copy_object_result: Some(CopyObjectResult {
            e_tag: Some(etag(&version.etag)),
            last_modified: Some(timestamp(version.modified_ms)),
            checksum_crc32: checksum.crc32,
            checksum_crc32c: checksum.crc32c,
            checksum_crc64nvme: checksum.crc64nvme,
            checksum_sha1: checksum.sha1,
            checksum_sha256: checksum.sha256,
            checksum_type: checksum.kind,
        }),
        server_side_encryption: Some(super::encryption()),
        ..CopyObjectOutput::default()
    })
}

/// The copy of `source`, ready to be committed.
async fn copied(
    gateway: &Arc<Gateway>,
    bucket: &Bucket,
    input: &CopyObjectInput,
    headers: &HeaderMap,
    source: Source,
) -> S3Result<NewVersion> {
    ReadConditions {
        matches: input.copy_source_if_match.as_ref(),
        none_match: input.copy_source_if_none_match.as_ref(),
        modified_since: input.copy_source_if_modified_since.as_ref(),
        unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
    }
    .check_source(&source.version)?;
    gateway.funds.check(bucket.account)?;
    let replaces = is_replace(input.metadata_directive.as_ref())?;
    let onto_itself = source.bucket.id == bucket.id && source.key == input.key;
    // There is one storage class: to name it changes nothing.
    if onto_itself && !replaces {
        return Err(refuse(
            S3ErrorCode::InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself \
             without changing the object's metadata, storage class, website redirect location \
             or encryption attributes.",
        ));
    }
    let mut kept = if replaces {
        attributes::from_headers(headers, input.metadata.as_ref())?
    } else {
        source.version.attributes.clone()
    };
    let algorithm = input.checksum_algorithm.as_ref().map(|name| parse_name(name.as_str()));
    let size = source.version.size;
    let parts = copied_parts(gateway, bucket, source, algorithm.transpose()?).await?;
    kept.checksum.clone_from(&parts.attributes.checksum);
    Ok(NewVersion {
        bucket: bucket.id,
        key: input.key.clone().into_bytes(),
        size,
        etag: parts.etag,
        attributes: kept,
        parts: parts.placed,
        precondition: Precondition::default(),
        now_ms: now_ms(),
        grace_ms: gateway.grace_ms(),
    })
}

/// What a copy source names.
pub(super) struct Source {
    /// Its bucket, which `who` may read.
    pub bucket: Bucket,
    /// Its key.
    pub key: String,
    /// Its latest version.
    pub version: Version,
    /// The parts of that.
    pub parts: Vec<Part>,
}

impl Source {
    /// Looks it up.
    pub(super) async fn find(
        gateway: &Gateway,
        caller: &Caller,
        source: &CopySource,
        expected_owner: Option<&String>,
    ) -> S3Result<Self> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(not_implemented("Copying from an access point"));
        };
        let bucket = super::bucket(gateway, caller, bucket, expected_owner).await?;
        check_version_id(version_id.as_deref())?;
        let (version, parts) = super::object_with_parts(gateway, &bucket, key).await?;
        Ok(Self { bucket, key: key.to_string(), version, parts })
    }
}

/// The parts of the copy, and what follows from them.
struct Copied {
    placed: Vec<Placed>,
    etag: String,
    attributes: Attributes,
}

async fn copied_parts(
    gateway: &Arc<Gateway>,
    to: &Bucket,
    source: Source,
    algorithm: Option<ChecksumAlgorithm>,
) -> S3Result<Copied> {
    let Source { bucket: from, version: source, parts, .. } = source;
    let has = source.attributes.checksum.as_ref().map(|checksum| checksum.algorithm);
    if algorithm.is_none() || algorithm == has {
        return Ok(Copied {
            placed: share(gateway, &from, to, parts)?,
            etag: source.etag,
            attributes: source.attributes,
        });
    }
    let body = download::read(gateway, &from, parts, 0..source.size).await?;
    let wanted =
        UploadRequest { account: to.account, checksum: algorithm, size_hint: Some(source.size) };
    let uploaded = upload(gateway, wanted, Box::pin(body)).await?;
    let attributes =
        Attributes { checksum: uploaded.digested.checksum.clone(), ..Attributes::default() };
    let etag = uploaded.digested.etag();
    Ok(Copied { placed: vec![commit::place(gateway, to, 1, uploaded)?], etag, attributes })
}

/// The same contents, their keys wrapped for another bucket.
pub(super) fn share(
    gateway: &Gateway,
    from: &Bucket,
    to: &Bucket,
    parts: Vec<Part>,
) -> S3Result<Vec<Placed>> {
    let (from_key, to_key) = (gateway.bucket_key(from)?, gateway.bucket_key(to)?);
    let shared = parts.into_iter().map(|part| {
        let key = gateway.open_data_key(from, &from_key, &part)?;
        let wrapped_key = gateway.wrap_data_key(to, &to_key, &key, part.content);
        Ok(Placed::Shared(Part { wrapped_key, ..part }))
    });
    shared.collect()
}

fn is_replace(directive: Option<&MetadataDirective>) -> S3Result<bool> {
    match directive.map(MetadataDirective::as_str) {
        None | Some(MetadataDirective::COPY) => Ok(false),
        Some(MetadataDirective::REPLACE) => Ok(true),
        Some(_) => Err(refuse(S3ErrorCode::InvalidArgument, "Unknown metadata directive.")),
    }
}

fn check_options(input: &CopyObjectInput) -> S3Result<()> {
    WriteOptions {
        acl: input.acl.as_ref(),
        grants: input.grant_full_control.is_some()
            || input.grant_read.is_some()
            || input.grant_read_acp.is_some()
            || input.grant_write_acp.is_some(),
        lock: input.object_lock_mode.is_some()
            || input.object_lock_retain_until_date.is_some()
            || input.object_lock_legal_hold_status.is_some(),
        customer_key: input.sse_customer_algorithm.is_some()
            || input.copy_source_sse_customer_algorithm.is_some(),
        encryption: input.server_side_encryption.as_ref(),
        storage_class: input.storage_class.as_ref(),
        tagging: input.tagging.as_deref(),
    }
    .check()
}
