//! What a client declares about a body, in headers and trailers, compared with
//! what arrived.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{Extensions, HeaderMap};
use s3s::{S3ErrorCode, S3Result};

use crate::error::{custom, refuse};
use crate::http::guard::BodyRecord;
use crate::meta::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::object::digest::Digested;

/// Every algorithm: its name in `x-amz-checksum-algorithm`, its header, and the
/// bytes of a value.
pub const ALGORITHMS: [(ChecksumAlgorithm, &str, &str, usize); 5] = [
    (ChecksumAlgorithm::Crc32, "CRC32", "x-amz-checksum-crc32", 4),
    (ChecksumAlgorithm::Crc32C, "CRC32C", "x-amz-checksum-crc32c", 4),
    (ChecksumAlgorithm::Crc64Nvme, "CRC64NVME", "x-amz-checksum-crc64nvme", 8),
    (ChecksumAlgorithm::Sha1, "SHA1", "x-amz-checksum-sha1", 20),
    (ChecksumAlgorithm::Sha256, "SHA256", "x-amz-checksum-sha256", 32),
];

/// The algorithm's name in S3.
pub fn name(algorithm: ChecksumAlgorithm) -> &'static str {
    let (_, name, _, _) = row(algorithm);
    name
}

fn row(
    algorithm: ChecksumAlgorithm,
) -> &'static (ChecksumAlgorithm, &'static str, &'static str, usize) {
    ALGORITHMS.iter().find(|row| row.0 == algorithm).expect("the table has every algorithm")
}

/// The algorithm of this name.
pub fn parse_name(text: &str) -> S3Result<ChecksumAlgorithm> {
    let found = ALGORITHMS.iter().find(|row| row.1.eq_ignore_ascii_case(text));
    found.map(|row| row.0).ok_or_else(|| {
        refuse(S3ErrorCode::InvalidRequest, "Checksum algorithm provided is unsupported.")
    })
}

/// What followed the body of a request.
pub fn trailers(extensions: &Extensions) -> Option<&BodyRecord> {
    extensions.get()
}

/// What the headers of a request say about its body.
#[derive(Debug, Default)]
pub struct Declared {
    md5: Option<[u8; 16]>,
    /// The algorithm, and its value unless that comes in a trailer.
    checksum: Option<(ChecksumAlgorithm, Option<String>)>,
    /// Whether a value comes in a trailer.
    announced: bool,
    /// The length; of a body in chunks that without their framing.
    pub len: Option<u64>,
}

