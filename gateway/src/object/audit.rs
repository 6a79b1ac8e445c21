//! Audits: what a node is asked, what its answer means, and what that makes of
//! its score.
//!
//! ```text
//! secret(epoch)   known to the gateway alone, committed to on the ledger two
//!                 epochs before, revealed with the epoch's report
//! beacon(epoch)   the hash of the ledger's block that opened the epoch
//! seed            BLAKE3(beacon, secret): neither side could choose it
//! challenge n     BLAKE3-XOF(seed, node, n) -> a point among the node's shards,
//!                 a 16 KiB group of the shard there, a moment
//! ```
//! So a node cannot know what it will be asked, and once the secret is revealed
//! anybody can see that the gateway did not choose what it asked.
//!
//! Pure. Not here: asking (`upkeep::audit`) and what is written down
//! (`meta::audits`).

use std::time::Duration;

use protocol::NodeId;
use protocol::audit::Outcome;
use protocol::refusal::Refusal;
use protocol::tree::GROUP;

use crate::nodes::NodeError;

/// How nodes are audited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRules {
    /// Challenges for each node and epoch.
    pub per_epoch: u32,
    /// And for a newcomer, who has to prove itself.
    pub per_epoch_vetting: u32,
    /// However long an epoch is, there is a challenge in each such time.
    pub least_every: Duration,
    /// When a challenge that was not answered is asked again.
    pub again_after: Duration,
    /// How often it is, before it counts as failed.
    pub again: u32,
}

impl Default for AuditRules {
    fn default() -> Self {
        Self {
            per_epoch: 3,
            per_epoch_vetting: 10,
            least_every: Duration::from_secs(3600),
            again_after: Duration::from_secs(6 * 3600),
            again: 3,
        }
    }
}

impl AuditRules {
    /// The time between two challenges of a node.
    pub fn interval(&self, epoch: Duration, vetting: bool) -> Duration {
        let per_epoch = if vetting { self.per_epoch_vetting } else { self.per_epoch };
        let interval = (epoch / per_epoch.max(1)).min(self.least_every);
        interval.max(Duration::from_millis(200))
    }
}

/// What the challenges of an epoch are drawn from.
pub fn seed(beacon: &[u8; 32], secret: &[u8; 32]) -> [u8; 32] {
    let both = [beacon.as_slice(), secret.as_slice()].concat();
    blake3::derive_key("stratos audit seed v1", &both)
}

/// What a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The shard is one of those of the node that come next in the order of ids.
    pub point: [u8; 16],
    /// Says which of those, see [`by_bytes`].
    pub pick: u64,
    /// Says which group of the shard.
    draw: u64,
    /// When in its interval, from 0 to 2^32.
    moment: u32,
}

impl Challenge {
    /// Number `number` of a node in the epoch of `seed`.
    pub fn draw(seed: &[u8; 32], node: NodeId, number: u64) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(seed);
        hasher.update(&node.0);
        hasher.update(&number.to_le_bytes());
        let mut out = hasher.finalize_xof();
        let (mut point, mut draw, mut moment, mut pick) = ([0; 16], [0; 8], [0; 4], [0; 8]);
        out.fill(&mut point);
        out.fill(&mut draw);
        out.fill(&mut moment);
        out.fill(&mut pick);
        Self {
            point,
            pick: u64::from_le_bytes(pick),
            draw: u64::from_le_bytes(draw),
            moment: u32::from_le_bytes(moment),
        }
    }

    /// The group of a shard of `len` bytes.
    pub fn group(&self, len: u64) -> u64 {
        let groups = u128::from(len.div_ceil(GROUP).max(1));
        let group = (u128::from(self.draw) * groups) >> 64;
        u64::try_from(group).expect("below a u64")
    }

    /// How long after the start of its interval it is asked.
    pub fn moment(&self, interval: Duration) -> Duration {
        let micros = (interval.as_micros() * u128::from(self.moment)) >> 32;
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

/// Which of some shards of these lengths is asked for: each byte is as likely as any
/// other, or a node could keep its many small shards and no large one.
pub fn by_bytes(lens: impl Iterator<Item = u64> + Clone, pick: u64) -> Option<usize> {
    let all: u128 = lens.clone().map(u128::from).sum();
    // Below 2^64 shards of 2^27 bytes in all.
    let wanted = (u128::from(pick) * all) >> 64;
    let ends = lens.scan(0, |end, len| {
        *end += u128::from(len);
        Some(*end)
    });
    ends.enumerate().find(|(_, end)| wanted < *end).map(|(index, _)| index)
}

/// Bytes of a group, of a shard of `len` bytes.
pub fn group_len(len: u64, group: u64) -> u64 {
    len.saturating_sub(group.saturating_mul(GROUP)).min(GROUP)
}

/// What an answer means.
pub fn outcome_of(answer: &Result<(), NodeError>) -> Outcome {
    let Err(error) = answer else { return Outcome::Passed };
    match error {
        NodeError::Unknown | NodeError::Offline(_) | NodeError::Abandoned => Outcome::Offline,
        NodeError::Lie(_) => Outcome::Failed,
        NodeError::Timeout | NodeError::Busy => Outcome::Contained,
        NodeError::Refused(refusal) => match refusal {
            // It says itself that it does not have what it should have.
            Refusal::NotFound
            | Refusal::Disk
            | Refusal::BadRange
            | Refusal::WrongRoot
            | Refusal::Conflict => Outcome::Failed,
            // It must answer some time, also one that says it is about to stop:
            // with these it could choose what.
            _ => Outcome::Contained,
        },
    }
}

/// What becomes of a challenge that was asked for the `tries`th time.
pub fn settle(rules: &AuditRules, outcome: Outcome, tries: u32) -> Outcome {
    if outcome == Outcome::Contained && tries > rules.again { Outcome::Failed } else { outcome }
}

/// One whole outcome in the fixed-point numbers of a score.
const ONE: i64 = 1_000_000;

/// The record of a node's audits: a Beta distribution that forgets, in
/// millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// Good outcomes.
    pub alpha: i64,
    /// Bad ones.
    pub beta: i64,
}

impl Default for Score {
    /// A thousand good outcomes are assumed: one bad one early is not the end.
    fn default() -> Self {
        Self { alpha: 1000 * ONE, beta: 0 }
    }
}

/// Failures that the loss of a whole folder counts as: with one that is all, with a
/// second soon after it the node is disqualified.
const WIPED: u32 = 25;

impl Score {
    /// After its folder began anew, with nothing of what it held.
    #[must_use]
    pub fn wiped(self) -> Self {
        (0..WIPED).fold(self, |score, _| score.after(false))
    }

    /// After one more outcome. Each makes those before count a thousandth less.
    #[must_use]
    pub fn after(self, is_good: bool) -> Self {
        let kept =
            |value: i64| value.clamp(0, 1_000_000 * ONE) / 1000 * 999 + value % 1000 * 999 / 1000;
        let (alpha, beta) = (kept(self.alpha), kept(self.beta));
        if is_good { Self { alpha: alpha + ONE, beta } } else { Self { alpha, beta: beta + ONE } }
    }

    /// From 0 to a million.
    pub fn millionths(self) -> u32 {
        let (alpha, beta) = (i128::from(self.alpha), i128::from(self.beta));
        let score = 1_000_000 * alpha / (alpha + beta).max(1);
        u32::try_from(score.clamp(0, 1_000_000)).expect("clamped")
    }
}

#[cfg(test)]
mod tests;
