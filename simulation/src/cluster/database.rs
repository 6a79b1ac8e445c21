//! The database: what each transaction of the protocol decides. The same as
//! `gateway::meta` does in SQL, as far as the protocol needs it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bytes, Clock, ContentNo, NEEDED, NODES, NodeNo, TOTAL};
use crate::commit::state::Fate;
use crate::rules::{Rule, Rules};

/// How long what was replaced is kept for readers.
pub const GRACE: Clock = 90_000;
/// When a place whose node does not answer is looked at again.
pub const LATER: Clock = 90_000;

/// State of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shard {
    /// No node acknowledged it yet.
    Pending,
    /// One did.
    Stored,
    /// It is to be repaired.
    Missing,
}

/// A row of `shards`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its node.
    pub node: NodeNo,
    /// Its state.
    pub state: Shard,
    /// The life of the node that acknowledged it.
    pub life: u32,
    /// Grows with every change.
    pub generation: u32,
}

/// A content and its segment.
#[derive(Clone, Debug)]
pub struct Content {
    /// Its state.
    pub fate: Fate,
    /// What the roots of its shards are made of.
    pub object: Bytes,
    /// Its shards.
    pub rows: [Row; TOTAL],
    /// While open.
    pub lease: Clock,
    /// While condemned.
    pub not_before: Clock,
}

/// What a reader is told.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The content.
    pub content: ContentNo,
    /// What the roots are made of.
    pub object: Bytes,
    /// Its rows.
    pub rows: [Row; TOTAL],
    /// Shards in the queue.
    pub queued: Vec<u8>,
}

/// A place that is not referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The content.
    pub content: ContentNo,
    /// The shard.
    pub index: u8,
    /// The node.
    pub node: NodeNo,
}

/// A promise (with the number that tells it from others) or a removal.
#[derive(Clone, Copy, Debug)]
pub struct Leftover {
    /// Who promised it; `None` is to be emptied.
    pub promise: Option<u64>,
    /// When it may be emptied.
    pub not_before: Clock,
}

/// A commit.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The content.
    pub content: ContentNo,
    /// Its bytes.
    pub object: Bytes,
    /// Where its shards went.
    pub places: [NodeNo; TOTAL],
    /// The life that acknowledged each shard.
    pub receipts: [Option<u32>; TOTAL],
    /// The key.
    pub key: u8,
    /// If-None-Match: *, and whether there was one when it began.
    pub absent: Option<bool>,
    /// On whose clock.
    pub now: Clock,
}

/// Everything that is durable here, and what changed for the oracle.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// Contents.
    pub contents: BTreeMap<ContentNo, Content>,
    /// Objects.
    pub keys: BTreeMap<u8, ContentNo>,
    /// The lives of the nodes.
    pub lives: [u32; NODES],
    /// Audits that a node failed.
    pub strikes: [u32; NODES],
    /// Nodes that are not trusted any more.
    pub disqualified: BTreeSet<NodeNo>,
    /// The repair queue; whether only because the node is silent.
    pub repairs: BTreeMap<(ContentNo, u8), bool>,
    /// Leftovers.
    pub leftovers: BTreeMap<Place, Leftover>,
    /// Contents that were visible once.
    pub committed: BTreeSet<ContentNo>,
    /// A conditional write that was let through and should not have been.
    pub double_winner: bool,
}

impl Database {
    /// Shards that must be stored.
    fn quorum(rules: Rules) -> usize {
        NEEDED + usize::from(rules.keep(Rule::QuorumAboveData))
    }

    /// Writes down where shards will go.
    pub fn intend(
        &mut self,
        content: ContentNo,
        object: Bytes,
        places: [NodeNo; TOTAL],
        lease: Clock,
    ) {
        let rows = places.map(|node| Row {
            node,
            state: Shard::Pending,
            life: self.lives[usize::from(node)],
            generation: 0,
        });
        self.contents
            .insert(content, Content { fate: Fate::Open, object, rows, lease, not_before: 0 });
    }

