//! Rebuilds a gateway's folder from its nodes and its recovery key.
//!
//! Nodes are asked for what they hold; the newest complete snapshot is written
//! as a file, the logs after it are laid over it one by one, and SQLite says
//! whether the result is whole. Nothing that a node says is believed before it
//! opened: wrong shards are left out, and an older snapshot serves if the newest
//! does not.
//!
//! The folder appears whole or not at all: it is made beside its place and
//! renamed at the end. Whatever ended an earlier try, the next begins anew.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use protocol::message::Held;
use protocol::{NodeId, Root, ShardId};
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::ids::{Kind, VaultId};
use super::key::RecoveryKey;
use super::pages::{ListError, Pages};
use super::pay::Payer;
use super::payload::{End, Log, PIECE, Payload};
use super::sealed::{VaultKeys, shard_len_max};
use super::state::State;
use super::waiting::Waiting;
use crate::meta;
use crate::nodes::{Nodes, ShardRange};

/// Segments that are fetched at once.
const TOGETHER: usize = 8;

/// Nodes that are asked for their lists at once.
const NODES_TOGETHER: usize = 32;

/// KiB of shards that are held at once; one segment alone may need more.
const ROOM: u32 = 512 * 1024;

/// Copies that are tried of each shard of a segment, on average.
const ALTERNATES: usize = 3;

/// How long one shard may take.
const SHARD: Duration = Duration::from_secs(120);

/// Why a gateway was not recovered.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// There is a gateway.
    #[error(
        "{0} is not empty: a gateway is recovered only where there is none; move it away first"
    )]
    Exists(PathBuf),
    /// Nobody is there to ask.
    #[error("no nodes are known: name them by --node ID@HOST:PORT")]
    NoNodes,
    /// Nobody answers.
    #[error(
        "none of {asked} nodes answered ({last}): they must run, and this must be the recovery \
         key of the gateway whose shards they hold"
    )]
    Silence {
        /// How many were asked.
        asked: usize,
        /// What the last one said.
        last: String,
    },
    /// They hold nothing that the key can read.
    #[error(
        "{nodes} nodes answered and hold {shards} shards, but no metadata of this recovery key: \
         it belongs to another gateway, or nothing was shipped yet"
    )]
    Nothing {
        /// How many answered.
        nodes: usize,
        /// What they hold.
        shards: u64,
    },
    /// No snapshot can be read.
    #[error("of {found} snapshots none can be read ({last}): more nodes are needed")]
    NoSnapshot {
        /// How many were found.
        found: usize,
        /// What is wrong with the oldest.
        last: String,
    },
    /// What was put together is no database.
    #[error("the recovered metadata is not whole: {0}")]
    NotWhole(String),
    /// A file.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node named its shards.
    Listed {
        /// How many of them are metadata.
        shards: usize,
    },
    /// A part of a snapshot is there.
    Snapshot {
        /// How many parts.
        done: usize,
        /// Of how many.
        of: usize,
    },
    /// A log is there.
    Log {
        /// How many logs.
        done: usize,
        /// Of how many.
        of: usize,
    },
    /// The database is checked.
    Checking,
}

/// What was found and recovered. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nodes that were asked.
    pub nodes_asked: usize,
    /// Nodes that answered.
    pub nodes_answered: usize,
    /// When the snapshot was begun.
    pub snapshot_ms: u64,
    /// Bytes of it.
    pub snapshot_bytes: u64,
    /// Snapshots that could not be read.
    pub snapshots_spoilt: usize,
    /// Logs that were laid over it.
    pub logs: usize,
    /// Pages in them.
    pub pages: u64,
    /// When the last of them was read from the database: all that was committed
    /// before is there.
    pub recovered_to_ms: u64,
    /// The gateway's last sign of life: what it committed after
    /// `recovered_to_ms` and until some seconds after this is lost.
    pub last_sign_ms: u64,
    /// Logs that are there and cannot be used: one before them is missing.
    pub logs_beyond_gap: usize,
}

/// One copy of a shard.
#[derive(Clone, Debug)]
struct Copy {
    node: NodeId,
    index: u8,
    len: u64,
    root: Root,
}

impl Copy {
    /// That of a shard that a node names, if there can be such a one.
    fn of(node: NodeId, id: VaultId, held: &Held) -> Option<Self> {
        let Held { shard: ShardId { index, .. }, len, root } = *held;
        let is_possible = id.scheme().is_some_and(|scheme| index < scheme.total())
            && (1..=shard_len_max(id)).contains(&len);
        is_possible.then_some(Self { node, index, len, root })
    }
}

