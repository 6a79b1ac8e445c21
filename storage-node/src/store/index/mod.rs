//! Where each shard lies: a table from ids to places in volumes, with a row for
//! each volume.
//!
//! All of it can be read off the volumes again, so it is written lazily: a commit
//! goes to memory and to the page cache, a checkpoint makes all commits so far
//! durable. A crash takes the index back to a checkpoint; what was written since
//! is read from the tails of the volumes (`recover`). An index that is absent,
//! spoilt, of another store or of another version is made anew.
//!
//! A record enters the index only after it is durable: what is found here may be
//! served and acknowledged.
//!
//! Not here: bytes of shards, and reading volumes.

mod backend;
pub(crate) mod entry;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{SegmentId, ShardId};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use self::backend::Backend;
use self::entry::{At, Entry, Row, Sums};
use crate::store::StoreError;
use crate::store::disk::Disk;
use crate::store::format::StoreId;

/// The file of the index, beside the volumes.
pub(crate) const NAME: &str = "index.redb";

/// The layout of the tables.
const VERSION: u8 = 1;

/// Memory for pages of the table.
const CACHE: usize = 16 * 1024 * 1024;

/// Volumes with earlier records that an entry names; more are never needed
/// unless a shard is damaged again and again.
const OLDER_MAX: usize = 16;

type Key = [u8; 17];
const SHARDS: TableDefinition<'_, &Key, &[u8]> = TableDefinition::new("shards");
const VOLUMES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("volumes");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// One step from a state of the index to the next.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A record is durable. An entry with a higher sequence stays.
    Put(ShardId, Entry),
    /// The record there counts no more.
    Drop(ShardId, At),
    /// The record there was found damaged.
    Damage(ShardId, At),
    /// How far a volume is known.
    Reached { volume: u32, scan_from: u64, covered: u64, end: u64, is_sealed: bool },
    /// A volume is about to go.
    Remove(u32),
}

#[derive(Debug)]
pub(crate) struct Index {
    db: Database,
    failed: Arc<AtomicBool>,
    rows: Mutex<Rows>,
}

/// The rows of all volumes, as the last commit left them.
#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<u32, Row>,
    sums: Sums,
    dead: u64,
}

impl Rows {
    fn set(&mut self, volume: u32, row: Option<Row>) {
        let old = match row {
            Some(row) => self.rows.insert(volume, row),
            None => self.rows.remove(&volume),
        };
        let (old, new) = (old.unwrap_or_default(), row.unwrap_or_default());
        let moved = |sum: &mut u64, old: u64, new: u64| {
            *sum = sum.saturating_add(new).saturating_sub(old);
        };
        moved(&mut self.dead, old.dead(), new.dead());
        moved(&mut self.sums.stored, old.sums.stored, new.sums.stored);
        moved(&mut self.sums.shards, old.sums.shards, new.sums.shards);
        moved(&mut self.sums.tombstones, old.sums.tombstones, new.sums.tombstones);
        moved(&mut self.sums.damaged, old.sums.damaged, new.sums.damaged);
    }
}

fn key(shard: ShardId) -> Key {
    let mut key = [0; 17];
    key[..16].copy_from_slice(&shard.segment.0);
    key[16] = shard.index;
    key
}

fn shard(key: &Key) -> ShardId {
    let (segment, &[index]) = key
        .split_first_chunk::<16>()
        .map_or((&[0; 16], &[0]), |(s, rest)| (s, rest.try_into().expect("a key has 17 bytes")));
    ShardId { segment: SegmentId(*segment), index }
}

fn lost(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Index(error.into())
}

fn spoilt(what: &str) -> StoreError {
    StoreError::Index(redb::Error::Corrupted(what.into()))
}

impl Index {
    /// Opens the index of `store`, or begins a new one. Whether it is the old.
    pub fn open(disk: &dyn Disk, store: &StoreId) -> Result<(Self, bool), StoreError> {
        if disk.names()?.iter().any(|name| name == NAME) {
            match Self::open_old(disk, store) {
                Ok(index) => return Ok((index, true)),
                Err(error) => tracing::warn!(%error, "the index is made anew from the volumes"),
            }
            disk.remove(NAME)?;
        }
        let (db, failed) = database(disk.create(NAME)?)?;
        let begin = db.begin_write().map_err(lost)?;
        {
            let mut meta = begin.open_table(META).map_err(lost)?;
            meta.insert("version", [VERSION].as_slice()).map_err(lost)?;
            meta.insert("store", store.0.as_slice()).map_err(lost)?;
            begin.open_table(SHARDS).map_err(lost)?;
            begin.open_table(VOLUMES).map_err(lost)?;
        }
        begin.commit().map_err(lost)?;
        Ok((Self { db, failed, rows: Mutex::default() }, false))
    }

