//! What a gateway is told at start. All values are checked here, so that the
//! rest need not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use erasure::{Engine, Scheme};
use ledger::LedgerAddr;
use thiserror::Error;

use crate::http::listener::TlsFiles;
use crate::nodes::lifecycle::LifecycleRules;
use crate::object::audit::AuditRules;
use crate::object::placement::RequireDomains;
use crate::webhook::Webhook;

/// The settings of a gateway.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its folder: key, master key, admin token, metadata.
    pub dir: PathBuf,
    /// Where S3 clients connect. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// Certificate and key of the S3 port, which then speaks HTTPS.
    pub tls: Option<TlsFiles>,
    /// A port of its own for HTTPS; `listen` then stays plain HTTP. Needs `tls`.
    pub tls_listen: Option<SocketAddr>,
    /// Where the admin API listens.
    pub admin_listen: SocketAddr,
    /// The S3 region it answers for.
    pub region: String,
    /// Data and parity of new objects.
    pub scheme: Scheme,
    /// Shards that must be durable before an upload is acknowledged.
    pub write_quorum: u8,
    /// Which implementation of the code computes.
    pub engine: Engine,
    /// Domains under which buckets are host names.
    pub domains: Vec<String>,
    /// Domains under which buckets are websites.
    pub website_domains: Vec<String>,
    /// Origins whose pages may ask where a bucket says nothing of them.
    pub cors_origins: Vec<String>,
    /// Whether browser forms may be signed by the old Signature Version 2.
    pub allow_form_signature_v2: bool,
    /// Keys of the local key ring (SSE-KMS) besides the default one; made if they
    /// are not there.
    pub kms_keys: Vec<String>,
    /// S3 connections at once.
    pub max_connections: usize,
    /// Bytes of uploads and downloads that may be in memory at once.
    pub buffer_bytes: usize,
    /// Objects up to this size are kept in the metadata.
    pub inline_max: usize,
    /// How long what was deleted or replaced is kept for readers under way.
    pub delete_grace: Duration,
    /// How long an upload may stand still before it counts as abandoned.
    pub upload_lease: Duration,
    /// The ledger.
    pub ledger: LedgerAddr,
    /// Lifecycles, events and logs.
    pub upkeep: UpkeepSettings,
    /// How nodes are chosen and judged.
    pub nodes: NodeSettings,
}

/// How nodes are chosen and judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSettings {
    /// When they move from one state to another.
    pub lifecycle: LifecycleRules,
    /// How often they are asked to prove what they hold.
    pub audits: AuditRules,
    /// How far the shards of a segment must be apart.
    pub require_domains: RequireDomains,
}

/// What the loops behind lifecycles, events and access logs are told.
#[derive(Clone, Debug)]
pub struct UpkeepSettings {
    /// How long a day of a lifecycle rule lasts. Anything but a day is for tests.
    pub lifecycle_day: Duration,
    /// How often access logs are written.
    pub log_every: Duration,
    /// Where events may be sent, by name.
    pub webhooks: BTreeMap<String, Webhook>,
    /// Bytes a second that repair and moves may read and write together.
    pub repair_rate: u64,
    /// How long a node may be silent before its shards are rebuilt elsewhere.
    pub absent_after: Duration,
    /// How often every shard is counted.
    pub reconcile_every: Duration,
    /// How long an account that cannot pay may still read.
    pub freeze_after: Duration,
}

impl Default for UpkeepSettings {
    fn default() -> Self {
        Self {
            lifecycle_day: Duration::from_secs(24 * 3600),
            log_every: Duration::from_secs(60),
            webhooks: BTreeMap::new(),
            repair_rate: 64 * 1024 * 1024,
            absent_after: Duration::from_secs(30 * 60),
            reconcile_every: Duration::from_secs(24 * 3600),
            freeze_after: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

impl UpkeepSettings {
    /// How often lifecycles are gone through: hourly, and five times in a day
    /// that is shorter.
    pub fn lifecycle_every(&self) -> Duration {
        let least = Duration::from_millis(100);
        (self.lifecycle_day / 5).clamp(least, Duration::from_secs(3600))
    }
}

/// Why settings were refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SettingsError {
    /// The quorum does not protect what it acknowledges.
    #[error(
        "write_quorum {quorum} does not fit scheme {scheme}: it must be at least {least} \
         (one more than the data shards) and at most {most} (all shards)"
    )]
    Quorum {
        /// What was set.
        quorum: u8,
        /// The scheme.
        scheme: Scheme,
        /// The least that is allowed.
        least: u8,
        /// The most that makes sense.
        most: u8,
    },
    /// Too little memory for one upload.
    #[error("a buffer of {got} bytes is too small: allow at least {least}")]
    Buffer {
        /// What was set.
        got: usize,
        /// The least that works.
        least: usize,
    },
    /// Inline objects would bloat the metadata.
    #[error("inline_max_bytes {0} is too large: at most 65,536")]
    Inline(usize),
    /// A port for HTTPS without a certificate.
    #[error("tls_listen needs tls_cert and tls_key")]
    TlsListen,
    /// The region is no region.
    #[error("region {0:?} may only contain a-z, 0-9 and -")]
    Region(String),
}

/// Buffer space that one upload or download of more than a batch takes.
pub const TRANSFER_BUFFER: usize = 6 * 1024 * 1024;

impl Settings {
    /// The quorum that is used when none is set: one shard below all of them,
    /// but never below what survives a loss.
    pub fn default_quorum(scheme: Scheme) -> u8 {
        (scheme.total() - 1).max(scheme.needed() + 1)
    }

    /// Checks what types cannot.
    pub fn check(&self) -> Result<(), SettingsError> {
        let (least, most) = (self.scheme.needed() + 1, self.scheme.total());
        if !(least..=most).contains(&self.write_quorum) {
            let (quorum, scheme) = (self.write_quorum, self.scheme);
            return Err(SettingsError::Quorum { quorum, scheme, least, most });
        }
        if self.buffer_bytes < 2 * TRANSFER_BUFFER {
            let least = 2 * TRANSFER_BUFFER;
            return Err(SettingsError::Buffer { got: self.buffer_bytes, least });
        }
        if self.inline_max > 64 * 1024 {
            return Err(SettingsError::Inline(self.inline_max));
        }
        if self.tls_listen.is_some() && self.tls.is_none() {
            return Err(SettingsError::TlsListen);
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.region.is_empty() || !self.region.chars().all(allowed) {
            return Err(SettingsError::Region(self.region.clone()));
        }
        if self.write_quorum < self.scheme.needed() + 2 {
            tracing::warn!(
                quorum = self.write_quorum,
                scheme = %self.scheme,
                "a write quorum of two above the data shards would lose less before the first repair"
            );
        }
        Ok(())
    }
}
