//! A witness: follows a ledger from its genesis, executes every block again,
//! and cosigns heads of a history that never changes under it.
//!
//! What it finds it keeps before it says anything: each block in a copy of its
//! own, each cosignature in a file that is on disk before it is handed out. So
//! whenever it is killed, it never cosigns a head that does not continue the one
//! before. Shown two histories, or a block that does not follow, it writes the
//! evidence into its folder and never cosigns again.
//!
//! [`Follower`] decides, [`memory`] keeps, [`Witness`] asks. Not here: keeping
//! cosignatures for others (`notary`).

mod follower;
pub mod memory;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::SecretKey;
use protocol::ids::PublicKey;
use protocol::keys::KeyFileError;
use serde_json::{Value, json};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

pub use follower::{Evidence, Follower};

use crate::block::{Block, Header};
use crate::chain::BeginError;
use crate::checkpoint::{Checkpoint, CheckpointError, log_key};
use crate::client::{ClientError, LedgerAddr, LedgerClient};
use crate::export::{LineError, parse_block, parse_genesis};
use crate::fraud::SignedHeader;
use crate::note::{Note, NoteError};
use crate::replay::ReplayError;
use crate::store::StoreError;
use memory::Memory;

/// How often the ledger is asked.
const PAUSE: Duration = Duration::from_secs(1);

/// Seconds by which a block may be ahead of our clock.
const AHEAD_S: u64 = 60;

/// Heights that are cosigned on the way: witnesses that ask at different times
/// still meet there.
const MILESTONE: u64 = 16;

/// Why a witness does not go on, or not now.
#[derive(Debug, Error)]
pub enum WitnessError {
    /// The ledger did not answer. It is asked again.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its answer is none.
    #[error("the ledger's answer cannot be read: {0}")]
    Answer(String),
    /// The ledger is false. Nothing is cosigned any more.
    #[error("{0}; the evidence is in {1}")]
    Found(String, PathBuf),
    /// Its genesis makes no network.
    #[error("the genesis: {0}")]
    Begin(#[from] BeginError),
    /// The network is that of another ledger.
    #[error("the genesis is that of another ledger")]
    OtherLedger,
    /// The folder cannot be used.
    #[error("the witness's folder {0} cannot be used: {1}")]
    Folder(PathBuf, io::Error),
    /// Another process has it open.
    #[error("the witness's folder {0} is in use by another process: stop it first")]
    InUse(PathBuf),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Its copy cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its copy is no ledger.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl WitnessError {
    /// Whether asking again may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Client(_) | Self::Answer(_))
    }
}

impl From<LineError> for WitnessError {
    fn from(error: LineError) -> Self {
        Self::Answer(error.to_string())
    }
}

impl From<CheckpointError> for WitnessError {
    fn from(error: CheckpointError) -> Self {
        Self::Answer(error.to_string())
    }
}

impl From<NoteError> for WitnessError {
    fn from(error: NoteError) -> Self {
        Self::Answer(error.to_string())
    }
}

/// How far a witness came, for those who watch it.
#[derive(Debug, Default)]
pub struct Progress {
    /// The height of the last block that was executed.
    pub height: AtomicU64,
    /// The size of the last head that was cosigned.
    pub cosigned: AtomicU64,
    /// How often the ledger was asked and answered.
    pub polls: AtomicU64,
}

/// A witness of one ledger.
#[derive(Debug)]
pub struct Witness {
    key: SecretKey,
    ledger: LedgerAddr,
    client: LedgerClient,
    memory: Memory,
    follower: Option<Follower>,
    progress: Arc<Progress>,
}

impl Witness {
    /// Opens the witness in a folder, and executes again what it followed.
    pub async fn open(dir: PathBuf, ledger: LedgerAddr) -> Result<Self, WitnessError> {
        let (memory, key, follower) = Memory::open(dir, ledger.id).await?;
        let client = LedgerClient::new(key.clone(), ledger);
        let progress = Arc::new(Progress::default());
        Ok(Self { key, ledger, client, memory, follower, progress })
    }

    /// The key that cosigns, as the ledger's settings name it.
    pub fn key(&self) -> PublicKey {
        self.key.public()
    }

    /// How far it came.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Follows until `stop`, or until the ledger is found false.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), WitnessError> {
        loop {
            let polled = tokio::select! {
                () = stop.cancelled() => break,
                polled = self.poll(system_s()) => polled,
            };
            match polled {
                Ok(()) => {}
                Err(error) if error.is_passing() => tracing::warn!(%error, "asking again"),
                Err(error) => return Err(error),
            }
            tokio::select! { () = stop.cancelled() => break, () = tokio::time::sleep(PAUSE) => {} }
        }
        self.memory.close().await
    }

