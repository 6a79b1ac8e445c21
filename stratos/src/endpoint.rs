//! `DIR/endpoint.json`: how to reach the network that runs in DIR.
//!
//! `stratos up` writes it once it serves, `stratos gateway` into the gateway's
//! folder; they remove it when they end in good order. Every command with
//! `--data DIR` reads it. It holds secrets, so only
//! its owner can read it.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use gateway::{FirstKey, GatewayServer};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::client::{ClientError, S3Client, Trust};

/// The name of the file in DIR.
pub const FILE_NAME: &str = "endpoint.json";

/// How to reach a running network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where S3 is served, such as `http://127.0.0.1:9000`.
    pub endpoint: String,
    /// Where the certificate is that this endpoint shows, if it is HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<PathBuf>,
    /// The region that requests are signed for.
    pub region: String,
    /// The first account's access key.
    pub access_key_id: String,
    /// The first account's secret.
    pub secret_access_key: String,
    /// Where the admin API is served.
    pub admin_endpoint: String,
    /// What the admin API wants to see.
    pub admin_token: String,
    /// The network's ledger, ID@IP:PORT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<String>,
    /// The process that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// Why a network could not be found through its folder.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// There is no such file.
    #[error("no network runs in {dir}: start it with `stratos up {dir}`", dir = .0.display())]
    NotRunning(PathBuf),
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what `up` writes.
    #[error(
        "{path} is damaged ({source}): restart `stratos up`, which writes it anew",
        path = path.display()
    )]
    KnownSegment {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
}

impl Endpoint {
    /// How to reach a gateway of this process.
    ///
    /// An operator may have deleted the first key; then commands that need one
    /// are told so by the gateway.
    pub fn of(server: &GatewayServer, first: Option<FirstKey>) -> io::Result<Self> {
        let FirstKey { id, secret } =
            first.unwrap_or_else(|| FirstKey { id: String::new(), secret: String::new() });
        let tls = server.gateway().settings.tls.as_ref().filter(|_| server.s3_is_tls());
        let ledger = server.gateway().settings.ledger;
        let scheme = if tls.is_some() { "https" } else { "http" };
        Ok(Self {
            endpoint: format!("{scheme}://{}", reachable(server.s3_addr()?)),
            // Commands may run in another folder.
            ca_cert: tls.map(|files| std::path::absolute(&files.cert)).transpose()?,
            region: server.gateway().settings.region.clone(),
            access_key_id: id,
            secret_access_key: secret,
            admin_endpoint: format!("http://{}", reachable(server.admin_addr()?)),
            admin_token: server.admin_token().to_owned(),
            ledger: Some(format!("{}@{}", ledger.id, ledger.addr)),
            pid: Some(std::process::id()),
        })
    }

    /// A client with the first account's key.
    pub fn client(&self) -> Result<S3Client, ClientError> {
        let (id, secret) = (&self.access_key_id, &self.secret_access_key);
        let client = S3Client::new(&self.endpoint, &self.region, id, secret)?;
        Ok(match &self.ca_cert {
            Some(cert) => client.trusting(Trust::exactly(cert)?),
            None => client,
        })
    }

    /// Reads the file in `dir`.
    pub fn read(dir: &Path) -> Result<Self, EndpointError> {
        let path = dir.join(FILE_NAME);
        let text = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => EndpointError::NotRunning(dir.to_owned()),
            _ => EndpointError::Read { path: path.clone(), source },
        })?;
        serde_json::from_slice(&text).map_err(|source| EndpointError::KnownSegment { path, source })
    }

    /// Writes the file in `dir`, whole or not at all, for its owner alone.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        protocol::keys::write_private(&dir.join(FILE_NAME), &text)
    }

    /// Removes the file from `dir`, if it is there.
    pub fn remove(dir: &Path) -> io::Result<()> {
        match fs::remove_file(dir.join(FILE_NAME)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What to dial on this machine for a port that may listen on all addresses.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    addr
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn example() -> Endpoint {
        Endpoint {
            endpoint: "http://127.0.0.1:9000".into(),
            ca_cert: None,
            region: "us-east-1".into(),
            access_key_id: "AK".into(),
            secret_access_key: "SK".into(),
            admin_endpoint: "http://127.0.0.1:9001".into(),
            admin_token: "token".into(),
            ledger: None,
            pid: Some(7),
        }
    }

    #[test]
    fn what_is_written_is_read_and_is_private() {
        let dir = tempfile::tempdir().expect("a folder");
        example().write(dir.path()).expect("written");
        assert_eq!(Endpoint::read(dir.path()).expect("read"), example());
        let mode = fs::metadata(dir.path().join(FILE_NAME)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_without_a_network_says_how_to_start_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let error = Endpoint::read(dir.path()).unwrap_err().to_string();
        let shown = dir.path().display();
        assert_eq!(
            error,
            format!("no network runs in {shown}: start it with `stratos up {shown}`")
        );
    }

    #[test]
    fn what_listens_everywhere_is_reached_here() {
        let check = |addr: &str, want: &str| {
            assert_eq!(reachable(addr.parse().unwrap()).to_string(), want);
        };
        check("0.0.0.0:9000", "127.0.0.1:9000");
        check("[::]:9000", "[::1]:9000");
        check("10.0.0.7:9000", "10.0.0.7:9000");
    }

    #[test]
    fn a_half_written_file_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join(FILE_NAME), "{\"endpoint\":").expect("written");
        let error = Endpoint::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("endpoint.json is damaged"), "{error}");
        assert!(error.contains("restart `stratos up`"), "{error}");
    }

    #[test]
    fn removing_twice_is_fine() {
        let dir = tempfile::tempdir().expect("a folder");
        example().write(dir.path()).expect("written");
        Endpoint::remove(dir.path()).expect("removed");
        Endpoint::remove(dir.path()).expect("nothing to remove");
    }
}
