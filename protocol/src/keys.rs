//! Ed25519 secret keys and the files that hold them.
//!
//! A key file is 64 hex digits and a newline, readable by its owner alone; or,
//! if it is root's, by one group as well: so Kubernetes mounts a Secret for a pod
//! that is not root.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey};
use rand::TryRngCore;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::ids::PublicKey;
use crate::sign::Signature;

/// An Ed25519 secret key. Never printed; wiped when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "secret of {:?}", self.public())
    }
}

/// Why a key file could not be used.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// It could not be read or written.
    #[error("key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error("key file {0} can be read by others: run `chmod 600` on it, or make a new key")]
    Permissions(PathBuf),
    /// It does not hold a key.
    #[error("key file {0} does not hold 64 hex digits: restore it from a backup")]
    Content(PathBuf),
}

impl SecretKey {
    /// A new key from the system's random source.
    pub fn generate() -> Self {
        Self::from_seed(random())
    }

    /// The key of a seed: for tests, and for reading key files.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The seed, for the TLS layer.
    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    pub(crate) fn sign_digest(&self, digest: &[u8; 32]) -> Signature {
        Signature(self.0.sign(digest).to_bytes())
    }

    /// Signs text itself, as other programs verify it. Nothing that is signed
    /// elsewhere can be mistaken for it: digests are shorter than any text that
    /// is taken here, and what TLS signs begins with 64 spaces.
    pub fn sign_text(&self, text: &str) -> Signature {
        assert!(is_signable(text), "a text that could be a digest, or what TLS signs");
        Signature(self.0.sign(text.as_bytes()).to_bytes())
    }

    /// Reads the key in `path`, or makes one there when the file is absent.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        match Self::load(path) {
            Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let key = Self::generate();
                let text = Zeroizing::new(format!("{}\n", hex::encode(key.seed().as_ref())));
                write_private(path, text.as_bytes())
                    .map_err(|source| KeyFileError::Io { path: path.into(), source })?;
                Ok(key)
            }
            other => other,
        }
    }

    /// Reads the key in `path`.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |source| KeyFileError::Io { path: path.into(), source };
        let metadata = fs::metadata(path).map_err(failed)?;
        if !is_private(metadata.mode(), metadata.uid()) {
            return Err(KeyFileError::Permissions(path.into()));
        }
        let text = Zeroizing::new(fs::read(path).map_err(failed)?);
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim_ascii(), seed.as_mut())
            .map_err(|_| KeyFileError::Content(path.into()))?;
        Ok(Self::from_seed(*seed))
    }
}

/// Whether text may be signed as it is.
pub(crate) fn is_signable(text: &str) -> bool {
    text.len() > 32 && !text.starts_with(' ')
}

/// Whether only those can read a file who may. Root's group may read, since
/// nobody but root decides who is in it.
fn is_private(mode: u32, owner: u32) -> bool {
    let allowed = if owner == 0 { 0o040 } else { 0 };
    mode & 0o077 & !allowed == 0
}

/// `N` bytes from the system's random source.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .expect("a system without randomness cannot make keys and must stop");
    bytes
}

/// Writes a file that only its owner can read. It appears whole or not at all,
/// and survives a power cut once this returns.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let incoming = path.with_extension("incoming");
    // A file left by a crash may have other permissions; it is ours to replace.
    match fs::remove_file(&incoming) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&incoming)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&incoming, path)?;
    // The rename is recorded in the folder, not in the file.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let made = SecretKey::load_or_create(&path).unwrap();
        let read = SecretKey::load_or_create(&path).unwrap();
        assert_eq!(made.public(), read.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_spoilt_or_public_key_file_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        write_private(&path, b"not a key").unwrap();
        assert!(matches!(SecretKey::load_or_create(&path), Err(KeyFileError::Content(_))));
        assert_eq!(fs::read(&path).unwrap(), b"not a key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(SecretKey::load_or_create(&path), Err(KeyFileError::Permissions(_))));
    }

    #[test]
    fn a_group_may_read_what_root_owns_and_nothing_more() {
        for mode in [0o400, 0o600] {
            assert!(is_private(mode, 0) && is_private(mode, 1000), "{mode:o}");
        }
        for mode in [0o440, 0o640] {
            assert!(is_private(mode, 0) && !is_private(mode, 1000), "{mode:o}");
        }
        for mode in [0o444, 0o604, 0o460, 0o450, 0o641] {
            assert!(!is_private(mode, 0) && !is_private(mode, 1000), "{mode:o}");
        }
    }

    #[test]
    fn the_owner_of_a_key_file_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.key");
        let made = SecretKey::load_or_create(&path).unwrap().public();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).unwrap();
        let read = SecretKey::load(&path);
        if fs::metadata(&path).unwrap().uid() == 0 {
            assert_eq!(read.unwrap().public(), made);
        } else {
            println!("SKIP root's half: this test does not run as root");
            assert!(matches!(read, Err(KeyFileError::Permissions(_))));
        }
    }

    #[test]
    #[should_panic(expected = "could be a digest")]
    fn what_could_be_a_digest_is_not_signed_as_text() {
        SecretKey::from_seed([1; 32]).sign_text(&"a".repeat(32));
    }

    #[test]
    fn a_secret_never_prints() {
        let key = SecretKey::from_seed([0x5a; 32]);
        assert!(!format!("{key:?}").contains("5a5a5a5a"));
    }
}
