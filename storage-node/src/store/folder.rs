//! The data folder: whose it is, which life of it this is, and that one process
//! alone uses it.
//!
//! ```text
//! DIR/lock              held while the node is open
//! DIR/node.key          the node's identity (0600)
//! DIR/superblock.json   format, node, incarnation, network
//! DIR/chain             what the ledger said last
//! DIR/volumes/marker     the store id that the superblock must name too
//! DIR/lanes/
//! ```
//!
//! The superblock is written last when a folder is made, so a folder either is a
//! node's or is refused. A wiped folder becomes a new incarnation: what the old
//! one held is lost, and must not be believed to be here. So does a folder whose
//! volumes are gone, or are not those that it was made with, such as a disk that
//! is not mounted: what is found in their place is put aside, never removed.
//!
//! Format 1 had a file for each shard and no volumes (`store::import`).
//!
//! Nothing is changed in a folder before it is known to be ours.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use protocol::keys::{SecretKey, random, write_private};
use protocol::{ChainId, Incarnation, LedgerId, NodeId};
use serde::{Deserialize, Serialize};

use crate::error::OpenError;
use crate::store::create_folder;
use crate::store::format::StoreId;

/// The version of the folder's layout.
pub(crate) const FORMAT: u32 = 2;

/// What may lie in a folder that is to become a node's: the start of an earlier
/// attempt, and what a fresh file system holds.
const HARMLESS: [&str; 5] =
    ["lock", "node.key", "node.incoming", "superblock.incoming", "lost+found"];

/// Whose folder it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Superblock {
    pub format: u32,
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// The store id of the volumes, a secret; none in format 1.
    #[serde(default, with = "store_id")]
    pub volumes: Option<StoreId>,
    /// The network; known after the first contact with its ledger, or from an
    /// invite.
    pub chain: Option<ChainId>,
    pub ledger: Option<LedgerId>,
    pub ledger_addr: Option<SocketAddr>,
}

mod store_id {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::store::format::StoreId;

    pub fn serialize<S: Serializer>(id: &Option<StoreId>, to: S) -> Result<S::Ok, S::Error> {
        id.map(|id| hex::encode(id.0)).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<StoreId>, D::Error> {
        let parse = |text: String| {
            let mut id = [0; 16];
            hex::decode_to_slice(text, &mut id).map_err(serde::de::Error::custom)?;
            Ok(StoreId(id))
        };
        Option::<String>::deserialize(from)?.map(parse).transpose()
    }
}

/// The one field that every version has.
#[derive(Deserialize)]
struct AnyVersion {
    format: u32,
}

/// A data folder that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    pub path: PathBuf,
    pub key: SecretKey,
    pub superblock: Superblock,
    pub store: StoreId,
    _lock: File,
}

impl Folder {
    /// Opens the folder in `path`, or makes one there.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        create(path)?;
        // Before the lock, so that a folder that is not ours stays as it is.
        read_superblock(path)?;
        let lock = lock(path)?;
        let known = read_superblock(path)?;
        let key = match &known {
            Some(superblock) => known_key(path, superblock)?,
            None => SecretKey::load_or_create(&key_path(path))?,
        };
        let (superblock, store) =
            with_volumes(path, known, key.public().into()).map_err(failed(path))?;
        Ok(Self { path: path.into(), key, superblock, store, _lock: lock })
    }

    /// Remembers the network. Changes nothing if it is known.
    pub fn join(&mut self, joined: Superblock) -> io::Result<()> {
        if joined != self.superblock {
            write_superblock(&self.path, &joined)?;
            self.superblock = joined;
        }
        Ok(())
    }
}

