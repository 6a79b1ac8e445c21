//! Bytes to shards and back.
//!
//! A segment is cut into stripes, a stripe into `data` units; coding adds
//! `parity` units, and shard `i` is unit `i` of every stripe. [`Layout`] says
//! where each byte lies, [`Codec`] does the coding, and [`self_test`] proves at
//! start-up that the coding of this machine is the one that stored data relies on.
//!
//! ```text
//! segment  |---- stripe 0 ----|---- stripe 1 ----|- tail -|000|
//!              unit 0 1 2 3       unit 0 1 2 3    unit 0 1 2 3
//! shard 0  | unit 0 of stripe 0 | unit 0 of stripe 1 | unit 0 of the tail |
//! shard 4  |      parity 0      |      parity 0      |      parity 0      |
//! ```
//!
//! Pure: no async, no I/O, no clock. Not here: whether a shard is intact. A
//! corrupt unit decodes to corrupt bytes, so callers verify units first.

mod codec;
mod golden;
mod layout;
mod plans;
mod rse;
mod rusty;
mod scheme;
mod self_test;

pub use codec::{Codec, CodecId, DecodeError, Engine, UnknownCodec, UnknownEngine};
pub use layout::{Layout, TAIL_ALIGN, UNIT};
pub use scheme::{Scheme, SchemeError, ShardIndex};
pub use self_test::{SelfTestError, self_test};
