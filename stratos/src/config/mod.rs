//! The configuration files of the three roles: what was written, then what is
//! meant.
//!
//! A `...File` is the TOML to the letter, with every default; unknown keys are
//! refused. A `...Config` is checked and typed, and only `...File::check` makes
//! one. Every complaint names the file, the key, the value and what to do.
//! `deploy/*.toml` holds every key with its default, and a test compares.
//!
//! Not here: what the roles do with it, and reading the clock or the network.
//! A host name is looked up when a role starts ([`Address::resolve`]).

mod address;
pub mod economy;
mod gateway;
mod ledger;
mod node;
mod witness;

use std::fmt::Display;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use protocol::LedgerId;

pub use crate::config::address::{Address, AddressError, ResolveError};
pub use crate::config::gateway::{GatewayConfig, GatewayFile, Hook, is_region};
pub use crate::config::ledger::{LedgerConfig, LedgerFile};
pub use crate::config::node::{NodeConfig, NodeFile};
pub use crate::config::witness::{WitnessConfig, WitnessFile};

/// Why a configuration file cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error(
        "cannot read the configuration {path}: {source}; deploy/ has a commented file for each role",
        path = path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not TOML, or has a key that does not exist or is of another type.
    #[error("{path} line {line}: {message}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// A value is not possible.
    #[error("{path}: {key} = {value} {problem}", path = path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, with its table.
        key: &'static str,
        /// The value as written.
        value: String,
        /// Why it is not possible, and what to write.
        problem: String,
    },
}

/// The `[ledger]` table: which ledger, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerTable {
    /// Its public key in hex.
    pub id: String,
    /// Its address, HOST:PORT.
    pub addr: String,
}

/// Which ledger a role belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerTarget {
    /// Its public key, which the connection must show.
    pub id: LedgerId,
    /// Where it listens.
    pub addr: Address,
}

/// Reads a file into the form it is written in.
fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or(text));
        ConfigError::Syntax {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            message: error.message().to_owned(),
        }
    })
}

/// Checks the values of one file, and names it in every complaint.
#[derive(Clone, Copy)]
struct Checker<'a> {
    path: &'a Path,
}

impl Checker<'_> {
    fn refuse<T>(
        self,
        key: &'static str,
        value: impl Display,
        problem: impl Into<String>,
    ) -> Result<T, ConfigError> {
        let (path, value) = (self.path.to_owned(), value.to_string());
        Err(ConfigError::Value { path, key, value, problem: problem.into() })
    }

    /// A value that parses itself; `hint` completes "... is wrong: ".
    fn text<T: FromStr<Err: Display>>(
        self,
        key: &'static str,
        value: &str,
        hint: &str,
    ) -> Result<T, ConfigError> {
        value.parse().or_else(|error: T::Err| {
            self.refuse(key, quoted(value), format!("is wrong ({error}): {hint}"))
        })
    }

    fn listen(self, key: &'static str, value: &str) -> Result<SocketAddr, ConfigError> {
        self.text(key, value, "write IP:PORT such as 127.0.0.1:9000, or 0.0.0.0:9000 for everyone")
    }

    /// Nothing, or where to listen.
    fn optional_listen(
        self,
        key: &'static str,
        value: &str,
    ) -> Result<Option<SocketAddr>, ConfigError> {
        if value.is_empty() { Ok(None) } else { self.listen(key, value).map(Some) }
    }

    fn range<T: PartialOrd + Display + Copy>(
        self,
        key: &'static str,
        value: T,
        min: T,
        max: T,
    ) -> Result<T, ConfigError> {
        if min <= value && value <= max {
            return Ok(value);
        }
        self.refuse(key, value, format!("is out of range: write {min} to {max}"))
    }

    fn dir(self, value: &Path) -> Result<PathBuf, ConfigError> {
        if value.as_os_str().is_empty() {
            return self.refuse("dir", "\"\"", "is empty: name the folder of this role's data");
        }
        Ok(value.to_owned())
    }

    fn ledger(self, table: &LedgerTable) -> Result<LedgerTarget, ConfigError> {
        if table.id.is_empty() {
            return self.refuse(
                "ledger.id",
                "\"\"",
                "is empty: write what `stratos ledger -c ledger.toml --print-id` prints",
            );
        }
        let id = self.text(
            "ledger.id",
            &table.id,
            "write what `stratos ledger -c ledger.toml --print-id` prints",
        )?;
        Ok(LedgerTarget { id, addr: self.address("ledger.addr", &table.addr)? })
    }

    fn address(self, key: &'static str, value: &str) -> Result<Address, ConfigError> {
        self.text(key, value, "write HOST:PORT such as 10.0.0.1:4400 or ledger:4400")
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

#[cfg(test)]
mod tests;