/// The superblock of a folder whose volumes are those that it was made with.
fn with_volumes(
    path: &Path,
    known: Option<Superblock>,
    node: NodeId,
) -> io::Result<(Superblock, StoreId)> {
    let found = read_marker(path)?;
    if let Some(superblock) = &known
        && let Some(store) = superblock.volumes.filter(|store| found == Some(*store))
    {
        return Ok((superblock.clone(), store));
    }
    put_aside(path)?;
    let store = StoreId(random());
    // Format 1 had no volumes that could be gone.
    let is_new_life = known.as_ref().is_some_and(|known| known.volumes.is_some());
    let mut superblock = known.unwrap_or(Superblock {
        format: FORMAT,
        node,
        incarnation: Incarnation(random()),
        volumes: None,
        chain: None,
        ledger: None,
        ledger_addr: None,
    });
    if is_new_life {
        tracing::warn!(path = %path.display(), "this folder begins a new life, without shards");
        superblock.incarnation = Incarnation(random());
    }
    (superblock.format, superblock.volumes) = (FORMAT, Some(store));
    // The superblock last: until it is there, the folder is what it was.
    create_folder(&volumes_path(path))?;
    write_private(&marker_path(path), format!("{}\n", hex::encode(store.0)).as_bytes())?;
    File::open(path)?.sync_all()?;
    write_superblock(path, &superblock)?;
    Ok((superblock, store))
}

/// The store id beside the volumes, if there is one.
fn read_marker(path: &Path) -> io::Result<Option<StoreId>> {
    let text = match fs::read_to_string(marker_path(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
        other => other?,
    };
    let mut id = [0; 16];
    Ok(hex::decode_to_slice(text.trim_end(), &mut id).is_ok().then_some(StoreId(id)))
}

/// Gives volumes that are not ours another name.
fn put_aside(path: &Path) -> io::Result<()> {
    let volumes = volumes_path(path);
    if volumes.exists() && !is_begun(&volumes) {
        let aside = path.join(format!("volumes.aside-{}", hex::encode(random::<4>())));
        tracing::warn!(to = %aside.display(), "volumes that are not this folder's are put aside");
        fs::rename(&volumes, aside)?;
    }
    Ok(())
}

/// The identity of the folder in `path`; makes the key, and nothing else, if
/// the folder is new. Needs no lock, so that it can be asked while the node
/// runs.
pub fn identity(path: &Path) -> Result<NodeId, OpenError> {
    create(path)?;
    let key = match read_superblock(path)? {
        Some(superblock) => known_key(path, &superblock)?,
        None => SecretKey::load_or_create(&key_path(path))?,
    };
    Ok(key.public().into())
}

/// Whether the folder in `path` belongs to a network: its node has heard from
/// the ledger before. Makes nothing, and needs no lock.
pub fn joined(path: &Path) -> bool {
    matches!(read_superblock(path), Ok(Some(superblock)) if superblock.chain.is_some())
}

fn create(path: &Path) -> Result<(), OpenError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let open = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.join("lock"));
    let lock = open.map_err(failed(path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.into())),
        Err(TryLockError::Error(error)) => Err(failed(path)(error)),
    }
}

/// The superblock; `None` if the folder may become ours.
fn read_superblock(path: &Path) -> Result<Option<Superblock>, OpenError> {
    let bytes = match fs::read(superblock_path(path)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return check_empty(path).map(|()| None);
        }
        Err(error) => return Err(failed(path)(error)),
    };
    let spoilt = || OpenError::Spoilt(superblock_path(path));
    let AnyVersion { format } = serde_json::from_slice(&bytes).map_err(|_| spoilt())?;
    if format > FORMAT {
        return Err(OpenError::Newer { path: path.into(), format });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|_| spoilt())
}

fn check_empty(path: &Path) -> Result<(), OpenError> {
    for entry in fs::read_dir(path).map_err(failed(path))? {
        let name = entry.map_err(failed(path))?.file_name();
        if name == OsStr::new("volumes") && is_begun(&volumes_path(path)) {
            continue;
        }
        if !HARMLESS.iter().any(|harmless| name == OsStr::new(harmless)) {
            let entry = name.to_string_lossy().into_owned();
            return Err(OpenError::Foreign { path: path.into(), entry });
        }
    }
    Ok(())
}

