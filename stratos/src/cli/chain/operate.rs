//! What the operator of a ledger does: money in, prices, gateways. The ledger
//! knows its operator by its own key.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ledger::LedgerClient;
use protocol::ids::PublicKey;
use protocol::keys::random;
use protocol::ledger_api::{ChainInfo, Operation};
use protocol::price::{Amount, PriceSheet, Prices};
use protocol::statement::TransferId;
use protocol::{AccountId, Epoch, GatewayId, SecretKey};

use super::{LedgerReach, ReachError, parse_credits, parse_transfer, taken, told, unsure};
use crate::exit::Failure;

/// Whose ledger it is.
#[derive(Clone, Debug, Args)]
pub struct OperatorArgs {
    /// The ledger's key [default: DIR/ledger/ledger.key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Makes it idempotent: the same again with the same id changes nothing
    /// [default: random].
    #[arg(long, value_name = "HEX", value_parser = parse_transfer)]
    id: Option<TransferId>,
    /// The ledger.
    #[command(flatten)]
    reach: LedgerReach,
}

/// What the operator does.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Credit an account with money that came in.
    Deposit {
        /// The account's id, 32 hex digits (`stratos account list`).
        account: AccountId,
        /// How much, in credits.
        #[arg(value_parser = parse_credits)]
        credits: Amount,
        /// Whose ledger it is.
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Credit a node's deposit or a gateway's bond with money that came in.
    Fund {
        /// The node's or the gateway's key.
        party: PublicKey,
        /// How much, in credits.
        #[arg(value_parser = parse_credits)]
        credits: Amount,
        /// Whose ledger it is.
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Post prices for epochs to come. What is not given costs what it would
    /// have cost then.
    PostPrices {
        /// The first epoch they hold for [default: the one after the next, which
        /// is the earliest].
        #[arg(long)]
        from: Option<u64>,
        /// The first epoch they no longer hold for [default: for good].
        #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
        until: u64,
        /// The prices.
        #[command(flatten)]
        prices: PriceArgs,
        /// Whose ledger it is.
        #[command(flatten)]
        operator: OperatorArgs,
    },
    /// Let another gateway take part.
    Admit {
        /// Its key: what `stratos gateway --print-id` tells.
        gateway: GatewayId,
        /// Whose ledger it is.
        #[command(flatten)]
        operator: OperatorArgs,
    },
}

/// Atto-credits for one unit.
#[derive(Clone, Copy, Debug, Args)]
pub struct PriceArgs {
    /// Of a byte uploaded to a node.
    #[arg(long)]
    put_bytes: Option<u64>,
    /// Of a byte downloaded.
    #[arg(long)]
    get_bytes: Option<u64>,
    /// Of a byte moved for repair.
    #[arg(long)]
    repair_bytes: Option<u64>,
    /// Of a byte of an audit.
    #[arg(long)]
    audit_bytes: Option<u64>,
    /// Of a byte kept for a second.
    #[arg(long)]
    stored_byte_seconds: Option<u64>,
    /// Of a unit of fuel.
    #[arg(long)]
    compute_fuel: Option<u64>,
    /// Of a request.
    #[arg(long)]
    operations: Option<u64>,
}

impl PriceArgs {
    /// These prices, and of `before` what is not given. Pure.
    fn over(self, before: Prices) -> Prices {
        Prices {
            put_bytes: self.put_bytes.unwrap_or(before.put_bytes),
            get_bytes: self.get_bytes.unwrap_or(before.get_bytes),
            repair_bytes: self.repair_bytes.unwrap_or(before.repair_bytes),
            audit_bytes: self.audit_bytes.unwrap_or(before.audit_bytes),
            stored_byte_seconds: self.stored_byte_seconds.unwrap_or(before.stored_byte_seconds),
            compute_fuel: self.compute_fuel.unwrap_or(before.compute_fuel),
            operations: self.operations.unwrap_or(before.operations),
        }
    }

    /// The sheet to post.
    fn sheet(self, info: &ChainInfo, from: Option<u64>, until: u64) -> PriceSheet {
        let from = from.unwrap_or(info.open.0 + 2);
        let before = info.prices_of(Epoch(from)).unwrap_or(&info.prices).sheet.prices;
        PriceSheet { chain: info.chain, from, until, prices: self.over(before) }
    }
}

impl OperatorArgs {
    fn key(&self) -> Result<SecretKey, Failure> {
        self.reach.key(self.key.as_deref(), "ledger/ledger.key")
    }

    /// A client that shows the operator's key.
    fn client(&self) -> Result<LedgerClient, Failure> {
        Ok(self.reach.client(self.key()?)?)
    }
}

/// Does one thing, and says good-bye; an error if the ledger does not do it.
async fn operate(client: &LedgerClient, operation: Operation) -> Result<(), ReachError> {
    let outcome = client.operate(operation).await;
    client.close().await;
    taken(outcome?)
}

impl OperatorCommand {
    /// Does it.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Deposit { account, credits: amount, operator } => {
                let id = operator.id.unwrap_or_else(|| TransferId(random()));
                let operation = Operation::Deposit { id, account, amount };
                let done = operate(&operator.client()?, operation).await;
                done.map_err(|error| unsure(id, error))?;
                told(operator.reach.json, "deposit", id, Some(amount))
            }
            Self::Fund { party, credits: amount, operator } => {
                let id = operator.id.unwrap_or_else(|| TransferId(random()));
                let operation = Operation::Fund { id, party, amount };
                let done = operate(&operator.client()?, operation).await;
                done.map_err(|error| unsure(id, error))?;
                told(operator.reach.json, "fund", id, Some(amount))
            }
            Self::PostPrices { from, until, prices, operator } => {
                let client = operator.reach.stranger()?;
                let info = client.chain_info().await;
                client.close().await;
                let info = info.map_err(ReachError::from)?;
                let signed = prices.sheet(&info, from, until).signed(&operator.key()?);
                let id = TransferId(signed.sheet.id()[..16].try_into().expect("16 bytes"));
                operate(&operator.client()?, Operation::Post(signed)).await?;
                told(operator.reach.json, "prices posted", id, None)
            }
            Self::Admit { gateway, operator } => {
                operate(&operator.client()?, Operation::Admit(gateway)).await?;
                let id = TransferId(gateway.0[..16].try_into().expect("16 bytes"));
                told(operator.reach.json, "gateway admitted", id, None)
            }
        }
    }
}
