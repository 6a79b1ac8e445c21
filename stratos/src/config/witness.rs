//! witness.toml.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Checker, ConfigError, LedgerTable, LedgerTarget, read};

/// witness.toml as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in deploy/witness.toml and WitnessConfig")]
pub struct WitnessFile {
    pub dir: PathBuf,
    pub metrics_listen: String,
    pub ledger: LedgerTable,
}

impl Default for WitnessFile {
    fn default() -> Self {
        Self {
            dir: "/var/lib/stratos/witness".into(),
            metrics_listen: String::new(),
            ledger: LedgerTable::default(),
        }
    }
}

/// What a witness is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessConfig {
    /// Its key and what it remembers.
    pub dir: PathBuf,
    /// Where health and metrics are served, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// The ledger that it follows.
    pub ledger: LedgerTarget,
}

impl WitnessConfig {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        WitnessFile::read(path)?.check(path)
    }
}

impl WitnessFile {
    /// Reads a file as it is written.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        read(path)
    }

    /// Checks what was written; `path` is named in complaints.
    pub fn check(self, path: &Path) -> Result<WitnessConfig, ConfigError> {
        let checker = Checker { path };
        Ok(WitnessConfig {
            dir: checker.dir(&self.dir)?,
            metrics_listen: checker.optional_listen("metrics_listen", &self.metrics_listen)?,
            ledger: checker.ledger(&self.ledger)?,
        })
    }
}
