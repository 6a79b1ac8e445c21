//! A whole cluster, simulated: three gateways, twelve nodes and the database,
//! as messages in a queue ordered by time. One seed, one history.
//!
//! [`world`] is the queue and the network, [`database`] the transactions,
//! [`clients`] what gateways do for clients, [`upkeep`] what they do by
//! themselves, [`faults`] what goes wrong, [`oracle`] what must be true all the
//! same. Placement and the plan of a repair are the gateway's own code.
//!
//! An object is a number, and a shard of it is that number and its own, so any
//! shard that is what its root says gives the object back; that four of them
//! are asked for is a rule of the reader. Real coding is tested elsewhere.
//!
//! Rules that tolerate losses are held to: a second loss of the same object
//! comes only after it was whole again. Everything else that goes wrong may go
//! wrong at any time.

pub mod clients;
pub mod database;
pub mod faults;
pub mod oracle;
pub mod random;
pub mod upkeep;
pub mod world;

use erasure::Scheme;
use protocol::{Incarnation, NodeId, SegmentId};

pub use faults::Fault;
pub use world::{Outcome, World};

/// Gateways.
pub const GATEWAYS: usize = 3;
/// Storage nodes.
pub const NODES: usize = 12;
/// Shards that are needed.
pub const NEEDED: usize = 4;
/// Shards in all.
pub const TOTAL: usize = 6;

/// Milliseconds since the beginning.
pub type Time = u64;
/// Milliseconds on some gateway's clock.
pub type Clock = i64;
/// A storage node.
pub type NodeNo = u8;
/// A content; each has one segment.
pub type ContentNo = u32;
/// The bytes of a shard, or of an object.
pub type Bytes = u64;

/// 4+2.
pub fn scheme() -> Scheme {
    "4+2".parse().expect("a scheme")
}

/// The bytes of a shard.
pub fn shard_of(object: Bytes, index: u8) -> Bytes {
    object ^ (u64::from(index) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The object that a shard is of: the same arithmetic backwards.
pub fn object_of(shard: Bytes, index: u8) -> Bytes {
    shard_of(shard, index)
}

/// The root of a shard.
pub fn root_of(shard: Bytes) -> u64 {
    random::mix(shard ^ 0x726f_6f74)
}

/// The id of a node.
pub fn node_id(node: NodeNo) -> NodeId {
    NodeId([node; 32])
}

/// The number of a node.
pub fn node_no(node: NodeId) -> NodeNo {
    node.0[0]
}

/// A life of a node's folder.
pub fn incarnation(life: u32) -> Incarnation {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&life.to_le_bytes());
    Incarnation(id)
}

/// The segment of a content.
pub fn segment_id(content: ContentNo) -> SegmentId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&random::mix(content.into()).to_le_bytes());
    SegmentId(id)
}