    /// Asks the ledger for what is new, executes it, and cosigns.
    pub async fn poll(&mut self, now_s: u64) -> Result<(), WitnessError> {
        if self.follower.is_none() {
            self.begin().await?;
        }
        let answer = self.client.query(json!({"query": "checkpoint"})).await?;
        let note = Note::parse(text(&answer, "checkpoint")?)?;
        let height = answer["height"].as_u64().ok_or_else(|| unfitting("height"))?;
        let mut to_cosign = self.follow(height).await?;
        let ours = self.memory.block(height).await?.ok_or_else(|| unfitting("export"))?;
        self.check(&note, &ours.header).await?;
        // A head that is behind ours was cosigned before, or passed by.
        if height == self.head().height && to_cosign.last() != Some(&ours.header) {
            to_cosign.push(ours.header);
        }
        for header in to_cosign {
            let ahead_s = (header.time_ms / 1000).saturating_sub(now_s);
            if ahead_s > AHEAD_S {
                // Whoever makes time pass closes windows before anyone can submit.
                tracing::error!(
                    ahead_s,
                    height = header.height,
                    "the ledger's time is ahead of ours: its head is not cosigned"
                );
                continue;
            }
            self.cosign(&header, now_s).await?;
        }
        self.progress.height.store(self.head().height, Ordering::Relaxed);
        self.progress.polls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), WitnessError> {
        let answer = self.client.query(json!({"query": "genesis"})).await?;
        let genesis = parse_genesis(text(&answer, "line")?)?;
        if genesis.sequencer != self.ledger.id {
            return Err(WitnessError::OtherLedger);
        }
        let first = self.export(0, 1).await?.into_iter().next();
        let first = first.ok_or_else(|| unfitting("export"))?;
        let follower = Follower::begin(genesis, &first);
        let follower = follower.map_err(|error| WitnessError::Answer(error.to_string()))?;
        self.memory.begin(follower.genesis(), &first).await?;
        self.follower = Some(follower);
        Ok(())
    }

    /// Executes blocks up to this height, and looks at the one where both
    /// histories meet. The latest milestone on the way comes back.
    async fn follow(&mut self, height: u64) -> Result<Vec<Header>, WitnessError> {
        let mut milestone = None;
        loop {
            // From our own head on, or from the ledger's if that is behind: so
            // each time one block is seen that we know already.
            let from = self.head().height.min(height);
            let blocks = self.export(from, 256).await?;
            let first = blocks.first().ok_or_else(|| unfitting("export"))?;
            if let Some(ours) = self.memory.block(first.header.height).await? {
                let ours = SignedHeader::of(&ours);
                let seen = self.follower().compare(&ours, first);
                self.hold(seen).await?;
            }
            for block in blocks.iter().filter(|block| block.header.height <= height) {
                if block.header.height <= self.head().height {
                    continue;
                }
                let taken = self.follower_mut().take(block);
                self.hold(taken).await?;
                self.memory.append(block).await?;
                if block.header.height.is_multiple_of(MILESTONE) {
                    milestone = Some(block.header.clone());
                }
            }
            if self.head().height >= height {
                return Ok(Vec::from_iter(milestone));
            }
            if self.head().height == from {
                return Err(unfitting("export"));
            }
        }
    }

    /// Checks the served checkpoint against our own block of that height.
    async fn check(&mut self, note: &Note, ours: &Header) -> Result<(), WitnessError> {
        let served = Checkpoint::verified(note, &log_key(ours.chain, self.ledger.id))?;
        let own = Checkpoint::of(ours);
        // Cosignatures are the witnesses' own and prove nothing of the ledger.
        let same = if served == own {
            Ok(())
        } else {
            Err(Box::new(Evidence::Head { cosigned: own.to_string(), served: note.to_string() }))
        };
        self.hold(same).await
    }

    /// Cosigns a head if it continues the last one, and brings it to the
    /// ledger. The last one itself is only brought again.
    async fn cosign(&mut self, header: &Header, now_s: u64) -> Result<(), WitnessError> {
        let made = self.memory.cosign(header, now_s, &self.key).await?;
        let Some(note) = self.hold(made).await? else { return Ok(()) };
        self.progress.cosigned.store(header.log_size, Ordering::Relaxed);
        if let Err(reason) = self.client.cosign(&note).await? {
            tracing::warn!(%reason, key = %self.key(), "the ledger does not keep our cosignature");
        }
        Ok(())
    }

    /// Goes on, or keeps the evidence and ends.
    async fn hold<T>(&mut self, found: Result<T, Box<Evidence>>) -> Result<T, WitnessError> {
        let evidence = match found {
            Ok(value) => return Ok(value),
            Err(evidence) => evidence,
        };
        let path = self.memory.keep(&evidence)?;
        if let Evidence::Fork(proof) = &*evidence {
            // It should halt; whether it hears us or not, the proof is kept.
            if let Err(error) = self.client.show_fraud(proof).await {
                tracing::warn!(%error, "the ledger could not be shown the proof");
            }
        }
        Err(WitnessError::Found(evidence.to_string(), path))
    }

    async fn export(&self, from: u64, max: u32) -> Result<Vec<Block>, WitnessError> {
        let query = json!({"query": "export", "from_height": from, "max": max});
        let answer = self.client.query(query).await?;
        let lines = answer["lines"].as_array().ok_or_else(|| unfitting("export"))?;
        let lines = lines.iter().map(|line| line.as_str().ok_or_else(|| unfitting("export")));
        lines.map(|line| Ok(parse_block(line?)?)).collect()
    }

    fn follower(&self) -> &Follower {
        self.follower.as_ref().expect("it began")
    }

    fn follower_mut(&mut self) -> &mut Follower {
        self.follower.as_mut().expect("it began")
    }

    fn head(&self) -> &Header {
        self.follower().head()
    }
}

fn text<'a>(answer: &'a Value, field: &'static str) -> Result<&'a str, WitnessError> {
    answer[field].as_str().ok_or_else(|| unfitting(field))
}

fn unfitting(what: &str) -> WitnessError {
    WitnessError::Answer(format!("its {what} is missing"))
}

fn system_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
