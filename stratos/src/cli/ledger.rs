//! `stratos ledger`: the ledger as a process of its own, and taking it away to
//! check it.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use protocol::LedgerId;
use serde_json::json;
use tokio::fs::File;
use tokio::io::BufWriter;

use crate::admin::AdminClient;
use crate::cli::Reach;
use crate::cli::chain::operate::OperatorCommand;
use crate::cli::chain::order::OrderCommand;
use crate::cli::chain::prove::AskCommand;
use crate::cli::output::print;
use crate::cli::role::{RoleArgs, print_id};
use crate::cli::table::facts;
use crate::config::{LedgerConfig, LedgerFile, WitnessConfig, WitnessFile};
use crate::exit::Failure;
use crate::units::show_size;

/// The ledger's key in its folder.
pub const KEY_FILE: &str = "ledger.key";

/// Run the ledger, or export and verify it.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  stratos ledger -c ledger.toml
  stratos ledger export --data ./data ledger.ndjson
  stratos ledger verify ledger.ndjson
  stratos ledger deposit ACCOUNT 100 --data ./data
  stratos ledger earnings NODE --data ./data
  stratos ledger witness -c witness.toml

`verify` trusts nobody: it replays every block from genesis, checks each signature and
hash, and that no credit came from nowhere. It exits with 0 if all of it holds, else 1."
)]
pub struct LedgerArgs {
    /// What to do with a ledger that runs or was exported.
    #[command(subcommand)]
    pub command: Option<LedgerCommand>,

    /// How it is run.
    #[command(flatten)]
    pub role: Option<RoleArgs>,
}

/// What is done with a ledger that runs or was exported.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Write the whole ledger into a file: genesis, then one block a line.
    Export {
        /// The file. It is replaced once the export is complete.
        file: PathBuf,
        /// The network.
        #[command(flatten)]
        reach: Reach,
    },
    /// Replay an exported ledger and check everything in it.
    Verify(VerifyArgs),
    /// Follow a ledger, execute every block again, and cosign its heads.
    Witness(RoleArgs),
    /// What the operator does.
    #[command(flatten)]
    Operate(OperatorCommand),
    /// What the owner of a node or a gateway orders.
    #[command(flatten)]
    Order(OrderCommand),
    /// What anyone may ask.
    #[command(flatten)]
    Ask(AskCommand),
}

/// `stratos ledger verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// What `stratos ledger export` wrote.
    pub file: PathBuf,

    /// Whose blocks they must be: the ledger's public key. Without it, compare
    /// what is printed: an export of another network is good, too.
    #[arg(long, value_name = "ID")]
    pub ledger: Option<LedgerId>,

    /// Print JSON: network, blocks, entries, conserved, first_bad_height.
    #[arg(long)]
    pub json: bool,
}

impl LedgerArgs {
    /// Answers `--print-id` of a witness, or returns its checked configuration.
    pub fn prepare_witness(role: &RoleArgs) -> Result<Option<WitnessConfig>, Failure> {
        if role.print_id {
            print_id(&WitnessFile::read(&role.config)?.dir, ledger::witness::memory::KEY)?;
            return Ok(None);
        }
        Ok(Some(WitnessConfig::load(&role.config)?))
    }

    /// Answers `--print-id`, or returns the checked configuration to run with.
    pub fn prepare(role: &RoleArgs) -> Result<Option<LedgerConfig>, Failure> {
        if role.print_id {
            // The gateways may be unknown yet, so the rest is not checked.
            print_id(&LedgerFile::read(&role.config)?.dir, KEY_FILE)?;
            return Ok(None);
        }
        Ok(Some(LedgerConfig::load(&role.config)?))
    }
}

