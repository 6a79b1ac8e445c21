//! GetObject: the bytes of an object, or a range of them.

use std::ops::Range;
use std::sync::Arc;

use s3s::dto::{ChecksumMode, GetObjectInput, GetObjectOutput, StreamingBlob};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::checksums::Fields;
use super::conditions::ReadConditions;
use super::encryption::{self, KeyOf};
use super::{attributes, etag, lock, size, timestamp};
use crate::auth::identity::Caller;
use crate::cost;
use crate::error::{custom, refuse};
use crate::gateway::Gateway;
use crate::meta::{Part, Version};
use crate::object::download;
use crate::upkeep::lifecycle;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let input = &request.input;
    let expected_owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, expected_owner).await?;
    let version_id = input.version_id.as_deref();
    let action = access::read_action(version_id);
    let ask = Ask::object(caller, &bucket, action, &input.key);
    let (version, parts) = super::version_with_parts(gateway, ask, version_id).await?;
    let headers = &request.headers;
    encryption::refuse_on_read(headers)?;
    let encryption = &version.attributes.encryption;
    let sealing =
        encryption::for_read(gateway, &bucket, encryption, headers, KeyOf::Object).await?;
    ReadConditions {
        matches: input.if_match.as_ref(),
        none_match: input.if_none_match.as_ref(),
        modified_since: input.if_modified_since.as_ref(),
        unmodified_since: input.if_unmodified_since.as_ref(),
    }
    .check(&version)?;
    let Selection { range, content_range, part } =
        select(&version, &parts, input.range.as_ref(), input.part_number)?;
    let len = range.end - range.start;
    let parts_count = parts_count(&version, &parts, part);
    let asked = numbered(&parts, part);
    let body = download::read(gateway, &bucket, &sealing.key, parts, range).await?;

    let checksum = checksum_fields(
        &version,
        asked.as_ref(),
        input.checksum_mode.as_ref(),
        content_range.is_some(),
    );
    let kept = &version.attributes;
    let told = encryption::told(&kept.encryption);
    let (object_lock_mode, object_lock_retain_until_date, object_lock_legal_hold_status) =
        lock::told(&version.lock, &bucket);
    let mut response = S3Response::new(GetObjectOutput {
        body: Some(StreamingBlob::wrap(sync_wrapper::SyncStream::new(body))),
        content_length: Some(size(len)),
        content_range,
        parts_count,
        accept_ranges: Some("bytes".to_owned()),
        e_tag: Some(etag(&version.etag)),
        expiration: lifecycle::expiration(&bucket, &input.key, &version),
        last_modified: Some(timestamp(version.modified_ms)),
        content_type: Some(attributes::content_type(kept)),
        cache_control: kept.cache_control.clone(),
        content_disposition: kept.content_disposition.clone(),
        content_encoding: kept.content_encoding.clone(),
        content_language: kept.content_language.clone(),
        website_redirect_location: kept.website_redirect_location.clone(),
        metadata: attributes::to_metadata(kept),
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
        version_id: super::version_id(&bucket, &version),
        tag_count: super::tag_count(kept),
        storage_class: super::storage_class(kept),
        object_lock_mode,
        object_lock_retain_until_date,
        object_lock_legal_hold_status,
        ..GetObjectOutput::default()
    });
    // A header of the answer wins over the one that the request asked for.
    if input.response_expires.is_none() {
        add_expires(&mut response.headers, &version);
    }
    cost::tell(gateway, headers, cost::get(gateway, len, version.size), &mut response.headers);
    Ok(response)
}

/// How many parts there are: told to who asks for one of a multipart object.
pub(super) fn parts_count(version: &Version, parts: &[Part], asked: Option<i32>) -> Option<i32> {
    asked.filter(|_| super::is_multipart(version)).and(i32::try_from(parts.len()).ok())
}

/// `Expires` is given back as it came.
pub(super) fn add_expires(headers: &mut http::HeaderMap, version: &Version) {
    let value = version.attributes.expires.as_ref();
    if let Some(value) = value.and_then(|value| value.parse().ok()) {
        headers.insert(http::header::EXPIRES, value);
    }
}

/// The checksum, if it was asked for and covers what is sent.
pub(super) fn checksum_fields(
    version: &Version,
    part: Option<&Part>,
    mode: Option<&ChecksumMode>,
    is_partial: bool,
) -> Fields {
    let enabled = mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
    let whole = version.attributes.checksum.as_ref();
    if let Some(part) = part.filter(|_| enabled && super::is_multipart(version)) {
        // The value is that of the part, the type that of the object.
        let kind = whole.map(|whole| whole.kind);
        let mut fields = Fields::new(part.checksum.as_ref());
        fields.kind = kind.map(super::checksums::kind).filter(|_| fields.kind.is_some());
        return fields;
    }
    Fields::new(whole.filter(|_| enabled && !is_partial))
}

