//! Commands that talk to a ledger itself, over QUIC and with a key, not to a
//! gateway: what operators, node owners and wallets order, and what anyone may
//! ask.

pub mod operate;
pub mod order;
pub mod prove;
pub mod wallet;

use std::path::{Path, PathBuf};

use clap::Args;
use ledger::{ClientError, LedgerAddr, LedgerClient};
use protocol::ids::PublicKey;
use protocol::ledger_api::{Outcome, Submission};
use protocol::price::Amount;
use protocol::statement::TransferId;
use protocol::{LedgerId, SecretKey};
use serde_json::json;
use thiserror::Error;

use crate::admin::AdminClient;
use crate::cli::output::print;
use crate::cli::table::facts;
use crate::endpoint::{Endpoint, EndpointError};
use crate::exit::Failure;
use crate::units::show_credits;

/// Which ledger.
#[derive(Clone, Debug, Args)]
pub struct LedgerReach {
    /// The folder of a network that runs on this machine (`stratos up DIR`), or of a
    /// gateway that does.
    #[arg(long, value_name = "DIR", conflicts_with = "ledger")]
    pub data: Option<PathBuf>,

    /// The ledger, by its key and address: ID@IP:PORT.
    #[arg(long, value_name = "ID@IP:PORT")]
    pub ledger: Option<String>,

    /// Print JSON with stable names. Amounts are atto-credits (10^-18) as strings.
    #[arg(long)]
    pub json: bool,
}

/// Why a ledger could not be asked.
#[derive(Debug, Error)]
pub enum ReachError {
    /// Neither flag is given.
    #[error("which ledger? Give --data DIR of a network here, or --ledger ID@IP:PORT")]
    NoTarget,
    /// Not ID@IP:PORT.
    #[error("{0:?} is no ledger: write ID@IP:PORT, as `stratos ledger --print-id` tells the ID")]
    Target(String),
    /// It was written by an older program.
    #[error("the network in {0} does not say where its ledger is: restart it, or give --ledger")]
    OldEndpoint(PathBuf),
    /// No network runs there.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The ledger did not answer, or said no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It answered, and does not do it.
    #[error("the ledger refused: {0}")]
    Refused(String),
    /// The answer made no sense.
    #[error("the ledger's answer makes no sense: {0}")]
    Answer(String),
}

impl LedgerReach {
    fn target(&self) -> Result<LedgerAddr, ReachError> {
        let text = match (&self.ledger, &self.data) {
            (Some(text), _) => text.clone(),
            (None, Some(dir)) => {
                Endpoint::read(dir)?.ledger.ok_or_else(|| ReachError::OldEndpoint(dir.clone()))?
            }
            (None, None) => return Err(ReachError::NoTarget),
        };
        let parsed = text.split_once('@').and_then(|(id, addr)| {
            Some(LedgerAddr { id: id.parse::<LedgerId>().ok()?, addr: addr.parse().ok()? })
        });
        parsed.ok_or(ReachError::Target(text))
    }

    /// A client that shows this key.
    pub fn client(&self, key: SecretKey) -> Result<LedgerClient, ReachError> {
        Ok(LedgerClient::new(key, self.target()?))
    }

    /// A client for whom it does not matter who it is.
    pub fn stranger(&self) -> Result<LedgerClient, ReachError> {
        self.client(SecretKey::generate())
    }

    /// The ledger's key, as it is pinned.
    pub fn id(&self) -> Result<LedgerId, ReachError> {
        Ok(self.target()?.id)
    }

    /// The key that is meant: a whole one, or the beginning of a node's that the network
    /// in the folder knows.
    pub async fn party(&self, text: &str) -> Result<PublicKey, Failure> {
        match (text.parse(), &self.data) {
            (Ok(key), _) => Ok(key),
            (Err(_), Some(dir)) => {
                let status = AdminClient::of_dir(dir)?.node(text).await?;
                let said = |error| ReachError::Answer(format!("{error}"));
                Ok(status.node.parse().map_err(said)?)
            }
            (Err(error), None) => {
                let hint = "of a node its beginning will do with --data DIR";
                Err(Failure::usage(format!("{error}; {hint}")))
            }
        }
    }

