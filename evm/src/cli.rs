//! The command line of `stratos-evm`.

use std::path::PathBuf;

use alloy_primitives::Address;
use clap::{Args, Parser, Subcommand};

/// Pays withdrawals of a Stratos ledger on an EVM chain.
#[derive(Debug, Parser)]
#[command(
    name = "stratos-evm",
    version,
    after_help = "\
Examples:
  stratos ledger export --data ./data ledger.ndjson
  stratos-evm root ledger.ndjson
  stratos-evm deploy --token 0x... --poster 0x... --guardian 0x... --delay 86400 --key-file key
  stratos-evm post ledger.ndjson --key-file poster.key
  stratos-evm status ledger.ndjson
  stratos-evm claim ledger.ndjson 0x... --key-file key

The key that signs is 64 hex digits in a file of mode 0600 (--key-file) or in STRATOS_EVM_KEY."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Print JSON. Amounts are decimal strings of atto-credits.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compute the root of an epoch from an exported ledger.
    Root {
        /// The ledger and the epoch.
        #[command(flatten)]
        ledger: LedgerArgs,
        /// Print every leaf too.
        #[arg(long)]
        leaves: bool,
    },
    /// Compute the proof of an address.
    Proof {
        /// The ledger and the epoch.
        #[command(flatten)]
        ledger: LedgerArgs,
        /// Whose.
        address: Address,
    },
    /// Put a new contract on the chain.
    Deploy {
        /// The ERC-20 token that it pays with; one credit is 10^18 of its units.
        #[arg(long)]
        token: Address,
        /// Who may post roots.
        #[arg(long)]
        poster: Address,
        /// Who may veto a posted root within the delay.
        #[arg(long)]
        guardian: Address,
        /// How long a posted root waits, in seconds.
        #[arg(long)]
        delay: u64,
        /// The contract that it takes over from: what that one paid counts as paid.
        #[arg(long, default_value_t = Address::ZERO, hide_default_value = true)]
        previous: Address,
        /// The chain.
        #[command(flatten)]
        chain: ChainArgs,
        /// The key.
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Post the root of an epoch, as the poster.
    Post {
        /// The ledger and the epoch.
        #[command(flatten)]
        ledger: LedgerArgs,
        /// The contract.
        #[command(flatten)]
        contract: ContractArgs,
        /// The key.
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Take back the root of an epoch that still waits, as the guardian.
    Veto {
        /// Its epoch.
        epoch: u64,
        /// The contract.
        #[command(flatten)]
        contract: ContractArgs,
        /// The key.
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Have an address paid what it is due by the root that holds.
    Claim {
        /// What `stratos ledger export` wrote.
        export: PathBuf,
        /// Who is paid. The key may be anybody's.
        address: Address,
        /// The contract.
        #[command(flatten)]
        contract: ContractArgs,
        /// The key.
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Show what the contract holds. With a ledger, fail when a root is not what the
    /// ledger gives: what a guardian looks at.
    Status {
        /// What `stratos ledger export` wrote.
        export: Option<PathBuf>,
        /// Show what this address was paid too.
        #[arg(long)]
        account: Option<Address>,
        /// The contract.
        #[command(flatten)]
        contract: ContractArgs,
    },
}

/// An exported ledger and one of its epochs.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// What `stratos ledger export` wrote.
    pub export: PathBuf,
    /// An epoch that is over. The last one, when none is named.
    #[arg(long)]
    pub epoch: Option<u64>,
}

/// A chain.
#[derive(Debug, Args)]
pub struct ChainArgs {
    /// A node of the chain: http://HOST:PORT or https://...
    #[arg(long, env = "STRATOS_EVM_RPC", hide_env_values = true)]
    pub rpc: String,
    /// How long a transaction may take to get into a block, in seconds.
    #[arg(long, default_value_t = 180)]
    pub wait: u64,
}

/// A contract on a chain.
#[derive(Debug, Args)]
pub struct ContractArgs {
    /// The chain.
    #[command(flatten)]
    pub chain: ChainArgs,
    /// Where the contract is.
    #[arg(long, env = "STRATOS_EVM_CONTRACT")]
    pub contract: Address,
}

/// Who signs.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The key: 64 hex digits in a file of mode 0600. STRATOS_EVM_KEY when none is named.
    #[arg(long)]
    pub key_file: Option<PathBuf>,
}
