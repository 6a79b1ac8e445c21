//! The disk of the simulated node: what was written, and what of it was synced.

use std::collections::BTreeMap;

use protocol::{GatewayId, Root, ShardId};

/// A shard on the disk.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Whose it is.
    pub owner: GatewayId,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its root.
    pub root: Root,
    /// Its tree.
    pub outboard: Vec<u8>,
}

/// What an id stands for.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A shard.
    Shard(Kept),
    /// One that was deleted, and never comes again.
    Gone,
}

/// A disk.
#[derive(Debug, Default)]
pub struct Disk {
    /// What survives a crash.
    durable: BTreeMap<ShardId, Entry>,
    /// What does not: written, and not synced yet.
    volatile: BTreeMap<ShardId, Entry>,
    /// Whether readers are shown what was not synced yet, too.
    pub trusts_cache: bool,
}

impl Disk {
    /// Writes. What is gone stays gone.
    pub fn write(&mut self, shard: ShardId, entry: Entry) {
        let is_gone = matches!(self.newest(shard), Some(Entry::Gone));
        if !is_gone {
            self.volatile.insert(shard, entry);
        }
    }

    /// The end of a sync: what was written for this id survives from now on.
    pub fn synced(&mut self, shard: ShardId) {
        if let Some(entry) = self.volatile.remove(&shard) {
            self.durable.insert(shard, entry);
        }
    }

    /// What was not synced is lost; how much that was.
    pub fn crash(&mut self) -> usize {
        let lost = self.volatile.len();
        self.volatile.clear();
        lost
    }

    /// What was written last, synced or not.
    fn newest(&self, shard: ShardId) -> Option<&Entry> {
        self.volatile.get(&shard).or_else(|| self.durable.get(&shard))
    }

    /// A shard as readers see it: it survives a crash and is not about to go.
    pub fn held(&self, shard: ShardId) -> Option<&Kept> {
        let is_synced = self.trusts_cache || !self.volatile.contains_key(&shard);
        match self.newest(shard) {
            Some(Entry::Shard(kept)) if is_synced => Some(kept),
            _ => None,
        }
    }

    /// All shards that survive a crash, in order of id.
    pub fn durable(&self) -> impl Iterator<Item = (ShardId, &Kept)> {
        self.durable.iter().filter_map(|(shard, entry)| match entry {
            Entry::Shard(kept) => Some((*shard, kept)),
            Entry::Gone => None,
        })
    }

    /// The first shards of a gateway from an id on.
    pub fn list(&self, owner: GatewayId, from: ShardId, most: usize) -> Vec<(ShardId, &Kept)> {
        let mut ids: Vec<ShardId> = [&self.durable, &self.volatile]
            .into_iter()
            .flat_map(|part| part.range(from..).map(|(shard, _)| *shard))
            .collect();
        ids.sort();
        ids.dedup();
        let held = ids.into_iter().filter_map(|shard| Some((shard, self.held(shard)?)));
        held.filter(|(_, kept)| kept.owner == owner).take(most).collect()
    }
}
