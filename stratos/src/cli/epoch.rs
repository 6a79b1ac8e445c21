//! `stratos epoch`: what was settled.

use clap::{Args, Subcommand};

use crate::admin::answers::Epochs;
use crate::cli::Reach;
use crate::cli::output::print;
use crate::cli::table::Table;
use crate::exit::Failure;
use crate::units::{show_credits, show_size};

/// Look at settlement periods: traffic, what it cost, who was paid.
#[derive(Debug, Args)]
#[command(after_help = "\
An epoch is open, then takes receipts from nodes, then statements from gateways, is
sealed (it may be challenged), and at last is mature: what it paid is the receivers' own.

Examples:
  stratos epoch list --data ./data
  stratos epoch list --last 100 --data ./data --json")]
pub struct EpochArgs {
    #[command(subcommand)]
    command: EpochCommand,
}

#[derive(Debug, Subcommand)]
enum EpochCommand {
    /// List the newest epochs.
    List {
        /// How many.
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        last: u32,
        #[command(flatten)]
        reach: Reach,
    },
}

impl EpochArgs {
    /// Does it.
    pub async fn run(self) -> Result<(), Failure> {
        let EpochCommand::List { last, reach } = self.command;
        let epochs = reach.client()?.epochs(last).await?;
        print(reach.json, &epochs, || table(&epochs))
    }
}

fn table(epochs: &Epochs) -> String {
    let mut table = Table::new(&[
        "<EPOCH",
        "STATE",
        "OPENED",
        "<BYTES",
        "<DEBITED",
        "<PAID",
        "<TAX",
        "<TREASURY",
        "<SHORT",
    ]);
    for epoch in &epochs.epochs {
        table.row([
            epoch.epoch.to_string(),
            epoch.state.clone(),
            epoch.opened.clone(),
            show_size(epoch.bytes),
            show_credits(epoch.debited),
            show_credits(epoch.paid),
            show_credits(epoch.tax),
            show_credits(epoch.treasury),
            show_credits(epoch.short),
        ]);
    }
    table.to_string()
}
