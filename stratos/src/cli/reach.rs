//! `--data DIR` and `--admin URL`: which network a command asks.

use std::path::PathBuf;

use clap::Args;

use crate::admin::{AdminClient, AdminError};

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
    /// A client of the network that the flags name.
    pub fn client(&self) -> Result<AdminClient, AdminError> {
        match (&self.admin, &self.data) {
            (Some(url), _) => AdminClient::of_url(url),
            (None, Some(dir)) => AdminClient::of_dir(dir),
            (None, None) => Err(AdminError::NoTarget),
        }
    }
}
