//! Whom the client believes to be the server behind `https://`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use thiserror::Error as ThisError;

/// The certificates of public issuers, as Debian and Alpine have them.
pub const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whom to believe.
#[derive(Clone)]
pub enum Trust {
    /// Nobody: enough for plain HTTP.
    Nobody,
    /// Those for whom one of these issuers vouches, under the name that is dialled.
    Issuers(Arc<RootCertStore>),
    /// Who has the key of this very certificate, whatever name and dates are in it.
    Exactly(CertificateDer<'static>),
}

/// Why a file says nothing about whom to believe.
#[derive(Debug, ThisError)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot read the certificates in {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// There is none in it.
    #[error("{0} holds no certificate in PEM form")]
    Empty(PathBuf),
}

impl Trust {
    /// Believes the issuers in `file`, a bundle of certificates in PEM form.
    pub fn issuers(file: &Path) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        // Bundles hold old ones that nobody can read any more.
        let (usable, _) = roots.add_parsable_certificates(certificates(file)?);
        if usable == 0 {
            return Err(TrustError::Empty(file.to_owned()));
        }
        Ok(Self::Issuers(roots.into()))
    }

    /// Believes only the server that shows the first certificate in `file`.
    pub fn exactly(file: &Path) -> Result<Self, TrustError> {
        Ok(Self::Exactly(certificates(file)?.swap_remove(0)))
    }

    pub(super) fn config(self) -> ClientConfig {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions");
        match self {
            Self::Nobody => builder.with_root_certificates(RootCertStore::empty()),
            Self::Issuers(roots) => builder.with_root_certificates(roots),
            Self::Exactly(cert) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Exactly { cert, provider })),
        }
        .with_no_client_auth()
    }
}

/// All certificates of a file; at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let text = fs::read(file).map_err(|error| TrustError::Read(file.to_owned(), error))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text).flatten().collect();
    if found.is_empty() { Err(TrustError::Empty(file.to_owned())) } else { Ok(found) }
}

/// Believes one certificate, as SSH believes one host key.
struct Exactly {
    cert: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Exactly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exactly")
    }
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *shown == self.cert {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General("the server shows another certificate than the one in the file".into()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let error = Trust::issuers(&path).err().expect("there is none").to_string();
        assert!(error.contains("cannot read the certificates") && error.contains("ca.pem"));
        fs::write(&path, "no certificate").unwrap();
        let error = Trust::exactly(&path).err().expect("there is none").to_string();
        assert!(error.ends_with("ca.pem holds no certificate in PEM form"), "{error}");
    }
}
