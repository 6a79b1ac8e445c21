//! What gateways were told about each shard, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use protocol::message::Held;
use protocol::tree::TreeHasher;
use protocol::{Root, ShardId};

use super::disk::Disk;
use crate::cluster::random::Random;

/// How a put went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is under way, or nobody knows how it ended.
    Unknown,
    /// It was answered: from now on the shard is there.
    Stored,
    /// It was given up before its end was sent: the shard is never there.
    GivenUp,
}

/// How a delete went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delete {
    /// Nobody asked for it.
    No,
    /// It is under way, or nobody knows how it ended.
    Unknown,
    /// It was answered: from now on the shard is gone.
    Done,
}

/// What is known of a shard.
#[derive(Clone, Debug)]
pub struct Told {
    /// The gateway that put it.
    pub gateway: u8,
    /// What its bytes are made of.
    pub seed: u64,
    /// Its length.
    pub len: u64,
    /// Its root.
    pub root: Root,
    /// How its put went.
    pub put: Put,
    /// How its delete went.
    pub delete: Delete,
}

impl Told {
    /// A shard that nobody was told anything of.
    pub fn new(gateway: u8, seed: u64, len: u64) -> Self {
        let mut hasher = TreeHasher::default();
        hasher.update(&content(seed, len));
        let (root, _) = hasher.finish();
        Self { gateway, seed, len, root, put: Put::Unknown, delete: Delete::No }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        content(self.seed, self.len)
    }

    /// Whether it must be there.
    pub fn is_due(&self) -> bool {
        self.put == Put::Stored && self.delete == Delete::No
    }

    /// Whether it must not be there.
    pub fn is_forbidden(&self) -> bool {
        self.put == Put::GivenUp || self.delete == Delete::Done
    }
}

fn content(seed: u64, len: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let words = (0..len.div_ceil(8)).flat_map(|_| random.bits().to_le_bytes());
    words.take(len as usize).collect()
}

/// What gateways were told.
#[derive(Debug, Default)]
pub struct Oracle {
    /// What is wrong.
    pub violation: Option<String>,
    /// All shards that anybody tried to put.
    pub told: BTreeMap<ShardId, Told>,
    /// Workers that put something, and that read something, from beginning to
    /// end after faults had ended.
    pub has_put: BTreeSet<(u8, u8)>,
    /// The same of reading.
    pub has_read: BTreeSet<(u8, u8)>,
}

