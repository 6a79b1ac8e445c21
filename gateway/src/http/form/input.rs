//! The input of PutObject from the headers that stand for the fields. Pure.
//!
//! The operation reads most of what it needs from the headers themselves; what
//! it takes from the input must be there, too.

use std::str::FromStr;

use http::HeaderMap;
use s3s::dto::{ETagCondition, PutObjectInput, StreamingBlob, Timestamp, TimestampFormat};
use s3s::{S3ErrorCode, S3Result};

use crate::error::refuse;

/// Makes the input.
pub fn put_object(
    bucket: &str,
    key: &str,
    headers: &HeaderMap,
    body: StreamingBlob,
) -> S3Result<PutObjectInput> {
    let read = Reader(headers);
    Ok(PutObjectInput {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        body: Some(body),
        acl: read.name("x-amz-acl"),
        bucket_key_enabled: read
            .parsed::<bool>("x-amz-server-side-encryption-bucket-key-enabled")?,
        cache_control: read.name("cache-control"),
        checksum_algorithm: read.name("x-amz-checksum-algorithm"),
        checksum_crc32: read.name("x-amz-checksum-crc32"),
        checksum_crc32c: read.name("x-amz-checksum-crc32c"),
        checksum_crc64nvme: read.name("x-amz-checksum-crc64nvme"),
        checksum_sha1: read.name("x-amz-checksum-sha1"),
        checksum_sha256: read.name("x-amz-checksum-sha256"),
        content_disposition: read.name("content-disposition"),
        content_encoding: read.name("content-encoding"),
        content_language: read.name("content-language"),
        content_length: None,
        content_md5: read.name("content-md5"),
        content_type: read.name("content-type"),
        expected_bucket_owner: read.name("x-amz-expected-bucket-owner"),
        expires: read.time("expires", TimestampFormat::HttpDate)?,
        grant_full_control: read.name("x-amz-grant-full-control"),
        grant_read: read.name("x-amz-grant-read"),
        grant_read_acp: read.name("x-amz-grant-read-acp"),
        grant_write_acp: read.name("x-amz-grant-write-acp"),
        if_match: None,
        if_none_match: None::<ETagCondition>,
        metadata: read.metadata(),
        object_lock_legal_hold_status: read.name("x-amz-object-lock-legal-hold"),
        object_lock_mode: read.name("x-amz-object-lock-mode"),
        object_lock_retain_until_date: read
            .time("x-amz-object-lock-retain-until-date", TimestampFormat::DateTime)?,
        request_payer: read.name("x-amz-request-payer"),
        sse_customer_algorithm: read.name("x-amz-server-side-encryption-customer-algorithm"),
        sse_customer_key: read.name("x-amz-server-side-encryption-customer-key"),
        sse_customer_key_md5: read.name("x-amz-server-side-encryption-customer-key-md5"),
        ssekms_encryption_context: read.name("x-amz-server-side-encryption-context"),
        ssekms_key_id: read.name("x-amz-server-side-encryption-aws-kms-key-id"),
        server_side_encryption: read.name("x-amz-server-side-encryption"),
        storage_class: read.name("x-amz-storage-class"),
        tagging: read.name("x-amz-tagging"),
        website_redirect_location: read.name("x-amz-website-redirect-location"),
        write_offset_bytes: None,
    })
}

struct Reader<'a>(&'a HeaderMap);

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.0.get(name)?.as_bytes()).ok()
    }

    /// Text, or one of S3's names for something.
    fn name<T: From<String>>(&self, name: &str) -> Option<T> {
        self.text(name).map(|text| T::from(text.to_owned()))
    }

    fn parsed<T: FromStr>(&self, name: &str) -> S3Result<Option<T>> {
        self.text(name).map(T::from_str).transpose().map_err(|_| invalid(name))
    }

    fn time(&self, name: &str, format: TimestampFormat) -> S3Result<Option<Timestamp>> {
        let parsed = self.text(name).map(|text| Timestamp::parse(format, text));
        parsed.transpose().map_err(|_| invalid(name))
    }

    fn metadata(&self) -> Option<s3s::dto::Metadata> {
        let metadata: s3s::dto::Metadata = self
            .0
            .keys()
            .filter_map(|header| {
                let name = header.as_str().strip_prefix("x-amz-meta-")?;
                Some((name.to_owned(), self.text(header.as_str())?.to_owned()))
            })
            .collect();
        (!metadata.is_empty()).then_some(metadata)
    }
}

fn invalid(name: &str) -> s3s::S3Error {
    refuse(S3ErrorCode::InvalidArgument, format!("The value of {name} is not valid."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_become_the_fields_of_the_input() {
        let input = |pairs: &[(&'static str, &str)]| {
            let headers: HeaderMap = pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            put_object("b", "k", &headers, StreamingBlob::from(s3s::Body::empty()))
        };
        let got = input(&[
            ("x-amz-acl", "public-read"),
            ("expires", "Wed, 21 Oct 2026 07:28:00 GMT"),
            ("x-amz-object-lock-retain-until-date", "2030-01-01T00:00:00Z"),
            ("x-amz-meta-a-b", "c"),
            ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
        ])
        .unwrap();
        assert_eq!(got.acl.unwrap().as_str(), "public-read");
        assert_eq!(got.metadata.unwrap()["a-b"], "c");
        assert_eq!(got.bucket_key_enabled, Some(true));
        assert!(got.expires.is_some() && got.object_lock_retain_until_date.is_some());
        assert!(input(&[]).unwrap().metadata.is_none());
        for bad in ["expires", "x-amz-object-lock-retain-until-date"] {
            let error = input(&[(bad, "tomorrow")]).err().unwrap();
            assert_eq!(error.code().as_str(), "InvalidArgument");
        }
    }
}
