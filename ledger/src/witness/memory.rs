//! What a witness keeps in its folder: its key, a copy of the ledger, the last
//! head that it cosigned, and evidence.
//!
//! The file `cosigned` is the note that was handed out last. Losing the copy
//! loses nothing: it is fetched and executed again, and must lead to that head.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use protocol::keys::write_private;
use protocol::{LedgerId, SecretKey};

use super::{Evidence, Follower, WitnessError};
use crate::block::{Block, Header};
use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::genesis::Genesis;
use crate::ledger::{OpenError, lock_folder};
use crate::note::{Cosignature, Note};
use crate::replay::replay;
use crate::store::{self, Reader, Store};

/// The witness's key in its folder.
pub const KEY: &str = "witness.key";
const DATABASE: &str = "witness.sqlite";
const COSIGNED: &str = "cosigned";
const FRAUD: &str = "fraud.json";
const EVIDENCE: &str = "evidence.json";

/// A witness's folder.
#[derive(Debug)]
pub(super) struct Memory {
    dir: PathBuf,
    store: Store,
    reader: Reader,
    cosigned: Option<(Checkpoint, Note)>,
    /// Held as long as the folder is open.
    _lock: File,
}

impl Memory {
    /// Opens a folder, and executes again what its copy holds.
    pub(super) async fn open(
        dir: PathBuf,
        ledger: LedgerId,
    ) -> Result<(Self, SecretKey, Option<Follower>), WitnessError> {
        let lock = lock_folder(&dir).map_err(|error| match error {
            OpenError::Folder(dir, error) => WitnessError::Folder(dir, error),
            _ => WitnessError::InUse(dir.clone()),
        })?;
        for found in [FRAUD, EVIDENCE].map(|name| dir.join(name)) {
            if found.exists() {
                let what = "this ledger was found false before";
                return Err(WitnessError::Found(what.to_owned(), found));
            }
        }
        let key = SecretKey::load_or_create(&dir.join(KEY))?;
        let cosigned = read_cosigned(&dir)?;
        let (mut store, reader) = store::open(&dir.join(DATABASE)).await?;
        let follower = match reader.genesis().await? {
            None => None,
            Some(genesis) if genesis.sequencer != ledger => return Err(WitnessError::OtherLedger),
            Some(genesis) => {
                let (chain, finality) = replay(Chain::new(genesis)?, &mut store, &reader).await?;
                Some(Follower::resume(chain, finality))
            }
        };
        Ok((Self { dir, store, reader, cosigned, _lock: lock }, key, follower))
    }

    pub(super) async fn begin(
        &mut self,
        genesis: &Genesis,
        first: &Block,
    ) -> Result<(), WitnessError> {
        Ok(self.store.begin(genesis, first).await?)
    }

    pub(super) async fn append(&mut self, block: &Block) -> Result<(), WitnessError> {
        Ok(self.store.append(block, &[]).await?)
    }

    /// Our own block of this height.
    pub(super) async fn block(&self, height: u64) -> Result<Option<Block>, WitnessError> {
        let found = self.reader.blocks(height, 1).await?.into_iter().next();
        Ok(found.filter(|block| block.header.height == height))
    }

    /// Cosigns the head that this block of ours is, if it is not behind the
    /// last one. On disk before it comes back.
    pub(super) async fn cosign(
        &mut self,
        header: &Header,
        now_s: u64,
        key: &SecretKey,
    ) -> Result<Result<Option<Note>, Box<Evidence>>, WitnessError> {
        let next = Checkpoint::of(header);
        if let Some((last, note)) = &self.cosigned {
            if next.size < last.size {
                return Ok(Ok(None));
            }
            let known = self.reader.header_of_size(last.size).await?;
            if known.as_ref().map(Checkpoint::of).as_ref() != Some(last) {
                let (cosigned, served) = (note.to_string(), next.to_string());
                return Ok(Err(Box::new(Evidence::Head { cosigned, served })));
            }
            if next.size == last.size {
                return Ok(Ok(Some(note.clone())));
            }
        }
        let text = next.to_string();
        let line = Cosignature::new(&text, now_s, key).line(key.public());
        let note = Note { text, signatures: vec![line] };
        let path = self.dir.join(COSIGNED);
        write_private(&path, note.to_string().as_bytes())
            .map_err(|error| WitnessError::Folder(self.dir.clone(), error))?;
        self.cosigned = Some((next, note.clone()));
        Ok(Ok(Some(note)))
    }

    /// Keeps evidence, and says where.
    pub(super) fn keep(&self, evidence: &Evidence) -> Result<PathBuf, WitnessError> {
        let (name, json) = match evidence {
            Evidence::Fork(proof) => (FRAUD, proof.to_json()),
            other => {
                let json = serde_json::to_vec_pretty(other);
                (EVIDENCE, json.expect("evidence has nothing that JSON lacks"))
            }
        };
        let path = self.dir.join(name);
        let written = write_private(&path, &json);
        written.map_err(|error| WitnessError::Folder(self.dir.clone(), error))?;
        Ok(path)
    }

    pub(super) async fn close(self) -> Result<(), WitnessError> {
        self.reader.close().await;
        Ok(self.store.close().await?)
    }
}

/// What was cosigned last. A file that cannot be read is never taken for none.
fn read_cosigned(dir: &Path) -> Result<Option<(Checkpoint, Note)>, WitnessError> {
    let failed = |error| WitnessError::Folder(dir.into(), error);
    let text = match fs::read_to_string(dir.join(COSIGNED)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let damaged = || failed(io::Error::other("the file `cosigned` is damaged"));
    let note = Note::parse(&text).map_err(|_| damaged())?;
    let checkpoint = Checkpoint::parse(&note.text).map_err(|_| damaged())?;
    Ok(Some((checkpoint, note)))
}
