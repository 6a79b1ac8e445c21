//! `stratos wallet`: the key of an account's owner, and what it lets gateways
//! spend.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use protocol::grant::{Grant, owned_account};
use protocol::ledger_api::Submission;
use protocol::price::Amount;
use protocol::statement::UNSIGNED;
use protocol::{Epoch, GatewayId, SecretKey};
use serde_json::json;

use super::{LedgerReach, ReachError, parse_credits, submit};
use crate::cli::output::print;
use crate::cli::table::facts;
use crate::exit::Failure;

/// Own an account by a key, and let gateways spend from it within limits.
#[derive(Debug, Args)]
#[command(after_help = "\
The account's id is made from the wallet's key, so no gateway can open it or speak for it.
A gateway spends only within a grant: all it may ever set aside, and until which epoch. A
grant with a higher serial replaces the one before, so a lower limit takes money back that
is not set aside yet.

Examples:
  stratos wallet new wallet.key
  stratos wallet grant wallet.key GATEWAY --limit 20 --epochs 4320 --data ./data
  stratos account create alice --owner OWNER --data ./data")]
pub struct WalletArgs {
    #[command(subcommand)]
    command: WalletCommand,
}

#[derive(Debug, Subcommand)]
enum WalletCommand {
    /// Make a key, unless the file has one, and tell its owner and account.
    New {
        /// The file. Only its owner may read it.
        file: PathBuf,
        /// Print JSON with stable names.
        #[arg(long)]
        json: bool,
    },
    /// Let a gateway spend.
    Grant {
        /// The wallet's key.
        file: PathBuf,
        /// The gateway's key (`stratos ledger gateways`).
        gateway: GatewayId,
        /// All that it may ever set aside, in credits.
        #[arg(long, value_name = "CREDITS", value_parser = parse_credits)]
        limit: Amount,
        /// For how many epochs from now.
        #[arg(long, value_name = "N")]
        epochs: u64,
        #[command(flatten)]
        reach: LedgerReach,
    },
}

impl WalletArgs {
    /// Does it.
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            WalletCommand::New { file, json } => tell(&SecretKey::load_or_create(&file)?, json),
            WalletCommand::Grant { file, gateway, limit, epochs, reach } => {
                let owner = SecretKey::load(&file)?;
                let client = reach.client(owner.clone())?;
                let info = client.chain_info().await.map_err(ReachError::from)?;
                let grant = Grant {
                    chain: info.chain,
                    owner: owner.public(),
                    gateway,
                    limit,
                    until: Epoch(info.open.0.saturating_add(epochs)),
                    serial: u64::try_from(now_ms()).unwrap_or(u64::MAX),
                    signature: UNSIGNED,
                };
                let grant = grant.signed(&owner);
                submit(&client, Submission::Grant(Box::new(grant))).await?;
                tell(&owner, reach.json)
            }
        }
    }
}

/// Serials must only grow, and a wallet keeps nothing but its key.
fn now_ms() -> u128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_millis()
}

fn tell(key: &SecretKey, as_json: bool) -> Result<(), Failure> {
    let (owner, account) = (key.public().to_string(), owned_account(key.public()).to_string());
    print(as_json, &json!({ "owner": owner, "account": account }), || {
        facts([("owner", owner.clone()), ("account", account.clone())])
    })
}
