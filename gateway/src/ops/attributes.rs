//! Headers that are kept with an object and given back.

use std::collections::BTreeMap;

use http::HeaderMap;
use s3s::dto::Metadata;
use s3s::{S3ErrorCode, S3Result};

use crate::error::refuse;
use crate::http::guard::RAW_EXPIRES;
use crate::meta::Attributes;

/// User metadata in all, names and values.
const METADATA_MAX: usize = 2048;

/// Reads the attributes of a write from its headers.
///
/// Headers are read raw, so that they come back as they were. (An `Expires` that
/// is no date has another name here.)
pub fn from_headers(headers: &HeaderMap, metadata: Option<&Metadata>) -> S3Result<Attributes> {
    let text = |name: &str| {
        let value = headers.get(name)?;
        String::from_utf8(value.as_bytes().to_vec()).ok().filter(|value| !value.is_empty())
    };
    Ok(Attributes {
        content_type: text("content-type"),
        cache_control: text("cache-control"),
        content_disposition: text("content-disposition"),
        content_encoding: text("content-encoding").and_then(|value| without_aws_chunked(&value)),
        content_language: text("content-language"),
        expires: text("expires").or_else(|| text(RAW_EXPIRES)),
        website_redirect_location: text("x-amz-website-redirect-location"),
        metadata: user_metadata(metadata)?,
        ..Attributes::default()
    })
}

/// `aws-chunked` is how a body travels, not what it is.
fn without_aws_chunked(value: &str) -> Option<String> {
    let kept: Vec<&str> = value
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

fn user_metadata(metadata: Option<&Metadata>) -> S3Result<BTreeMap<String, String>> {
    let mut kept = BTreeMap::new();
    let mut len = 0;
    for (name, value) in metadata.into_iter().flatten() {
        len += name.len() + value.len();
        kept.insert(name.to_ascii_lowercase(), value.clone());
    }
    if len > METADATA_MAX {
        return Err(refuse(
            S3ErrorCode::MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size.",
        ));
    }
    Ok(kept)
}

/// User metadata as S3 types have it.
pub fn to_metadata(attributes: &Attributes) -> Option<Metadata> {
    let metadata = &attributes.metadata;
    (!metadata.is_empty())
        .then(|| metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// The content type; S3's default where none was given.
pub fn content_type(attributes: &Attributes) -> String {
    attributes.content_type.clone().unwrap_or_else(|| "binary/octet-stream".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_of_the_transfer_is_stripped() {
        assert_eq!(without_aws_chunked("aws-chunked"), None);
        assert_eq!(without_aws_chunked("gzip, AWS-Chunked").as_deref(), Some("gzip"));
        assert_eq!(without_aws_chunked("aws-chunked,br,gzip").as_deref(), Some("br, gzip"));
    }

    #[test]
    fn too_much_user_metadata_is_refused() {
        let metadata: Metadata = [("K".to_owned(), "v".repeat(2047))].into_iter().collect();
        assert_eq!(user_metadata(Some(&metadata)).unwrap()["k"].len(), 2047);
        let metadata: Metadata = [("K".to_owned(), "v".repeat(2048))].into_iter().collect();
        assert!(user_metadata(Some(&metadata)).is_err());
    }
}
