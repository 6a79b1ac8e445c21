//! gateway.toml.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use erasure::Scheme;
use gateway::http::listener::TlsFiles;
use gateway::object::placement::RequireDomains;
use gateway::webhook::{self, Webhook};
use serde::{Deserialize, Serialize};

use crate::config::{Checker, ConfigError, LedgerTable, LedgerTarget, quoted, read};
use crate::units::MIB;

/// Objects up to this stay in the metadata at most.
const INLINE_MAX: u64 = 64 * 1024;

/// gateway.toml as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained in deploy/gateway.toml and GatewayConfig")]
pub struct GatewayFile {
    pub dir: PathBuf,
    pub listen: String,
    pub tls_cert: PathBuf,
    pub tls_key: PathBuf,
    pub tls_listen: String,
    pub admin_listen: String,
    pub region: String,
    pub scheme: String,
    pub write_quorum: u8,
    pub require_domains: String,
    pub repair_mib_per_second: u64,
    pub absent_after_seconds: u64,
    pub census_every_seconds: u64,
    pub freeze_after_seconds: u64,
    pub domains: Vec<String>,
    pub website_domains: Vec<String>,
    pub cors_origins: Vec<String>,
    pub allow_form_signature_v2: bool,
    pub kms_keys: Vec<String>,
    pub max_connections: u32,
    pub buffer_mib: u64,
    pub inline_max_bytes: u64,
    pub ledger: LedgerTable,
    pub webhooks: BTreeMap<String, WebhookTable>,
}

/// Where events may be sent, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookTable {
    pub url: String,
    pub secret_file: Option<PathBuf>,
    pub private: bool,
}

impl Default for GatewayFile {
    fn default() -> Self {
        Self {
            dir: "/var/lib/stratos/gateway".into(),
            listen: "127.0.0.1:9000".into(),
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            tls_listen: String::new(),
            admin_listen: "127.0.0.1:9001".into(),
            region: "us-east-1".into(),
            scheme: "4+2".into(),
            write_quorum: 5,
            require_domains: "none".into(),
            repair_mib_per_second: 64,
            absent_after_seconds: 30 * 60,
            census_every_seconds: 24 * 3600,
            freeze_after_seconds: 30 * 24 * 3600,
            domains: Vec::new(),
            website_domains: Vec::new(),
            cors_origins: Vec::new(),
            allow_form_signature_v2: true,
            kms_keys: Vec::new(),
            max_connections: 1024,
            buffer_mib: 256,
            inline_max_bytes: 4096,
            ledger: LedgerTable { id: String::new(), addr: "127.0.0.1:4400".into() },
            webhooks: BTreeMap::new(),
        }
    }
}

/// What a gateway is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Keys and metadata.
    pub dir: PathBuf,
    /// Where S3 is served.
    pub listen: SocketAddr,
    /// Certificate and key: S3 is served by HTTPS.
    pub tls: Option<TlsFiles>,
    /// A port of its own for HTTPS, beside plain HTTP.
    pub tls_listen: Option<SocketAddr>,
    /// Where the admin API is served.
    pub admin_listen: SocketAddr,
    /// The region that requests are signed for.
    pub region: String,
    /// How many shards a segment becomes.
    pub scheme: Scheme,
    /// Shards that must be durable before a write is acknowledged.
    pub write_quorum: u8,
    /// What must not take down more than the parity of any object.
    pub require_domains: RequireDomains,
    /// Bytes a second that repair and moves may read and write together.
    pub repair_rate: u64,
    /// How long a node may be silent before its shards are rebuilt elsewhere.
    pub absent_after: Duration,
    /// How often every shard is counted.
    pub census_every: Duration,
    /// How long an account that cannot pay may still read.
    pub freeze_after: Duration,
    /// Domains under which a bucket may be a host name.
    pub domains: Vec<String>,
    /// Domains under which a bucket is a website.
    pub website_domains: Vec<String>,
    /// Origins whose pages may ask where a bucket has no CORS rules.
    pub cors_origins: Vec<String>,
    /// Whether browser forms may be signed by Signature Version 2.
    pub allow_form_signature_v2: bool,
    /// Names of the keys of SSE-KMS.
    pub kms_keys: Vec<String>,
    /// Client connections served at a time.
    pub max_connections: u32,
    /// Bytes of uploads and downloads that are held in memory.
    pub buffer_bytes: u64,
    /// Objects up to this length stay in the metadata.
    pub inline_max_bytes: u64,
    /// The network's ledger.
    pub ledger: LedgerTarget,
    /// Where events may be sent, by name.
    pub webhooks: BTreeMap<String, Hook>,
}

