//! What listings share: limits, encoding, lines. Pure.

use s3s::dto::{CommonPrefix, EncodingType, Object, ObjectStorageClass, Owner};
use s3s::{S3ErrorCode, S3Result};

use super::{etag, size, timestamp};
use crate::error::refuse;
use crate::meta::Listed;

/// Lines on one page.
const LINES_MAX: i32 = 1000;

/// How many lines were asked for: at most 1,000.
pub fn limit(asked: Option<i32>, what: &str) -> S3Result<usize> {
    let asked = asked.unwrap_or(LINES_MAX);
    usize::try_from(asked.min(LINES_MAX)).map_err(|_| {
        let message = format!("Argument {what} must be an integer between 0 and 2147483647");
        refuse(S3ErrorCode::InvalidArgument, message)
    })
}

/// How keys are shown: as they are, or percent-encoded.
#[derive(Clone, Copy, Debug)]
pub struct Encoding(bool);

impl Encoding {
    /// What the request asked for.
    pub fn new(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self(false)),
            Some(EncodingType::URL) => Ok(Self(true)),
            Some(_) => Err(refuse(
                S3ErrorCode::InvalidArgument,
                "Invalid Encoding Method specified in Request",
            )),
        }
    }

    /// A key, prefix, delimiter or marker.
    pub fn show(self, key: &[u8]) -> String {
        if self.0 { encode(key) } else { String::from_utf8_lossy(key).into_owned() }
    }
}

/// As S3 does it: a slash stays. A space becomes `%20`, which every client
/// decodes alike, those that take a `+` for one and those that do not.
fn encode(key: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(key.len());
    for &byte in key {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}"); // Writing to a string cannot fail.
            }
        }
    }
    out
}

/// A line for an object.
pub fn object(listed: &Listed, encoding: Encoding, owner: Option<Owner>) -> Object {
    let checksum = listed.version.attributes.checksum.as_ref();
    let class = listed.version.attributes.storage_class.clone();
    let class = class.unwrap_or_else(|| ObjectStorageClass::STANDARD.to_owned());
    Object {
        key: Some(encoding.show(&listed.key)),
        e_tag: Some(etag(&listed.version.etag)),
        size: Some(size(listed.version.size)),
        last_modified: Some(timestamp(listed.version.modified_ms)),
        storage_class: Some(ObjectStorageClass::from(class)),
        checksum_algorithm: checksum.map(|checksum| {
            let name = super::checksums::name(checksum.algorithm);
            vec![s3s::dto::ChecksumAlgorithm::from_static(name)]
        }),
        checksum_type: checksum.map(|checksum| super::checksums::kind(checksum.kind)),
        owner,
        ..Object::default()
    }
}

/// Lines for common prefixes.
pub fn prefixes(prefixes: &[Vec<u8>], encoding: Encoding) -> Vec<CommonPrefix> {
    let line = |prefix: &Vec<u8>| CommonPrefix { prefix: Some(encoding.show(prefix)) };
    prefixes.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_as_s3_does() {
        assert_eq!(encode("a b/c+d%é\u{1}~*".as_bytes()), "a%20b/c%2Bd%25%C3%A9%01%7E*");
    }

    #[test]
    fn limits() {
        let limit = |asked| limit(asked, "max-keys").ok();
        assert_eq!(limit(None), Some(1000));
        assert_eq!(limit(Some(0)), Some(0));
        assert_eq!(limit(Some(i32::MAX)), Some(1000));
        assert_eq!(limit(Some(-1)), None);
    }
}
