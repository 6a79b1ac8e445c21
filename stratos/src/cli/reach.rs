//! `--data DIR` and `--admin URL`: which network a command asks. `--ca-bundle`:
//! whom it believes there.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::admin::{AdminClient, AdminError};
use crate::client::{S3Client, SYSTEM_BUNDLE, Trust, TrustError};

/// The network to ask, and how to answer.
#[derive(Clone, Debug, Args)]
pub struct Reach {
    /// The folder of a network that runs on this machine (`stratos up DIR`), or of a
    /// gateway that does.
    #[arg(long, value_name = "DIR", conflicts_with = "admin")]
    pub data: Option<PathBuf>,

    /// The admin API of a gateway, http://HOST:PORT. Its token is taken from the
    /// environment variable STRATOS_ADMIN_TOKEN.
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,

    /// Print JSON with stable names. Amounts are atto-credits (10^-18) as strings.
    #[arg(long)]
    pub json: bool,
}

impl Reach {
    /// The flags that name it, for a command that is shown; they begin with a space.
    pub fn as_flags(&self) -> String {
        match (&self.admin, &self.data) {
            (Some(url), _) => format!(" --admin {url}"),
            (None, Some(dir)) => format!(" --data {}", dir.display()),
            (None, None) => String::new(),
        }
    }

    /// A client of the network that the flags name.
    pub fn client(&self) -> Result<AdminClient, AdminError> {
        match (&self.admin, &self.data) {
            (Some(url), _) => AdminClient::of_url(url),
            (None, Some(dir)) => AdminClient::of_dir(dir),
            (None, None) => Err(AdminError::NoTarget),
        }
    }
}

/// Whom to believe behind `--endpoint https://...`.
#[derive(Clone, Debug, Default, Args)]
pub struct CaBundle {
    /// Certificates (PEM) that vouch for an https endpoint [default: $AWS_CA_BUNDLE, or those
    /// of the system]
    #[arg(long, value_name = "FILE")]
    ca_bundle: Option<PathBuf>,
}

impl CaBundle {
    /// The client, which believes the servers that these certificates vouch for.
    pub fn apply(&self, client: S3Client) -> Result<S3Client, TrustError> {
        if !client.endpoint().starts_with("https://") {
            return Ok(client);
        }
        // Not by clap: a variable that is set would count as a flag that is given.
        let named = std::env::var_os("AWS_CA_BUNDLE").map(PathBuf::from);
        let file = self.ca_bundle.as_deref().or(named.as_deref());
        Ok(client.trusting(Trust::issuers(file.unwrap_or(Path::new(SYSTEM_BUNDLE)))?))
    }
}
