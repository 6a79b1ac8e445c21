//! `stratos account`: who pays.

use clap::{Args, Subcommand};
use protocol::ids::PublicKey;

use crate::admin::answers::{Account, Accounts, NewAccount};
use crate::cli::Reach;
use crate::cli::output::print;
use crate::cli::table::{Table, facts};
use crate::exit::Failure;
use crate::units::{show_credits, show_duration, show_size};

/// Open accounts and look at their balances.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stratos account create alice --email alice@example.org --data ./data
  stratos account list --data ./data
  stratos account show alice --data ./data")]
pub struct AccountArgs {
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Open an account. Give it an access key by `stratos key create`.
    Create {
        /// Its name.
        name: String,
        /// A name for people, shown in S3 answers.
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// Where its owner can be reached.
        #[arg(long)]
        email: Option<String>,
        /// The key of a wallet (`stratos wallet new`), which then owns it.
        #[arg(long, value_name = "KEY")]
        owner: Option<PublicKey>,
        #[command(flatten)]
        reach: Reach,
    },
    /// List the accounts.
    List {
        #[command(flatten)]
        reach: Reach,
    },
    /// Show an account's balance and how long it lasts.
    Show {
        /// Its name.
        name: String,
        #[command(flatten)]
        reach: Reach,
    },
}

impl AccountArgs {
    /// Does it.
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            AccountCommand::Create { name, display_name, email, owner, reach } => {
                let client = reach.client()?;
                let (shown, email) = (display_name.as_deref(), email.as_deref());
                let account = client.create_owned_account(&name, shown, email, owner).await?;
                print(reach.json, &account, || identity(&account))
            }
            AccountCommand::List { reach } => {
                let accounts = reach.client()?.accounts().await?;
                print(reach.json, &accounts, || table(&accounts))
            }
            AccountCommand::Show { name, reach } => {
                let account = reach.client()?.account(&name).await?;
                print(reach.json, &account, || balance(&account))
            }
        }
    }
}

fn identity(account: &NewAccount) -> String {
    facts([
        ("name", account.name.clone()),
        ("id", account.id.clone()),
        ("canonical id", account.canonical_id.clone()),
        ("display name", or_dash(account.display_name.as_deref())),
        ("email", or_dash(account.email.as_deref())),
    ])
}

fn table(accounts: &Accounts) -> String {
    let mut table = Table::new(&["NAME", "DISPLAY NAME", "EMAIL", "CANONICAL ID"]);
    for account in &accounts.accounts {
        table.row([
            account.name.clone(),
            or_dash(account.display_name.as_deref()),
            or_dash(account.email.as_deref()),
            account.canonical_id.clone(),
        ]);
    }
    table.to_string()
}

fn balance(account: &Account) -> String {
    let credits = |amount| format!("{} credits", show_credits(amount));
    facts([
        ("name", account.name.clone()),
        ("id", account.id.clone()),
        ("canonical id", account.canonical_id.clone()),
        ("display name", or_dash(account.display_name.as_deref())),
        ("email", or_dash(account.email.as_deref())),
        ("balance", credits(account.balance)),
        ("  available", credits(account.available)),
        ("  reserved", credits(account.reserved)),
        ("spent", credits(account.spent)),
        ("stored", show_size(account.stored_bytes)),
        ("runway", account.runway_seconds.map_or("-".to_owned(), show_duration)),
    ])
}

fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use protocol::price::{Amount, CREDIT};

    use super::*;

    #[test]
    fn a_balance_is_shown_with_units() {
        let account = Account {
            id: "0a".into(),
            name: "alice".into(),
            canonical_id: "c1".into(),
            display_name: None,
            email: Some("a@x".into()),
            balance: Amount(3 * CREDIT),
            available: Amount(2 * CREDIT),
            reserved: Amount(CREDIT),
            spent: Amount(CREDIT / 2),
            stored_bytes: 5 << 20,
            runway_seconds: Some(86_400 * 40),
        };
        assert_eq!(
            balance(&account),
            "name          alice\n\
             id            0a\n\
             canonical id  c1\n\
             display name  -\n\
             email         a@x\n\
             balance       3 credits\n  \
               available   2 credits\n  \
               reserved    1 credits\n\
             spent         0.5 credits\n\
             stored        5.0 MiB\n\
             runway        40.0 d\n"
        );
    }
}