    /// Makes a content visible, if all that must hold does.
    pub fn commit(&mut self, rules: Rules, commit: &Commit) -> bool {
        let fate = self.contents.get(&commit.content).map(|content| content.fate);
        let is_open = match fate {
            Some(Fate::Open) => true,
            None => !rules.keep(Rule::IntentFirst) || !rules.keep(Rule::CommitNeedsOpen),
            _ => !rules.keep(Rule::CommitNeedsOpen),
        };
        let is_taken = self.keys.contains_key(&commit.key);
        let was_taken = if rules.keep(Rule::ConditionInCommit) { Some(is_taken) } else { None };
        if commit.absent.is_some_and(|then| was_taken.unwrap_or(then)) || !is_open {
            return false;
        }
        let counts = |index: usize| {
            let life = self.lives[usize::from(commit.places[index])];
            let is_bound = rules.keep(Rule::ReceiptsOfThisLife);
            commit.receipts[index].is_some_and(|receipt| receipt == life || !is_bound)
        };
        let stored: Vec<bool> = (0..TOTAL).map(counts).collect();
        if stored.iter().filter(|stored| **stored).count() < Self::quorum(rules) {
            return false;
        }
        self.double_winner |= commit.absent.is_some() && is_taken;
        if fate.is_none() {
            self.intend(commit.content, commit.object, commit.places, 0);
        }
        let lives = self.lives;
        let content = self.contents.get_mut(&commit.content).expect("it is there");
        content.fate = Fate::Live;
        for (index, row) in content.rows.iter_mut().enumerate() {
            if stored[index] {
                (row.state, row.life) = (Shard::Stored, lives[usize::from(row.node)]);
            } else {
                row.state = Shard::Missing;
                self.repairs.entry((commit.content, index as u8)).or_insert(false);
            }
        }
        self.committed.insert(commit.content);
        let replaced = self.keys.insert(commit.key, commit.content);
        self.let_go(rules, replaced, commit.now);
        true
    }

    fn let_go(&mut self, rules: Rules, replaced: Option<ContentNo>, now: Clock) {
        let Some(content) = replaced else { return };
        let is_referred_to = self.keys.values().any(|other| *other == content);
        if is_referred_to && rules.keep(Rule::CondemnUnreferenced) {
            return;
        }
        if let Some(row) = self.contents.get_mut(&content)
            && row.fate == Fate::Live
        {
            (row.fate, row.not_before) = (Fate::Condemned, now + GRACE);
        }
    }

    /// What became of a commit; an open content is closed.
    pub fn resolve(&mut self, rules: Rules, content: ContentNo, now: Clock) -> Fate {
        let Some(row) = self.contents.get_mut(&content) else { return Fate::Absent };
        let fate = row.fate;
        if fate == Fate::Open && rules.keep(Rule::UnknownClosesUpload) {
            (row.fate, row.not_before) = (Fate::Condemned, now + GRACE);
        }
        fate
    }

    /// Records a straggler.
    pub fn late(&mut self, rules: Rules, content: ContentNo, index: u8, node: NodeNo, life: u32) {
        let is_present = self.lives[usize::from(node)] == life;
        let is_leftover = self.leftovers.contains_key(&Place { content, index, node })
            && rules.keep(Rule::CountedIsNotEmptied);
        let Some(row) = self.live_row(content, index) else { return };
        let is_first = row.generation == 0 || !rules.keep(Rule::LateIsOfFirstGeneration);
        let is_there = (row.state, row.node) == (Shard::Missing, node);
        if is_first && is_there && is_present && !is_leftover {
            (row.state, row.life) = (Shard::Stored, life);
            self.repairs.remove(&(content, index));
        }
    }

    fn live_row(&mut self, content: ContentNo, index: u8) -> Option<&mut Row> {
        let content = self.contents.get_mut(&content).filter(|row| row.fate == Fate::Live)?;
        content.rows.get_mut(usize::from(index))
    }

    /// Where an object is.
    pub fn read(&self, key: u8) -> Option<Manifest> {
        self.manifest(*self.keys.get(&key)?)
    }

    /// Where a content is.
    pub fn manifest(&self, content: ContentNo) -> Option<Manifest> {
        let row = self.contents.get(&content)?;
        let queued = (0..TOTAL as u8).filter(|index| self.repairs.contains_key(&(content, *index)));
        Some(Manifest { content, object: row.object, rows: row.rows, queued: queued.collect() })
    }

