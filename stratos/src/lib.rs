//! The program: one command line for every role, and what it needs.
//!
//! [`cli`] is the command line, [`config`] the files of the roles, [`roles`] and
//! [`cluster`] run them, [`offline`] looks at a network that does not run, [`recovery`] rebuilds a gateway, [`admin`] and [`client`] speak to a running network,
//! [`bench`](mod@bench) measures one, [`telemetry`] and [`notify`] tell others how
//! the process is, and [`exit`] is how it ends. It is a library too, so that tests use the same clients.

pub mod admin;
pub mod bench;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod endpoint;
pub mod exit;
pub mod notify;
pub mod offline;
pub mod recovery;
pub mod roles;
pub mod telemetry;
pub mod units;

#[cfg(test)]
mod recorder;
