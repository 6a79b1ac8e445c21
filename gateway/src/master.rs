//! The master key: 32 random bytes in a file of their own. It seals bucket keys
//! and access keys; without it nothing that is stored can be read.

use std::path::{Path, PathBuf};
use std::{fs, io};

use protocol::keys::{random, write_private};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::object::cipher::Key;

/// Why there is no master key.
#[derive(Debug, Error)]
pub enum MasterKeyError {
    /// The metadata is there, its key is not.
    #[error(
        "{0} is missing, and nothing that is stored can be read without it: restore it from a backup"
    )]
    Missing(PathBuf),
    /// It does not hold a key.
    #[error("{0} does not hold 64 hex digits: restore it from a backup")]
    Content(PathBuf),
    /// It could not be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// Reads the key in `path`; makes one for a gateway that has stored nothing yet.
pub fn load_or_create(path: &Path, is_new: bool) -> Result<Key, MasterKeyError> {
    match fs::read(path) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            let mut bytes = Zeroizing::new([0; 32]);
            hex::decode_to_slice(text.trim_ascii(), bytes.as_mut())
                .map_err(|_| MasterKeyError::Content(path.into()))?;
            Ok(Key::from_bytes(*bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_new => {
            let bytes = Zeroizing::new(random::<32>());
            let text = Zeroizing::new(format!("{}\n", hex::encode(bytes.as_ref())));
            write_private(path, text.as_bytes())
                .map_err(|error| MasterKeyError::Io(path.into(), error))?;
            Ok(Key::from_bytes(*bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(MasterKeyError::Missing(path.into()))
        }
        Err(error) => Err(MasterKeyError::Io(path.into(), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_master_key_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(matches!(load_or_create(&path, false), Err(MasterKeyError::Missing(_))));
        let made = load_or_create(&path, true).unwrap().commitment();
        assert_eq!(load_or_create(&path, false).unwrap().commitment(), made);
        fs::write(&path, b"half a ke").unwrap();
        assert!(matches!(load_or_create(&path, true), Err(MasterKeyError::Content(_))));
    }
}
