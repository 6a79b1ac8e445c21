//! What the owner of a node or a gateway orders with what it earned.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use protocol::AccountId;
use protocol::keys::random;
use protocol::ledger_api::Submission;
use protocol::order::{Action, EvmAddress, Order};
use protocol::price::Amount;
use protocol::statement::TransferId;

use super::{LedgerReach, ReachError, parse_credits, parse_transfer, submit, told, unsure};
use crate::exit::Failure;

/// Whose order it is.
#[derive(Clone, Debug, Args)]
pub struct OwnerArgs {
    /// The node's or the gateway's key, node.key or gateway.key in its folder.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Makes it idempotent: the same again with the same id changes nothing
    /// [default: random].
    #[arg(long, value_name = "HEX", value_parser = parse_transfer)]
    id: Option<TransferId>,
    /// The ledger.
    #[command(flatten)]
    reach: LedgerReach,
}

/// What is ordered.
#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Take mature pay out of the network.
    Withdraw {
        /// How much, in credits.
        #[arg(value_parser = parse_credits)]
        credits: Amount,
        /// Whose order it is.
        #[command(flatten)]
        owner: OwnerArgs,
    },
    /// Top up a customer's account with mature pay.
    Spend {
        /// The account's id, 32 hex digits.
        account: AccountId,
        /// How much, in credits.
        #[arg(value_parser = parse_credits)]
        credits: Amount,
        /// Whose order it is.
        #[command(flatten)]
        owner: OwnerArgs,
    },
    /// Turn mature pay into a node's deposit or a gateway's bond.
    Stake {
        /// How much, in credits.
        #[arg(value_parser = parse_credits)]
        credits: Amount,
        /// Whose order it is.
        #[command(flatten)]
        owner: OwnerArgs,
    },
    /// Leave the network in order, and get back the deposit and what was held
    /// back. Drain the node at its gateways first (`stratos node drain`).
    Exit {
        /// Whose order it is.
        #[command(flatten)]
        owner: OwnerArgs,
    },
    /// Name who is paid on an EVM chain.
    BindEvm {
        /// 0x and 40 hex digits.
        #[arg(value_parser = parse_address)]
        address: EvmAddress,
        /// Whose order it is.
        #[command(flatten)]
        owner: OwnerArgs,
    },
}

fn parse_address(text: &str) -> Result<EvmAddress, String> {
    let mut address = [0; 20];
    let digits = text.strip_prefix("0x").ok_or("write 0x and 40 hex digits")?;
    hex::decode_to_slice(digits, &mut address).map_err(|_| "write 0x and 40 hex digits")?;
    Ok(EvmAddress(address))
}

impl OrderCommand {
    /// Does it.
    pub async fn run(self) -> Result<(), Failure> {
        let (what, action, amount, owner) = match self {
            Self::Withdraw { credits, owner } => {
                ("withdrawn", Action::Withdraw(credits), Some(credits), owner)
            }
            Self::Spend { account, credits: amount, owner } => {
                ("topped up", Action::Spend { account, amount }, Some(amount), owner)
            }
            Self::Stake { credits, owner } => {
                ("staked", Action::Stake(credits), Some(credits), owner)
            }
            Self::Exit { owner } => ("leaving", Action::Exit, None, owner),
            Self::BindEvm { address, owner } => ("bound", Action::BindEvm(address), None, owner),
        };
        let key = owner.reach.key(Some(&owner.key), "")?;
        let client = owner.reach.client(key.clone())?;
        let chain = client.chain_info().await.map_err(ReachError::from)?.chain;
        let id = owner.id.unwrap_or_else(|| TransferId(random()));
        let order = Order::signed(chain, &key, id, action);
        let done = submit(&client, Submission::Order(Box::new(order))).await;
        done.map_err(|error| unsure(id, error))?;
        told(owner.reach.json, what, id, amount)
    }
}
