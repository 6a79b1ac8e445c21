//! Chooses the nodes for one segment.
//!
//! Pure: the caller passes a snapshot of the registry, so the same inputs give
//! the same placement and a test needs no nodes. Each candidate gets a score
//! from hashing its id with the segment id, weighted by its free space
//! (weighted rendezvous hashing); the best scores win, one shard a node. A node
//! that joins or leaves therefore moves only what it wins or had won.
//!
//! Not here: whether a node is alive (`nodes::registry`).

use protocol::{Incarnation, NodeId, SegmentId};

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
}

/// The nodes that are up and have room for `shard_len` bytes.
pub fn candidates(views: &[NodeView], shard_len: u64) -> Vec<Candidate> {
    views
        .iter()
        .filter(|view| view.is_up() && view.free >= shard_len)
        .filter_map(|view| {
            let (node, free) = (view.record.node, view.free);
            Some(Candidate { node, incarnation: view.incarnation?, free })
        })
        .collect()
}

/// One node for each of `total` shards, as far as there are enough.
pub fn place(
    segment: SegmentId,
    total: u8,
    candidates: &[Candidate],
) -> Vec<Option<(NodeId, Incarnation)>> {
    let mut scored: Vec<(f64, &Candidate)> =
        candidates.iter().map(|candidate| (score(segment, candidate), candidate)).collect();
    scored.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(x.node.cmp(&y.node)));
    let mut chosen = scored.into_iter().map(|(_, chosen)| (chosen.node, chosen.incarnation));
    (0..total).map(|_| chosen.next()).collect()
}

/// -weight / ln(hash in (0, 1)): the highest of these is at a candidate with
/// the probability of its share of the weights.
fn score(segment: SegmentId, candidate: &Candidate) -> f64 {
    let mut hasher = blake3::Hasher::new_derive_key("stratos placement v1");
    hasher.update(&segment.0);
    hasher.update(&candidate.node.0);
    let mut eight = [0; 8];
    eight.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    // 53 bits fill the mantissa; half a step keeps it off 0 and 1.
    let bits = (u64::from_le_bytes(eight) >> 11) as f64;
    let unit = (bits + 0.5) / (1u64 << 53) as f64;
    let weight = (candidate.free >> 20).max(1) as f64;
    -weight / unit.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(n: u8, free_mib: u64) -> Candidate {
        let (node, incarnation) = (NodeId([n; 32]), Incarnation([n; 16]));
        Candidate { node, incarnation, free: free_mib << 20 }
    }

    fn segment(n: u32) -> SegmentId {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_le_bytes());
        SegmentId(id)
    }

    #[test]
    fn every_shard_is_on_a_node_of_its_own() {
        let nodes: Vec<_> = (0..10).map(|n| candidate(n, 100)).collect();
        for n in 0..100 {
            let mut placed: Vec<_> =
                place(segment(n), 6, &nodes).into_iter().map(Option::unwrap).collect();
            placed.sort();
            placed.dedup();
            assert_eq!(placed.len(), 6);
        }
    }

    #[test]
    fn too_few_nodes_leave_places_empty() {
        let nodes: Vec<_> = (0..4).map(|n| candidate(n, 100)).collect();
        let placed = place(segment(1), 6, &nodes);
        assert_eq!(placed.iter().flatten().count(), 4);
        assert_eq!(placed.len(), 6);
    }

    #[test]
    fn the_order_of_candidates_does_not_matter() {
        let mut nodes: Vec<_> = (0..8).map(|n| candidate(n, u64::from(n) * 10)).collect();
        let placed = place(segment(5), 6, &nodes);
        nodes.reverse();
        assert_eq!(place(segment(5), 6, &nodes), placed);
    }

    #[test]
    fn twice_the_room_gets_about_twice_the_shards() {
        let mut nodes: Vec<_> = (0..20).map(|n| candidate(n, 100)).collect();
        nodes[0].free *= 2;
        let mut wins = [0u32; 2];
        for n in 0..4000 {
            for (node, _) in place(segment(n), 2, &nodes).into_iter().flatten() {
                if node.0[0] < 2 {
                    wins[usize::from(node.0[0])] += 1;
                }
            }
        }
        let ratio = f64::from(wins[0]) / f64::from(wins[1]);
        assert!((1.6..2.4).contains(&ratio), "{wins:?}");
    }
}
