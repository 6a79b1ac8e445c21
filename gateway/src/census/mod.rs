//! Counts every shard: what metadata say against what nodes say that they hold.
//!
//! Metadata and the lists of all nodes are gone through side by side in the
//! order of ids, a page at a time, so that a census holds a few pages however
//! much there is. What differs is looked at once more before it is believed:
//! uploads, repairs and deletions go on meanwhile. A census changes nothing;
//! `upkeep::reconcile` acts on what one finds.
//!
//! A list says that a node holds a shard with the right root. With
//! [`Depth::Read`] every shard is read and verified as well.

mod listing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::future::join_all;
use protocol::message::Held;
use protocol::{NodeId, Root, SegmentId, ShardId};
use serde::Serialize;

use self::listing::Listing;
use crate::gateway::Gateway;
use crate::meta::{ContentState, CountedSegment, MetaError, Stray};
use crate::nodes::ShardRange;
use crate::object::shard_reader::read_whole;

/// Segments of one page.
const PAGE: u32 = 1000;

/// Nodes that are listed, or shards that are read, at once.
const TOGETHER: usize = 8;

/// Findings that are kept of each kind; the counts go on.
pub const FINDINGS_MAX: usize = 10_000;

/// Shards that are asked for by themselves, since they may be newer than a list;
/// where so many are not listed, a node has lost them.
const ASKED_MAX: usize = 10_000;

/// How closely a census looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// A node's list is believed.
    List,
    /// Every shard is read and verified.
    Read,
}

/// What a census counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Census {
    /// Segments of objects and parts.
    pub segments: u64,
    /// Segments of which every shard is where it should be.
    pub full: u64,
    /// Segments that lack shards and can be read.
    pub degraded: u64,
    /// Segments that cannot be read now.
    pub lost: u64,
    /// Shards that were verified.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Shards that metadata count on and their nodes do not hold.
    pub missing: u64,
    /// Shards that nodes hold for us and nobody knows.
    pub orphans: u64,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Shards in places that are known and about to be emptied.
    pub leaving: u64,
    /// Shards that hold the gateway's own metadata.
    pub vault: u64,
    /// Nodes that could not be listed: none of their shards is verified.
    pub silent: Vec<String>,
}

/// What a census found, for those who act on it.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The counts.
    pub census: Census,
    /// Shards that are missing, with their nodes.
    pub missing: Vec<(NodeId, ShardId)>,
    /// Shards that metadata count on nowhere.
    pub unstored: Vec<(SegmentId, u8)>,
    /// Shards that nobody knows.
    pub strays: Vec<Stray>,
    /// Shards that were asked for by themselves.
    asked: usize,
}