impl Oracle {
    /// Takes note of what must not be.
    pub fn wrong(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// Looked at when the node has crashed, and in the end.
    pub fn check_disk(&mut self, disk: &Disk) {
        let on_disk: BTreeMap<ShardId, Root> =
            disk.durable().map(|(shard, kept)| (shard, kept.root)).collect();
        let mut wrong = Vec::new();
        for (shard, told) in &self.told {
            match on_disk.get(shard) {
                None if told.is_due() => wrong.push(format!("{shard:?} was stored and is lost")),
                Some(_) if told.put == Put::GivenUp => {
                    wrong.push(format!("{shard:?} was given up and is there"));
                }
                Some(_) if told.is_forbidden() => {
                    wrong.push(format!("{shard:?} was deleted and is there"));
                }
                Some(root) if *root != told.root => {
                    wrong.push(format!("{shard:?} has other bytes"));
                }
                _ => {}
            }
        }
        if let Some(shard) = on_disk.keys().find(|shard| !self.told.contains_key(shard)) {
            wrong.push(format!("{shard:?} was never put"));
        }
        wrong.into_iter().for_each(|what| self.wrong(what));
    }

    /// A get came to a good end: with what it should?
    pub fn check_read(&mut self, before: &Told, shard: ShardId, bytes: &Range<u64>, got: &[u8]) {
        if before.is_forbidden() {
            let what =
                format!("{shard:?} was read: put {:?}, deleted {:?}", before.put, before.delete);
            self.wrong(what);
        }
        let expected = &before.bytes()[bytes.start as usize..bytes.end as usize];
        if got.len() < expected.len() {
            self.wrong(format!("{shard:?}: {} of {} bytes", got.len(), expected.len()));
        } else if got != expected {
            self.wrong(format!("{shard:?} was read with other bytes"));
        }
    }

    /// What a list must name that begins now, and what it must not.
    pub fn before_list(&self, gateway: u8) -> (Vec<ShardId>, Vec<ShardId>) {
        let of = |is: fn(&Told) -> bool| {
            let told = self.told.iter().filter(move |(_, told)| told.gateway == gateway);
            told.filter(move |(_, told)| is(told)).map(|(shard, _)| *shard).collect()
        };
        (of(Told::is_due), of(Told::is_forbidden))
    }

    /// A list came to a good end: with what it should?
    pub fn check_list(
        &mut self,
        gateway: u8,
        (due, forbidden): &(Vec<ShardId>, Vec<ShardId>),
        held: &[Held],
    ) {
        let named: BTreeSet<ShardId> = held.iter().map(|held| held.shard).collect();
        // What was deleted in the meantime may be in the list or not.
        let lacks = |shard: &&ShardId| self.told[*shard].is_due() && !named.contains(shard);
        if let Some(shard) = due.iter().find(lacks) {
            self.wrong(format!("{shard:?} was stored and is not listed"));
        }
        if let Some(shard) = forbidden.iter().find(|shard| named.contains(shard)) {
            self.wrong(format!("{shard:?} is listed and should not be there"));
        }
        for held in held {
            let is_right = self.told.get(&held.shard).is_some_and(|told| {
                (told.gateway, told.len, told.root) == (gateway, held.len, held.root)
            });
            if !is_right {
                self.wrong(format!("{:?} is listed with other words", held.shard));
            }
        }
    }

    /// Whether everybody got something done since faults have ended.
    pub fn lacks_progress(&self) -> Option<(u8, u8)> {
        let all = (0..super::GATEWAYS)
            .flat_map(|gateway| (0..super::WORKERS).map(move |worker| (gateway, worker)));
        let mut idle =
            all.filter(|worker| !self.has_put.contains(worker) || !self.has_read.contains(worker));
        idle.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId::FIRST;

    fn oracle(put: Put, delete: Delete) -> Oracle {
        let told = Told { put, delete, ..Told::new(0, 7, 100) };
        Oracle { told: [(SHARD, told)].into(), ..Oracle::default() }
    }

    fn read(put: Put, delete: Delete, got: &[u8]) -> Option<String> {
        let mut oracle = oracle(put, delete);
        let told = oracle.told[&SHARD].clone();
        oracle.check_read(&told, SHARD, &(10..20), got);
        oracle.violation
    }

    #[test]
    fn a_read_of_fewer_or_other_bytes_is_wrong() {
        let bytes = Told::new(0, 7, 100).bytes();
        assert_eq!(read(Put::Stored, Delete::No, &bytes[10..20]), None);
        assert_eq!(read(Put::Unknown, Delete::Unknown, &bytes[10..20]), None);
        assert!(read(Put::Stored, Delete::No, &bytes[10..19]).is_some());
        assert!(read(Put::Stored, Delete::No, &bytes[11..21]).is_some());
        assert!(read(Put::Stored, Delete::No, &bytes[10..21]).is_some());
        assert!(read(Put::GivenUp, Delete::No, &bytes[10..20]).is_some());
        assert!(read(Put::Stored, Delete::Done, &bytes[10..20]).is_some());
    }

    #[test]
    fn a_list_that_lacks_or_adds_something_is_wrong() {
        let list = |put, delete, held: &[Held]| {
            let mut oracle = oracle(put, delete);
            let before = oracle.before_list(0);
            oracle.check_list(0, &before, held);
            oracle.violation
        };
        let held = Held { shard: SHARD, len: 100, root: Told::new(0, 7, 100).root };
        let all = [held.clone()];
        assert_eq!(list(Put::Stored, Delete::No, &all), None);
        assert!(list(Put::Stored, Delete::No, &[]).is_some());
        assert_eq!(list(Put::Unknown, Delete::No, &[]), None);
        assert!(list(Put::GivenUp, Delete::No, &all).is_some());
        assert!(list(Put::Stored, Delete::Done, &all).is_some());
        assert!(list(Put::Stored, Delete::No, &[Held { len: 99, ..held }]).is_some());
    }

    #[test]
    fn an_empty_disk_is_wrong_if_something_was_stored() {
        for (put, delete, is_wrong) in [
            (Put::Stored, Delete::No, true),
            (Put::Stored, Delete::Unknown, false),
            (Put::Unknown, Delete::No, false),
        ] {
            let mut oracle = oracle(put, delete);
            oracle.check_disk(&Disk::default());
            assert_eq!(oracle.violation.is_some(), is_wrong, "{put:?} {delete:?}");
        }
    }
}
