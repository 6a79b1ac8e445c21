//! The rules of the protocol, by name, so that each can be broken on purpose:
//! a test that does not notice a broken rule tests nothing.

/// One rule. Its documentation says what goes wrong without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rule {
    /// Where shards go is written down before the first byte is sent. Without
    /// it a crash leaves shards that nobody knows.
    IntentFirst,
    /// A commit needs an upload that is still open. Without it a commit brings
    /// back what collection is removing.
    CommitNeedsOpen,
    /// A receipt counts for the life of the folder that gave it. Without it
    /// shards that were wiped count.
    ReceiptsOfThisLife,
    /// What is read is compared with its root. Without it a client gets what a
    /// liar sends, or what a disk made of it. Of the cluster only.
    ReadsAreVerified,
    /// More shards than are needed must be stored. Without it one loss is too
    /// many.
    QuorumAboveData,
    /// Nothing is deleted because the outcome of a commit is not known.
    UnknownDeletesNothing,
    /// Who does not know the outcome of a commit closes the upload before it
    /// says no. Without it a late commit makes a refused write visible.
    UnknownClosesUpload,
    /// The condition of a write is decided in its transaction.
    ConditionInCommit,
    /// A copy needs a source that is still live.
    CopyNeedsLive,
    /// A content is condemned only when nothing refers to it.
    CondemnUnreferenced,
    /// Only an open upload is aborted, and its parts with it.
    AbortNeedsOpen,
    /// A repair needs the shard to be where it was when the repair began.
    RepairNeedsSameGeneration,
    /// A repair needs its own place to be not given up yet.
    RepairNeedsItsPlace,
    /// The place of a repair is told from that of a later repair of the same
    /// shard to the same node. Without it the first one takes the second one's
    /// for its own, which was removed meanwhile.
    RepairOwnsItsPlace,
    /// A repaired shard counts for the life of the folder that took it.
    RepairOfThisLife,
    /// No node gets two shards of a segment, however many repairs run.
    OneShardANode,
    /// A place where the shard counts is not emptied, and in one that waits to
    /// be emptied no straggler comes to count. Either is enough.
    CountedIsNotEmptied,
    /// A straggler does not count in a place that was emptied: what empties a place raises the generation, and
    /// stragglers count in the first one only.
    LateIsOfFirstGeneration,
}

/// Every rule.
pub const ALL: [Rule; 18] = [
    Rule::IntentFirst,
    Rule::CommitNeedsOpen,
    Rule::ReceiptsOfThisLife,
    Rule::ReadsAreVerified,
    Rule::QuorumAboveData,
    Rule::UnknownDeletesNothing,
    Rule::UnknownClosesUpload,
    Rule::ConditionInCommit,
    Rule::CopyNeedsLive,
    Rule::CondemnUnreferenced,
    Rule::AbortNeedsOpen,
    Rule::RepairNeedsSameGeneration,
    Rule::RepairNeedsItsPlace,
    Rule::RepairOwnsItsPlace,
    Rule::RepairOfThisLife,
    Rule::OneShardANode,
    Rule::CountedIsNotEmptied,
    Rule::LateIsOfFirstGeneration,
];

/// The rules that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules(u32);

impl Rules {
    /// The protocol as it is.
    pub const KEPT: Self = Self(u32::MAX);

    /// The protocol without one of its rules.
    pub const fn without(rule: Rule) -> Self {
        Self(!(1 << rule as u32))
    }

    /// Whether a rule is kept.
    pub const fn keep(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }
}
