//! What witnesses say of this ledger: their cosignatures of its checkpoints, as
//! it hands them on. They are kept in memory: after a restart the witnesses are
//! asked by nobody, and bring them again.
//!
//! A witness is believed only if the settings name its key, and only about a
//! head that this ledger had. Not here: being a witness ([`crate::witness`]).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use protocol::SecretKey;
use protocol::ids::PublicKey;
use thiserror::Error;

use crate::block::Header;
use crate::checkpoint::{Checkpoint, CheckpointError, origin, signed_checkpoint};
use crate::note::{Cosignature, Note, NoteKey};
use crate::store::{Reader, StoreError};

/// Heads whose cosignatures are kept, the newest.
const HEADS_MAX: usize = 64;

/// Why a cosignature is not kept.
#[derive(Debug, Error)]
pub(crate) enum CosignError {
    #[error("not UTF-8")]
    Text,
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("it is the head of another log")]
    OtherLog,
    #[error("this log never had that head")]
    NoHead,
    #[error("none of this ledger's witnesses cosigned it")]
    NoWitness,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Collects cosignatures.
#[derive(Debug, Default)]
pub(crate) struct Notary {
    witnesses: Vec<PublicKey>,
    heads: Mutex<BTreeMap<u64, Head>>,
}

#[derive(Debug)]
struct Head {
    header: Header,
    seen: BTreeMap<PublicKey, Cosignature>,
}

impl Notary {
    pub(crate) fn new(witnesses: Vec<PublicKey>) -> Self {
        Self { witnesses, heads: Mutex::default() }
    }

    /// Keeps what this ledger's witnesses say in a note.
    pub(crate) async fn take(
        &self,
        note: &[u8],
        head: &Header,
        reader: &Reader,
    ) -> Result<(), CosignError> {
        let note = str::from_utf8(note).map_err(|_| CosignError::Text)?;
        let note = Note::parse(note).map_err(CheckpointError::from)?;
        let checkpoint = Checkpoint::parse(&note.text)?;
        if checkpoint.origin != origin(head.chain) {
            return Err(CosignError::OtherLog);
        }
        let seen = self.cosignatures(&note);
        if seen.is_empty() {
            return Err(CosignError::NoWitness);
        }
        let header = reader.header_of_size(checkpoint.size).await?;
        // What is on disk but not yet in memory counts as unknown.
        let known = header.filter(|header| header.height <= head.height);
        let header = known.filter(|header| Checkpoint::of(header) == checkpoint);
        self.keep(header.ok_or(CosignError::NoHead)?, seen);
        Ok(())
    }

    fn cosignatures(&self, note: &Note) -> BTreeMap<PublicKey, Cosignature> {
        let said = |&key| Some((key, note.cosignature(&NoteKey::witness(key)).ok()?));
        self.witnesses.iter().filter_map(said).collect()
    }

    fn keep(&self, header: Header, seen: BTreeMap<PublicKey, Cosignature>) {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let size = header.log_size;
        let head = heads.entry(size).or_insert(Head { header, seen: BTreeMap::new() });
        for (witness, cosignature) in seen {
            let kept = head.seen.entry(witness).or_insert(cosignature);
            if kept.time_s < cosignature.time_s {
                *kept = cosignature;
            }
        }
        while heads.len() > HEADS_MAX {
            heads.pop_first();
        }
    }

    /// The checkpoint of this head, with what witnesses said of it so far.
    pub(crate) fn checkpoint(&self, header: &Header, key: &SecretKey) -> Note {
        let mut note = signed_checkpoint(header, key);
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(head) = heads.get(&header.log_size) {
            note.signatures.extend(lines(head));
        }
        note
    }

    /// The latest checkpoint that all witnesses cosigned.
    pub(crate) fn witnessed(&self, key: &SecretKey) -> Option<Note> {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let is_whole = |head: &&Head| head.seen.len() == self.witnesses.len();
        let head = heads.values().rev().find(is_whole)?;
        let mut note = signed_checkpoint(&head.header, key);
        note.signatures.extend(lines(head));
        Some(note)
    }
}

fn lines(head: &Head) -> impl Iterator<Item = crate::note::Line> {
    head.seen.iter().map(|(&witness, cosignature)| cosignature.line(witness))
}