/// Where events may be sent. Its URL is one; whether it may be reached is
/// looked at when the gateway starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where.
    pub url: String,
    /// What events are signed with.
    pub secret_file: Option<PathBuf>,
    /// Whether its name may lead to a private address.
    pub private: bool,
}

impl GatewayConfig {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        GatewayFile::read(path)?.check(path)
    }
}

impl GatewayFile {
    /// Reads a file as it is written.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        read(path)
    }

    /// Checks what was written; `path` is named in complaints.
    pub fn check(self, path: &Path) -> Result<GatewayConfig, ConfigError> {
        let checker = Checker { path };
        let scheme: Scheme =
            checker.text("scheme", &self.scheme, "write DATA+PARITY such as 4+2")?;
        let tls = check_tls(checker, self.tls_cert, self.tls_key)?;
        let tls_listen = checker.optional_listen("tls_listen", &self.tls_listen)?;
        if tls_listen.is_some() && tls.is_none() {
            return checker.refuse(
                "tls_listen",
                quoted(&self.tls_listen),
                "needs a certificate: write tls_cert and tls_key, too",
            );
        }
        Ok(GatewayConfig {
            tls,
            tls_listen,
            dir: checker.dir(&self.dir)?,
            listen: checker.listen("listen", &self.listen)?,
            admin_listen: checker.listen("admin_listen", &self.admin_listen)?,
            region: check_region(checker, self.region)?,
            scheme,
            write_quorum: check_quorum(checker, self.write_quorum, scheme)?,
            require_domains: checker.text(
                "require_domains",
                &self.require_domains,
                "write none, zone or operator",
            )?,
            repair_rate: checker.range(
                "repair_mib_per_second",
                self.repair_mib_per_second,
                1,
                1024 * 1024,
            )? * MIB,
            absent_after: seconds(checker, "absent_after_seconds", self.absent_after_seconds)?,
            census_every: seconds(checker, "census_every_seconds", self.census_every_seconds)?,
            freeze_after: Duration::from_secs(checker.range(
                "freeze_after_seconds",
                self.freeze_after_seconds,
                1,
                10 * 365 * 24 * 3600,
            )?),
            domains: check_domains(checker, "domains", self.domains)?,
            website_domains: check_domains(checker, "website_domains", self.website_domains)?,
            cors_origins: check_origins(checker, self.cors_origins)?,
            allow_form_signature_v2: self.allow_form_signature_v2,
            kms_keys: self.kms_keys,
            max_connections: checker.range(
                "max_connections",
                self.max_connections,
                1,
                1_000_000,
            )?,
            buffer_bytes: checker.range("buffer_mib", self.buffer_mib, 16, 1024 * 1024)? * MIB,
            inline_max_bytes: checker.range(
                "inline_max_bytes",
                self.inline_max_bytes,
                0,
                INLINE_MAX,
            )?,
            ledger: checker.ledger(&self.ledger)?,
            webhooks: check_webhooks(checker, self.webhooks)?,
        })
    }
}

/// A second to a month.
fn seconds(checker: Checker<'_>, key: &'static str, value: u64) -> Result<Duration, ConfigError> {
    Ok(Duration::from_secs(checker.range(key, value, 1, 31 * 24 * 3600)?))
}

