//! Chooses the nodes for the shards of one segment.
//!
//! Pure: the caller passes a snapshot of the registry, so the same inputs give
//! the same placement and a test needs no nodes.
//!
//! Each candidate gets a score from hashing its id with the segment id,
//! weighted by its free space and its record (weighted rendezvous hashing). A
//! node that joins or leaves therefore moves only what it wins or had won, and
//! nobody can choose what it gets. Shards are then placed one by one; each goes
//! to the candidate that, in this order,
//!
//! 1. holds no shard of the segment yet (always),
//! 2. brings no operator and no zone above `parity` shards of the segment,
//! 3. shares its operator, zone and network with the fewest shards so far,
//! 4. has the highest score.
//!
//! So the loss of a whole operator or zone loses nothing wherever there are
//! enough of them, and few are used as evenly as they can be. Newcomers get a
//! twentieth of the places.
//!
//! Not here: whether a node is alive (`nodes::registry`), and what is placed
//! again when (`upkeep`).

mod domains;

use protocol::{Incarnation, NodeId, SegmentId};

use domains::Crowd;
pub use domains::{Domains, RequireDomains, Unmet};

use crate::meta::NodeState;
use crate::nodes::registry::NodeView;

/// A node that could take a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// The present life of its folder.
    pub incarnation: Incarnation,
    /// Bytes it will still take.
    pub free: u64,
    /// What it shares with others that can fail at once.
    pub domains: Domains,
    /// Whether it has yet to prove itself.
    pub vetting: bool,
    /// How reliably it served and proved what it holds, in millionths.
    pub record: u32,
}

/// What a placement must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Shards of a segment that may be lost at once.
    pub parity: u8,
    /// The domain whose loss must never lose more.
    pub require: RequireDomains,
}

/// A node for each shard, as far as there are enough.
pub type Placement = Vec<Option<(NodeId, Incarnation)>>;

/// The nodes that may and can take `shard_len` bytes.
pub fn candidates(views: &[NodeView], shard_len: u64) -> Vec<Candidate> {
    views
        .iter()
        .filter(|view| view.is_up() && view.free >= shard_len && view.state.takes_shards())
        .filter_map(candidate)
        .collect()
}

/// Whether any other node takes shards, now or when it is back or has room again.
pub fn has_other(views: &[NodeView], holders: &[NodeId], losers: &[NodeId]) -> bool {
    let known = |node: &NodeId| holders.contains(node) || losers.contains(node);
    views.iter().any(|view| view.state.takes_shards() && !known(&view.record.node))
}

/// The nodes of shards that are placed already, whatever their state, for
/// [`replace`].
pub fn placed(views: &[NodeView], holders: &[NodeId]) -> Vec<Candidate> {
    let holds = |view: &&NodeView| holders.contains(&view.record.node);
    views.iter().filter(holds).map(|view| as_candidate(view, NO_INCARNATION)).collect()
}

/// Stands for the incarnation of a node that has not answered yet.
const NO_INCARNATION: Incarnation = Incarnation([0; 16]);

fn candidate(view: &NodeView) -> Option<Candidate> {
    Some(as_candidate(view, view.incarnation?))
}

fn as_candidate(view: &NodeView, otherwise: Incarnation) -> Candidate {
    let served = (view.score() * 1e6) as u32;
    Candidate {
        node: view.record.node,
        incarnation: view.incarnation.unwrap_or(otherwise),
        free: view.free,
        domains: Domains::of(&view.record),
        vetting: view.state == NodeState::Vetting,
        record: served.min(view.audit_score),
    }
}

/// One node for each of `total` shards.
///
/// Where there are too few, the last places are empty; where the rules cannot
/// be kept to, nothing is placed.
pub fn place(
    segment: SegmentId,
    total: u8,
    rules: Rules,
    candidates: &[Candidate],
) -> Result<Placement, Unmet> {
    let mut rest = ranked(segment, candidates);
    let proved = rest.iter().filter(|(_, candidate)| !candidate.vetting).count();
    let wanted = usize::from(total);
    // A newcomer is better than no shard at all.
    let newcomers = newcomers(segment, total).max(wanted.saturating_sub(proved));
    let mut crowd = Crowd::new(rules);
    let mut places = Vec::with_capacity(wanted);
    for place in 0..wanted {
        // Newcomers come first, or what is left to them would be last choice.
        let is_theirs = place < newcomers;
        let best = best(&rest, &crowd, is_theirs).or_else(|| best(&rest, &crowd, !is_theirs));
        let Some(best) = best else { break };
        let (_, chosen) = rest.remove(best);
        crowd.add(&chosen.domains);
        places.push(Some((chosen.node, chosen.incarnation)));
    }
    crowd.check()?;
    places.resize(wanted, None);
    // Which shards hold data is not for newcomers to be first at.
    places.rotate_left(newcomers.min(wanted));
    Ok(places)
}

