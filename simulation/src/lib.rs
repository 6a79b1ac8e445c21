//! Tests of the protocol that keeps what was acknowledged. Nothing here is
//! part of the program.
//!
//! [`rules`] names the rules of the protocol, each of which can be broken on
//! purpose. [`explore`] searches all states of a model breadth first, and
//! [`commit`] is that model: uploads, copies, deletes, multipart uploads,
//! repair and collection, in any order, with the faults that are promised to be
//! survived. [`cluster`] is a whole cluster, simulated from a seed. [`quic`] is
//! the real QUIC, frames and messages over simulated lines.
//!
//! Not here: the SQL that keeps the rules (`gateway::meta` has tests of its
//! own against a reference model), and real disks and sockets.

pub mod cluster;
pub mod commit;
pub mod explore;
pub mod quic;
pub mod rules;
