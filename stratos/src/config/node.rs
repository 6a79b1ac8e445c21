//! node.toml.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use protocol::registration::{Invite, NAME_MAX};
use serde::{Deserialize, Serialize};

use crate::config::{Address, Checker, ConfigError, LedgerTable, LedgerTarget, quoted, read};
use crate::units::{GIB, MIB};

/// node.toml as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in deploy/node.toml and NodeConfig")]
pub struct NodeFile {
    pub dir: PathBuf,
    pub listen: String,
    pub advertise: String,
    pub zone: String,
    pub operator: String,
    pub capacity_bytes: u64,
    pub reserve_bytes: u64,
    pub credit_limit_bytes: u64,
    pub scrub_mib_per_second: u64,
    pub compact_mib_per_second: u64,
    pub invite: String,
    pub metrics_listen: String,
    pub ledger: LedgerTable,
}

impl Default for NodeFile {
    fn default() -> Self {
        Self {
            dir: "/var/lib/stratos/node".into(),
            listen: "127.0.0.1:4433".into(),
            advertise: String::new(),
            zone: String::new(),
            operator: String::new(),
            capacity_bytes: 0,
            reserve_bytes: GIB,
            credit_limit_bytes: 256 * MIB,
            scrub_mib_per_second: 16,
            compact_mib_per_second: 32,
            invite: String::new(),
            metrics_listen: String::new(),
            ledger: LedgerTable::default(),
        }
    }
}

/// What a storage node is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its key and its shards.
    pub dir: PathBuf,
    /// Where it listens, by UDP.
    pub listen: SocketAddr,
    /// The address that others dial; `None` is `listen`.
    pub advertise: Option<Address>,
    /// What it fails together with.
    pub zone: String,
    /// Who runs it.
    pub operator: String,
    /// Bytes it may use; `None` is the whole disk.
    pub capacity: Option<u64>,
    /// Bytes of the disk that stay free.
    pub reserve: u64,
    /// Bytes it serves a gateway ahead of payment.
    pub credit_limit: u64,
    /// Bytes that a scrub reads in a second, at most.
    pub scrub_rate: u64,
    /// Bytes that compaction moves in a second.
    pub compact_rate: u64,
    /// Lets it join, at the first start.
    pub invite: Option<Invite>,
    /// Where health and metrics are served, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// The network's ledger. `None` at the first start means the invite's, and
    /// later the one that the folder remembers.
    pub ledger: Option<LedgerTarget>,
}

impl NodeConfig {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        NodeFile::read(path)?.check(path)
    }
}

impl NodeFile {
    /// Reads a file as it is written.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        read(path)
    }

    /// Checks what was written; `path` is named in complaints.
    pub fn check(self, path: &Path) -> Result<NodeConfig, ConfigError> {
        let checker = Checker { path };
        let listen = checker.listen("listen", &self.listen)?;
        Ok(NodeConfig {
            dir: checker.dir(&self.dir)?,
            listen,
            advertise: check_advertise(checker, &self.advertise, listen)?,
            zone: check_name(checker, "zone", self.zone)?,
            operator: check_name(checker, "operator", self.operator)?,
            capacity: Some(self.capacity_bytes).filter(|bytes| *bytes > 0),
            reserve: self.reserve_bytes,
            credit_limit: checker.range(
                "credit_limit_bytes",
                self.credit_limit_bytes,
                MIB,
                1024 * GIB,
            )?,
            scrub_rate: rate(checker, "scrub_mib_per_second", self.scrub_mib_per_second)?,
            compact_rate: rate(checker, "compact_mib_per_second", self.compact_mib_per_second)?,
            invite: check_invite(checker, &self.invite)?,
            metrics_listen: checker.optional_listen("metrics_listen", &self.metrics_listen)?,
            ledger: match self.ledger == LedgerTable::default() {
                true => None,
                false => Some(checker.ledger(&self.ledger)?),
            },
        })
    }
}

/// Bytes a second.
fn rate(checker: Checker<'_>, key: &'static str, mib: u64) -> Result<u64, ConfigError> {
    Ok(checker.range(key, mib, 1, 1024 * 1024)? * MIB)
}

fn check_advertise(
    checker: Checker<'_>,
    advertise: &str,
    listen: SocketAddr,
) -> Result<Option<Address>, ConfigError> {
    if !advertise.is_empty() {
        return checker.address("advertise", advertise).map(Some);
    }
    if listen.ip().is_unspecified() {
        return checker.refuse(
            "advertise",
            quoted(advertise),
            format!("is empty and nobody can dial {listen}: write the HOST:PORT others reach"),
        );
    }
    Ok(None)
}

fn check_name(
    checker: Checker<'_>,
    key: &'static str,
    name: String,
) -> Result<String, ConfigError> {
    if name.len() <= NAME_MAX && !name.chars().any(char::is_control) {
        return Ok(name);
    }
    checker.refuse(
        key,
        quoted(&name),
        format!("is not a name: write at most {NAME_MAX} bytes without control characters"),
    )
}

fn check_invite(checker: Checker<'_>, invite: &str) -> Result<Option<Invite>, ConfigError> {
    if invite.is_empty() {
        return Ok(None);
    }
    // An invite is hundreds of digits, so the complaint shows where it is only.
    match invite.parse() {
        Ok(invite) => Ok(Some(invite)),
        Err(error) => {
            let error: protocol::registration::NotAnInvite = error;
            let shown: String = invite.chars().take(24).collect();
            checker.refuse("invite", format!("{shown:?}..."), format!("is wrong: {error}"))
        }
    }
}