/// Whether a folder of volumes holds none yet.
fn is_begun(volumes: &Path) -> bool {
    let begun = ["marker", "marker.incoming", "index.redb"];
    let is_begun = |name: &OsStr| begun.iter().any(|begun| name == OsStr::new(begun));
    fs::read_dir(volumes)
        .is_ok_and(|mut names| names.all(|one| one.is_ok_and(|one| is_begun(&one.file_name()))))
}

fn known_key(path: &Path, superblock: &Superblock) -> Result<SecretKey, OpenError> {
    let key = SecretKey::load(&key_path(path))?;
    if NodeId::from(key.public()) != superblock.node {
        return Err(OpenError::OtherKey { path: path.into(), node: superblock.node });
    }
    Ok(key)
}

fn write_superblock(path: &Path, superblock: &Superblock) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(superblock).map_err(io::Error::other)?;
    text.push(b'\n');
    write_private(&superblock_path(path), &text)
}

pub(crate) fn superblock_path(path: &Path) -> PathBuf {
    path.join("superblock.json")
}

/// Where the volumes lie.
pub(crate) fn volumes_path(path: &Path) -> PathBuf {
    path.join("volumes")
}

fn marker_path(path: &Path) -> PathBuf {
    volumes_path(path).join("marker")
}

fn key_path(path: &Path) -> PathBuf {
    path.join("node.key")
}

