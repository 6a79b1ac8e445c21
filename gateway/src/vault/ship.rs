//! Ships metadata: reads what was committed, stores it on the nodes as logs,
//! and now and then the whole database file as a snapshot.
//!
//! The database file changes only when the log is checkpointed, which nobody
//! does but this. A snapshot begins with a checkpoint; the file can then be read
//! in peace while commits go into the log and are shipped from there. While the
//! nodes do not take what was committed, the log grows up to a bound; then it
//! is checkpointed anyway, the chain is broken, and a new snapshot begins
//! another as soon as that is possible.
//!
//! Not here: the pieces of a snapshot (`snapshot`), and when steps are taken
//! (`upkeep::vault`).

mod snapshot;

use std::fs::File;
use std::io;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use erasure::Scheme;
use protocol::{Incarnation, NodeId};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Progress;
use super::clean::{Cleaning, Useful};
use super::ids::{Kind, VaultId};
use super::payload::{LOG_FULL, Log, PIECE, Payload};
use super::state::State;
use super::store::{NotStored, Outgoing};
use crate::gateway::Gateway;
use crate::meta::MetaError;
use crate::meta::wal::{self, Commits, Position, WalError};
use crate::nodes::registry::NodeView;
use crate::object::placement::candidates;
use snapshot::UnderWay;

/// How far things may grow, in bytes. Anything but the default is for tests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The log of the database is checkpointed when it has grown to this.
    pub checkpoint_at: u64,
    /// Without nodes it may grow to this, or to the size of the database while
    /// a snapshot is under way.
    pub log_file_max: u64,
    /// A new snapshot is due when logs have cost more than this, and more than
    /// the snapshot before.
    pub logs_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self { checkpoint_at: 16 * MIB, log_file_max: 256 * MIB, logs_max: 64 * MIB }
    }
}

/// What a log costs at least: many small ones make recovery slow.
const LOG_COST: u64 = 16 * 1024;

/// While nothing is committed, the nodes hear of that this often.
const BEAT: Duration = Duration::from_secs(30);

/// A step waits this long for cleaning, which may go on beside the next ones.
const CLEANING: Duration = Duration::from_millis(200);

/// When half of the parity is gone for this long, a new snapshot is due.
const THIN: Duration = Duration::from_secs(600);

/// Why a step ended early. It is tried again.
#[derive(Debug, Error)]
pub enum ShipError {
    /// Too few nodes have what was sent.
    #[error(transparent)]
    NotStored(#[from] NotStored),
    /// A file cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The database.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// Readers need an older state for now.
    #[error("the log of the metadata is in use by readers")]
    Readers,
    /// A snapshot needs nodes.
    #[error("{up} of {quorum} nodes that are needed are up")]
    NoNodes {
        /// How many are.
        up: usize,
        /// How many must be.
        quorum: usize,
    },
}

/// What to do after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The next step, at once.
    Busy,
    /// A rest.
    Idle,
}

/// A log on its way.
struct Pending {
    outgoing: Outgoing,
    payload: Arc<Vec<u8>>,
    after: Position,
}

/// Where the log of the database is to be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The chain is broken.
    Lost,
    /// From its beginning: it was emptied.
    Start,
    /// From here.
    Place(Position),
}

/// Ships the metadata of one gateway.
pub struct Shipper {
    gateway: Arc<Gateway>,
    dir: PathBuf,
    scheme: Scheme,
    limits: Limits,
    state: State,
    at: At,
    pending: Option<Pending>,
    snapshot: Option<UnderWay>,
    beat: Option<Outgoing>,
    beat_at: Instant,
    thin_since: Option<Instant>,
    behind_since_ms: Option<u64>,
    shipped_ms: Option<u64>,
    is_cleaned: bool,
    /// At most one at a time; ends with this.
    cleaning: JoinSet<()>,
}

/// Metadata is little, and without it nothing is found: as many shards as
/// objects have, of which half as many bring it back.
pub fn scheme(objects: Scheme) -> Scheme {
    let data = objects.data().div_ceil(2);
    let parity = objects.total() - data;
    NonZeroU8::new(data)
        .zip(NonZeroU8::new(parity))
        .and_then(|(data, parity)| Scheme::new(data, parity))
        .expect("half of a scheme's data shards is at least one and less than all its shards")
}

