//! What a request says of its body, and of what was signed of it.
//!
//! `x-amz-content-sha256` is a hash, or one of a few words. A hash is that of
//! the body; a word that begins with `STREAMING-` says that the body comes as
//! aws-chunked. Libraries that sign nothing leave the header away and announce
//! a trailer: their bodies are chunks as well.

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::credentials::{Credentials, Place};
use super::refusal::{Code, S3Refusal};

/// The header that says it.
pub(super) const CONTENT_SHA256: &str = "x-amz-content-sha256";
/// How long a body of chunks is without its framing.
pub(super) const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
/// Which headers follow the last chunk.
pub(super) const TRAILER: &str = "x-amz-trailer";
/// Stands for the hash of a body that nobody signed.
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// How a body comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Payload {
    /// As it is, and nobody said what it is.
    Plain,
    /// As it is, with this SHA-256.
    Hash([u8; 32]),
    /// As aws-chunked.
    Chunks(Framing),
}

/// What is known of a body of chunks before it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Framing {
    /// Bytes without the framing.
    pub len: u64,
    /// Whether each chunk is signed.
    pub signed: bool,
    /// The headers that may follow the last chunk, in lower case; `None` if
    /// nothing may follow.
    pub trailers: Option<Vec<String>>,
}

impl Payload {
    /// Reads the headers. What nobody could verify is refused: signed chunks go
    /// on from a signature in the head.
    pub fn find(headers: &HeaderMap, credentials: &Credentials<'_>) -> Result<Self, S3Refusal> {
        let hash = match headers.get(CONTENT_SHA256) {
            None => None,
            Some(value) => Some(value.to_str().map_err(|_| unknown())?),
        };
        let (signed, has_trailer) = match hash {
            None if announces_chunks(headers) => (false, true),
            None | Some(UNSIGNED) => return Ok(Self::Plain),
            Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD") => (true, false),
            Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER") => (true, true),
            Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER") => (false, true),
            Some(word) if word.starts_with("STREAMING-AWS4-ECDSA-") => {
                return Err(S3Refusal::new(
                    Code::NotImplemented,
                    "Chunks signed by AWS4-ECDSA-P256-SHA256 are not implemented here.",
                ));
            }
            Some(text) => {
                let mut hash = [0; 32];
                hex::decode_to_slice(text, &mut hash).map_err(|_| unknown())?;
                return Ok(Self::Hash(hash));
            }
        };
        match credentials {
            Credentials::Signed(claim) if signed && claim.place == Place::Query => {
                return Err(S3Refusal::new(
                    Code::NotImplemented,
                    "Signed chunks cannot be sent with a presigned URL.",
                ));
            }
            Credentials::Anonymous if signed => {
                return Err(S3Refusal::new(
                    Code::InvalidRequest,
                    "Signed chunks need a signed request.",
                ));
            }
            Credentials::Signed(_) | Credentials::Anonymous => {}
        }
        let trailers = has_trailer.then(|| announced(headers)).transpose()?;
        Ok(Self::Chunks(Framing { len: decoded_len(headers)?, signed, trailers }))
    }
}

/// What a library sends that has nothing to sign with.
fn announces_chunks(headers: &HeaderMap) -> bool {
    let is_chunked = headers.get_all(CONTENT_ENCODING).iter().any(|value| {
        value
            .as_bytes()
            .split(|&b| b == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"aws-chunked"))
    });
    is_chunked && headers.contains_key(TRAILER) && headers.contains_key(DECODED_LENGTH)
}

fn announced(headers: &HeaderMap) -> Result<Vec<String>, S3Refusal> {
    let names = headers.get(TRAILER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let names: Vec<String> = names
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        return Err(S3Refusal::new(
            Code::InvalidRequest,
            "Missing required header for this request: x-amz-trailer",
        ));
    }
    Ok(names)
}

fn decoded_len(headers: &HeaderMap) -> Result<u64, S3Refusal> {
    let Some(value) = headers.get(DECODED_LENGTH) else {
        return Err(S3Refusal::new(
            Code::MissingContentLength,
            "You must provide the x-amz-decoded-content-length HTTP header.",
        ));
    };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or_else(|| {
        S3Refusal::new(Code::InvalidArgument, "This header must be a number.")
            .field("ArgumentName", DECODED_LENGTH)
    })
}