impl Declared {
    /// Reads the headers. More than one checksum is refused.
    pub fn from_headers(headers: &HeaderMap) -> S3Result<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let mut checksum = None;
        for (algorithm, _, header, len) in ALGORITHMS {
            let Some(value) = text(header) else { continue };
            if checksum.is_some() {
                return Err(refuse(
                    S3ErrorCode::InvalidRequest,
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
                ));
            }
            if BASE64_STANDARD.decode(value).map(|bytes| bytes.len()) != Ok(len) {
                // It cannot be that of the body.
                let message = format!("Value for {header} header is invalid.");
                return Err(refuse(S3ErrorCode::BadDigest, message));
            }
            checksum = Some((algorithm, Some(value.to_owned())));
        }
        let trailer = text("x-amz-trailer");
        if let Some(trailer) = trailer {
            let named = ALGORITHMS.iter().find(|row| row.2.eq_ignore_ascii_case(trailer.trim()));
            let Some((algorithm, ..)) = named else {
                return Err(refuse(
                    S3ErrorCode::InvalidRequest,
                    "The value specified in the x-amz-trailer header is not supported",
                ));
            };
            checksum = checksum.or(Some((*algorithm, None)));
        }
        if let Some(sent) = text("x-amz-sdk-checksum-algorithm").filter(|name| !name.is_empty()) {
            check_sent(sent, checksum.as_ref().map(|(algorithm, _)| *algorithm))?;
        }
        if checksum.is_none()
            && let Some(asked) = text("x-amz-checksum-algorithm")
        {
            // Asked for, not declared: computed and kept, nothing to compare.
            checksum = Some((parse_name(asked)?, None));
        }
        Ok(Self {
            md5: content_md5(text("content-md5"))?,
            checksum,
            announced: trailer.is_some(),
            len: text("content-length").and_then(|len| len.parse().ok()),
        })
    }

    /// Whether a body that was changed on the way would be noticed.
    pub fn is_protected(&self) -> bool {
        let in_header = self.checksum.as_ref().is_some_and(|(_, value)| value.is_some());
        self.md5.is_some() || in_header || self.announced
    }

    /// The algorithm that the client wants.
    pub fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.checksum.as_ref().map(|(algorithm, _)| *algorithm)
    }

    /// Compares with what arrived. The trailers are complete once the body is.
    pub fn verify(
        &self,
        digested: &Digested,
        len: u64,
        trailers: Option<&BodyRecord>,
    ) -> S3Result<()> {
        if self.len.is_some_and(|declared| declared != len) {
            return Err(refuse(
                S3ErrorCode::IncompleteBody,
                "You did not provide the number of bytes specified by the Content-Length HTTP header.",
            ));
        }
        if self.md5.is_some_and(|md5| md5 != digested.md5) {
            return Err(refuse(
                S3ErrorCode::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            ));
        }
        let Some((algorithm, in_header)) = &self.checksum else { return Ok(()) };
        let (_, name, header, _) = row(*algorithm);
        let in_trailer = trailers.and_then(|trailers| trailers.trailer(header));
        let value = in_header.clone().or(in_trailer);
        let Some(value) = value else {
            if self.announced {
                return Err(custom(
                    "MalformedTrailerError",
                    http::StatusCode::BAD_REQUEST,
                    "The request contained trailing data that was not well-formed or did not conform to our published schema.",
                ));
            }
            return Ok(());
        };
        if digested.checksum.as_ref().map(|checksum| &checksum.value) == Some(&value) {
            return Ok(());
        }
        let message = format!("The {name} you specified did not match the calculated checksum.");
        Err(refuse(S3ErrorCode::BadDigest, message))
    }
}

/// `x-amz-sdk-checksum-algorithm` says which checksum the library sends: it must
/// have come.
fn check_sent(name: &str, came: Option<ChecksumAlgorithm>) -> S3Result<()> {
    let message = match came {
        None => {
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or \
             x-amz-trailer headers were found."
        }
        Some(came) if parse_name(name)? != came => {
            "Value for x-amz-sdk-checksum-algorithm header is invalid."
        }
        Some(_) => return Ok(()),
    };
    Err(refuse(S3ErrorCode::InvalidRequest, message))
}

fn content_md5(value: Option<&str>) -> S3Result<Option<[u8; 16]>> {
    let Some(value) = value else { return Ok(None) };
    let invalid =
        || refuse(S3ErrorCode::InvalidDigest, "The Content-MD5 you specified is not valid.");
    let bytes = BASE64_STANDARD.decode(value).map_err(|_| invalid())?;
    Ok(Some(bytes.try_into().map_err(|_| invalid())?))
}

/// A checksum in the fields of an S3 answer.
#[derive(Debug, Default)]
pub struct Fields {
    /// CRC-32.
    pub crc32: Option<String>,
    /// CRC-32C.
    pub crc32c: Option<String>,
    /// CRC-64/NVME.
    pub crc64nvme: Option<String>,
    /// SHA-1.
    pub sha1: Option<String>,
    /// SHA-256.
    pub sha256: Option<String>,
    /// What it covers.
    pub kind: Option<s3s::dto::ChecksumType>,
}

impl Fields {
    /// Puts a checksum where it belongs.
    pub fn new(checksum: Option<&Checksum>) -> Self {
        let mut fields = Self::default();
        let Some(checksum) = checksum else { return fields };
        let field = match checksum.algorithm {
            ChecksumAlgorithm::Crc32 => &mut fields.crc32,
            ChecksumAlgorithm::Crc32C => &mut fields.crc32c,
            ChecksumAlgorithm::Crc64Nvme => &mut fields.crc64nvme,
            ChecksumAlgorithm::Sha1 => &mut fields.sha1,
            ChecksumAlgorithm::Sha256 => &mut fields.sha256,
        };
        *field = Some(checksum.value.clone());
        fields.kind = Some(kind(checksum.kind));
        fields
    }
}