impl Shipper {
    /// Goes on where the last one stopped, as far as that is known.
    pub fn open(gateway: Arc<Gateway>, limits: Limits) -> Self {
        let dir = gateway.settings.dir.clone();
        let mut state = State::load(&dir);
        state.is_broken |= state.position.is_none();
        Self {
            scheme: scheme(gateway.settings.scheme),
            at: state.position.map_or(At::Lost, At::Place),
            dir,
            limits,
            state,
            pending: None,
            snapshot: None,
            beat: None,
            beat_at: Instant::now(),
            thin_since: None,
            behind_since_ms: None,
            shipped_ms: None,
            is_cleaned: false,
            cleaning: JoinSet::new(),
            gateway,
        }
    }

    /// Takes one step. What fails is tried again by the next.
    pub async fn step(&mut self, now_ms: u64) -> Result<Pace, ShipError> {
        if self.shipped_ms.is_none() {
            // It is not known what the last process left.
            self.behind_since_ms.get_or_insert(now_ms);
            self.tell();
        }
        let was_under_way = self.snapshot.is_some();
        let done = self.try_step(now_ms).await;
        if done.is_err() {
            self.behind_since_ms.get_or_insert(now_ms);
        }
        self.bound(was_under_way).await?;
        self.tell();
        done
    }

    async fn try_step(&mut self, now_ms: u64) -> Result<Pace, ShipError> {
        let has_more = self.ship(now_ms).await?;
        if self.snapshot.is_some() {
            self.go_on(now_ms).await?;
            return Ok(Pace::Busy);
        }
        if !has_more && self.is_snapshot_due() {
            self.checkpoint(now_ms, true).await?;
            return Ok(Pace::Busy);
        }
        if !has_more && self.log_len() >= self.limits.checkpoint_at {
            self.checkpoint(now_ms, false).await?;
            return Ok(Pace::Busy);
        }
        self.clean().await;
        if !has_more && self.beat_at.elapsed() >= BEAT {
            self.beat(now_ms).await?;
        }
        Ok(if has_more { Pace::Busy } else { Pace::Idle })
    }

    /// Ships all that is committed now.
    pub async fn finish(&mut self, now_ms: u64) -> Result<(), ShipError> {
        while self.at != At::Lost && self.ship(now_ms).await? {}
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        self.gateway.vault.set_progress(Progress {
            shipped_ms: self.shipped_ms,
            behind_since_ms: self.behind_since_ms,
            snapshot_ms: self.state.newest.map(|snapshot| snapshot.number),
            logs: self.state.logs,
            log_bytes: self.state.log_bytes,
        });
    }

    #[cfg(test)]
    pub(super) fn is_cleaning(&self) -> bool {
        !self.cleaning.is_empty()
    }

    #[cfg(test)]
    pub(super) async fn begin_now(&mut self, now_ms: u64) -> Result<(), ShipError> {
        self.checkpoint(now_ms, true).await
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("meta.sqlite-wal")
    }

    fn log_len(&self) -> u64 {
        std::fs::metadata(self.log_path()).map_or(0, |file| file.len())
    }

    /// Sends what waits, then reads on. Whether there is more.
    async fn ship(&mut self, now_ms: u64) -> Result<bool, ShipError> {
        self.deliver(now_ms).await?;
        if self.at == At::Lost {
            self.behind_since_ms.get_or_insert(now_ms);
            return Ok(false);
        }
        let (path, at) = (self.log_path(), self.at);
        let commits = match blocking(move || read(&path, at, LOG_FULL)).await {
            Ok(commits) => commits,
            Err(WalError::Io(error)) => return Err(error.into()),
            Err(error) => {
                tracing::info!(%error, "a new snapshot of the metadata follows");
                self.lose();
                self.behind_since_ms.get_or_insert(now_ms);
                return Ok(false);
            }
        };
        let is_cut = commits.as_ref().is_some_and(|commits| commits.is_cut);
        if let Some(commits) = commits {
            self.pack(now_ms, commits, false).await;
            self.deliver(now_ms).await?;
        }
        if is_cut || self.state.is_broken {
            self.behind_since_ms.get_or_insert(now_ms);
        } else {
            (self.shipped_ms, self.behind_since_ms) = (Some(now_ms), None);
        }
        Ok(is_cut)
    }

