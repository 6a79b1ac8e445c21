//! `DIR`: whose it is, and what was fixed when it was made.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use erasure::Scheme;
use protocol::keys::write_private;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The format of `network.json` that this program writes and reads.
const FORMAT: u32 = 1;

/// What a folder of ours may hold.
const OURS: [&str; 8] = [
    "lock",
    "network.json",
    "network.incoming",
    "endpoint.json",
    "gateway",
    "ledger",
    "nodes",
    "tls",
];

/// What is fixed at the first start. `None` is the default, or what the folder
/// has.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    /// How many storage nodes run.
    pub nodes: Option<u8>,
    /// Data and parity.
    pub scheme: Option<Scheme>,
    /// The S3 region.
    pub region: Option<String>,
    /// The length of an epoch.
    pub epoch: Option<Duration>,
}

/// Why a folder cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// It cannot be made, read or written.
    #[error("the folder {0} cannot be used: {1}")]
    Io(PathBuf, io::Error),
    /// Another process has it.
    #[error(
        "the folder {0} is in use by another `stratos up`: stop it first, or choose another folder"
    )]
    InUse(PathBuf),
    /// It holds something else.
    #[error("the folder {dir} holds {found:?}, which is not ours: choose an empty folder")]
    Foreign {
        /// The folder.
        dir: PathBuf,
        /// What was found.
        found: String,
    },
    /// A file of ours is spoilt.
    #[error("{0} cannot be read ({1}): restore it from a backup")]
    Spoilt(PathBuf, String),
    /// A new gateway would find nothing of what the old one stored.
    #[error(
        "{0} has no gateway.key, but the network was begun: recover the gateway by `stratos admin recover`, or choose another folder"
    )]
    GatewayLost(PathBuf),
    /// A newer program made it.
    #[error("{path} has format {found}, this program knows {FORMAT}: use a newer stratos")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Something else was fixed at the first start.
    #[error(
        "{dir} was made with --{option} {fixed}, which cannot be changed to {asked}: leave the option out, or choose another folder"
    )]
    Fixed {
        /// The folder.
        dir: PathBuf,
        /// The option.
        option: &'static str,
        /// What it was.
        fixed: String,
        /// What it was asked to be.
        asked: String,
    },
    /// Each shard of a segment needs a node of its own.
    #[error("--scheme {scheme} needs at least {} nodes, not {nodes}: give --nodes {}", scheme.total(), scheme.total())]
    TooFewNodes {
        /// The scheme.
        scheme: Scheme,
        /// The nodes.
        nodes: u8,
    },
    /// A single parity shard leaves no quorum that survives a loss.
    #[error(
        "--scheme {0} has a single parity shard: an acknowledged write would not survive a loss before all its shards stand; give at least DATA+2"
    )]
    Parity(Scheme),
}

impl FolderError {
    /// Whether the command line is what is wrong.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::TooFewNodes { .. } | Self::Parity(_) | Self::Fixed { .. })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkFile {
    format: u32,
    nodes: u8,
    scheme: String,
    region: String,
    epoch_ms: u64,
}

/// A folder that is ours as long as this lives.
#[derive(Debug)]
pub struct NetworkFolder {
    dir: PathBuf,
    nodes: u8,
    scheme: Scheme,
    region: String,
    epoch: Duration,
    _lock: File,
}

