//! The protocol of uploads, copies, deletes, multipart uploads, repair and
//! collection as a model: what metadata holds, what the disks hold, what is on
//! its way, and who waits for what.
//!
//! [`state`] is one state, [`writes`] are the steps of writers and of what
//! removes, [`repairs`] those of repair and of what it leaves behind,
//! [`oracle`] says what must never be. Every step may come at any time: a loop
//! that goes by a clock is a loop whose clock may be wrong.
//!
//! Two things are taken for granted. No message lives as long as the grace
//! after which something is forgotten for good. And a node that answered a
//! delete has forgotten the shard.
//!
//! Small on purpose: one data shard, at most three shards on four nodes, two
//! contents, two repairs at once. A rule that is broken shows at this size.

pub mod oracle;
pub mod repairs;
pub mod state;
pub mod writes;

use crate::explore::Model;
use crate::rules::{Rule, Rules};
use state::{Kind, State};

/// Shards that are needed to read.
pub const NEEDED: u32 = 1;

/// Losses that must be survived: the write quorum is this much above `NEEDED`.
pub const TOLERATED: u8 = 1;

/// What there is in one search.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// For reports.
    pub name: &'static str,
    /// Storage nodes.
    pub nodes: u8,
    /// Shards of a content.
    pub shards: u8,
    /// What each content is written for.
    pub writers: [Option<Kind>; 2],
    /// Whether the object is copied.
    pub copies: bool,
    /// Whether the object is deleted.
    pub deletes: bool,
    /// Whether answers of the database may be lost.
    pub lost_replies: bool,
    /// Repairs that may begin.
    pub repairs: u8,
    /// Nodes that may lose their disk.
    pub wipes: u8,
    /// What is kept.
    pub rules: Rules,
}

impl Scenario {
    /// Shards that must be stored before a write counts.
    pub fn quorum(&self) -> u32 {
        if self.rules.keep(Rule::QuorumAboveData) { NEEDED + u32::from(TOLERATED) } else { NEEDED }
    }
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Content: the intent is written down.
    Intent(u8),
    /// Content, shard: a node has stored it.
    Store(u8, u8),
    /// Content: its commit succeeds and is answered.
    Commit(u8),
    /// Content: its commit succeeds and the answer is lost.
    CommitReplyLost(u8),
    /// Content: its commit is under way and its gateway stops waiting.
    CommitDelayed(u8),
    /// Content: the delayed commit reaches the database.
    CommitArrives(u8),
    /// Content: its commit is refused.
    Refused(u8),
    /// Content: its gateway finds out what became of the commit.
    Resolve(u8),
    /// Content: its gateway dies.
    Crash(u8),
    /// Content, shard: a straggler is recorded.
    Late(u8, u8),
    /// Content: its lease is over.
    Abandon(u8),
    /// Content, shard: collection removes it.
    Remove(u8, u8),
    /// Content: collection is done with it.
    Forget(u8),
    /// The object is deleted.
    Delete,
    /// A copy reads what it will refer to.
    CopyRead,
    /// The copy is committed.
    CopyCommit,
    /// The copy is refused.
    CopyRefused,
    /// The upload is completed and that is answered.
    Complete,
    /// The upload is completed and the answer is lost.
    CompleteReplyLost,
    /// It is asked again to complete the upload.
    CompleteAgain,
    /// The upload is aborted.
    Abort,
    /// Node: it loses its disk.
    Wipe(u8),
    /// Node: metadata learns of its new life.
    See(u8),
    /// Repair, shard, node: a repair begins.
    RepairBegin(u8, u8, u8),
    /// Repair: the node has stored the shard.
    RepairStore(u8),
    /// Repair: it is committed.
    RepairCommit(u8),
    /// Repair: its commit is refused.
    RepairRefused(u8),
    /// Repair: its gateway dies.
    RepairCrash(u8),
    /// Shard, node: a leftover is taken up.
    Take(u8, u8),
    /// Shard, node: the leftover is removed.
    Sweep(u8, u8),
}

impl Model for Scenario {
    type State = State;
    type Action = Action;

    fn initial(&self) -> State {
        State::new(self)
    }

    fn steps(&self, from: &State, out: &mut Vec<(Action, State)>) {
        writes::steps(self, from, out);
        repairs::steps(self, from, out);
    }

    fn violation(&self, state: &State) -> Option<&'static str> {
        oracle::violation(self, state)
    }
}
