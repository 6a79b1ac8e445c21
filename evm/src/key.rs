//! The key that signs transactions: from a file that only its owner may read,
//! or from the environment. Never from the command line, which everyone on the
//! machine can see.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use alloy_signer_local::PrivateKeySigner;
use thiserror::Error;
use zeroize::Zeroizing;

/// Where the key is looked for when no file is named.
pub const VARIABLE: &str = "STRATOS_EVM_KEY";

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// Nobody said which.
    #[error("no key: name a file with --key-file, or set {VARIABLE}")]
    Missing,
    /// The file cannot be read.
    #[error("the key file {path} cannot be read: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Others may read it.
    #[error("the key file {0} can be read by others; chmod 600 it")]
    Open(PathBuf),
    /// It says something else. What, is not shown.
    #[error("the key is not 64 hex digits of a secp256k1 private key")]
    Text,
}

/// Reads the key from `file`, or else from the environment.
pub fn read(file: Option<&Path>) -> Result<PrivateKeySigner, KeyError> {
    let text = match file {
        Some(path) => from_file(path)?,
        None => Zeroizing::new(env::var(VARIABLE).map_err(|_| KeyError::Missing)?),
    };
    text.trim().parse().map_err(|_| KeyError::Text)
}

fn from_file(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let failed = |cause| KeyError::File { path: path.to_owned(), cause };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::Open(path.to_owned()));
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(failed)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::address;

    use super::*;

    fn read_text(text: &str, mode: u32) -> Result<PrivateKeySigner, KeyError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        read(Some(&path))
    }

    #[test]
    fn a_key_has_its_address() {
        for text in [format!("{:064x}\n", 1), format!("0x{:064x}", 1)] {
            let signer = read_text(&text, 0o600).unwrap();
            assert_eq!(signer.address(), address!("7E5F4552091A69125d5DfCb7b8C2659029395Bdf"));
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let text = format!("{:064x}", 1);
        assert!(matches!(read_text(&text, 0o640), Err(KeyError::Open(_))));
    }

    #[test]
    fn what_is_no_key_is_not_shown() {
        for text in ["", "secret", &"0".repeat(64)] {
            let error = read_text(text, 0o600).unwrap_err();
            assert_eq!(error.to_string(), KeyError::Text.to_string());
        }
    }
}