    /// Deletes an object.
    pub fn delete(&mut self, rules: Rules, key: u8, now: Clock) {
        let replaced = self.keys.remove(&key);
        self.let_go(rules, replaced, now);
    }

    /// Makes an object refer to a content that was read before.
    pub fn copy(&mut self, rules: Rules, content: ContentNo, key: u8, now: Clock) -> bool {
        let fate = self.contents.get(&content).map(|row| row.fate);
        if fate != Some(Fate::Live) && rules.keep(Rule::CopyNeedsLive) {
            return false;
        }
        let replaced = self.keys.insert(key, content);
        self.let_go(rules, replaced.filter(|old| *old != content), now);
        true
    }

    /// Learns of a node's life.
    pub fn see(&mut self, node: NodeNo, life: u32) {
        let known = &mut self.lives[usize::from(node)];
        if life <= *known {
            return;
        }
        *known = life;
        for (content, row) in &mut self.contents {
            for (index, row) in row.rows.iter_mut().enumerate() {
                if row.node == node && row.state == Shard::Stored && row.life != life {
                    (row.state, row.generation) = (Shard::Missing, row.generation + 1);
                    self.repairs.entry((*content, index as u8)).or_insert(false);
                }
            }
        }
    }

    /// A node has lost a shard, if it still should hold it. Whether it should.
    pub fn lose(&mut self, content: ContentNo, index: u8, node: NodeNo, life: u32) -> bool {
        let is_present = self.lives[usize::from(node)] == life;
        let Some(row) = self.live_row(content, index) else { return false };
        if !is_present || (row.state, row.node) != (Shard::Stored, node) {
            return false;
        }
        (row.state, row.generation) = (Shard::Missing, row.generation + 1);
        self.repairs.insert((content, index), false);
        true
    }

    /// A node failed an audit; too many and it is not trusted any more.
    pub fn strike(&mut self, node: NodeNo, most: u32) {
        self.strikes[usize::from(node)] += 1;
        if self.strikes[usize::from(node)] >= most && self.disqualified.insert(node) {
            self.queue_node(node, false);
        }
    }

    /// Queues all that a node holds.
    pub fn queue_node(&mut self, node: NodeNo, absent: bool) {
        for (content, row) in &self.contents {
            for (index, row) in row.rows.iter().enumerate() {
                if row.node == node && row.state == Shard::Stored {
                    self.repairs.entry((*content, index as u8)).or_insert(absent);
                }
            }
        }
    }

    /// Takes back what was queued because a node was silent.
    pub fn unqueue_node(&mut self, node: NodeNo) {
        let contents = &self.contents;
        self.repairs.retain(|(content, index), absent| {
            let row = contents.get(content).map(|row| row.rows[usize::from(*index)]);
            !(*absent && row.is_some_and(|row| (row.node, row.state) == (node, Shard::Stored)))
        });
    }

    /// Contents in the queue, and live.
    pub fn damaged(&self) -> Vec<ContentNo> {
        let mut found: Vec<_> = self.repairs.keys().map(|(content, _)| *content).collect();
        found.dedup();
        found.retain(|content| self.contents.get(content).is_some_and(|c| c.fate == Fate::Live));
        found
    }

    /// Writes down that a shard is about to be stored somewhere.
    pub fn promise(&mut self, place: Place, number: u64, lease: Clock) -> bool {
        let is_free = !self.leftovers.contains_key(&place);
        if is_free {
            let row = Leftover { promise: Some(number), not_before: lease };
            self.leftovers.insert(place, row);
        }
        is_free
    }