impl VerifyArgs {
    /// Replays the file; an export that is not good is a failure.
    pub fn run(&self) -> Result<(), Failure> {
        let shown = self.file.display();
        let file = std::fs::File::open(&self.file)
            .map_err(|error| Failure::operation(format!("cannot read {shown}: {error}")))?;
        let report = ledger::verify(BufReader::new(file));
        print(self.json, &report, || {
            let mut lines = Vec::new();
            if let Some(network) = &report.network {
                lines.push(("chain", network.chain.to_string()));
                lines.push(("ledger", network.ledger.to_string()));
            }
            lines.push(("blocks", report.blocks.to_string()));
            lines.push(("entries", report.entries.to_string()));
            if let Some(network) = &report.network {
                lines.push(("log size", network.log_size.to_string()));
                lines.push(("root", network.root.clone()));
            }
            let conserved = match (report.conserved, report.is_ok()) {
                (true, true) => "yes",
                (true, false) => "as far as it is good",
                (false, _) => "no",
            };
            lines.push(("conserved", conserved.to_owned()));
            facts(lines)
        })?;
        let of = report.network.as_ref().map(|network| network.ledger);
        if let (Some(wanted), Some(of)) = (self.ledger, of)
            && wanted != of
        {
            return Err(Failure::operation(format!("{shown} is the ledger of {of}, not {wanted}")));
        }
        if report.is_ok() {
            return Ok(());
        }
        let height = report.first_bad_height.unwrap_or_default();
        let why = report.error.unwrap_or_else(|| "the sums do not conserve".to_owned());
        Err(Failure::operation(format!("{shown} is not a good ledger: block {height}: {why}")))
    }
}

/// Does `stratos ledger export`.
pub async fn export(file: &Path, reach: &Reach) -> Result<(), Failure> {
    let written = fetch(file, &reach.client()?).await?;
    let answer = json!({ "file": file, "bytes": written });
    print(reach.json, &answer, || format!("{}: {}\n", file.display(), show_size(written)))
}

/// Writes the export beside `file` and puts it in its place once it is whole:
/// half an export would verify as a shorter ledger.
async fn fetch(file: &Path, client: &AdminClient) -> Result<u64, Failure> {
    let incoming = incoming_name(file);
    let failed = |error: std::io::Error| {
        let shown = file.display();
        Failure::operation(format!("cannot write {shown}: {error}; choose another file"))
    };
    let mut out = BufWriter::new(File::create(&incoming).await.map_err(failed)?);
    let written = match client.export_ledger(&mut out).await {
        Ok(written) => written,
        Err(error) => {
            // What failed is the export; a file left over is only in the way.
            let _ = tokio::fs::remove_file(&incoming).await;
            return Err(error.into());
        }
    };
    out.get_ref().sync_all().await.map_err(failed)?;
    tokio::fs::rename(&incoming, file).await.map_err(failed)?;
    Ok(written)
}

fn incoming_name(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".incoming");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::{Recorder, answer};

    fn client(recorder: &Recorder) -> AdminClient {
        AdminClient::new(&recorder.url(), "token".into()).expect("an address")
    }

    #[tokio::test]
    async fn an_export_replaces_the_file_when_it_is_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("ledger.ndjson");
        std::fs::write(&file, "old").expect("written");

        let refusing = Recorder::start(|_| answer(503, r#"{"error":"the ledger is away"}"#)).await;
        let error = fetch(&file, &client(&refusing)).await.unwrap_err();
        assert_eq!(error.to_string(), "the ledger is away");
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "old");
        assert!(!incoming_name(&file).exists());

        let serving = Recorder::start(|_| answer(200, "{}\n")).await;
        assert_eq!(fetch(&file, &client(&serving)).await.expect("exported"), 3);
        assert_eq!(std::fs::read_to_string(&file).expect("a file"), "{}\n");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let serving = Recorder::start(|_| answer(200, "{}\n")).await;
        let error =
            fetch(&dir.path().join("absent/f"), &client(&serving)).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot write "), "{error}");
        assert!(error.ends_with("choose another file"), "{error}");
    }
}