/// Counts everything.
pub async fn take(gateway: &Arc<Gateway>, depth: Depth) -> Result<Findings, MetaError> {
    let views = gateway.registry.views();
    let mut listings: Vec<_> = views.iter().map(|view| Listing::new(view.record.node)).collect();
    let mut findings = Findings::default();
    let mut after: Option<SegmentId> = None;
    loop {
        // Metadata first: what is committed while nodes are listed is no loss.
        let page = gateway.meta.count_segments(after, PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        let first = after.unwrap_or(SegmentId([0; 16]));
        let last = match page.last() {
            Some(segment) if !is_last => segment.id,
            _ => SegmentId([0xff; 16]),
        };
        let held = list(gateway, &mut listings, last).await;
        let held = verify(gateway, &page, held, depth).await;
        let witnesses = Witnesses::of(gateway, &listings);
        compare(gateway, &page, held, &witnesses, (first, last), depth, &mut findings).await?;
        if is_last {
            break;
        }
        after = Some(last);
    }
    findings.census.silent = silent(gateway, &listings).await?;
    Ok(findings)
}

/// Nodes that could not be listed, those among them that were not there to be asked.
async fn silent(gateway: &Gateway, listings: &[Listing]) -> Result<Vec<String>, MetaError> {
    let stored = gateway.meta.stored_by_node().await?;
    let known = gateway.meta.nodes().await?.into_iter();
    let holding = known.filter(|known| {
        known.state.keeps_shards() && stored.get(&known.node).is_some_and(|bytes| *bytes > 0)
    });
    let is_asked = |node: &NodeId| listings.iter().any(|listing| listing.node == *node);
    let unasked = holding.map(|known| known.node).filter(|node| !is_asked(node));
    let failed = listings.iter().filter(|listing| listing.failed.is_some());
    let silent: BTreeSet<NodeId> = failed.map(|listing| listing.node).chain(unasked).collect();
    Ok(silent.iter().map(ToString::to_string).collect())
}

/// What nodes hold of a page of segments.
type Lists = HashMap<(NodeId, ShardId), (Root, u64)>;

async fn list(gateway: &Gateway, listings: &mut [Listing], last: SegmentId) -> Lists {
    let mut lists = Lists::new();
    for together in listings.chunks_mut(TOGETHER) {
        let nodes = &*gateway.nodes;
        let pages = together.iter_mut().map(|listing| listing.take_to(nodes, last));
        let pages = join_all(pages).await;
        for (listing, page) in together.iter().zip(pages) {
            let entry = |held: Held| ((listing.node, held.shard), (held.root, held.len));
            lists.extend(page.into_iter().map(entry));
        }
    }
    lists
}

/// With depth, takes from the lists what cannot be read.
async fn verify(
    gateway: &Arc<Gateway>,
    page: &[CountedSegment],
    mut lists: Lists,
    depth: Depth,
) -> Lists {
    if depth == Depth::List {
        return lists;
    }
    let wanted = page.iter().filter(|segment| segment.state == ContentState::Live);
    let places = wanted.flat_map(|segment| {
        segment.shards.iter().filter_map(|shard| {
            let id = ShardId { segment: segment.id, index: shard.index };
            Some(((shard.node, id), shard.stored?))
        })
    });
    let places: Vec<_> =
        places.filter(|(place, stored)| lists.get(place) == Some(stored)).collect();
    for together in places.chunks(TOGETHER) {
        let reads = together.iter().map(|&((node, shard), (root, len))| {
            read_whole(gateway, node, ShardRange { shard, root, len, bytes: 0..len })
        });
        for (&(place, _), outcome) in together.iter().zip(join_all(reads).await) {
            if let Err(error) = outcome {
                tracing::warn!(?place, %error, "census: shard cannot be read");
                lists.remove(&place);
            }
        }
    }
    lists
}

/// Which nodes can be believed, and which count.
struct Witnesses {
    /// They could not be listed (to the end).
    silent: BTreeSet<NodeId>,
    /// What is on any other node is given up.
    kept: BTreeSet<NodeId>,
}

impl Witnesses {
    fn of(gateway: &Gateway, listings: &[Listing]) -> Self {
        let failed = listings.iter().filter(|listing| listing.failed.is_some());
        let views = gateway.registry.views();
        let kept = views.iter().filter(|view| view.state.keeps_shards());
        Self {
            silent: failed.map(|listing| listing.node).collect(),
            kept: kept.map(|view| view.record.node).collect(),
        }
    }
}

/// Compares a page of segments, from `first` to `last`, with what nodes hold.
async fn compare(
    gateway: &Gateway,
    page: &[CountedSegment],
    mut held: Lists,
    witnesses: &Witnesses,
    (first, last): (SegmentId, SegmentId),
    depth: Depth,
    findings: &mut Findings,
) -> Result<(), MetaError> {
    for segment in page {
        if segment.state == ContentState::Live {
            count(gateway, segment, &held, witnesses, depth, findings).await?;
        }
        for shard in &segment.shards {
            held.remove(&(shard.node, ShardId { segment: segment.id, index: shard.index }));
        }
    }
    // What is left stands in no place that a segment has.
    let leftovers = gateway.meta.leftovers_between(first, last).await?;
    for ((node, shard), (_, len)) in held {
        if leftovers.contains(&(node, shard)) {
            findings.census.leaving += 1;
        } else if gateway.vault.is_ours(shard.segment) {
            findings.census.vault += 1;
        } else if !gateway.meta.knows_place(node, shard).await? {
            findings.stray(Stray { node, shard, len });
        }
    }
    Ok(())
}

/// Counts one segment of a live content.
async fn count(
    gateway: &Gateway,
    segment: &CountedSegment,
    held: &Lists,
    witnesses: &Witnesses,
    depth: Depth,
    findings: &mut Findings,
) -> Result<(), MetaError> {
    let mut verified = 0;
    let mut unstored: BTreeSet<u8> = (0..segment.scheme.total()).collect();
    for shard in &segment.shards {
        let (node, id) = (shard.node, ShardId { segment: segment.id, index: shard.index });
        let Some(stored) = shard.stored.filter(|_| witnesses.kept.contains(&node)) else {
            continue;
        };
        unstored.remove(&shard.index);
        let found = held.get(&(node, id));
        let mut is_verified = found == Some(&stored);
        if !is_verified
            && !witnesses.silent.contains(&node)
            && gateway.meta.is_stored_on(node, id, stored.0).await?
        {
            // It may have been stored after its node was listed.
            let may_be_new = found.is_none() && findings.may_ask();
            is_verified = may_be_new && is_held(gateway, node, id, stored, depth).await;
            if !is_verified {
                findings.missing(node, id);
            }
        }
        if is_verified {
            verified += 1;
            findings.census.shards += 1;
            findings.census.bytes += stored.1;
        }
    }
    findings.census.count(segment, verified);
    findings.unstored(segment.id, unstored);
    Ok(())
}

/// Asks a node for one shard alone.
async fn is_held(
    gateway: &Gateway,
    node: NodeId,
    shard: ShardId,
    (root, len): (Root, u64),
    depth: Depth,
) -> bool {
    if depth == Depth::Read {
        return read_whole(gateway, node, ShardRange { shard, root, len, bytes: 0..len })
            .await
            .is_ok();
    }
    let listed = gateway.nodes.list(node, shard, 1).await;
    listed.is_ok_and(|held| held.first() == Some(&Held { shard, len, root }))
}

impl Census {
    fn count(&mut self, segment: &CountedSegment, verified: u8) {
        self.segments += 1;
        if verified >= segment.scheme.total() {
            self.full += 1;
        } else if verified >= segment.scheme.needed() {
            self.degraded += 1;
        } else {
            self.lost += 1;
        }
    }
}

impl Findings {
    /// Whether one more shard may be asked for by itself.
    fn may_ask(&mut self) -> bool {
        self.asked += 1;
        self.asked <= ASKED_MAX
    }

    fn missing(&mut self, node: NodeId, shard: ShardId) {
        self.census.missing += 1;
        if self.missing.len() < FINDINGS_MAX {
            self.missing.push((node, shard));
        }
    }

    fn unstored(&mut self, segment: SegmentId, shards: BTreeSet<u8>) {
        let room = FINDINGS_MAX.saturating_sub(self.unstored.len());
        self.unstored.extend(shards.into_iter().take(room).map(|index| (segment, index)));
    }

    fn stray(&mut self, stray: Stray) {
        self.census.orphans += 1;
        self.census.orphan_bytes = self.census.orphan_bytes.saturating_add(stray.len);
        if self.strays.len() < FINDINGS_MAX {
            self.strays.push(stray);
        }
    }
}
