//! CopyObject: the copy shares the shards of its source; only keys are wrapped
//! anew. Bytes move when another checksum is asked for.

use std::sync::Arc;

use http::HeaderMap;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, MetadataDirective,
    TaggingDirective,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::checksums::{Fields, parse_name};
use super::conditions::{self, ReadConditions};
use super::encryption::{self, KeyOf};
use super::wanted::Wanted;
use super::{LOOKS, announce, etag, timestamp};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::{busy, not_implemented, refuse};
use crate::events::Name;
use crate::gateway::{Gateway, now_ms};
use crate::meta::{
    Attributes, Bucket, ChecksumAlgorithm, MetaError, NewVersion, Part, Placed, Precondition,
    Version,
};
use crate::object::cipher::Key;
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
    let expected_owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, expected_owner).await?;
    Ask::object(caller, &bucket, Action::PutObject, &input.key).check()?;
    let now = now_ms();
    let given = (&headers, input.metadata.as_ref());
    let precondition = conditions::write_from_headers(&headers)?;
    for _ in 0..LOOKS {
        let source = Source::find(
            gateway,
            caller,
            &input.copy_source,
            &headers,
            input.expected_source_bucket_owner.as_ref(),
        )
        .await?;
        let told_source = source.told_version();
        let wanted = Wanted::new(gateway, caller, &bucket, &input.key, given, now).await?;
        let mut new = copied(gateway, &bucket, &input, wanted, source).await?;
        new.events = announce::of(gateway, caller, &bucket, &input.key, &[Name::Copy]);
        match commit::version(gateway, NewVersion { precondition: precondition.clone(), ..new })
            .await
        {
            // Replaced or deleted since it was looked up.
            Err(MetaError::SourceGone) => {}
            other => return Ok(answer(&bucket, &other?, told_source)),
        }
    }
    Err(busy())
}

fn answer(
    bucket: &Bucket,
    version: &Version,
    source_version: Option<String>,
) -> S3Response<CopyObjectOutput> {
    let checksum = Fields::new(version.attributes.checksum.as_ref());
    let told = encryption::told(&version.attributes.encryption);
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
        version_id: super::new_version_id(bucket, version),
        copy_source_version_id: source_version,
        server_side_encryption: told.kind,
        ssekms_key_id: told.kms_key_id,
        sse_customer_algorithm: told.customer_algorithm,
        sse_customer_key_md5: told.customer_key_md5,
        ..CopyObjectOutput::default()
    })
}

