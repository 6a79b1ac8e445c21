//! Stores one shard as its bytes arrive, and forgets shards.
//!
//! ```text
//! in one piece:  root compared -> claim -> queue of the small log
//! in pieces:     space, bytes written into it -> root compared -> claim -> queue
//! ```
//!
//! Only what the log has committed is told to anyone. A writer that is dropped
//! before leaves space that compaction wins back.

use std::sync::Arc;

use protocol::tree::TreeHasher;
use protocol::{GatewayId, Root, ShardId};

use crate::store::compact::is_over;
use crate::store::core::Room;
use crate::store::format::{HEADER_LEN, Kind, record_len};
use crate::store::index::Change;
use crate::store::index::entry::Entry;
use crate::store::log::{Body, Record};
use crate::store::volume::Space;
use crate::store::{ANYBODY, ShardStore, StoreError};

/// A put under way.
#[derive(Debug)]
pub(crate) struct Writer {
    store: Arc<ShardStore>,
    owner: GatewayId,
    shard: ShardId,
    max_len: u64,
    /// Deletes before this do not refuse it, ms since 1970.
    chosen_ms: u64,
    hasher: TreeHasher,
    space: Option<Space>,
    /// Given back when the writer ends, one way or the other.
    _room: Room,
}

impl Writer {
    pub(super) fn new(
        store: Arc<ShardStore>,
        owner: GatewayId,
        shard: ShardId,
        max_len: u64,
        room: Room,
    ) -> Self {
        let hasher = TreeHasher::default();
        Self { store, owner, shard, max_len, chosen_ms: 0, hasher, space: None, _room: room }
    }

    /// This place was chosen for the shard then, whatever was here before. A put
    /// that comes late was chosen before the delete that it must not undo.
    pub fn chosen(self, chosen_ms: u64) -> Self {
        Self { chosen_ms, ..self }
    }

    /// Writes the next bytes of the body.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let at = self.hasher.len();
        if at + bytes.len() as u64 > self.max_len {
            return Err(StoreError::TooLong);
        }
        if self.space.is_none() {
            let core = &self.store.core;
            self.space = Some(core.large.space(core, record_len(self.max_len))?);
        }
        if let Some(space) = &self.space {
            space.volume.file.write_at(space.place + HEADER_LEN as u64 + at, &[bytes])?;
        }
        Ok(())
    }

    /// Takes the last bytes, and stores the shard if it has the promised length
    /// and root. When this returns, it survives a power cut.
    pub fn finish(mut self, last: Vec<u8>, len: u64, root: Root) -> Result<(), StoreError> {
        if self.space.is_some() {
            self.write(&last)?;
        }
        self.hasher.update(&last);
        let got_len = self.hasher.len();
        let (got, outboard) = std::mem::take(&mut self.hasher).finish();
        if (got, got_len) != (root, len) {
            return Err(StoreError::WrongRoot { got, got_len });
        }
        if len > self.max_len {
            return Err(StoreError::TooLong);
        }
        let core = &self.store.core;
        core.check_sound()?;
        let (shard, owner) = (self.shard, self.owner);
        let _claim = core.claim(shard);
        match self.store.held(shard, owner, self.chosen_ms, (len, root))? {
            // It is in the index, so it is durable.
            Held::Same => return Ok(()),
            Held::Damaged => tracing::warn!(?shard, "a damaged shard is replaced by sound bytes"),
            Held::Nothing => {}
        }
        let body = self.space.take().map_or(Body::Here(last), Body::Written);
        let time_ms = core.clock.now_ms();
        let kind = Kind::Shard;
        self.store.write(Record { kind, shard, owner, len, root, time_ms, body, outboard })
    }
}

/// What an id stands for already.
enum Held {
    Nothing,
    Same,
    /// Nothing that could be served; its content cannot be told any more.
    Damaged,
}

impl ShardStore {
    /// What an id stands for already. Rare, so that it is read whole: "stored"
    /// must be true of the bytes, not only of the header. And only sound bytes
    /// can be in conflict with others: sound bytes must be able to replace what
    /// rotted.
    fn held(
        &self,
        shard: ShardId,
        owner: GatewayId,
        chosen_ms: u64,
        (len, root): (u64, Root),
    ) -> Result<Held, StoreError> {
        let Some(entry) = self.core.index.get(shard)? else { return Ok(Held::Nothing) };
        if entry.is_tombstone {
            if is_over(&entry, self.core.clock.now_ms()) || entry.time_ms < chosen_ms {
                return Ok(Held::Nothing);
            }
            // Another's is none of ours: else a stranger could block an id.
            let is_ours = entry.owner == owner || entry.owner == ANYBODY;
            return if is_ours { Err(StoreError::Forgotten) } else { Ok(Held::Nothing) };
        }
        let is_sound = !entry.is_damaged
            && match self.core.open_entry(shard, &entry) {
                Ok(held) => held.is_sound()?,
                Err(StoreError::Corrupt(_)) => false,
                Err(error) => return Err(error),
            };
        match is_sound {
            false => {
                self.core.index.apply(vec![Change::Damage(shard, entry.at)])?;
                Ok(Held::Damaged)
            }
            true if (entry.len, entry.root) == (len, root) => Ok(Held::Same),
            true => Err(StoreError::Conflict),
        }
    }

    /// Forgets a shard, durably, and keeps a tombstone so that a put of it that
    /// comes late does not bring it back: also if it was never here. Whether it
    /// was there. A tombstone that is over refuses no put, so it is renewed.
    pub fn delete(self: &Arc<Self>, owner: GatewayId, shard: ShardId) -> Result<bool, StoreError> {
        self.core.check_sound()?;
        let _claim = self.core.claim(shard);
        let now_ms = self.core.clock.now_ms();
        let entry = self.core.index.get(shard)?;
        let is_void = |entry: &&Entry| entry.is_tombstone && is_over(entry, now_ms);
        let (existed, owner, _room) = match entry.as_ref().filter(|entry| !is_void(entry)) {
            Some(Entry { is_tombstone: true, .. }) => return Ok(false),
            Some(entry) if entry.owner != owner && entry.owner != ANYBODY => {
                return Err(StoreError::NotOwner);
            }
            // What frees space is never refused for want of it.
            Some(entry) => (true, entry.owner, None),
            None => (false, owner, Some(Room::take(&self.core, record_len(0))?)),
        };
        self.write(Record {
            kind: Kind::Tombstone,
            shard,
            owner,
            len: 0,
            root: Root([0; 32]),
            time_ms: now_ms,
            body: Body::Here(Vec::new()),
            outboard: Vec::new(),
        })?;
        Ok(existed)
    }
}
