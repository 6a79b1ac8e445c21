//! From bytes of an object to shards on nodes and back: cut ([`splitter`]),
//! encrypt ([`cipher`]), encode ([`encoder`]), choose nodes ([`placement`]),
//! send ([`upload`]), fetch ([`download`]), check what the client declared
//! ([`digest`]), and check that it is still there ([`audit`]).
//!
//! # How an object's bytes are cut
//! ```text
//! object   = parts (one for a single put), each a content with its own data key
//! content  = segments of 64 MiB of plain bytes, the last one shorter
//! segment  = chunks of 65,520 plain bytes + 16 bytes tag = 64 KiB, the last one shorter
//! stripe   = `data` units of 64 KiB: `data` chunks; the last stripe's units are smaller
//! shard    = the same unit of every stripe of a segment
//! ```
//! A full chunk is exactly a full unit, so a byte range touches few shards.

pub mod audit;
pub mod cipher;
pub mod commit;
pub mod digest;
pub mod download;
pub mod encoder;
pub mod health;
pub mod keyring;
pub mod placement;
pub mod rebuild;
mod segment_reader;
mod segment_writer;
pub mod shard_reader;
pub mod splitter;
pub mod upload;

#[cfg(test)]
mod tests;