/// In which order copies of a segment are tried, and how many: the first of each
/// node, then of each shard. A node that names all shards of a segment keeps
/// nobody else's from being asked for.
fn order(id: VaultId, copies: &[Copy]) -> Vec<Copy> {
    let mut copies = copies.to_vec();
    // Each segment begins with another node, so that all have work.
    if !copies.is_empty() {
        let first = (id.number + u64::from(id.piece)) % copies.len() as u64;
        copies.rotate_left(usize::try_from(first).unwrap_or_default());
    }
    let mut of_node: HashMap<NodeId, usize> = HashMap::new();
    let mut ranked: Vec<(usize, Copy)> = Vec::with_capacity(copies.len());
    for copy in copies {
        let rank = of_node.entry(copy.node).or_default();
        ranked.push((*rank, copy));
        *rank += 1;
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut of_index: HashMap<u8, usize> = HashMap::new();
    let mut tried: Vec<(usize, usize, Copy)> = Vec::with_capacity(ranked.len());
    for (by_node, copy) in ranked {
        let by_index = of_index.entry(copy.index).or_default();
        tried.push((by_node, *by_index, copy));
        *by_index += 1;
    }
    tried.sort_by_key(|(by_node, by_index, _)| (*by_node, *by_index));
    let most = ALTERNATES * (usize::from(id.data) + usize::from(id.parity));
    tried.into_iter().map(|(.., copy)| copy).take(most).collect()
}

type Catalogue = BTreeMap<VaultId, Vec<Copy>>;

/// Who is asked, and with which keys.
pub struct Recovery {
    nodes: Arc<dyn Nodes>,
    members: Vec<NodeId>,
    keys: VaultKeys,
    payer: Option<Payer>,
    /// One permit is one KiB.
    room: Semaphore,
}

/// A place for the recovered database and its counters.
struct Target {
    file: Arc<File>,
    path: PathBuf,
}

impl Target {
    async fn run(
        &self,
        work: impl FnOnce(&File) -> io::Result<()> + Send + 'static,
    ) -> Result<(), RecoverError> {
        let file = self.file.clone();
        let done = tokio::task::spawn_blocking(move || work(&file)).await;
        let done = done.expect("the work neither panics nor is aborted");
        done.map_err(|error| RecoverError::Io(self.path.clone(), error))
    }

    async fn apply(&self, log: Log) -> Result<(), RecoverError> {
        self.run(move |file| {
            let size = u64::from(log.page_size);
            for (number, page) in &log.pages {
                file.write_all_at(page, u64::from(number - 1) * size)?;
            }
            file.set_len(u64::from(log.db_pages) * size)
        })
        .await
    }
}

impl Recovery {
    /// Asks `members` through `nodes` for what these keys can read.
    pub fn new(nodes: Arc<dyn Nodes>, members: Vec<NodeId>, keys: VaultKeys) -> Self {
        Self { nodes, members, keys, payer: None, room: Semaphore::new(ROOM as usize) }
    }

    /// The same, and pays the nodes.
    #[must_use]
    pub fn paying(self, payer: Option<Payer>) -> Self {
        Self { payer, ..self }
    }

    /// Rebuilds the gateway's folder at `out`.
    pub async fn run(
        &self,
        key: &RecoveryKey,
        out: &Path,
        progress: &(dyn Fn(Step) + Sync),
    ) -> Result<Report, RecoverError> {
        refuse_existing(out)?;
        let folder = beside(out);
        let failed = |error| RecoverError::Io(folder.clone(), error);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        let database = folder.join("meta.sqlite");
        let report = self.database(&database, progress).await;
        if let Some(payer) = &self.payer {
            payer.finish().await;
        }
        let report = report?;
        progress(Step::Checking);
        meta::inspect(&database).await.map_err(RecoverError::NotWhole)?;
        meta::renew(&database).await.map_err(RecoverError::NotWhole)?;
        key.write_keys(&folder).map_err(failed)?;
        key.peers.keep(&folder).map_err(failed)?;
        // Numbers that were used are not used again, whatever the clock says.
        State::after(report.last_sign_ms).save(&folder).map_err(failed)?;
        File::open(&database).and_then(|file| file.sync_all()).map_err(failed)?;
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        settle(&folder, out).map_err(|error| RecoverError::Io(out.into(), error))?;
        Ok(report)
    }

    /// Writes the database alone.
    pub(super) async fn database(
        &self,
        path: &Path,
        progress: &(dyn Fn(Step) + Sync),
    ) -> Result<Report, RecoverError> {
        let (catalogue, mut report) = self.list(progress).await?;
        let file = File::create(path).map_err(|error| RecoverError::Io(path.into(), error))?;
        let target = Target { file: Arc::new(file), path: path.into() };
        let end = self.snapshot(&catalogue, &target, &mut report, progress).await?;
        self.logs(&catalogue, &target, &end, &mut report, progress).await?;
        target.run(File::sync_all).await?;
        Ok(report)
    }

    /// What all nodes hold of ours.
    async fn list(
        &self,
        progress: &(dyn Fn(Step) + Sync),
    ) -> Result<(Catalogue, Report), RecoverError> {
        if self.members.is_empty() {
            return Err(RecoverError::NoNodes);
        }
        let mut lists = stream::iter(self.members.iter().copied())
            .map(|node| self.list_node(node))
            .buffer_unordered(NODES_TOGETHER);
        let (mut catalogue, mut seen) = (Catalogue::new(), 0);
        let mut report = Report { nodes_asked: self.members.len(), ..Report::default() };
        let mut last = String::new();
        while let Some(list) = lists.next().await {
            match list {
                Ok((found, shards)) => {
                    report.nodes_answered += 1;
                    seen += shards;
                    progress(Step::Listed { shards: found.len() });
                    for (id, copy) in found {
                        catalogue.entry(id).or_default().push(copy);
                    }
                }
                Err(error) => last = error,
            }
        }
        if report.nodes_answered == 0 {
            return Err(RecoverError::Silence { asked: report.nodes_asked, last });
        }
        let newest = catalogue.keys().map(|id| id.number).max();
        let Some(newest) = newest else {
            return Err(RecoverError::Nothing { nodes: report.nodes_answered, shards: seen });
        };
        report.last_sign_ms = newest;
        Ok((catalogue, report))
    }

    async fn list_node(&self, node: NodeId) -> Result<(Vec<(VaultId, Copy)>, u64), String> {
        let (mut found, mut seen) = (Vec::new(), 0);
        let mut pages = Pages::of(&*self.nodes, node);
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(error @ ListError::Endless) => {
                    // What it named may be of use, as much as anybody's.
                    tracing::warn!(?node, %error, "the rest is left out");
                    break;
                }
                Err(error) => return Err(error.to_string()),
            };
            for held in page {
                seen += 1;
                let Some(id) = self.keys.ids().find(held.shard.segment) else { continue };
                found.extend(Copy::of(node, id, &held).map(|copy| (id, copy)));
            }
        }
        Ok((found, seen))
    }

    /// Writes the newest snapshot that can be read.
    async fn snapshot(
        &self,
        catalogue: &Catalogue,
        target: &Target,
        report: &mut Report,
        progress: &(dyn Fn(Step) + Sync),
    ) -> Result<End, RecoverError> {
        let ends: Vec<VaultId> =
            catalogue.keys().filter(|id| id.kind == Kind::End).rev().copied().collect();
        let mut last = "none was complete".to_owned();
        for &id in &ends {
            match self.try_snapshot(catalogue, target, id, progress).await? {
                Ok(end) => {
                    (report.snapshot_ms, report.snapshot_bytes) = (end.time_ms, end.len);
                    report.recovered_to_ms = end.time_ms;
                    return Ok(end);
                }
                Err(why) => last = why,
            }
            report.snapshots_spoilt += 1;
        }
        Err(RecoverError::NoSnapshot { found: ends.len(), last })
    }

    async fn try_snapshot(
        &self,
        catalogue: &Catalogue,
        target: &Target,
        id: VaultId,
        progress: &(dyn Fn(Step) + Sync),
    ) -> Result<Result<End, String>, RecoverError> {
        let end = match self.fetch(catalogue, id).await {
            Ok(Payload::End(end)) => end,
            Ok(_) => return Ok(Err("it is something else".into())),
            Err(why) => return Ok(Err(why)),
        };
        if u64::from(end.pieces) != end.len.div_ceil(PIECE as u64) {
            return Ok(Err("it has another number of pieces".into()));
        }
        let mut pieces = stream::iter(0..end.pieces)
            .map(|piece| self.fetch(catalogue, VaultId { kind: Kind::Piece, piece, ..id }))
            .buffered(TOGETHER);
        let mut hasher = blake3::Hasher::new();
        let (mut at, mut done) = (0, 0);
        target.run(|file| file.set_len(0)).await?;
        while let Some(piece) = pieces.next().await {
            let bytes = match piece {
                Ok(Payload::Piece { offset, bytes }) if offset == at => bytes,
                Ok(_) => return Ok(Err("a piece is something else".into())),
                Err(why) => return Ok(Err(why)),
            };
            hasher.update(&bytes);
            let offset = at;
            at += bytes.len() as u64;
            target.run(move |file| file.write_all_at(&bytes, offset)).await?;
            done += 1;
            progress(Step::Snapshot { done, of: end.pieces as usize });
        }
        if at != end.len || hasher.finalize() != blake3::Hash::from(end.hash) {
            return Ok(Err("its pieces do not fit together".into()));
        }
        Ok(Ok(end))
    }

    /// Lays the logs after the snapshot over it. All are fetched before it is
    /// known which: they wait in a file of their own.
    async fn logs(
        &self,
        catalogue: &Catalogue,
        target: &Target,
        end: &End,
        report: &mut Report,
        progress: &(dyn Fn(Step) + Sync),
    ) -> Result<(), RecoverError> {
        let after = |id: &&VaultId| id.kind == Kind::Log && id.number > end.base;
        let ids: Vec<VaultId> = catalogue.keys().filter(after).copied().collect();
        let of = ids.len();
        let mut fetched = stream::iter(ids)
            .map(|id| async move { (id.number, self.fetch(catalogue, id).await) })
            .buffered(TOGETHER);
        let mut waiting = Waiting::make(target.path.with_extension("logs"))?;
        let mut done = 0;
        while let Some((number, payload)) = fetched.next().await {
            done += 1;
            progress(Step::Log { done, of });
            match payload {
                Ok(Payload::Log(log)) if log.page_size == end.page_size => {
                    waiting.add(number, &Payload::Log(log))?;
                }
                Ok(_) => tracing::warn!(number, "a log is something else"),
                Err(error) => tracing::warn!(number, %error, "a log is missing"),
            }
        }
        let chain = waiting.chain(end.base);
        let last = chain.last().map_or(end.base, |&at| waiting.logs[at].number);
        report.logs_beyond_gap = waiting.logs.iter().filter(|log| log.number > last).count();
        for at in chain {
            let log = waiting.take(at)?;
            report.logs += 1;
            report.pages += log.pages.len() as u64;
            report.recovered_to_ms = log.time_ms;
            target.apply(log).await?;
        }
        waiting.remove()
    }

    /// What a segment says.
    async fn fetch(&self, catalogue: &Catalogue, id: VaultId) -> Result<Payload, String> {
        let copies = order(id, catalogue.get(&id).map_or(&[], Vec::as_slice));
        let bytes = copies.iter().map(|copy| copy.len).fold(0, u64::saturating_add);
        let room = u32::try_from(bytes.div_ceil(1024)).map_or(ROOM, |room| room.min(ROOM));
        let _room = self.room.acquire_many(room).await;
        let (first, rest) = copies.split_at(usize::from(id.data).min(copies.len()));
        let total = usize::from(id.data) + usize::from(id.parity);
        let mut shards = Vec::new();
        for round in [first].into_iter().chain(rest.chunks(total)) {
            let got = round.iter().map(|copy| self.shard(id, copy.clone()));
            shards.extend(futures::future::join_all(got).await.into_iter().flatten());
            let (keys, held) = (self.keys.clone(), shards.clone());
            let opened = tokio::task::spawn_blocking(move || {
                let bytes = keys.decode(id, &held).ok()?;
                Some(Payload::parse(&bytes).map_err(|error| error.to_string()))
            });
            if let Ok(Some(payload)) = opened.await {
                return payload;
            }
        }
        Err(format!("{} shards of a segment that needs {} do not open", shards.len(), id.data))
    }

    async fn shard(&self, id: VaultId, copy: Copy) -> Option<(u8, Bytes)> {
        let Copy { node, index, len, root } = copy;
        let shard = ShardId { segment: self.keys.ids().segment(id), index };
        let (windows, mut got) = mpsc::channel::<Vec<Bytes>>(4);
        let range = ShardRange { shard, root, len, bytes: 0..len };
        let collected = async {
            let mut bytes = Vec::new();
            while let Some(window) = got.recv().await
                && bytes.len() as u64 <= len
            {
                window.iter().for_each(|part| bytes.extend_from_slice(part));
            }
            bytes
        };
        let asked = async { tokio::join!(self.nodes.get(node, range, windows), collected) };
        match timeout(SHARD, asked).await {
            Ok((Ok(()), bytes)) if bytes.len() as u64 == len => {
                if let Some(payer) = &self.payer {
                    payer.owe(node, len).await;
                }
                Some((index, bytes.into()))
            }
            Ok((Err(error), _)) => {
                tracing::debug!(?node, %error, "metadata shard not fetched");
                None
            }
            _ => None,
        }
    }
}

/// A gateway must not be there.
fn refuse_existing(out: &Path) -> Result<(), RecoverError> {
    match fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(RecoverError::Exists(out.into())),
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(RecoverError::Io(out.into(), error)),
    }
}

/// Where the folder is made.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or("gateway".as_ref()).to_owned();
    name.push(".recovering");
    out.with_file_name(name)
}

/// Renames the folder to its place, which is empty or not there.
fn settle(folder: &Path, out: &Path) -> io::Result<()> {
    match fs::remove_dir(out) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(folder, out)?;
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_not_touched() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("gateway");
        assert!(refuse_existing(&out).is_ok());
        fs::create_dir(&out).unwrap();
        assert!(refuse_existing(&out).is_ok());
        fs::write(out.join("x"), "").unwrap();
        assert!(matches!(refuse_existing(&out), Err(RecoverError::Exists(_))));
    }
}