/// Like [`replace`], for a shard that `losers` lost: it goes to another node, of
/// another operator if there is one, as long as that breaks no limit that a loser
/// would not. Only if `may_return` it goes back to one.
pub fn replace_elsewhere(
    segment: SegmentId,
    rules: Rules,
    placed: &[Candidate],
    candidates: &[Candidate],
    (losers, may_return): (&[Candidate], bool),
) -> Option<(NodeId, Incarnation)> {
    let is_loser = |node: NodeId| losers.iter().any(|loser| loser.node == node);
    // Its owner's other nodes could show the bytes for it.
    let is_kin = |one: &Candidate| {
        let operator = one.domains.operator;
        operator.is_some() && losers.iter().any(|loser| loser.domains.operator == operator)
    };
    let others: Vec<Candidate> =
        candidates.iter().filter(|one| !is_loser(one.node)).copied().collect();
    let strangers: Vec<Candidate> = others.iter().filter(|one| !is_kin(one)).copied().collect();
    let best = replace(segment, rules, placed, candidates)?;
    let mut crowd = Crowd::new(rules);
    placed.iter().for_each(|holder| crowd.add(&holder.domains));
    let broken = |(node, _): (NodeId, Incarnation)| {
        let chosen = candidates.iter().find(|one| one.node == node).expect("it was chosen of them");
        let (required, limits, _) = crowd.cost(&chosen.domains);
        (required, limits)
    };
    let fits = |found: &(NodeId, Incarnation)| broken(*found) <= broken(best);
    let elsewhere = [strangers, others]
        .iter()
        .find_map(|tier| replace(segment, rules, placed, tier).filter(fits));
    elsewhere.or_else(|| Some(best).filter(|(node, _)| may_return || !is_loser(*node)))
}

/// The best node for one more shard of a segment whose others are on `placed`.
pub fn replace(
    segment: SegmentId,
    rules: Rules,
    placed: &[Candidate],
    candidates: &[Candidate],
) -> Option<(NodeId, Incarnation)> {
    let mut crowd = Crowd::new(rules);
    for holder in placed {
        crowd.add(&holder.domains);
    }
    let mut rest = ranked(segment, candidates);
    rest.retain(|(_, candidate)| placed.iter().all(|holder| holder.node != candidate.node));
    let total = u8::try_from(placed.len() + 1).unwrap_or(u8::MAX);
    // A repair is no test for newcomers, except for the share that is theirs.
    let is_theirs = newcomers(segment, total) > placed.iter().filter(|c| c.vetting).count();
    let order = [is_theirs, !is_theirs];
    order.into_iter().find_map(|vetting| {
        let (_, chosen) = rest[best(&rest, &crowd, vetting)?];
        let mut after = crowd.clone();
        after.add(&chosen.domains);
        // It must not make worse what is required; what is wrong already is
        // mended by moves.
        let is_allowed = after.check().is_ok() || crowd.check().is_err();
        is_allowed.then_some((chosen.node, chosen.incarnation))
    })
}

/// Candidates with their scores for a segment, best first.
fn ranked(segment: SegmentId, candidates: &[Candidate]) -> Vec<(f64, Candidate)> {
    let mut free: Vec<u64> = candidates.iter().map(|candidate| candidate.free).collect();
    free.sort_unstable();
    let most = free.get(free.len() / 2).map_or(u64::MAX, |median| median.saturating_mul(4));
    let mut ranked: Vec<_> =
        candidates.iter().map(|candidate| (score(segment, candidate, most), *candidate)).collect();
    ranked.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(x.node.cmp(&y.node)));
    ranked
}

/// The place in `ranked` of the one that crowds least; of several, the first.
fn best(ranked: &[(f64, Candidate)], crowd: &Crowd, vetting: bool) -> Option<usize> {
    let theirs = ranked.iter().enumerate().filter(|(_, (_, c))| c.vetting == vetting);
    theirs.min_by_key(|(_, (_, candidate))| crowd.cost(&candidate.domains)).map(|(place, _)| place)
}

/// Places of a segment of `total` shards that are for newcomers: a twentieth
/// of them over many segments.
fn newcomers(segment: SegmentId, total: u8) -> usize {
    let unit = fraction("stratos placement of newcomers v1", segment, &[]);
    (f64::from(total) / 20.0 + unit).floor() as usize
}

/// -weight / ln(hash in (0, 1)): the highest of these is at a candidate with
/// the probability of its share of the weights.
fn score(segment: SegmentId, candidate: &Candidate, most: u64) -> f64 {
    let unit = fraction("stratos placement v1", segment, &candidate.node.0);
    -weight(candidate, most) / unit.ln()
}

/// Free space, less for one that failed before: at the score at which it is
/// disqualified it would get a tenth. What a node says of its space is believed
/// up to `most`, or one that boasts would be part of every segment.
fn weight(candidate: &Candidate, most: u64) -> f64 {
    let room = (candidate.free.min(most) >> 20).max(1) as f64;
    let trust = (f64::from(candidate.record) - 960_000.0) / 40_000.0;
    room * trust.clamp(0.1, 1.0)
}

/// A number between 0 and 1, both excluded, that nobody can choose.
fn fraction(context: &str, segment: SegmentId, more: &[u8]) -> f64 {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(&segment.0);
    hasher.update(more);
    let mut eight = [0; 8];
    eight.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    // 53 bits fill the mantissa; half a step keeps it off 0 and 1.
    let bits = (u64::from_le_bytes(eight) >> 11) as f64;
    (bits + 0.5) / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
