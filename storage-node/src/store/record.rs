//! Small files that appear whole or not at all and say when they are spoilt.
//!
//! ```text
//! 0      4        6        n
//! magic  version  payload  BLAKE3 of all before
//! 4      u16      ..       32
//! ```

use std::fs;
use std::io;
use std::path::Path;

use protocol::keys::write_private;

const VERSION: u16 = 1;
const HASH_LEN: usize = 32;

/// Replaces the record in `path`. It survives a power cut once this returns.
pub(crate) fn write(path: &Path, magic: [u8; 4], payload: &[u8]) -> io::Result<()> {
    write_private(path, &encode(magic, payload))
}

/// The payload of the record in `path`; `None` if there is no file, or if it
/// is spoilt, foreign or newer: then the log says so, and the file stays until
/// it is replaced.
pub(crate) fn read(path: &Path, magic: [u8; 4]) -> io::Result<Option<Vec<u8>>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let payload = decode(magic, &bytes).map(<[u8]>::to_vec);
    if payload.is_none() {
        tracing::error!(path = %path.display(), "this file is spoilt or newer; it is not used");
    }
    Ok(payload)
}

fn encode(magic: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(6 + payload.len() + HASH_LEN);
    out.extend_from_slice(&magic);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(payload);
    let hash = blake3::hash(&out);
    out.extend_from_slice(hash.as_bytes());
    out
}

fn decode(magic: [u8; 4], bytes: &[u8]) -> Option<&[u8]> {
    let (content, hash) = bytes.split_last_chunk::<HASH_LEN>()?;
    if blake3::hash(content) != *hash {
        return None;
    }
    content.strip_prefix(&magic)?.strip_prefix(&VERSION.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 4] = *b"TEST";

    #[test]
    fn record_bytes_do_not_change() {
        let golden = concat!(
            "544553540100",
            "abcd",
            "44230ecda3aaaf6c8c427c05698769cd871f77946376d49838391f2f59af6102",
        );
        assert_eq!(hex::encode(encode(MAGIC, &[0xab, 0xcd])), golden);
    }

    #[test]
    fn a_record_with_any_changed_bit_is_not_used() {
        let bytes = encode(MAGIC, b"vouchers");
        assert_eq!(decode(MAGIC, &bytes), Some(b"vouchers".as_slice()));
        assert_eq!(decode(*b"ELSE", &bytes), None);
        assert_eq!(decode(MAGIC, &bytes[..bytes.len() - 1]), None);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(MAGIC, &bad), None, "bit {bit}");
        }
    }

    #[test]
    fn a_record_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.record");
        assert_eq!(read(&path, MAGIC).unwrap(), None);
        write(&path, MAGIC, b"one").unwrap();
        write(&path, MAGIC, b"two").unwrap();
        assert_eq!(read(&path, MAGIC).unwrap(), Some(b"two".to_vec()));
    }
}