    /// Makes a repaired shard count.
    pub fn settle(
        &mut self,
        rules: Rules,
        place: Place,
        (number, generation): (u64, u32),
        life: u32,
        now: Clock,
    ) -> bool {
        let Place { content, index, node } = place;
        let promise = self.leftovers.get(&place).and_then(|row| row.promise);
        let is_mine = match promise {
            Some(other) => other == number || !rules.keep(Rule::RepairOwnsItsPlace),
            None => false,
        };
        let is_present = self.lives[usize::from(node)] == life;
        let Some(row) = self.live_row(content, index) else { return self.unsettled(place) };
        let before = *row;
        let is_same = before.generation == generation;
        let rows = self.contents[&content].rows;
        let is_shared = rows.iter().enumerate().any(|(other, row)| {
            other != usize::from(index) && (row.node, row.state) == (node, Shard::Stored)
        });
        let is_admitted = (is_mine || !rules.keep(Rule::RepairNeedsItsPlace))
            && (is_present || !rules.keep(Rule::RepairOfThisLife))
            && (is_same || !rules.keep(Rule::RepairNeedsSameGeneration))
            && (!is_shared || !rules.keep(Rule::OneShardANode));
        if !is_admitted {
            return self.unsettled(place);
        }
        self.leftovers.remove(&place);
        let life = self.lives[usize::from(node)];
        let row = self.live_row(content, index).expect("it is live");
        *row = Row { node, state: Shard::Stored, life, generation: before.generation + 1 };
        if before.node != node && is_same {
            let old = Place { node: before.node, ..place };
            let row = Leftover { promise: None, not_before: now + GRACE };
            self.leftovers.entry(old).or_insert(row).promise = None;
        }
        self.repairs.remove(&(content, index));
        true
    }

    fn unsettled(&mut self, place: Place) -> bool {
        self.leave(place, Clock::MIN);
        false
    }

    /// A promised place is to be emptied.
    pub fn leave(&mut self, place: Place, not_before: Clock) {
        if let Some(row) = self.leftovers.get_mut(&place) {
            *row = Leftover { promise: None, not_before };
        }
    }

    /// Takes places whose time has come.
    pub fn take_leftovers(&mut self, rules: Rules, now: Clock) -> Vec<Place> {
        let due = self.leftovers.iter().filter(|(_, row)| row.not_before <= now);
        let due: Vec<Place> = due.map(|(place, _)| *place).take(20).collect();
        let mut taken = Vec::new();
        for place in due {
            if let Some(content) = self.contents.get_mut(&place.content) {
                let row = &mut content.rows[usize::from(place.index)];
                let is_named = row.node == place.node;
                let is_counted = is_named && row.state == Shard::Stored;
                if is_counted && rules.keep(Rule::CountedIsNotEmptied) {
                    self.leftovers.remove(&place);
                    continue;
                }
                row.generation += u32::from(is_named);
            }
            self.leftovers.insert(place, Leftover { promise: None, not_before: now + LATER });
            taken.push(place);
        }
        taken
    }

    /// A place is empty.
    pub fn forget_leftover(&mut self, place: Place) {
        if self.leftovers.get(&place).is_some_and(|row| row.promise.is_none()) {
            self.leftovers.remove(&place);
        }
    }

    /// Gives up what is open for too long.
    pub fn abandon_expired(&mut self, now: Clock) {
        for row in self.contents.values_mut() {
            if row.fate == Fate::Open && row.lease < now {
                (row.fate, row.not_before) = (Fate::Condemned, now + GRACE);
            }
        }
    }

    /// Condemned contents whose time has come, and where their shards are.
    pub fn condemned(&self, now: Clock) -> Vec<(ContentNo, [NodeNo; TOTAL])> {
        let due = self
            .contents
            .iter()
            .filter(|(_, row)| row.fate == Fate::Condemned && row.not_before <= now);
        due.map(|(content, row)| (*content, row.rows.map(|row| row.node))).take(5).collect()
    }

    /// Forgets a condemned content.
    pub fn forget(&mut self, content: ContentNo) {
        if self.contents.get(&content).is_some_and(|row| row.fate == Fate::Condemned) {
            self.contents.remove(&content);
            self.repairs.retain(|(of, _), _| *of != content);
        }
    }

    /// Puts a condemned content behind others.
    pub fn postpone(&mut self, content: ContentNo, not_before: Clock) {
        if let Some(row) = self.contents.get_mut(&content) {
            row.not_before = not_before;
        }
    }

    /// Whether a place is known.
    pub fn knows(&self, place: Place) -> bool {
        let row = self.contents.get(&place.content);
        let is_named = row.is_some_and(|row| row.rows[usize::from(place.index)].node == place.node);
        is_named || self.leftovers.contains_key(&place)
    }
}