    /// A key: the file, or this one in the network's folder.
    pub fn key(&self, file: Option<&Path>, in_folder: &str) -> Result<SecretKey, Failure> {
        let path = match (file, &self.data) {
            (Some(file), _) => file.to_owned(),
            (None, Some(dir)) => dir.join(in_folder),
            (None, None) => return Err(Failure::usage("whose key? Give --key FILE")),
        };
        Ok(SecretKey::load(&path)?)
    }
}

/// Submits one thing, and says good-bye; an error if the ledger does not take it.
pub async fn submit(client: &LedgerClient, submission: Submission) -> Result<(), ReachError> {
    let outcomes = client.submit(vec![submission]).await;
    // A ledger has few seats for strangers, and keeps one until it hears of it.
    client.close().await;
    let outcome = outcomes?.into_iter().next();
    taken(outcome.ok_or_else(|| ReachError::Answer("no outcome".to_owned()))?)
}

fn taken(outcome: Outcome) -> Result<(), ReachError> {
    outcome.map_err(ReachError::Refused)
}

/// Money as people write it: credits with up to 18 decimals.
pub fn parse_credits(text: &str) -> Result<Amount, String> {
    const HINT: &str = "write credits, such as 5 or 0.25, with at most 18 decimals";
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > 18 {
        return Err(HINT.to_owned());
    }
    let digits = format!("{whole}{part:0<18}");
    digits.parse().map(Amount).map_err(|_| "that is more than can be counted".to_owned())
}

/// An id that makes a transfer idempotent: 32 hex digits.
pub fn parse_transfer(text: &str) -> Result<TransferId, String> {
    let mut id = [0; 16];
    hex::decode_to_slice(text, &mut id).map_err(|_| "write 32 hex digits".to_owned())?;
    Ok(TransferId(id))
}

/// What an order that failed is told as. Where it is not known whether it was done
/// that names the id, so that doing it again cannot do it twice.
fn unsure(id: TransferId, error: ReachError) -> Failure {
    if !matches!(error, ReachError::Client(_) | ReachError::Answer(_)) {
        return error.into();
    }
    let id = hex::encode(id.0);
    Failure::operation(format!("{error}; to try again without doing it twice, add --id {id}"))
}

/// Tells what was ordered: with the id it can be ordered again without harm.
fn told(json: bool, what: &str, id: TransferId, amount: Option<Amount>) -> Result<(), Failure> {
    let id = hex::encode(id.0);
    print(json, &json!({ "done": what, "id": id, "amount": amount }), || {
        let amount = amount.map(|amount| format!("{} credits", show_credits(amount)));
        let mut lines = vec![("done", what.to_owned()), ("id", id.clone())];
        lines.extend(amount.map(|amount| ("amount", amount)));
        facts(lines)
    })
}

#[cfg(test)]
mod tests {
    use protocol::price::CREDIT;

    use super::*;

    #[test]
    fn credits_are_read_to_the_last_atto() {
        assert_eq!(parse_credits("5"), Ok(Amount(5 * CREDIT)));
        assert_eq!(parse_credits("0.25"), Ok(Amount(CREDIT / 4)));
        assert_eq!(parse_credits("0.000000000000000001"), Ok(Amount(1)));
        for wrong in
            ["", ".5", "-1", "1e3", "1.0000000000000000001", "1,5", "9".repeat(40).as_str()]
        {
            assert!(parse_credits(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ledger_is_named_by_key_and_address() {
        let reach = |text: &str| LedgerReach { data: None, ledger: Some(text.into()), json: false };
        let id = "ab".repeat(32);
        let found = reach(&format!("{id}@127.0.0.1:4400")).target().expect("a ledger");
        assert_eq!((found.id.to_string(), found.addr.port()), (id, 4400));
        for wrong in ["127.0.0.1:4400", "ab@127.0.0.1:4400", "@"] {
            let error = reach(wrong).target().unwrap_err().to_string();
            assert!(error.contains("write ID@IP:PORT"), "{error}");
        }
    }
}