/// What a checksum covers, as S3 types have it.
pub fn kind(kind: ChecksumKind) -> s3s::dto::ChecksumType {
    use s3s::dto::ChecksumType;
    ChecksumType::from_static(match kind {
        ChecksumKind::FullObject => ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => ChecksumType::COMPOSITE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::digest::Digests;
    use http::StatusCode;

    const BAD_REQUEST: StatusCode = StatusCode::BAD_REQUEST;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// The S3 code of the refusal, or `Ok`.
    fn check(pairs: &[(&'static str, &str)], body: &'static [u8]) -> Result<(), String> {
        let headers = headers(pairs);
        let code = |error: s3s::S3Error| error.code().as_str().to_owned();
        let declared = Declared::from_headers(&headers).map_err(code)?;
        let mut digests = Digests::new(declared.algorithm());
        digests.update(&[bytes::Bytes::from_static(body)]);
        let verified = declared.verify(&digests.finish(), body.len() as u64, None);
        assert!(verified.as_ref().err().is_none_or(|e| e.status_code() == Some(BAD_REQUEST)));
        verified.map_err(code)
    }

    #[test]
    fn declarations_are_compared_with_what_arrived() {
        let refused = |code: &str| Err(code.to_owned());
        assert_eq!(check(&[], b"x"), Ok(()));
        assert_eq!(
            check(&[("content-md5", "nd0fqbknTQgbnvudTHPDvQ==")], b"x"),
            refused("BadDigest")
        );
        assert_eq!(check(&[("content-md5", "short")], b"x"), refused("InvalidDigest"));
        assert_eq!(check(&[("content-length", "2")], b"x"), refused("IncompleteBody"));
        let crc32 = [("x-amz-checksum-crc32", "y/Q5Jg==")];
        assert_eq!(check(&crc32, b"123456789"), Ok(()));
        assert_eq!(check(&crc32, b"123456780"), refused("BadDigest"));
        assert_eq!(check(&[("x-amz-checksum-crc32", "yyy")], b""), refused("BadDigest"));
        let two = [crc32[0], ("x-amz-checksum-crc32c", "4waSgw==")];
        assert_eq!(check(&two, b"123456789"), refused("InvalidRequest"));
        assert_eq!(check(&[("x-amz-trailer", "x-amz-meta-a")], b""), refused("InvalidRequest"));
        // Announced in a trailer that never came.
        let announced = [("x-amz-trailer", "x-amz-checksum-crc32")];
        assert_eq!(check(&announced, b"x"), refused("MalformedTrailerError"));
    }

    #[test]
    fn a_library_sends_the_checksum_that_it_names() {
        let sdk = |name| ("x-amz-sdk-checksum-algorithm", name);
        let crc32 = ("x-amz-checksum-crc32", "y/Q5Jg==");
        let refused = Err("InvalidRequest".to_owned());
        assert_eq!(check(&[sdk("CRC32"), crc32], b"123456789"), Ok(()));
        assert_eq!(check(&[sdk("CRC32")], b"123456789"), refused);
        assert_eq!(check(&[sdk("SHA256"), crc32], b"123456789"), refused);
        assert_eq!(check(&[sdk("MD5"), crc32], b"123456789"), refused);
        // Asked for, not sent.
        assert_eq!(check(&[("x-amz-checksum-algorithm", "CRC32")], b"123456789"), Ok(()));
        let announced = headers(&[sdk("CRC32"), ("x-amz-trailer", "x-amz-checksum-crc32")]);
        assert!(Declared::from_headers(&announced).is_ok());
    }

    #[test]
    fn a_name_alone_protects_nothing() {
        let is_protected = |pairs: &[(&'static str, &str)]| {
            Declared::from_headers(&headers(pairs)).unwrap().is_protected()
        };
        assert!(is_protected(&[("content-md5", "nd0fqbknTQgbnvudTHPDvQ==")]));
        assert!(is_protected(&[("x-amz-checksum-crc32", "y/Q5Jg==")]));
        assert!(is_protected(&[("x-amz-trailer", "x-amz-checksum-crc32")]));
        assert!(!is_protected(&[("x-amz-checksum-algorithm", "CRC32")]));
        assert!(!is_protected(&[("x-amz-checksum-type", "FULL_OBJECT")]));
        assert!(!is_protected(&[]));
    }
}