fn check_tls(
    checker: Checker<'_>,
    cert: PathBuf,
    key: PathBuf,
) -> Result<Option<TlsFiles>, ConfigError> {
    match (cert.as_os_str().is_empty(), key.as_os_str().is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(TlsFiles { cert, key })),
        (true, false) => {
            checker.refuse("tls_cert", "\"\"", "is empty, but tls_key is not: write both")
        }
        (false, true) => {
            checker.refuse("tls_key", "\"\"", "is empty, but tls_cert is not: write both")
        }
    }
}

/// A name and a URL each. What is wrong with a URL is not shown: it may hold a
/// token.
fn check_webhooks(
    checker: Checker<'_>,
    tables: BTreeMap<String, WebhookTable>,
) -> Result<BTreeMap<String, Hook>, ConfigError> {
    let mut hooks = BTreeMap::new();
    for (name, WebhookTable { url, secret_file, private }) in tables {
        if let Err(error) = webhook::check_name(&name) {
            return checker.refuse("webhooks", quoted(&name), error.to_string());
        }
        if Webhook::parse(&url, webhook::Options::default()).is_err() {
            return checker.refuse(
                "webhooks",
                quoted(&name),
                "has no good url: write http://HOST[:PORT]/PATH, not link-local".to_owned(),
            );
        }
        hooks.insert(name, Hook { url, secret_file, private });
    }
    Ok(hooks)
}

/// One shard above the read threshold is the least that survives a loss.
fn check_quorum(checker: Checker<'_>, quorum: u8, scheme: Scheme) -> Result<u8, ConfigError> {
    let (min, max) = (scheme.needed() + 1, scheme.total());
    if (min..=max).contains(&quorum) {
        return Ok(quorum);
    }
    let choice = if min == max { min.to_string() } else { format!("{min} to {max}") };
    checker.refuse(
        "write_quorum",
        quorum,
        format!("is out of range: with scheme {scheme} write {choice}"),
    )
}

fn check_region(checker: Checker<'_>, region: String) -> Result<String, ConfigError> {
    if is_region(&region) {
        return Ok(region);
    }
    checker.refuse(
        "region",
        quoted(&region),
        "is not a region: write 1 to 32 of a-z, 0-9 and -, such as us-east-1",
    )
}

/// Whether requests can be signed for a region of this name.
pub fn is_region(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(allowed)
}

fn check_domains(
    checker: Checker<'_>,
    key: &'static str,
    domains: Vec<String>,
) -> Result<Vec<String>, ConfigError> {
    domains.into_iter().map(|domain| check_domain(checker, key, domain)).collect()
}

/// An origin with at most one `*`, as in the CORS rules of a bucket.
fn check_origins(checker: Checker<'_>, origins: Vec<String>) -> Result<Vec<String>, ConfigError> {
    let is_origin = |text: &String| {
        text == "*"
            || (text.contains("://")
                && !text.ends_with('/')
                && text.matches('*').count() <= 1
                && text.bytes().all(|byte| byte.is_ascii_graphic()))
    };
    match origins.iter().find(|origin| !is_origin(origin)) {
        None => Ok(origins),
        Some(origin) => checker.refuse(
            "cors_origins",
            quoted(origin),
            "is not an origin: write scheme, host and port without a slash, such as \
             https://app.example.org, with at most one *",
        ),
    }
}

fn check_domain(
    checker: Checker<'_>,
    key: &'static str,
    domain: String,
) -> Result<String, ConfigError> {
    let label = |label: &str| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(allowed)
    };
    if domain.len() <= 200 && domain.split('.').all(label) {
        return Ok(domain);
    }
    checker.refuse(
        key,
        quoted(&domain),
        "is not a domain: write it in lower case without scheme and port, such as s3.example.org",
    )
}