    /// Makes the next log of these commits.
    async fn pack(&mut self, now_ms: u64, commits: Commits, sealed: bool) {
        assert!(self.pending.is_none(), "one log at a time");
        let after = Position { sealed, ..commits.end };
        let log = Log::new(now_ms, self.state.tip, commits);
        let payload = Arc::new(blocking(move || Payload::Log(log).to_bytes()).await);
        let id = self.name(now_ms, Kind::Log);
        let outgoing = self.seal(id, payload.clone()).await;
        self.at = At::Place(after);
        self.pending = Some(Pending { outgoing, payload, after });
    }

    fn name(&mut self, now_ms: u64, kind: Kind) -> VaultId {
        let number = self.state.next_number(now_ms);
        let (data, parity) = (self.scheme.data(), self.scheme.parity());
        VaultId { number, kind, piece: 0, data, parity }
    }

    async fn seal(&self, id: VaultId, payload: Arc<Vec<u8>>) -> Outgoing {
        let gateway = self.gateway.clone();
        blocking(move || Outgoing::new(&gateway, id, &payload)).await
    }

    /// Sends the log that waits.
    async fn deliver(&mut self, now_ms: u64) -> Result<(), ShipError> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        match pending.outgoing.send(&self.gateway).await {
            Ok(()) => {}
            Err(NotStored::NameTaken) => {
                // Somebody with our key was here: we do not know all numbers.
                let payload = pending.payload.clone();
                let id = self.name(now_ms + 60_000, Kind::Log);
                let outgoing = self.seal(id, payload).await;
                if let Some(pending) = &mut self.pending {
                    let old = std::mem::replace(&mut pending.outgoing, outgoing).id.number;
                    // Nothing of a snapshot that holds it last was sent before it.
                    if let Some(snapshot) = &mut self.snapshot {
                        snapshot.log_renamed(old, id.number);
                    }
                }
                return Err(NotStored::NameTaken.into());
            }
            Err(error) => return Err(error.into()),
        }
        let Some(Pending { outgoing, payload, after }) = self.pending.take() else { return Ok(()) };
        let nodes: Vec<_> = outgoing.stored.values().copied().collect();
        self.use_nodes(&nodes);
        self.state.sent(&nodes, outgoing.shard_len());
        let cost = (payload.len() as u64).max(LOG_COST);
        self.state.shipped(outgoing.id.number, Some(after), cost);
        self.beat_at = Instant::now();
        self.save().await
    }

    fn use_nodes(&mut self, nodes: &[(NodeId, Incarnation)]) {
        for node in nodes {
            if !self.state.nodes.contains(node) {
                self.state.nodes.push(*node);
            }
        }
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.nodes.extend(nodes);
        }
    }

    async fn save(&self) -> Result<(), ShipError> {
        let (state, dir) = (self.state.clone(), self.dir.clone());
        Ok(blocking(move || state.save(&dir)).await?)
    }

    /// Gives the chain up.
    fn lose(&mut self) {
        self.at = At::Lost;
        (self.state.position, self.state.is_broken) = (None, true);
        (self.pending, self.snapshot) = (None, None);
    }

    /// While the nodes do not take it, or not as fast as it grows, the log does not
    /// grow for ever.
    async fn bound(&mut self, was_under_way: bool) -> Result<(), ShipError> {
        let database = std::fs::metadata(self.dir.join("meta.sqlite"))?.len();
        let most = self.limits.log_file_max;
        // The step after the last of a snapshot moves the log into the database.
        let is_snapshot = was_under_way || self.snapshot.is_some();
        let most = if is_snapshot { database.max(most) } else { most };
        if self.log_len() <= most {
            return Ok(());
        }
        if self.at != At::Lost {
            tracing::warn!("what was committed could not be shipped: a new snapshot must follow");
            self.lose();
            self.save().await?;
        }
        self.gateway.meta.checkpoint(|| Some(())).await?;
        Ok(())
    }

    fn is_snapshot_due(&mut self) -> bool {
        let views = self.gateway.registry.views();
        let is_thin = is_thin(&self.state.nodes, &views, self.scheme.parity());
        self.thin_since = is_thin.then(|| self.thin_since.unwrap_or_else(Instant::now));
        let Some(newest) = self.state.newest else { return true };
        self.state.is_broken
            || self.state.log_bytes > newest.len.max(self.limits.logs_max)
            || self.thin_since.is_some_and(|since| since.elapsed() > THIN)
    }

    /// Moves the log into the database file, and makes a log of what of it was
    /// not shipped yet. A snapshot may begin then.
    async fn checkpoint(&mut self, now_ms: u64, is_snapshot: bool) -> Result<(), ShipError> {
        assert!(self.pending.is_none() && self.snapshot.is_none(), "nothing else is under way");
        if is_snapshot {
            let up = candidates(&self.gateway.registry.views(), PIECE as u64).len();
            let quorum = usize::from(self.gateway.settings.write_quorum);
            if up < quorum {
                return Err(ShipError::NoNodes { up, quorum });
            }
        }
        let (path, at) = (self.log_path(), self.at);
        let look = move || match at {
            At::Lost => Some(Ok(None)),
            at => match read(&path, at, LOG_FULL) {
                // So much in so short a time: it is shipped first.
                Ok(Some(commits)) if commits.is_cut => None,
                read => Some(read),
            },
        };
        let Some((tail, is_empty)) = self.gateway.meta.checkpoint(look).await? else {
            return Ok(());
        };
        match tail {
            Ok(Some(commits)) => self.pack(now_ms, commits, true).await,
            Ok(None) => {
                if let At::Place(place) = &mut self.at {
                    place.sealed = true;
                    self.state.position = Some(*place);
                }
            }
            Err(error) => {
                tracing::info!(%error, "a new snapshot of the metadata follows");
                self.lose();
            }
        }
        if !is_empty {
            return Err(ShipError::Readers);
        }
        if is_snapshot {
            self.begin(now_ms)?;
        }
        self.save().await
    }

    /// Begins to delete what is of no use if that is due. It takes as long as it
    /// takes; most often it is soon done.
    async fn clean(&mut self) {
        if !self.is_cleaned && self.cleaning.is_empty() {
            let under_way = self.snapshot.as_ref().map(|snapshot| snapshot.number);
            let beat = self.beat.as_ref().map(|beat| beat.id.number);
            let useful = Useful::new(&self.state, under_way, beat);
            let cleaning = Cleaning::new(self.gateway.clone(), &self.state, useful);
            self.cleaning.spawn(cleaning.run());
            self.is_cleaned = true;
        }
        if let Ok(Some(Err(error))) = timeout(CLEANING, self.cleaning.join_next()).await {
            tracing::error!(%error, "old metadata shards are left on the nodes");
        }
    }

    /// Tells the nodes that nothing was committed; the beat before is of no use
    /// any more.
    async fn beat(&mut self, now_ms: u64) -> Result<(), ShipError> {
        let payload = Payload::Beat { time_ms: now_ms, follows: self.state.tip }.to_bytes();
        let id = self.name(now_ms, Kind::Beat);
        let mut outgoing = self.seal(id, Arc::new(payload)).await;
        self.beat_at = Instant::now();
        if let Err(error) = outgoing.send(&self.gateway).await {
            tracing::debug!(%error, "the nodes did not hear that nothing was committed");
            return Ok(());
        }
        if let Some(old) = self.beat.replace(outgoing) {
            old.delete(&self.gateway).await;
        }
        self.save().await
    }
}

/// Whether so many of these nodes are gone that half of the parity is.
fn is_thin(nodes: &[(NodeId, Incarnation)], views: &[NodeView], parity: u8) -> bool {
    let is_there = |(node, incarnation): &(NodeId, Incarnation)| {
        views.iter().any(|view| {
            view.record.node == *node
                && view.is_up()
                && view.state.keeps_shards()
                && view.incarnation == Some(*incarnation)
        })
    };
    let gone = nodes.iter().filter(|node| !is_there(node)).count();
    gone > 0 && gone * 2 >= usize::from(parity)
}

fn read(path: &Path, at: At, enough: usize) -> Result<Option<Commits>, WalError> {
    let from = match at {
        At::Lost => return Ok(None),
        At::Start => None,
        At::Place(place) => Some(place),
    };
    match File::open(path) {
        Ok(mut file) => wal::read(&mut file, from, enough),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match from {
            None => Ok(None),
            Some(_) => Err(WalError::Other),
        },
        Err(error) => Err(error.into()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the work neither panics nor is aborted")
}