/// The copy of `source`, ready to be committed.
async fn copied(
    gateway: &Arc<Gateway>,
    bucket: &Bucket,
    input: &CopyObjectInput,
    wanted: Wanted,
    source: Source,
) -> S3Result<NewVersion> {
    ReadConditions {
        matches: input.copy_source_if_match.as_ref(),
        none_match: input.copy_source_if_none_match.as_ref(),
        modified_since: input.copy_source_if_modified_since.as_ref(),
        unmodified_since: input.copy_source_if_unmodified_since.as_ref(),
    }
    .check_source(&source.version)?;
    gateway.check_write(bucket.account)?;
    let replaces = is_replace(input.metadata_directive.as_ref())?;
    let retags = is_replace_of_tags(input.tagging_directive.as_ref())?;
    let onto_itself =
        source.bucket.id == bucket.id && source.key == input.key && source.version.latest;
    let Wanted { attributes: asked, owner, lock, sealing } = wanted;
    let kept = &source.version.attributes;
    let changes = replaces
        || retags
        || asked.storage_class != kept.storage_class
        || input.website_redirect_location.is_some()
        || asked.encryption != kept.encryption
        || input.server_side_encryption.is_some();
    if onto_itself && !changes {
        return Err(refuse(
            S3ErrorCode::InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself \
             without changing the object's metadata, storage class, website redirect location \
             or encryption attributes.",
        ));
    }
    // What is not replaced comes from the source; ACL, encryption, storage class
    // and redirect never do.
    let mut kept = Attributes {
        acl: asked.acl.clone(),
        encryption: asked.encryption.clone(),
        storage_class: asked.storage_class.clone(),
        website_redirect_location: asked.website_redirect_location.clone(),
        tags: if retags { asked.tags.clone() } else { kept.tags.clone() },
        ..if replaces { asked } else { kept.clone() }
    };
    let algorithm = input.checksum_algorithm.as_ref().map(|name| parse_name(name.as_str()));
    let size = source.version.size;
    let parts =
        copied_parts(gateway, (bucket, &sealing.key), source, algorithm.transpose()?).await?;
    kept.checksum.clone_from(&parts.attributes.checksum);
    Ok(NewVersion {
        bucket: bucket.id,
        key: input.key.clone().into_bytes(),
        size,
        etag: parts.etag,
        attributes: kept,
        owner,
        events: Vec::new(),
        lock,
        entropy: super::entropy(),
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
    /// The version.
    pub version: Version,
    /// The parts of that.
    pub parts: Vec<Part>,
    /// Opens their data keys.
    pub sealing: Key,
}

impl Source {
    /// Looks it up.
    pub(super) async fn find(
        gateway: &Gateway,
        caller: &Caller,
        source: &CopySource,
        headers: &HeaderMap,
        expected_owner: Option<&String>,
    ) -> S3Result<Self> {
        let CopySource::Bucket { bucket, key, version_id } = source else {
            return Err(not_implemented("Copying from an access point"));
        };
        let bucket = access::find_bucket(gateway, bucket, expected_owner).await?;
        let version_id = version_id.as_deref();
        let ask = Ask::object(caller, &bucket, access::read_action(version_id), key);
        let (version, parts) = super::version_with_parts(gateway, ask, version_id).await?;
        let encryption = &version.attributes.encryption;
        let sealing =
            encryption::for_read(gateway, &bucket, encryption, headers, KeyOf::CopySource).await?;
        Ok(Self { bucket, key: key.to_string(), version, parts, sealing: sealing.key })
    }

    /// The version's id as it is told.
    pub(super) fn told_version(&self) -> Option<String> {
        super::version_id(&self.bucket, &self.version)
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
    (to, sealing): (&Bucket, &Key),
    source: Source,
    algorithm: Option<ChecksumAlgorithm>,
) -> S3Result<Copied> {
    let Source { bucket: from, version: source, parts, sealing: opening, .. } = source;
    let has = source.attributes.checksum.as_ref().map(|checksum| checksum.algorithm);
    if algorithm.is_none() || algorithm == has {
        return Ok(Copied {
            placed: share(gateway, (&from, &opening), (to, sealing), parts)?,
            etag: source.etag,
            attributes: source.attributes,
        });
    }
    let body = download::read(gateway, &from, &opening, parts, 0..source.size).await?;
    let wanted =
        UploadRequest { account: to.account, checksum: algorithm, size_hint: Some(source.size) };
    let uploaded = upload(gateway, wanted, Box::pin(body)).await?;
    let attributes =
        Attributes { checksum: uploaded.digested.checksum.clone(), ..Attributes::default() };
    let etag = uploaded.digested.etag();
    Ok(Copied { placed: vec![commit::place(gateway, to, sealing, 1, uploaded)], etag, attributes })
}

/// The same contents, their keys wrapped for another bucket.
pub(super) fn share(
    gateway: &Gateway,
    (from, from_key): (&Bucket, &Key),
    (to, to_key): (&Bucket, &Key),
    parts: Vec<Part>,
) -> S3Result<Vec<Placed>> {
    let shared = parts.into_iter().map(|part| {
        let key = gateway.open_data_key(from, from_key, &part)?;
        let wrapped_key = gateway.wrap_data_key(to, to_key, &key, part.content);
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

fn is_replace_of_tags(directive: Option<&TaggingDirective>) -> S3Result<bool> {
    match directive.map(TaggingDirective::as_str) {
        None | Some(TaggingDirective::COPY) => Ok(false),
        Some(TaggingDirective::REPLACE) => Ok(true),
        Some(_) => Err(refuse(S3ErrorCode::InvalidArgument, "Unknown tagging directive.")),
    }
}
