//! ledger.toml.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ledger::Economy;
use protocol::GatewayId;
use protocol::ids::PublicKey;
use protocol::price::{Amount, CREDIT};
use serde::{Deserialize, Serialize};

use crate::config::economy::EconomyTable;
use crate::config::{Checker, ConfigError, quoted, read};

/// ledger.toml as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in deploy/ledger.toml and LedgerConfig")]
pub struct LedgerFile {
    pub dir: PathBuf,
    pub listen: String,
    pub gateways: Vec<String>,
    pub epoch_seconds: u64,
    pub opening_balance_credits: u64,
    pub witnesses: Vec<String>,
    pub metrics_listen: String,
    pub economy: EconomyTable,
}

impl Default for LedgerFile {
    fn default() -> Self {
        Self {
            dir: "/var/lib/stratos/ledger".into(),
            listen: "127.0.0.1:4400".into(),
            gateways: Vec::new(),
            epoch_seconds: 600,
            opening_balance_credits: 0,
            witnesses: Vec::new(),
            metrics_listen: String::new(),
            economy: EconomyTable::default(),
        }
    }
}

/// What a ledger is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerConfig {
    /// Its key and its blocks.
    pub dir: PathBuf,
    /// Where it listens, by UDP.
    pub listen: SocketAddr,
    /// The gateways of the network; at least one.
    pub gateways: Vec<GatewayId>,
    /// How long an epoch is.
    pub epoch: Duration,
    /// What a new account gets.
    pub opening_balance: Amount,
    /// Keys of the witnesses whose cosignatures are served.
    pub witnesses: Vec<PublicKey>,
    /// Where health and metrics are served, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Who is paid when, and what misbehaving costs.
    pub economy: Economy,
}

impl LedgerConfig {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        LedgerFile::read(path)?.check(path)
    }
}

impl LedgerFile {
    /// Reads a file as it is written.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        read(path)
    }

    /// Checks what was written; `path` is named in complaints.
    pub fn check(self, path: &Path) -> Result<LedgerConfig, ConfigError> {
        let checker = Checker { path };
        let epoch_seconds = checker.range("epoch_seconds", self.epoch_seconds, 1, 7 * 86_400)?;
        let epoch = Duration::from_secs(epoch_seconds);
        Ok(LedgerConfig {
            dir: checker.dir(&self.dir)?,
            listen: checker.listen("listen", &self.listen)?,
            gateways: check_gateways(checker, &self.gateways)?,
            epoch,
            economy: self.economy.check(checker, epoch)?,
            opening_balance: Amount(u128::from(self.opening_balance_credits) * CREDIT),
            witnesses: check_witnesses(checker, &self.witnesses)?,
            metrics_listen: checker.optional_listen("metrics_listen", &self.metrics_listen)?,
        })
    }
}

fn check_witnesses(
    checker: Checker<'_>,
    witnesses: &[String],
) -> Result<Vec<PublicKey>, ConfigError> {
    const HINT: &str = "write what `stratos ledger witness -c witness.toml --print-id` prints";
    let mut keys = Vec::with_capacity(witnesses.len());
    for text in witnesses {
        let key = checker.text("witnesses", text, HINT)?;
        if keys.contains(&key) {
            return checker.refuse("witnesses", quoted(text), "stands there twice: write it once");
        }
        keys.push(key);
    }
    Ok(keys)
}

fn check_gateways(
    checker: Checker<'_>,
    gateways: &[String],
) -> Result<Vec<GatewayId>, ConfigError> {
    const HINT: &str = "write what `stratos gateway -c gateway.toml --print-id` prints";
    if gateways.is_empty() {
        return checker.refuse("gateways", "[]", format!("is empty: {HINT}"));
    }
    let mut seen = BTreeSet::new();
    let mut ids = Vec::with_capacity(gateways.len());
    for text in gateways {
        let id = checker.text("gateways", text, HINT)?;
        if !seen.insert(id) {
            return checker.refuse("gateways", quoted(text), "stands there twice: write it once");
        }
        ids.push(id);
    }
    Ok(ids)
}