    fn open_old(disk: &dyn Disk, store: &StoreId) -> Result<Self, StoreError> {
        let (db, failed) = database(disk.open(NAME)?)?;
        let index = Self { db, failed, rows: Mutex::default() };
        if index.meta("version")?.as_deref() != Some(&[VERSION]) {
            return Err(spoilt("another version"));
        }
        if index.meta("store")?.as_deref() != Some(&store.0) {
            return Err(spoilt("the index of another store"));
        }
        let read = index.db.begin_read().map_err(lost)?;
        let volumes = read.open_table(VOLUMES).map_err(lost)?;
        let mut rows = index.rows();
        for row in volumes.iter().map_err(lost)? {
            let (volume, row) = row.map_err(lost)?;
            let row = Row::parse(row.value()).ok_or_else(|| spoilt("a row"))?;
            rows.set(volume.value(), Some(row));
        }
        drop(rows);
        Ok(index)
    }

    /// Whether its file could not be read or written once: then nothing is found
    /// any more until the store is opened anew.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn rows(&self) -> std::sync::MutexGuard<'_, Rows> {
        // Set at once, after a commit: a panic elsewhere spoils nothing.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record that counts for a shard.
    pub fn get(&self, shard: ShardId) -> Result<Option<Entry>, StoreError> {
        let read = self.db.begin_read().map_err(lost)?;
        let shards = read.open_table(SHARDS).map_err(lost)?;
        let found = shards.get(&key(shard)).map_err(lost)?;
        found.map(|entry| Entry::parse(entry.value()).ok_or_else(|| spoilt("an entry"))).transpose()
    }

    /// At most `most` wanted entries from `from` on, in order of id.
    pub fn page(
        &self,
        from: ShardId,
        most: usize,
        want: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<(ShardId, Entry)>, StoreError> {
        let read = self.db.begin_read().map_err(lost)?;
        let shards = read.open_table(SHARDS).map_err(lost)?;
        let from = key(from);
        let range = (Bound::Included(&from), Bound::<&Key>::Unbounded);
        let mut page = Vec::new();
        for found in shards.range::<&Key>(range).map_err(lost)? {
            if page.len() == most {
                break;
            }
            let (id, entry) = found.map_err(lost)?;
            let entry = Entry::parse(entry.value()).ok_or_else(|| spoilt("an entry"))?;
            if want(&entry) {
                page.push((shard(id.value()), entry));
            }
        }
        Ok(page)
    }

    pub fn sums(&self) -> Sums {
        self.rows().sums
    }

    /// Bytes in volumes that are of no use.
    pub fn dead(&self) -> u64 {
        self.rows().dead
    }

    pub fn row(&self, volume: u32) -> Option<Row> {
        self.rows().rows.get(&volume).copied()
    }

    /// All volumes that the index knows.
    pub fn volumes(&self) -> Vec<(u32, Row)> {
        self.rows().rows.iter().map(|(volume, row)| (*volume, *row)).collect()
    }

    /// A number of the index's own.
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.db.begin_read().map_err(lost)?;
        let meta = match read.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            other => other.map_err(lost)?,
        };
        Ok(meta.get(name).map_err(lost)?.map(|value| value.value().to_vec()))
    }

    pub fn set_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let begin = self.begin(Durability::None)?;
        begin.open_table(META).map_err(lost)?.insert(name, value).map_err(lost)?;
        begin.commit().map_err(lost)
    }

    /// Makes all changes, or none. Not durable before the next checkpoint.
    pub fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let begin = self.begin(Durability::None)?;
        let mut touched = Touched { index: self, rows: BTreeMap::new() };
        {
            let mut shards = begin.open_table(SHARDS).map_err(lost)?;
            for change in changes {
                touched.apply(&mut shards, change)?;
            }
            let mut volumes = begin.open_table(VOLUMES).map_err(lost)?;
            for (volume, row) in &touched.rows {
                match row {
                    Some(row) => volumes.insert(*volume, row.encode().as_slice()),
                    None => volumes.remove(*volume),
                }
                .map_err(lost)?;
            }
        }
        // Before the commit, so that no other change comes between: changes are
        // made one after the other for as long as one of them has begun.
        let (mut rows, touched) = (self.rows(), touched.rows);
        begin.commit().map_err(lost)?;
        touched.into_iter().for_each(|(volume, row)| rows.set(volume, row));
        Ok(())
    }

    /// Makes all changes so far durable.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.begin(Durability::Immediate)?.commit().map_err(lost)
    }

    fn begin(&self, durability: Durability) -> Result<WriteTransaction, StoreError> {
        let mut begin = self.db.begin_write().map_err(lost)?;
        begin.set_durability(durability).map_err(lost)?;
        Ok(begin)
    }
}

