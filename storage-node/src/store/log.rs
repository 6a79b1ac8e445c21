//! Writes records: many share one sync.
//!
//! There are two logs, each with a volume of its own that is written to and one
//! thread that commits. Shards that come in one piece, and tombstones, go to one;
//! larger shards, whose bytes their senders write themselves into space that was
//! set aside, go to the other. So the sync of a small shard does not wait for the
//! megabytes of a large one.
//!
//! ```text
//! queue -> batch: space, header with a sequence, written -> one sync a volume
//!       -> one change of the index -> everybody is answered
//! ```
//!
//! Of a record whose writing failed it cannot be said what is on disk. Its volume
//! takes nothing more, and what it holds is not called synced any further.
//!
//! Not here: whether a shard may be stored (`writer`), what a crash leaves
//! (`recover`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex};

use protocol::{GatewayId, Root, ShardId};

use crate::store::StoreError;
use crate::store::core::Core;
use crate::store::format::{HEADER_LEN, Header, Kind, record_len};
use crate::store::index::Change;
use crate::store::index::entry::Entry;
use crate::store::volume::{Fault, Space, Volume, locked};

/// Records that share a sync at most, and their bytes.
const BATCH_MAX: usize = 128;
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Records that wait for the batch before theirs.
pub(crate) const QUEUE: usize = 256;

/// A record to be written.
#[derive(Debug)]
pub(crate) struct Record {
    pub kind: Kind,
    pub shard: ShardId,
    pub owner: GatewayId,
    pub len: u64,
    pub root: Root,
    pub time_ms: u64,
    pub body: Body,
    pub outboard: Vec<u8>,
}

/// Where the body is.
#[derive(Debug)]
pub(crate) enum Body {
    Here(Vec<u8>),
    /// Written into its space already.
    Written(Space),
}

/// A record, and who waits for it.
pub(crate) type Job = (Record, SyncSender<Result<(), StoreError>>);

/// The volume that is written to, and those before it that have space under way.
#[derive(Debug, Default)]
pub(crate) struct Log {
    active: Mutex<Option<Arc<Volume>>>,
    before: Mutex<Vec<Arc<Volume>>>,
    /// Whether zeros are laid ahead.
    zeros: bool,
    committing: Mutex<()>,
}

impl Log {
    pub fn new(zeros: bool) -> Self {
        Self { zeros, ..Self::default() }
    }

    /// Sets space aside for a record of `len` bytes; begins the next volume when
    /// this one is full.
    pub fn space(&self, core: &Core, len: u64) -> Result<Space, StoreError> {
        let most = core.limits.volume;
        let mut active = locked(&self.active);
        if let Some(volume) = &*active
            && let Some(space) = volume.space(len, most, self.zeros)?
        {
            return Ok(space);
        }
        let next = Arc::new(core.volumes.create().map_err(|fault| core.fault(fault))?);
        if let Some(full) = active.replace(next.clone()) {
            locked(&self.before).push(full);
        }
        let space = next.space(len, most, self.zeros)?;
        Ok(space.expect("an empty volume takes a record of any length"))
    }

    /// Takes no more records in this volume.
    fn leave(&self, volume: &Arc<Volume>) {
        let mut active = locked(&self.active);
        if active.as_ref().is_some_and(|active| Arc::ptr_eq(active, volume)) {
            locked(&self.before).extend(active.take());
        }
    }

    /// Lays zeros ahead of the end.
    pub fn grow_ahead(&self, core: &Core) -> Result<(), StoreError> {
        let active = locked(&self.active).clone();
        match active.filter(|_| self.zeros) {
            Some(volume) => volume
                .grow_ahead(&core.volumes, core.limits.volume)
                .map_err(|fault| core.fault(fault)),
            None => Ok(()),
        }
    }

    /// Closes volumes that are full and have no space under way; at the end, the
    /// one that was written to as well.
    pub fn close_full(&self, core: &Core, at_end: bool) -> Result<(), StoreError> {
        if at_end {
            locked(&self.before).extend(locked(&self.active).take());
        }
        let is_done = |volume: &Arc<Volume>| {
            let (end, scan_from) = volume.reach(&BTreeSet::new());
            end == scan_from
        };
        let done: Vec<_> = locked(&self.before).extract_if(.., |volume| is_done(volume)).collect();
        done.iter().try_for_each(|volume| close(core, volume))
    }

    /// Writes a batch, syncs it, and says of each record whether it is durable
    /// and found.
    pub fn commit(&self, core: &Core, batch: Vec<Record>) -> Vec<Result<(), StoreError>> {
        // One at a time: a sequence that is called synced was written before the sync.
        let _turn = locked(&self.committing);
        let written: Vec<_> = batch.into_iter().map(|record| self.write(core, record)).collect();
        let settled = settle(core, written.iter().filter_map(|written| written.as_ref().ok()));
        let answer = |written: Result<Written, StoreError>| written.and_then(|_| again(&settled));
        written.into_iter().map(answer).collect()
    }