fn unknown() -> S3Refusal {
    S3Refusal::new(
        Code::InvalidArgument,
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, \
         STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
    )
    .field("ArgumentName", CONTENT_SHA256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::guard::Domains;
    use crate::http::guard::target::Target;
    use crate::http::guard::testing::{HEADER_AUTH, PRESIGNED, parts};

    fn find(query: &str, headers: &[(&str, &str)]) -> Result<Payload, &'static str> {
        let mut all = vec![("host", "h"), ("x-amz-date", "20260102T030405Z")];
        all.extend_from_slice(headers);
        let parts = parts("PUT", &format!("/b/k?{query}"), &all);
        let target = Target::parse(&parts, &Domains::default()).unwrap();
        let credentials = Credentials::find(&parts, &target.query).unwrap();
        Payload::find(&parts.headers, &credentials).map_err(|refusal| refusal.code.as_str())
    }

    const AUTH: (&str, &str) = ("authorization", HEADER_AUTH);
    const LEN: (&str, &str) = (DECODED_LENGTH, "5");
    const NAMES: (&str, &str) = (TRAILER, "X-Amz-Checksum-CRC32 ,");
    const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    const SIGNED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
    const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

    fn chunks(signed: bool, trailers: Option<&[&str]>) -> Result<Payload, &'static str> {
        let trailers = trailers.map(|names| names.iter().map(|&n| n.to_owned()).collect());
        Ok(Payload::Chunks(Framing { len: 5, signed, trailers }))
    }

    #[test]
    fn bodies_that_are_sent_whole() {
        assert_eq!(find("", &[]), Ok(Payload::Plain));
        assert_eq!(find("", &[AUTH, (CONTENT_SHA256, UNSIGNED)]), Ok(Payload::Plain));
        let hash = "0b".repeat(32);
        assert_eq!(find("", &[(CONTENT_SHA256, &hash)]), Ok(Payload::Hash([11; 32])));
        for bad in ["", "x", &hash[1..], "unsigned-payload", "STREAMING-", "é"] {
            assert_eq!(find("", &[AUTH, (CONTENT_SHA256, bad)]), Err("InvalidArgument"), "{bad}");
        }
    }

    #[test]
    fn bodies_that_come_in_chunks() {
        let hash = |word| (CONTENT_SHA256, word);
        let crc32 = ["x-amz-checksum-crc32"];
        assert_eq!(find("", &[AUTH, hash(SIGNED), LEN]), chunks(true, None));
        assert_eq!(find("", &[AUTH, hash(SIGNED_TRAILER), LEN, NAMES]), chunks(true, Some(&crc32)));
        let unsigned = [AUTH, hash(UNSIGNED_TRAILER), LEN, NAMES];
        assert_eq!(find("", &unsigned), chunks(false, Some(&crc32)));
        assert_eq!(find("", &unsigned[1..]), chunks(false, Some(&crc32)));
        assert_eq!(find(PRESIGNED, &unsigned[1..]), chunks(false, Some(&crc32)));
        let coding = ("content-encoding", "gzip, AWS-chunked");
        assert_eq!(find("", &[coding, LEN, NAMES]), chunks(false, Some(&crc32)));
        assert_eq!(find("", &[coding, LEN]), Ok(Payload::Plain));
    }

    #[test]
    fn s08_chunks_that_nobody_could_verify_are_refused() {
        let hash = |word| (CONTENT_SHA256, word);
        assert_eq!(find("", &[hash(SIGNED), LEN]), Err("InvalidRequest"));
        assert_eq!(find(PRESIGNED, &[hash(SIGNED), LEN]), Err("NotImplemented"));
        assert_eq!(find("", &[AUTH, hash(SIGNED)]), Err("MissingContentLength"));
        assert_eq!(find("", &[AUTH, hash(UNSIGNED_TRAILER), LEN]), Err("InvalidRequest"));
        let ecdsa = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD";
        assert_eq!(find("", &[AUTH, hash(ecdsa), LEN]), Err("NotImplemented"));
        for bad in ["-1", "+5", "5x", "18446744073709551616", "é"] {
            let len = (DECODED_LENGTH, bad);
            assert_eq!(find("", &[AUTH, hash(SIGNED), len]), Err("InvalidArgument"), "{bad}");
        }
    }
}
