//! What must be true whatever goes wrong, and how much may.

use std::collections::{BTreeMap, BTreeSet};

use super::database::{Place, Shard};
use super::world::World;
use super::{Bytes, ContentNo, NEEDED, TOTAL, shard_of};
use crate::commit::state::Fate;

/// What clients were told, and what was lost.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// What is wrong.
    pub violation: Option<String>,
    /// Contents whose storing was acknowledged, and their bytes.
    pub acknowledged: BTreeMap<ContentNo, Bytes>,
    /// Contents whose storing was refused.
    pub refused: BTreeSet<ContentNo>,
    /// Losses that hit a content since it was whole.
    pub losses: BTreeMap<ContentNo, u32>,
    /// Places that a node was told to empty.
    pub emptied: BTreeSet<Place>,
    /// Shards that came after that: a message that is later than the delete
    /// leaves what only an inventory of the node finds.
    pub stray: BTreeSet<Place>,
    /// Nodes that ever lied.
    pub liars: BTreeSet<u8>,
    /// Objects read.
    pub read: u64,
    /// Shards repaired.
    pub repaired: u64,
}

impl Oracle {
    /// Takes note of what must not be.
    pub fn wrong(&mut self, what: &str) {
        self.violation.get_or_insert_with(|| what.to_owned());
    }
}

impl World {
    /// Shards of a content that metadata counts, on disks, and what they were.
    pub fn sound(&self, content: ContentNo) -> usize {
        let Some(row) = self.database.contents.get(&content) else { return 0 };
        let rows = row.rows.iter().enumerate();
        let sound = rows.filter(|(index, place)| {
            let index = *index as u8;
            let held = self.nodes[usize::from(place.node)].disk.get(&(content, index));
            place.state == Shard::Stored && held == Some(&shard_of(row.object, index))
        });
        sound.count()
    }

    /// Whether a content was whole since its last loss, so that one more is
    /// within what is tolerated.
    pub fn may_lose(&mut self, content: ContentNo) -> bool {
        if self.oracle.losses.get(&content).copied().unwrap_or(0) == 0 {
            return true;
        }
        let is_whole = self.sound(content) > NEEDED;
        if is_whole {
            self.oracle.losses.insert(content, 0);
        }
        is_whole
    }

    /// The same of all that is there.
    pub fn may_lose_all(&mut self) -> bool {
        if self.faults.liar.is_some() {
            return false;
        }
        let alive: Vec<ContentNo> = self.database.contents.keys().copied().collect();
        self.oracle.losses.retain(|content, _| alive.binary_search(content).is_ok());
        let hit: Vec<ContentNo> = self.oracle.losses.keys().copied().collect();
        let is_live = |world: &Self, content: &ContentNo| {
            world.database.contents[content].fate != Fate::Condemned
        };
        hit.into_iter().all(|content| !is_live(self, &content) || self.may_lose(content))
    }

    /// A node is lost: whatever is there, or on its way there, has lost one.
    pub fn lose_all(&mut self) {
        let alive: Vec<ContentNo> = self.database.contents.keys().copied().collect();
        for content in alive {
            self.oracle.losses.insert(content, 1);
        }
    }

    /// Whether a client may be told that a content was stored.
    pub fn acknowledge(&mut self, content: ContentNo, object: Bytes) {
        self.oracle.acknowledged.insert(content, object);
        if !self.database.committed.contains(&content) {
            self.oracle.wrong("something was acknowledged that was never committed");
        }
    }

    /// Whether what an object refers to can be read, now that all is well.
    pub fn is_whole(&self) -> bool {
        !self.is_busy() && self.lacks().is_empty()
    }

    /// What is not yet as it should be.
    pub fn lacks(&self) -> String {
        let contents = &self.database.contents;
        for (content, row) in contents {
            if row.fate != Fate::Live {
                return format!("content {content} is still {:?}", row.fate);
            }
            if self.sound(*content) < TOTAL {
                return format!("content {content} is not whole");
            }
        }
        if !self.database.repairs.is_empty() {
            return "the repair queue is not empty".to_owned();
        }
        if !self.database.leftovers.is_empty() {
            return "there are leftovers".to_owned();
        }
        String::new()
    }

    /// The census, when everything is whole again.
    pub fn check_end(&mut self) {
        if self.oracle.violation.is_some() {
            return;
        }
        let mut wrong = Vec::new();
        for content in self.database.keys.values() {
            if !self.database.contents.contains_key(content) {
                wrong.push(format!("content {content} is visible and not there"));
            }
        }
        for refused in &self.oracle.refused {
            if self.database.committed.contains(refused) {
                wrong.push(format!("content {refused} was refused and became visible"));
            }
        }
        for node in &self.database.disqualified {
            if !self.oracle.liars.contains(node) {
                wrong.push(format!("node {node} is honest and was disqualified"));
            }
        }
        for (node, state) in self.nodes.iter().enumerate() {
            for (content, index) in state.disk.keys() {
                let place = Place { content: *content, index: *index, node: node as u8 };
                if !self.database.knows(place) && !self.oracle.stray.contains(&place) {
                    wrong.push(format!("{place:?} is an orphan"));
                }
            }
        }
        if let Some(what) = wrong.first() {
            self.oracle.wrong(what);
        }
    }

    /// Looked at whenever the disks have changed: nothing that is visible is
    /// beyond repair while no more was lost than is tolerated.
    pub fn check_lost(&mut self) {
        let visible: Vec<ContentNo> = self.database.keys.values().copied().collect();
        for content in visible {
            let fate = self.database.contents.get(&content).map(|row| row.fate);
            if fate != Some(Fate::Live) {
                self.oracle.wrong("something visible refers to a content that is to be removed");
            }
            let is_lying = |row: &super::database::Row| {
                self.faults.liar == Some(row.node) && row.state == Shard::Stored
            };
            let held = self.sound(content);
            let is_tolerated = self.oracle.losses.get(&content).copied().unwrap_or(0) <= 1;
            let hidden = self
                .database
                .contents
                .get(&content)
                .map_or(0, |row| row.rows.iter().filter(|row| is_lying(row)).count());
            if is_tolerated && held.saturating_sub(hidden) < NEEDED {
                self.oracle.wrong(&format!("content {content} is lost"));
            }
        }
    }
}
