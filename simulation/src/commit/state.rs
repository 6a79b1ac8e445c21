//! One state of the model, small enough that millions fit in memory.

use super::Scenario;
use crate::rules::Rule;

/// Nodes at most.
pub const NODES: usize = 4;
/// Shards at most.
pub const SHARDS: usize = 3;
/// Contents.
pub const CONTENTS: usize = 2;
/// Repairs at once.
pub const WORKERS: usize = 2;

/// What a content is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The object `a`.
    Put,
    /// The object `a`, if there is none.
    PutIfAbsent,
    /// Part 1 of the upload whose object is `a`.
    Part,
}

/// State of a content in metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Fate {
    /// Not known yet.
    Absent,
    /// Being written.
    Open,
    /// Referred to.
    Live,
    /// To be removed.
    Condemned,
    /// Removed.
    Forgotten,
}

/// What the gateway that writes a content is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Nothing yet.
    Idle,
    /// It sends shards.
    Sending,
    /// It does not know what became of its commit.
    Unknown,
    /// It said yes.
    Acknowledged,
    /// It said no.
    Refused,
    /// It died, or told its client that the outcome is not known.
    Gone,
}

/// A row of `shards`, packed: node (2 bits), state (2), life (2), generation (4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Row(u16);

/// State of a shard in metadata.
pub const PENDING: u8 = 0;
/// Acknowledged and recorded.
pub const STORED: u8 = 1;
/// To be repaired.
pub const MISSING: u8 = 2;

impl Row {
    /// A row.
    pub fn new(node: u8, state: u8, life: u8, generation: u8) -> Self {
        let [node, state, life, generation] = [node, state, life, generation].map(u16::from);
        Self(node | state << 2 | life << 4 | generation << 6)
    }
    /// Where it is.
    pub fn node(self) -> usize {
        usize::from(self.0 & 3)
    }
    /// `PENDING`, `STORED` or `MISSING`.
    pub fn state(self) -> u8 {
        (self.0 >> 2 & 3) as u8
    }
    /// The life of the folder that acknowledged it.
    pub fn life(self) -> u8 {
        (self.0 >> 4 & 3) as u8
    }
    /// Grows with every change of place or loss.
    pub fn generation(self) -> u8 {
        (self.0 >> 6 & 15) as u8
    }
}

/// A content: its rows in metadata and its gateway.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Content {
    /// In metadata.
    pub fate: Fate,
    /// In metadata.
    pub rows: [Row; SHARDS],
    /// At the gateway.
    pub phase: Phase,
    /// At the gateway, by shard: 0, or 1 + the life that acknowledged it.
    pub receipts: [u8; SHARDS],
    /// Shards on their way, a bit each.
    pub sent: u8,
    /// Whether a commit is on its way that nobody waits for.
    pub delayed: bool,
    /// Whether something replaced or deleted it, so that it need not be there.
    pub let_go: bool,
    /// Losses since its commit, and those that were not known at it.
    pub losses: u8,
}

/// A repair of a shard of content 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Repair {
    /// What it is doing.
    pub step: Step,
    /// The shard.
    pub shard: u8,
    /// Its generation when the repair began.
    pub generation: u8,
    /// Where it was then.
    pub from: u8,
    /// Where it goes.
    pub to: u8,
    /// The life of the folder that acknowledged it.
    pub life: u8,
    /// Whether the leftover that it wrote down is still there.
    pub owns: bool,
}

impl Repair {
    /// Nothing to do, and nothing remembered.
    pub const IDLE: Self =
        Self { step: Step::Idle, shard: 0, generation: 0, from: 0, to: 0, life: 0, owns: false };
}

/// What a repair is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Step {
    /// Nothing.
    Idle,
    /// The shard is on its way.
    Sent,
    /// The node has acknowledged it.
    Stored,
    /// The shard is on its way and nobody waits for it.
    Orphan,
}

/// A storage node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Node {
    /// Shards on its disk, a bit each.
    pub disk: u8,
    /// The life of its folder.
    pub life: u8,
    /// What metadata takes it for.
    pub known: u8,
}

/// State of the multipart upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Upload {
    /// Parts are taken.
    Open,
    /// It is an object.
    Completed,
    /// It was given up.
    Aborted,
}

/// What a client with more than one step is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Client {
    /// Nothing yet.
    Idle,
    /// It waits for an answer that was lost, or has read a content.
    Busy(u8),
    /// It was told yes.
    Done,
    /// It was told no.
    Failed,
}

/// One state.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// The contents.
    pub contents: [Content; CONTENTS],
    /// The nodes.
    pub nodes: [Node; NODES],
    /// What the objects `a` and `b` refer to: 0, or 1 + content.
    pub keys: [u8; 2],
    /// The upload.
    pub upload: Upload,
    /// Its part 1: 0, or 1 + content.
    pub part: u8,
    /// Who copies.
    pub copier: Client,
    /// Who completes the upload.
    pub completer: Client,
    /// Whether the delete was asked for.
    pub deleted: bool,
    /// The repairs.
    pub repairs: [Repair; WORKERS],
    /// Repairs that may begin yet.
    pub repairs_left: u8,
    /// Nodes that may be wiped yet.
    pub wipes_left: u8,
    /// Leftovers of content 0 that wait: a bit for each shard and node.
    pub waiting: u16,
    /// Leftovers that are being removed.
    pub removing: u16,
}

impl State {
    /// The beginning.
    pub fn new(scenario: &Scenario) -> Self {
        let content = Content {
            fate: Fate::Absent,
            rows: [Row::default(); SHARDS],
            phase: Phase::Idle,
            receipts: [0; SHARDS],
            sent: 0,
            delayed: false,
            let_go: false,
            losses: 0,
        };
        Self {
            contents: [content; CONTENTS],
            nodes: [Node::default(); NODES],
            keys: [0; 2],
            upload: Upload::Open,
            part: 0,
            copier: Client::Idle,
            completer: Client::Idle,
            deleted: false,
            repairs: [Repair::IDLE; WORKERS],
            repairs_left: scenario.repairs,
            wipes_left: scenario.wipes,
            waiting: 0,
            removing: 0,
        }
    }

    /// Whether an object or a part refers to a content.
    pub fn is_referred_to(&self, content: usize) -> bool {
        let name = content as u8 + 1;
        self.keys.contains(&name) || self.part == name
    }

    /// Condemns a content that lost a reference, if that was the last one.
    pub fn condemn(&mut self, scenario: &Scenario, content: usize) {
        let is_free =
            !self.is_referred_to(content) || !scenario.rules.keep(Rule::CondemnUnreferenced);
        if self.contents[content].fate == Fate::Live && is_free {
            self.contents[content].fate = Fate::Condemned;
        }
    }

    /// Whether a node holds a shard.
    pub fn holds(&self, node: usize, content: usize, shard: usize) -> bool {
        self.nodes[node].disk & bit(content, shard) != 0
    }

    /// Shards of a content that a read would find.
    pub fn readable(&self, content: usize) -> u32 {
        let rows = self.contents[content].rows.iter().enumerate();
        let found = rows.filter(|(shard, row)| {
            row.state() == STORED && self.holds(row.node(), content, *shard)
        });
        found.count() as u32
    }
}

/// A shard on a disk.
pub fn bit(content: usize, shard: usize) -> u8 {
    1 << (content * SHARDS + shard)
}

/// A leftover.
pub fn place(shard: usize, node: usize) -> u16 {
    1 << (shard * NODES + node)
}