/// The part with this number, counted from 1.
pub(super) fn numbered(parts: &[Part], number: Option<i32>) -> Option<Part> {
    let at = usize::try_from(number?).ok()?.checked_sub(1)?;
    parts.get(at).cloned()
}

/// What part of the object is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// Plain bytes.
    pub range: Range<u64>,
    /// `Content-Range`, if it is not the whole.
    pub content_range: Option<String>,
    /// The part that was asked for by number.
    pub part: Option<i32>,
}

/// Decides what is sent. Pure.
pub(super) fn select(
    version: &Version,
    parts: &[Part],
    range: Option<&s3s::dto::Range>,
    part_number: Option<i32>,
) -> S3Result<Selection> {
    let whole = version.size;
    let content_range =
        |range: &Range<u64>| format!("bytes {}-{}/{whole}", range.start, range.end - 1);
    match (range, part_number) {
        (Some(_), Some(_)) => Err(refuse(
            S3ErrorCode::InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter",
        )),
        (None, None) => Ok(Selection { range: 0..whole, content_range: None, part: None }),
        (Some(range), None) => {
            // The last bytes of an empty object are none, and cannot be named.
            let range = range.check(whole).ok().filter(|range| !range.is_empty());
            let range = range.ok_or_else(|| {
                refuse(S3ErrorCode::InvalidRange, "The requested range is not satisfiable")
            })?;
            Ok(Selection { content_range: Some(content_range(&range)), range, part: None })
        }
        (None, Some(number)) => {
            // Only a multipart object has numbered parts; a single put is part 1.
            let mut start = 0;
            for (at, part) in (1..).zip(parts) {
                let end = start + part.size;
                if at == number {
                    let range = start..end;
                    let content_range = (start < end).then(|| content_range(&range));
                    return Ok(Selection { range, content_range, part: Some(number) });
                }
                start = end;
            }
            Err(custom(
                "InvalidPartNumber",
                http::StatusCode::RANGE_NOT_SATISFIABLE,
                "The requested partnumber is not satisfiable",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use s3s::dto::Range as S3Range;

    use super::*;
    use crate::meta::{Attributes, ContentId};

    fn version(size: u64) -> Version {
        Version {
            id: 1,
            version_id: "null".into(),
            delete_marker: false,
            size,
            etag: "e".into(),
            modified_ms: 0,
            attributes: Attributes::default(),
            latest: true,
            owner: None,
            lock: crate::meta::Lock::default(),
        }
    }

    fn part(number: i32, size: u64) -> Part {
        let content = ContentId([0; 16]);
        Part { number, content, size, wrapped_key: vec![], etag: String::new(), checksum: None }
    }

    #[test]
    fn ranges() {
        let select = |size, range: &str| {
            let range = S3Range::parse(range).unwrap();
            select(&version(size), &[part(1, size)], Some(&range), None).ok().map(|s| s.range)
        };
        assert_eq!(select(10, "bytes=0-"), Some(0..10));
        assert_eq!(select(10, "bytes=2-3"), Some(2..4));
        assert_eq!(select(10, "bytes=-3"), Some(7..10));
        assert_eq!(select(10, "bytes=-30"), Some(0..10));
        assert_eq!(select(10, "bytes=9-9223372036854775807"), Some(9..10));
        assert_eq!(select(10, "bytes=10-"), None);
        assert_eq!(select(10, "bytes=-0"), None);
        assert_eq!(select(0, "bytes=0-"), None);
        assert_eq!(select(0, "bytes=-5"), None);
        assert_eq!(select(0, "bytes=-0"), None);
    }

    #[test]
    fn parts_by_number() {
        let parts = [part(3, 5), part(7, 2)];
        let select = |number| select(&version(7), &parts, None, Some(number));
        assert_eq!(select(1).unwrap().range, 0..5);
        assert_eq!(select(2).unwrap().content_range.as_deref(), Some("bytes 5-6/7"));
        assert!(select(3).is_err());
        assert!(select(0).is_err());
    }

    #[test]
    fn parts_are_counted_where_there_was_more_than_one_request() {
        let parts = [part(1, 5), part(2, 2)];
        let multipart = Version { etag: "0cc1-2".into(), ..version(7) };
        assert_eq!(parts_count(&multipart, &parts, Some(1)), Some(2));
        assert_eq!(parts_count(&multipart, &parts, None), None);
        assert_eq!(parts_count(&version(5), &parts[..1], Some(1)), None);
    }
}
