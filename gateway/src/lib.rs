//! S3 in, shards out.
//!
//! From the top floor to the ground; a file uses only floors below its own:
//! [`run`] (start and stop), [`http`] and [`s3`] (the doors), [`ops`] (one S3
//! operation, one file) and [`upkeep`] (loops), [`error`] (the one map to S3
//! errors), [`events`], [`webhook`] and [`access_log`] (what is told to whom),
//! [`object`] (bytes to shards and back), [`gateway`] (the composition root),
//! [`nodes`], [`chain`] and [`meta`] (the world outside: storage nodes, what the ledger
//! says, SQL). [`vault`] and
//! [`census`] stand beside [`ops`]: the metadata themselves, kept on the nodes, and
//! every shard counted. Beside them stands [`auth`] (who may do what): pure, but for its keys, and known to all.
//!
//! A gateway meets storage nodes only in `protocol`: nothing here knows how a
//! node keeps its shards.

pub mod access_log;
pub mod auth;
pub mod census;
pub mod chain;
mod cost;
pub mod error;
pub mod events;
pub mod gateway;
pub mod http;
pub mod master;
pub mod meta;
pub mod meter;
pub mod nodes;
pub mod object;
pub mod ops;
pub mod run;
pub mod s3;
pub mod settings;
pub mod upkeep;
pub mod vault;
pub mod webhook;

pub use run::{FirstKey, GatewayServer, OpenError};
pub use settings::{NodeSettings, Settings, SettingsError, UpkeepSettings};

#[cfg(test)]
mod testing;