impl NetworkFolder {
    /// Opens `dir`, or makes it. A folder that is refused is left as it was.
    pub fn open(dir: &Path, asked: &Fixed) -> Result<Self, FolderError> {
        let failed = |error| FolderError::Io(dir.to_owned(), error);
        let is_there = dir.try_exists().map_err(failed)?;
        if is_there {
            refuse_foreign(dir)?;
        }
        let path = dir.join("network.json");
        let known = if is_there { read(&path)? } else { None };
        let chosen = choose(dir, known.as_ref(), asked)?;
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = lock(dir)?;
        if known.is_none() {
            let file = NetworkFile {
                format: FORMAT,
                nodes: chosen.nodes,
                scheme: chosen.scheme.to_string(),
                region: chosen.region.clone(),
                epoch_ms: u64::try_from(chosen.epoch.as_millis()).unwrap_or(u64::MAX),
            };
            let text = serde_json::to_vec_pretty(&file).map_err(|error| failed(error.into()))?;
            write_private(&path, &text).map_err(failed)?;
        }
        let Chosen { nodes, scheme, region, epoch } = chosen;
        Ok(Self { dir: dir.to_owned(), nodes, scheme, region, epoch, _lock: lock })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// How many storage nodes run.
    pub fn nodes(&self) -> u8 {
        self.nodes
    }
    /// Data and parity.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
    /// The S3 region.
    pub fn region(&self) -> &str {
        &self.region
    }
    /// The length of an epoch.
    pub fn epoch(&self) -> Duration {
        self.epoch
    }
}

/// What will hold.
struct Chosen {
    nodes: u8,
    scheme: Scheme,
    region: String,
    epoch: Duration,
}

/// Decides between what is asked, what the folder has, and the defaults. Pure.
fn choose(dir: &Path, known: Option<&Chosen>, asked: &Fixed) -> Result<Chosen, FolderError> {
    let same = |option, fixed: String, asked: Option<String>| match asked {
        Some(asked) if asked != fixed => {
            Err(FolderError::Fixed { dir: dir.to_owned(), option, fixed, asked })
        }
        _ => Ok(()),
    };
    let seconds = |epoch: Duration| format!("{}s", epoch.as_secs_f64());
    if let Some(known) = known {
        same("nodes", known.nodes.to_string(), asked.nodes.map(|nodes| nodes.to_string()))?;
        same("scheme", known.scheme.to_string(), asked.scheme.map(|scheme| scheme.to_string()))?;
        same("region", known.region.clone(), asked.region.clone())?;
        same("epoch", seconds(known.epoch), asked.epoch.map(seconds))?;
        let (nodes, scheme) = (known.nodes, known.scheme);
        return Ok(Chosen { nodes, scheme, region: known.region.clone(), epoch: known.epoch });
    }
    let scheme = match asked.scheme {
        Some(scheme) => scheme,
        None => "4+2".parse().expect("a literal scheme"),
    };
    // Six, or as many as the scheme needs.
    let nodes = asked.nodes.unwrap_or_else(|| scheme.total().max(6));
    if nodes < scheme.total() {
        return Err(FolderError::TooFewNodes { scheme, nodes });
    }
    if scheme.parity() < 2 {
        return Err(FolderError::Parity(scheme));
    }
    Ok(Chosen {
        nodes,
        scheme,
        region: asked.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
        epoch: asked.epoch.unwrap_or(Duration::from_secs(600)),
    })
}

fn refuse_foreign(dir: &Path) -> Result<(), FolderError> {
    let failed = |error| FolderError::Io(dir.to_owned(), error);
    let mut is_ours = false;
    let mut stranger = None;
    for entry in fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        is_ours |= name == "network.json";
        if !OURS.contains(&name.as_str()) {
            stranger = Some(name);
        }
    }
    match stranger {
        // What someone put beside our files later is none of our business.
        Some(found) if !is_ours => Err(FolderError::Foreign { dir: dir.to_owned(), found }),
        _ if !is_ours && dir.join("gateway").join("meta.sqlite").exists() => Err(
            FolderError::Spoilt(dir.join("network.json"), "it is missing, the data is not".into()),
        ),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<Chosen>, FolderError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FolderError::Io(path.to_owned(), error)),
    };
    let spoilt = |error: String| FolderError::Spoilt(path.to_owned(), error);
    // The format first: a newer file may have other fields.
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format: found } =
        serde_json::from_slice(&text).map_err(|error| spoilt(error.to_string()))?;
    if found > FORMAT {
        return Err(FolderError::Newer { path: path.to_owned(), found });
    }
    let file: NetworkFile =
        serde_json::from_slice(&text).map_err(|error| spoilt(error.to_string()))?;
    Ok(Some(Chosen {
        nodes: file.nodes,
        scheme: file.scheme.parse().map_err(|_| spoilt("a wrong scheme".into()))?,
        region: file.region,
        epoch: Duration::from_millis(file.epoch_ms),
    }))
}

fn lock(dir: &Path) -> Result<File, FolderError> {
    let failed = |error| FolderError::Io(dir.to_owned(), error);
    let file = File::create(dir.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(nodes: Option<u8>, scheme: &str) -> Fixed {
        Fixed { nodes, scheme: Some(scheme.parse().unwrap()), ..Fixed::default() }
    }

    #[test]
    fn what_was_fixed_at_the_first_start_stays() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        let made = NetworkFolder::open(&dir, &asked(Some(12), "8+4")).unwrap();
        assert!(matches!(NetworkFolder::open(&dir, &Fixed::default()), Err(FolderError::InUse(_))));
        drop(made);
        let again = NetworkFolder::open(&dir, &Fixed::default()).unwrap();
        assert_eq!((again.nodes(), again.scheme().to_string().as_str()), (12, "8+4"));
        drop(again);
        let changed = NetworkFolder::open(&dir, &asked(None, "4+2")).unwrap_err();
        assert!(changed.is_usage() && changed.to_string().contains("--scheme 8+4"), "{changed}");
    }

    #[test]
    fn a_refused_command_makes_no_folder() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        let few = NetworkFolder::open(&dir, &asked(Some(6), "9+9")).unwrap_err();
        assert!(few.to_string().contains("9+9") && few.is_usage(), "{few}");
        assert!(NetworkFolder::open(&dir, &asked(Some(6), "4+1")).is_err());
        assert!(!dir.exists());
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "precious").unwrap();
        let refused = NetworkFolder::open(dir.path(), &Fixed::default()).unwrap_err();
        assert!(refused.to_string().contains("thesis.tex"), "{refused}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_newer_or_spoilt_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("network.json");
        fs::write(&path, r#"{"format":999,"shape":"round"}"#).unwrap();
        let newer = NetworkFolder::open(dir.path(), &Fixed::default()).unwrap_err();
        assert!(newer.to_string().contains("999"), "{newer}");
        fs::write(&path, r#"{"format":1,"no"#).unwrap();
        let spoilt = NetworkFolder::open(dir.path(), &Fixed::default()).unwrap_err();
        assert!(spoilt.to_string().contains("restore"), "{spoilt}");
    }
}