/// Opens what was checked page by page: a spoilt one must be made anew, and not
/// be believed.
fn database(
    file: Arc<dyn crate::store::disk::DiskFile>,
) -> Result<(Database, Arc<AtomicBool>), StoreError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    let failed = Arc::new(AtomicBool::new(false));
    let backend = Backend { file, failed: failed.clone() };
    Ok((builder.create_with_backend(backend).map_err(lost)?, failed))
}

/// Rows on their way from one commit to the next.
struct Touched<'a> {
    index: &'a Index,
    rows: BTreeMap<u32, Option<Row>>,
}

type Shards<'a> = redb::Table<'a, &'static Key, &'static [u8]>;

impl Touched<'_> {
    fn row(&mut self, volume: u32) -> &mut Row {
        let known = || self.index.row(volume);
        self.rows.entry(volume).or_insert_with(known).get_or_insert_default()
    }

    fn is_there(&self, volume: u32) -> bool {
        let touched = self.rows.get(&volume);
        touched.map_or_else(|| self.index.row(volume).is_some(), Option::is_some)
    }

    fn apply(&mut self, shards: &mut Shards<'_>, change: Change) -> Result<(), StoreError> {
        match change {
            Change::Put(shard, entry) => self.put(shards, shard, entry),
            Change::Drop(shard, at) => {
                if let Some(entry) = found(shards, shard)?.filter(|entry| entry.at == at) {
                    self.row(at.volume).remove(&entry);
                    shards.remove(&key(shard)).map_err(lost)?;
                }
                Ok(())
            }
            Change::Damage(shard, at) => {
                let sound = found(shards, shard)?.filter(|entry| entry.at == at);
                if let Some(mut entry) = sound.filter(|entry| !entry.is_damaged) {
                    self.row(at.volume).remove(&entry);
                    entry.is_damaged = true;
                    self.row(at.volume).add(&entry);
                    insert(shards, shard, &entry)?;
                }
                Ok(())
            }
            Change::Reached { volume, scan_from, covered, end, is_sealed } => {
                let row = self.row(volume);
                (row.scan_from, row.end, row.is_sealed) = (scan_from, end, is_sealed);
                row.covered = row.covered.max(covered);
                Ok(())
            }
            Change::Remove(volume) => {
                self.rows.insert(volume, None);
                Ok(())
            }
        }
    }

    fn put(
        &mut self,
        shards: &mut Shards<'_>,
        shard: ShardId,
        mut entry: Entry,
    ) -> Result<(), StoreError> {
        if let Some(mut old) = found(shards, shard)? {
            if old.at == entry.at {
                return Ok(());
            }
            if self.is_there(old.at.volume) {
                self.row(old.at.volume).remove(&old);
            }
            if old.sequence > entry.sequence {
                // Read late, from a volume that is scanned after a younger one.
                std::mem::swap(&mut old, &mut entry);
            }
            let earlier = old.older.into_iter().chain([old.at.volume]);
            entry.older.extend(earlier);
            entry.older.sort_unstable();
            entry.older.dedup();
            entry.older.retain(|volume| self.is_there(*volume));
            entry.older.truncate(OLDER_MAX);
        }
        self.row(entry.at.volume).add(&entry);
        insert(shards, shard, &entry)
    }
}

fn found(shards: &Shards<'_>, shard: ShardId) -> Result<Option<Entry>, StoreError> {
    let found = shards.get(&key(shard)).map_err(lost)?;
    found.map(|entry| Entry::parse(entry.value()).ok_or_else(|| spoilt("an entry"))).transpose()
}

fn insert(shards: &mut Shards<'_>, shard: ShardId, entry: &Entry) -> Result<(), StoreError> {
    shards.insert(&key(shard), entry.encode().as_slice()).map_err(lost)?;
    Ok(())
}