fn failed(path: &Path) -> impl Fn(io::Error) -> OpenError + '_ {
    |source| OpenError::Folder { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Names, permissions and content of all files, to see that none changed.
    fn snapshot(path: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let mode = fs::metadata(&path).unwrap().permissions().mode();
                let content = fs::read(&path).unwrap();
                (path, mode, content)
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn a_folder_keeps_its_identity_and_its_life() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("node");
        let asked_before = identity(&path).unwrap();
        let first = Folder::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let superblock = first.superblock.clone();
        assert_eq!(superblock.node, asked_before);
        assert_eq!(identity(&path).unwrap(), asked_before, "while it is open");
        drop(first);
        assert_eq!(Folder::open(&path).unwrap().superblock, superblock);
        fs::remove_file(path.join("superblock.json")).unwrap();
        let wiped = Folder::open(&path).unwrap().superblock;
        assert_eq!(wiped.node, superblock.node);
        assert_ne!(wiped.incarnation, superblock.incarnation);
    }

    #[test]
    fn a_second_open_of_the_same_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let first = Folder::open(root.path()).unwrap();
        let second = Folder::open(root.path()).unwrap_err();
        assert!(matches!(second, OpenError::InUse(_)), "{second}");
        drop(first);
        Folder::open(root.path()).unwrap();
    }

    #[test]
    fn a_foreign_newer_or_spoilt_folder_is_named_and_left_alone() {
        let newer = r#"{"format": 3, "volumes": []}"#;
        for (name, content, cause) in [
            ("photo.jpg", "cat", "holds \"photo.jpg\""),
            ("superblock.json", newer, "newer version"),
            ("superblock.json", "{\"format\": 1", "superblock.json is spoilt"),
            ("superblock.json", "{\"format\": 1, \"node\": \"zz\"}", "superblock.json is spoilt"),
        ] {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join(name), content).unwrap();
            let before = snapshot(root.path());
            let error = Folder::open(root.path()).unwrap_err().to_string();
            assert!(error.contains(cause), "{error}");
            assert_eq!(snapshot(root.path()), before, "{name}");
        }
    }

    #[test]
    fn a_folder_without_its_volumes_begins_another_life() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        let first = Folder::open(path).unwrap();
        let (node, life, store) =
            (first.superblock.node, first.superblock.incarnation, first.store);
        assert_eq!(first.superblock.volumes, Some(store));
        drop(first);
        fs::write(path.join("volumes/00000001.vol"), "shards").unwrap();
        let same = Folder::open(path).unwrap();
        assert_eq!((same.superblock.incarnation, same.store), (life, store));
        drop(same);

        // A disk that is not mounted, with its mount point there or not.
        fs::rename(path.join("volumes"), path.join("unmounted")).unwrap();
        for is_there in [false, true] {
            if is_there {
                fs::remove_dir_all(path.join("volumes")).unwrap();
                fs::create_dir(path.join("volumes")).unwrap();
            }
            let opened = Folder::open(path).unwrap();
            assert_eq!(opened.superblock.node, node);
            assert!(opened.superblock.incarnation != life && opened.store != store);
        }

        // Volumes of another life that come back are put aside, and kept.
        fs::remove_dir_all(path.join("volumes")).unwrap();
        fs::rename(path.join("unmounted"), path.join("volumes")).unwrap();
        let opened = Folder::open(path).unwrap();
        assert!(opened.superblock.incarnation != life && opened.store != store);
        assert!(!path.join("volumes/00000001.vol").exists());
        let aside = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let aside = aside.filter(|path| path.join("00000001.vol").exists());
        assert_eq!(aside.count(), 1);
    }

    #[test]
    fn a_folder_of_format_1_keeps_its_life() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        let key = SecretKey::load_or_create(&key_path(path)).unwrap();
        let node = NodeId::from(key.public());
        let old = format!(
            r#"{{"format": 1, "node": "{node}", "incarnation": "{}", "chain": null,
                "ledger": null, "ledger_addr": null}}"#,
            "07".repeat(16),
        );
        fs::write(superblock_path(path), &old).unwrap();
        assert_eq!(identity(path).unwrap(), node);
        let opened = Folder::open(path).unwrap();
        let superblock = opened.superblock.clone();
        assert_eq!(superblock.incarnation, Incarnation([7; 16]));
        assert_eq!((superblock.format, superblock.volumes), (2, Some(opened.store)));
        drop(opened);
        assert_eq!(Folder::open(path).unwrap().superblock, superblock);

        // A crash between the marker and the superblock.
        fs::write(superblock_path(path), &old).unwrap();
        let again = Folder::open(path).unwrap();
        assert_eq!(again.superblock.incarnation, Incarnation([7; 16]));
        assert_eq!(read_marker(path).unwrap(), Some(again.store));
    }

    #[test]
    fn the_store_id_is_not_shown() {
        let superblock = Folder::open(tempfile::tempdir().unwrap().path()).unwrap().superblock;
        let id = hex::encode(superblock.volumes.unwrap().0);
        assert!(!format!("{superblock:?}").contains(&id));
        assert!(serde_json::to_string(&superblock).unwrap().contains(&id));
    }

    #[test]
    fn a_folder_has_joined_once_its_network_is_known() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("node");
        assert!(!joined(&path));
        assert!(!path.exists(), "asking makes nothing");
        let mut folder = Folder::open(&path).unwrap();
        assert!(!joined(&path));
        let superblock = Superblock { chain: Some(ChainId([3; 16])), ..folder.superblock.clone() };
        folder.join(superblock).unwrap();
        assert!(joined(&path), "while it is open");
        drop(folder);
        assert!(joined(&path));
        fs::write(path.join("superblock.json"), "{").unwrap();
        assert!(!joined(&path), "what is spoilt cannot be known");
    }

    #[test]
    fn a_folder_with_another_key_is_refused() {
        let root = tempfile::tempdir().unwrap();
        drop(Folder::open(root.path()).unwrap());
        fs::remove_file(root.path().join("node.key")).unwrap();
        assert!(matches!(Folder::open(root.path()), Err(OpenError::Key(_))));
        SecretKey::load_or_create(&root.path().join("node.key")).unwrap();
        assert!(matches!(Folder::open(root.path()), Err(OpenError::OtherKey { .. })));
    }
}
