//! Tags: their limits, and the forms in which they come and go. Pure.

use s3s::dto::{Tag, Tagging};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::error::refuse;

/// Tags of an object.
pub const OBJECT_TAGS_MAX: usize = 10;
/// Tags of a bucket.
pub const BUCKET_TAGS_MAX: usize = 50;
/// Longest name and value, in characters.
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 256;

/// Names and values, in the order they were given.
pub type Tags = Vec<(String, String)>;

fn invalid(message: &'static str) -> S3Error {
    refuse(S3ErrorCode::InvalidTag, message)
}

/// Checks limits: names are unique, none is empty.
pub fn check(tags: Tags, max: usize) -> S3Result<Tags> {
    if tags.len() > max {
        let message = format!("Object tags cannot be greater than {max}");
        return Err(match max {
            OBJECT_TAGS_MAX => refuse(S3ErrorCode::InvalidTag, message),
            _ => refuse(
                S3ErrorCode::InvalidTag,
                format!("Bucket tag count cannot be greater than {max}"),
            ),
        });
    }
    for (at, (key, value)) in tags.iter().enumerate() {
        if key.is_empty() || KEY_MAX < key.chars().count() || key.contains(char::is_control) {
            return Err(invalid("The TagKey you have provided is invalid"));
        }
        if VALUE_MAX < value.chars().count() || value.contains(char::is_control) {
            return Err(invalid("The TagValue you have provided is invalid"));
        }
        if key.starts_with("aws:") {
            return Err(invalid("System tags cannot be added/updated by requester"));
        }
        if tags[..at].iter().any(|(other, _)| other == key) {
            return Err(invalid("Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(tags)
}

/// The tags of an `x-amz-tagging` header: `a=b&c=d`.
pub fn from_header(value: &str) -> S3Result<Tags> {
    let mut tags: Tags = form_urlencoded::parse(value.as_bytes()).into_owned().collect();
    tags.sort();
    match check(tags, OBJECT_TAGS_MAX) {
        Err(error) if error.code() == &S3ErrorCode::InvalidTag => Err(refuse(
            S3ErrorCode::InvalidTag,
            error.message().unwrap_or("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.").to_owned(),
        )),
        other => other,
    }
}

/// The tags of a document.
pub fn from_document(tagging: Tagging, max: usize) -> S3Result<Tags> {
    let tags = tagging.tag_set.into_iter();
    let tags = tags.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    check(tags.collect(), max)
}

/// Tags as S3 types have them.
pub fn to_set(tags: &[(String, String)]) -> Vec<Tag> {
    let tag = |(key, value): &(String, String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    tags.iter().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h08_limits_of_tags() {
        let pair = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        let ok = |tags: Tags| check(tags, OBJECT_TAGS_MAX).is_ok();
        assert!(ok(vec![]));
        assert!(ok(pair(&"é".repeat(128), &"v".repeat(256))));
        assert!(!ok(pair(&"k".repeat(129), "")));
        assert!(!ok(pair("k", &"v".repeat(257))));
        assert!(!ok(pair("", "v")));
        assert!(!ok(pair("k", "a\r\nb")));
        assert!(!ok(pair("aws:k", "v")));
        assert!(!ok([pair("k", "1"), pair("k", "2")].concat()));
        let many = |n: usize| (0..n).map(|n| (n.to_string(), String::new())).collect::<Tags>();
        assert!(ok(many(10)) && !ok(many(11)));
        assert!(check(many(50), BUCKET_TAGS_MAX).is_ok());
        assert!(check(many(51), BUCKET_TAGS_MAX).is_err());
    }

    #[test]
    fn a_header_is_a_query_string() {
        let tags = from_header("a=1+2&b=%26&c").unwrap();
        let tags: Vec<_> = tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(tags, [("a", "1 2"), ("b", "&"), ("c", "")]);
        assert_eq!(from_header("").unwrap(), vec![]);
        assert!(from_header("a=1&a=2").is_err());
    }
}