    fn write(&self, core: &Core, record: Record) -> Result<Written, StoreError> {
        core.check_sound()?;
        core.check_index_room()?;
        let Record { kind, shard, owner, len, root, time_ms, body, outboard } = record;
        let (space, body) = match body {
            Body::Here(body) => (self.space(core, record_len(len))?, Some(body)),
            Body::Written(space) => (space, None),
        };
        let header = Header {
            kind,
            shard,
            len,
            root,
            owner,
            sequence: core.sequence.fetch_add(1, Ordering::Relaxed),
            synced: space.volume.synced.load(Ordering::Acquire),
            volume: space.volume.number,
            place: space.place,
            time_ms,
        };
        let bytes = header.encode(&core.volumes.store);
        let file = &space.volume.file;
        let wrote = match body {
            Some(body) => file.write_at(space.place, &[&bytes, &body, &outboard]),
            // The header last: without it the rest is nothing.
            None => file
                .write_at(space.place + HEADER_LEN as u64 + len, &[&outboard])
                .and_then(|()| file.write_at(space.place, &[&bytes])),
        };
        if let Err(error) = wrote {
            space.volume.spoil();
            self.leave(&space.volume);
            return Err(error.into());
        }
        Ok(Written { space, header })
    }
}

/// A record that is on its way to the disk.
struct Written {
    space: Space,
    header: Header,
}

/// Syncs what was written, then lets it be found.
fn settle<'a>(
    core: &Core,
    written: impl Iterator<Item = &'a Written> + Clone,
) -> Result<(), StoreError> {
    let mut volumes: BTreeMap<u32, (&Arc<Volume>, BTreeSet<u64>, u64)> = BTreeMap::new();
    for Written { space, header } in written.clone() {
        let new = (&space.volume, BTreeSet::new(), 0);
        let (_, places, highest) = volumes.entry(space.volume.number).or_insert(new);
        places.insert(space.place);
        *highest = (*highest).max(header.sequence);
    }
    for (volume, _, _) in volumes.values() {
        volume.file.sync().map_err(|error| core.fault(Fault::Sync(error)))?;
    }
    // A sync elsewhere may have been told of an error that was meant for us.
    core.check_sound()?;
    let mut changes: Vec<Change> = Vec::new();
    for Written { header, .. } in written {
        changes.extend(Entry::of(header).map(|entry| Change::Put(header.shard, entry)));
    }
    for (volume, places, highest) in volumes.values() {
        volume.reached(*highest);
        let (end, scan_from) = volume.reach(places);
        let (number, covered) = (volume.number, *highest);
        changes.push(Change::Reached { volume: number, scan_from, covered, end, is_sealed: false });
    }
    core.written(changes.len());
    core.index.apply(changes)
}

/// Ends a volume: says in it that all of it is durable, gives back the zeros.
fn close(core: &Core, volume: &Arc<Volume>) -> Result<(), StoreError> {
    let seal_len = record_len(0);
    let covered = volume.synced.load(Ordering::Acquire);
    if !volume.is_spoilt()
        && !core.has_failed()
        && let Ok(Some(space)) = volume.space(seal_len, u64::MAX, false)
    {
        let header = Header {
            kind: Kind::Seal,
            shard: ShardId::FIRST,
            len: 0,
            root: Root([0; 32]),
            owner: GatewayId([0; 32]),
            sequence: core.sequence.fetch_add(1, Ordering::Relaxed),
            synced: covered,
            volume: volume.number,
            place: space.place,
            time_ms: 0,
        };
        // It saves a scan some work; without it all is found as well.
        if let Err(error) =
            volume.file.write_at(space.place, &[&header.encode(&core.volumes.store)])
        {
            tracing::debug!(%error, volume = volume.number, "a volume is not sealed");
        }
    }
    let (end, _) = volume.reach(&BTreeSet::new());
    if let Err(error) = volume.file.set_len(end) {
        tracing::debug!(%error, volume = volume.number, "a volume keeps its zeros");
    }
    core.index.apply(vec![Change::Reached {
        volume: volume.number,
        scan_from: end,
        covered,
        end,
        is_sealed: true,
    }])
}

/// The same result once more.
fn again(result: &Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Ok(()) => Ok(()),
        Err(StoreError::Io(error)) => Err(StoreError::Io(match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        })),
        Err(StoreError::Failed) => Err(StoreError::Failed),
        Err(error) => Err(StoreError::Io(io::Error::other(error.to_string()))),
    }
}

/// Commits what is queued, until nobody can queue any more.
pub(crate) fn run(core: &Core, log: &Log, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut bytes = size(&first);
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX && bytes < BATCH_BYTES {
            let Ok(job) = jobs.try_recv() else { break };
            bytes += size(&job);
            batch.push(job);
        }
        let (records, waiting): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        for (result, done) in log.commit(core, records).into_iter().zip(waiting) {
            // Who waited may be gone; the record stands.
            let _ = done.send(result);
        }
    }
}

fn size((record, _): &Job) -> usize {
    match &record.body {
        Body::Here(body) => body.len(),
        Body::Written(_) => 0,
    }
}
