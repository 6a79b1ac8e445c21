//! `stratos key`: access keys of accounts.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::admin::answers::Keys;
use crate::cli::Reach;
use crate::cli::output::print;
use crate::cli::table::{Table, facts};
use crate::exit::Failure;

/// Make, list and delete access keys.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stratos account create alice --data ./data
  stratos key create --account alice --data ./data
  stratos key create --account alice --policy read-only.json --data ./data
  stratos key list --data ./data
  stratos key delete SKABCDEFGHIJKLMNOPQR --data ./data")]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make an access key for an account. Its secret is shown this once.
    Create {
        /// Whose key it is.
        #[arg(long, value_name = "NAME")]
        account: String,
        /// A policy (JSON) that its requests must fit, besides what the account may do;
        /// - reads it from standard input.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        #[command(flatten)]
        reach: Reach,
    },
    /// List access keys, without their secrets.
    List {
        /// Only those of one account.
        #[arg(long, value_name = "NAME")]
        account: Option<String>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Delete an access key. Requests signed with it are refused from then on.
    Delete {
        /// The access key's id.
        id: String,
        #[command(flatten)]
        reach: Reach,
    },
}

impl KeyArgs {
    /// Does it.
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            KeyCommand::Create { account, policy, reach } => {
                let client = reach.client()?;
                let key = match policy {
                    Some(file) => client.create_key_with_policy(&account, &read(&file)?).await?,
                    None => client.create_key(&account).await?,
                };
                print(reach.json, &key, || {
                    facts([
                        ("account", key.account.clone()),
                        ("access key id", key.access_key_id.clone()),
                        ("secret access key", key.secret_access_key.clone()),
                    ])
                })
            }
            KeyCommand::List { account, reach } => {
                let keys = reach.client()?.keys(account.as_deref()).await?;
                print(reach.json, &keys, || table(&keys))
            }
            KeyCommand::Delete { id, reach } => {
                reach.client()?.delete_key(&id).await?;
                print(reach.json, &json!({ "deleted": id }), || format!("deleted {id}\n"))
            }
        }
    }
}

/// The text of a policy.
fn read(file: &Path) -> Result<String, Failure> {
    let text = match file == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(file),
    };
    text.map_err(|error| {
        Failure::usage(format!("cannot read the policy {}: {error}", file.display()))
    })
}

fn table(keys: &Keys) -> String {
    let mut table = Table::new(&["ACCESS KEY ID", "ACCOUNT", "CREATED", "POLICY"]);
    for key in &keys.keys {
        let policy = if key.has_policy { "its own" } else { "-" };
        let (id, account) = (key.access_key_id.clone(), key.account.clone());
        table.row([id, account, key.created.clone(), policy.to_owned()]);
    }
    table.to_string()
}
