//! TLS for a port: the certificate that is shown, how a connection begins, and
//! new files that take over while the port serves.
//!
//! TLS 1.2 and 1.3 by `rustls` with `ring`. Connections that are open keep what
//! they began with; the next handshake sees what was loaded last.
//!
//! Not here: who makes certificates, and client certificates, which nobody is
//! asked for.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::reload::{Reload, Stamp};

/// Clients that speak both get HTTP/1.1, as from S3 itself: a connection for
/// each transfer is faster than one for all of them. HTTP/2 is for those that
/// speak nothing else.
const ALPN: [&[u8]; 2] = [b"http/1.1", b"h2"];

/// Largest file that is read; chains have some kilobytes.
const FILE_MAX: u64 = 1024 * 1024;

/// Between two looks at the files. A change takes over after two.
pub const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and its issuer, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Why certificate and key cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// A file is not what it should be.
    #[error("{0} holds no {1} in PEM form")]
    Content(PathBuf, &'static str),
    /// They do not work together.
    #[error("the certificate {cert} and the key {key} cannot be used: {source}")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the library said.
        source: rustls::Error,
    },
}

/// TLS of one port.
pub struct Tls {
    files: TlsFiles,
    /// How the files looked just before they were read first: a change since
    /// then is never missed.
    loaded: [Option<Stamp>; 2],
    shown: Arc<Shown>,
    acceptor: TlsAcceptor,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let loaded = stamps(&files);
        let shown = Arc::new(Shown(RwLock::new(Arc::new(read(&files, &provider)?))));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has suites for both")
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
        // Early data could be replayed.
        config.max_early_data_size = 0;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Arc::new(Self { files, loaded, shown, acceptor }))
    }

    /// Where its files are.
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// The server's side of a handshake.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// Reads the files again and shows what is in them from now on; if that
    /// cannot be used, all stays as it is.
    pub fn reload(&self) -> Result<(), TlsError> {
        let read = Arc::new(read(&self.files, self.acceptor.config().crypto_provider())?);
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// Looks at the files again and again until `stop`, and reloads them once
    /// they changed and stand still.
    pub async fn follow(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut reload = Reload::new(self.loaded);
        loop {
            tokio::select! {
                () = sleep(every) => {}
                () = stop.cancelled() => return,
            }
            if !reload.look(self.stamps().await) {
                continue;
            }
            let this = self.clone();
            let done = tokio::task::spawn_blocking(move || this.reload()).await;
            let cert = self.files.cert.display();
            match done {
                Ok(Ok(())) => tracing::info!(%cert, "a new TLS certificate is shown"),
                Ok(Err(error)) => tracing::error!(%error, "the TLS certificate before it stays"),
                Err(error) => tracing::error!(%error, "the TLS files could not be looked at"),
            }
        }
    }

    /// How the files look now. Another thread looks: a disk may hang.
    async fn stamps(&self) -> [Option<Stamp>; 2] {
        let files = self.files.clone();
        tokio::task::spawn_blocking(move || stamps(&files)).await.unwrap_or_default()
    }
}

fn stamps(files: &TlsFiles) -> [Option<Stamp>; 2] {
    [Stamp::of(&files.cert), Stamp::of(&files.key)]
}

/// The certificate that the next handshake shows.
struct Shown(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(***)")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let TlsFiles { cert, key } = files;
    let text = read_file(cert)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Content(cert.clone(), "certificate"))?;
    if chain.is_empty() {
        return Err(TlsError::Content(cert.clone(), "certificate"));
    }
    let private = PrivateKeyDer::from_pem_slice(&read_file(key)?)
        .map_err(|_| TlsError::Content(key.clone(), "private key"))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|source| TlsError::Pair {
        cert: cert.clone(),
        key: key.clone(),
        source,
    })
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let mut text = Zeroizing::new(Vec::new());
    File::open(path)
        .and_then(|file| file.take(FILE_MAX).read_to_end(&mut text))
        .map_err(|error| TlsError::Read(path.to_owned(), error))?;
    Ok(text)
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A folder with a certificate for `localhost` and its key.
    pub fn certificate() -> (TempDir, TlsFiles) {
        let folder = tempfile::tempdir().unwrap();
        let files =
            TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        write(&files);
        (folder, files)
    }

    /// Writes another certificate and key.
    pub fn write(files: &TlsFiles) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let cert = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        fs::write(&files.cert, pem("CERTIFICATE", cert.der())).unwrap();
        fs::write(&files.key, pem("PRIVATE KEY", &key.serialize_der())).unwrap();
    }

    fn pem(what: &str, der: &[u8]) -> String {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {what}-----\n{body}\n-----END {what}-----\n")
    }

    fn shown(tls: &Tls) -> CertificateDer<'static> {
        tls.shown.0.read().unwrap().cert[0].clone()
    }

    #[test]
    fn bad_new_files_leave_the_old_certificate_in_place() {
        let (_folder, files) = certificate();
        let tls = Tls::load(files.clone()).unwrap();
        let first = shown(&tls);
        let good = fs::read(&files.cert).unwrap();
        for bad in ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            fs::write(&files.cert, bad).unwrap();
            assert!(tls.reload().is_err(), "{bad:?}");
            assert_eq!(shown(&tls), first);
        }
        // The new certificate is there, its key is not yet.
        write(&files);
        let (cert, key) = (fs::read(&files.cert).unwrap(), fs::read(&files.key).unwrap());
        fs::write(&files.cert, good).unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::Pair { .. })));
        fs::remove_file(&files.key).unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::Read(..))));
        assert_eq!(shown(&tls), first);
        fs::write(&files.cert, cert).unwrap();
        fs::write(&files.key, key).unwrap();
        tls.reload().unwrap();
        assert_ne!(shown(&tls), first);
    }

    #[test]
    fn k04_debug_shows_paths_and_no_key() {
        let (_folder, files) = certificate();
        let key = fs::read_to_string(&files.key).unwrap();
        let secret = key.lines().nth(1).unwrap();
        let tls = Tls::load(files.clone()).unwrap();
        let text = format!("{tls:?} {:?} {:?}", tls.shown, Tls::load(files).unwrap());
        assert!(text.contains("key.pem") && !text.contains(&secret[40..60]), "{text}");
        let error = TlsError::Content("key.pem".into(), "private key");
        assert!(!format!("{error} {error:?}").contains(&secret[40..60]));
    }

    #[tokio::test]
    async fn a_changed_pair_takes_over_by_itself() {
        let (folder, files) = certificate();
        let tls = Tls::load(files.clone()).unwrap();
        let first = shown(&tls);
        let stop = CancellationToken::new();
        let following = tls.clone().follow(Duration::from_millis(1), stop.clone());
        let changed = async {
            // Replaced as a whole: a disk's clock may be too coarse to show
            // that a file was written twice.
            let incoming = ["cert", "key"].map(|name| folder.path().join(name));
            let [cert, key] = incoming.clone();
            write(&TlsFiles { cert, key });
            fs::rename(&incoming[0], &files.cert).unwrap();
            fs::rename(&incoming[1], &files.key).unwrap();
            while shown(&tls) == first {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        let both = async { tokio::join!(following, changed) };
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("it is seen");
    }
}
