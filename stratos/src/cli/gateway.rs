//! `stratos gateway`: the gateway as a process of its own.

use clap::Args;

use crate::cli::role::{RoleArgs, print_id};
use crate::config::{GatewayConfig, GatewayFile};
use crate::exit::Failure;

/// The gateway's key in its folder.
pub const KEY_FILE: &str = "gateway.key";

/// Run a gateway: S3 in, shards out.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
A gateway needs a ledger, and the ledger must know the gateway's public key:
  stratos gateway -c gateway.toml --print-id   # goes into ledger.toml: gateways = [\"...\"]
  stratos ledger  -c ledger.toml  --print-id   # goes into gateway.toml: [ledger] id = \"...\"
  stratos ledger  -c ledger.toml
  stratos gateway -c gateway.toml

On one machine `stratos up DIR` does all of this without a file."
)]
pub struct GatewayArgs {
    /// How it is run.
    #[command(flatten)]
    pub role: RoleArgs,
}

impl GatewayArgs {
    /// Answers `--print-id`, or returns the checked configuration to run with.
    pub fn prepare(&self) -> Result<Option<GatewayConfig>, Failure> {
        if self.role.print_id {
            // The ledger's id may be unknown yet, so the rest is not checked.
            print_id(&GatewayFile::read(&self.role.config)?.dir, KEY_FILE)?;
            return Ok(None);
        }
        Ok(Some(GatewayConfig::load(&self.role.config)?))
    }
}
