//! Digests over plain bytes: MD5 for the entity tag, and the checksum that the
//! client declared or asked for.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

use crate::meta::{Checksum, ChecksumAlgorithm, ChecksumKind};

/// Computes MD5 and at most one checksum. Moves to a worker and back with each
/// batch.
pub struct Digests {
    md5: Md5,
    checksum: Option<ChecksumHasher>,
}

/// The finished digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digested {
    /// MD5.
    pub md5: [u8; 16],
    /// The checksum that was asked for.
    pub checksum: Option<Checksum>,
}

impl Digested {
    /// The entity tag of a single put or part, without quotes.
    pub fn etag(&self) -> String {
        hex::encode(self.md5)
    }
}

impl Digests {
    /// MD5, and `algorithm` if one is wanted.
    pub fn new(algorithm: Option<ChecksumAlgorithm>) -> Self {
        Self { md5: Md5::new(), checksum: algorithm.map(ChecksumHasher::new) }
    }

    /// Takes in the next frames.
    pub fn update(&mut self, frames: &[Bytes]) {
        for frame in frames {
            self.md5.update(frame);
            if let Some(checksum) = &mut self.checksum {
                checksum.update(frame);
            }
        }
    }

    /// The results.
    pub fn finish(self) -> Digested {
        Digested { md5: self.md5.finalize().into(), checksum: self.checksum.map(|c| c.finish()) }
    }
}

enum State {
    Crc(Box<crc_fast::Digest>, usize),
    Sha1(Sha1),
    Sha256(Sha256),
}

/// Computes one checksum.
pub struct ChecksumHasher {
    algorithm: ChecksumAlgorithm,
    state: State,
}

impl ChecksumHasher {
    /// A hasher for `algorithm`.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        let crc = |which, len| State::Crc(Box::new(crc_fast::Digest::new(which)), len);
        let state = match algorithm {
            ChecksumAlgorithm::Crc32 => crc(CrcAlgorithm::Crc32IsoHdlc, 4),
            ChecksumAlgorithm::Crc32C => crc(CrcAlgorithm::Crc32Iscsi, 4),
            ChecksumAlgorithm::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme, 8),
            ChecksumAlgorithm::Sha1 => State::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => State::Sha256(Sha256::new()),
        };
        Self { algorithm, state }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc(crc, _) => crc.update(bytes),
            State::Sha1(sha) => sha.update(bytes),
            State::Sha256(sha) => sha.update(bytes),
        }
    }

    /// The checksum of all bytes.
    pub fn finish(self) -> Checksum {
        let value = match self.state {
            State::Crc(crc, len) => {
                BASE64_STANDARD.encode(&crc.finalize().to_be_bytes()[8 - len..])
            }
            State::Sha1(sha) => BASE64_STANDARD.encode(sha.finalize()),
            State::Sha256(sha) => BASE64_STANDARD.encode(sha.finalize()),
        };
        Checksum { algorithm: self.algorithm, kind: ChecksumKind::FullObject, value }
    }
}

/// The entity tag of a multipart object: MD5 of the parts' MD5s, and their
/// number. `None` when a part's entity tag is no MD5.
pub fn multipart_etag<'a>(parts: impl ExactSizeIterator<Item = &'a str>) -> Option<String> {
    let count = parts.len();
    let mut md5 = Md5::new();
    for etag in parts {
        md5.update(hex::decode(etag).ok().filter(|bytes| bytes.len() == 16)?);
    }
    Some(format!("{}-{count}", hex::encode(md5.finalize())))
}

/// The composite checksum of parts: the checksum of their checksums.
pub fn composite<'a>(
    algorithm: ChecksumAlgorithm,
    parts: impl ExactSizeIterator<Item = &'a str>,
) -> Option<Checksum> {
    let count = parts.len();
    let mut hasher = ChecksumHasher::new(algorithm);
    for value in parts {
        hasher.update(&BASE64_STANDARD.decode(value).ok()?);
    }
    let whole = hasher.finish().value;
    Some(Checksum { algorithm, kind: ChecksumKind::Composite, value: format!("{whole}-{count}") })
}

/// The full-object CRC of bytes whose parts have these CRCs and lengths. `None`
/// for SHA, which cannot be put together.
pub fn combine<'a>(
    algorithm: ChecksumAlgorithm,
    parts: impl Iterator<Item = (&'a str, u64)>,
) -> Option<Checksum> {
    let (which, len) = match algorithm {
        ChecksumAlgorithm::Crc32 => (CrcAlgorithm::Crc32IsoHdlc, 4),
        ChecksumAlgorithm::Crc32C => (CrcAlgorithm::Crc32Iscsi, 4),
        ChecksumAlgorithm::Crc64Nvme => (CrcAlgorithm::Crc64Nvme, 8),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => return None,
    };
    let mut whole: Option<u64> = None;
    for (value, bytes) in parts {
        let decoded = BASE64_STANDARD.decode(value).ok().filter(|bytes| bytes.len() == len)?;
        let crc = decoded.iter().fold(0, |crc, &byte| crc << 8 | u64::from(byte));
        whole = Some(match whole {
            None => crc,
            Some(before) => crc_fast::checksum_combine(which, before, crc, bytes),
        });
    }
    let bytes = whole?.to_be_bytes();
    let value = BASE64_STANDARD.encode(&bytes[8 - len..]);
    Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ChecksumAlgorithm; 5] = [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ];

    fn of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> String {
        let mut hasher = ChecksumHasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish().value
    }

    /// The check values of the CRC catalogue and of FIPS 180, for "123456789".
    #[test]
    fn known_checksums() {
        let values = ALL.map(|algorithm| of(algorithm, b"123456789"));
        assert_eq!(
            values,
            [
                BASE64_STANDARD.encode(0xcbf4_3926_u32.to_be_bytes()),
                BASE64_STANDARD.encode(0xe306_9283_u32.to_be_bytes()),
                BASE64_STANDARD.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes()),
                "98O8HYCOBHMq32eZZczDTKeuNEE=".to_owned(),
                "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=".to_owned()
            ]
        );
    }

    #[test]
    fn crcs_of_parts_make_the_crc_of_the_whole() {
        let (a, b, c) = (b"first part ".as_slice(), b"second part ".as_slice(), b"x".as_slice());
        let whole = [a, b, c].concat();
        for algorithm in &ALL[..3] {
            let parts = [a, b, c].map(|part| (of(*algorithm, part), part.len() as u64));
            let parts = parts.iter().map(|(value, len)| (value.as_str(), *len));
            assert_eq!(combine(*algorithm, parts).unwrap().value, of(*algorithm, &whole));
        }
        assert_eq!(combine(ChecksumAlgorithm::Sha1, [("AA==", 1)].into_iter()), None);
    }

    #[test]
    fn a_multipart_etag_is_the_md5_of_md5s() {
        let part = hex::encode(Md5::digest(b"part"));
        let etag = multipart_etag([part.as_str(), part.as_str()].into_iter()).unwrap();
        let twice = [Md5::digest(b"part"), Md5::digest(b"part")].concat();
        assert_eq!(etag, format!("{}-2", hex::encode(Md5::digest(twice))));
        assert_eq!(multipart_etag(["xyz"].into_iter()), None);
    }
}
