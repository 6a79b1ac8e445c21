//! The value layer: an append-only log of what nodes and gateways signed, the
//! state that follows from it, and the settlement of each epoch.
//!
//! A pure core, which neither reads a clock nor does I/O: [`entry`] what stands
//! in the log, [`genesis`] how it begins, [`state`] what it adds up to (with
//! [`account`], [`epoch`], [`settlement`] and [`curve`]), [`block`], [`log`] and [`chain`]
//! how it is chained and proved, [`export`] and [`mod@verify`] how anyone replays
//! it.
//!
//! Around it: [`store`] the disk, [`writer`] the one task that makes blocks,
//! `server` and `query` what the network asks, [`client`] the gateway's side of
//! that, and [`Ledger`] all of it in a folder.
//!
//! Why a block stands is in [`finality`], what witnesses cosign in
//! [`checkpoint`] and [`note`], who watches in [`witness`], and what proves a
//! ledger false in [`fraud`]. Not here: what is signed and how it looks on the
//! wire (`protocol`), and audits.

pub mod account;
pub mod block;
pub mod chain;
pub mod checkpoint;
pub mod client;
pub mod clock;
pub mod curve;
pub mod economy;
pub mod entry;
pub mod epoch;
pub mod event;
pub mod export;
pub mod finality;
mod fraction;
pub mod fraud;
pub mod genesis;
mod halt;
pub mod hash;
mod ledger;
pub mod log;
mod notary;
pub mod note;
pub mod proof;
mod query;
mod replay;
mod server;
pub mod settlement;
pub mod state;
pub mod store;
pub mod verify;
pub mod witness;
pub mod writer;

#[cfg(test)]
mod tests;

pub use client::{ClientError, LedgerAddr, LedgerClient};
pub use economy::{Economy, EmissionTier, Pricing};
pub use genesis::{DEFAULT_PRICES, Genesis, Params};
pub use ledger::{Ledger, OpenError, Operator, RunError, Settings};
pub use replay::ReplayError;
pub use verify::{Report, verify};
pub use witness::{Witness, WitnessError};
