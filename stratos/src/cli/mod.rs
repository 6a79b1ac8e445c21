//! The command line: one file a command.
//!
//! Each file holds the command's flags with their help, what it does, and how it
//! prints the answer: a table for people, stable JSON with `--json`.
//!
//! Not here: running a network (`cluster`) or a role (`roles`), and how the
//! program ends (`exit`).

pub mod account;
pub mod admin;
pub mod bench;
pub mod bucket;
mod census;
pub mod chain;
pub mod completions;
pub mod epoch;
pub mod gateway;
pub mod health;
pub mod key;
pub mod ledger;
pub mod node;
pub mod output;
pub mod presign;
mod reach;
pub mod role;
pub mod signals;
pub mod table;
pub mod up;

use clap::{Parser, Subcommand};

pub use crate::cli::reach::{CaBundle, Reach};
use crate::telemetry::LogFormat;

/// S3 storage on disks of many owners: erasure-coded, encrypted, and paid by traffic.
///
/// Start a whole network on this machine by `stratos up ./data`; it prints an endpoint and
/// keys for any S3 client. The other commands look at a network, operate it, or run one of
/// its roles on a machine of its own.
#[derive(Debug, Parser)]
#[command(
    name = "stratos",
    version,
    propagate_version = true,
    after_help = "\
First steps:
  stratos up ./data                      # in one terminal
  stratos node list --data ./data        # in another
  stratos bench --data ./data --duration 5s

Exit codes: 0 done, 1 the operation failed, 2 wrong command line or configuration.
Logs go to stderr; RUST_LOG=debug shows more."
)]
pub struct Cli {
    /// How log lines look: for people, or one JSON object a line.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "text|json",
        hide_possible_values = true,
        display_order = 900
    )]
    pub log_format: LogFormat,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the help of each is the doc of its arguments")]
pub enum Command {
    Up(up::UpArgs),
    Gateway(gateway::GatewayArgs),
    Node(node::NodeArgs),
    Ledger(ledger::LedgerArgs),
    Wallet(chain::wallet::WalletArgs),
    Key(key::KeyArgs),
    Bucket(bucket::BucketArgs),
    Account(account::AccountArgs),
    Epoch(epoch::EpochArgs),
    Admin(admin::AdminArgs),
    Presign(presign::PresignArgs),
    Health(health::HealthArgs),
    Bench(bench::BenchArgs),
    Completions(completions::CompletionsArgs),
}

#[cfg(test)]
mod tests;
