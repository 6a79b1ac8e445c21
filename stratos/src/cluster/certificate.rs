//! The certificate of `stratos up --tls`: made at the first start and kept in
//! `DIR/tls`, or put there by somebody else.
//!
//! It is signed by itself: clients trust the file `cert.pem`. Not here: showing
//! it, and following the files when they change (the gateway's listener).

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use gateway::http::listener::TlsFiles;
use protocol::keys::write_private;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use thiserror::Error;
use time::{Duration, OffsetDateTime};

/// Names that every certificate is for.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How long a certificate of ours is good.
const LIFETIME: Duration = Duration::days(3650);

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// One of the two files is missing.
    #[error("{0} is missing: restore it, or remove the folder to have both files made anew")]
    Half(PathBuf),
    /// What is there is no certificate.
    #[error("{0} holds no certificate in PEM form: restore it, or remove the folder")]
    Content(PathBuf),
    /// It is for other names.
    #[error(
        "{cert} is not for {name:?}: leave --tls-name out, or remove the folder to have a new certificate made"
    )]
    Name {
        /// The certificate.
        cert: PathBuf,
        /// The name that was asked for.
        name: String,
    },
    /// It could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

impl CertificateError {
    /// Whether the command line is what is wrong.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Name { .. })
    }
}

/// The certificate and key in `dir`, made for this machine and `names` if
/// there are none.
pub fn load_or_create(dir: &Path, names: &[String]) -> Result<TlsFiles, CertificateError> {
    let files = TlsFiles { cert: dir.join("cert.pem"), key: dir.join("key.pem") };
    match (files.cert.exists(), files.key.exists()) {
        (true, true) => check_names(&files.cert, names)?,
        (false, false) => create(dir, &files, names)?,
        (true, false) => return Err(CertificateError::Half(files.key)),
        (false, true) => return Err(CertificateError::Half(files.cert)),
    }
    Ok(files)
}

/// Whether a certificate can be for this name: a host name, `*.` and a host
/// name, or an IP.
pub fn is_name(name: &str) -> bool {
    ServerName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_ok()
}

fn create(dir: &Path, files: &TlsFiles, names: &[String]) -> Result<(), CertificateError> {
    let failed = |error| CertificateError::Io(dir.to_owned(), error);
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let key = KeyPair::generate()?;
    let mut all: Vec<String> = HERE.map(str::to_owned).into();
    all.extend(names.iter().filter(|name| !HERE.contains(&name.as_str())).cloned());
    let cert = params(all, OffsetDateTime::now_utc())?.self_signed(&key)?;
    // The key first: a certificate alone would look like a lost key.
    for (path, what, der) in [
        (&files.key, "PRIVATE KEY", key.serialized_der()),
        (&files.cert, "CERTIFICATE", cert.der().as_ref()),
    ] {
        write_private(path, pem(what, der).as_bytes())
            .map_err(|error| CertificateError::Io(path.clone(), error))?;
    }
    Ok(())
}

fn params(names: Vec<String>, now: OffsetDateTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "stratos up");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    // Clocks differ.
    params.not_before = now - Duration::DAY;
    params.not_after = now + LIFETIME;
    Ok(params)
}

fn pem(what: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

/// Whether the certificate that is there is for these names, too.
fn check_names(cert: &Path, names: &[String]) -> Result<(), CertificateError> {
    let text = fs::read(cert).map_err(|error| CertificateError::Io(cert.to_owned(), error))?;
    let content = || CertificateError::Content(cert.to_owned());
    let der = CertificateDer::from_pem_slice(&text).map_err(|_| content())?;
    let parsed = ParsedCertificate::try_from(&der).map_err(|_| content())?;
    for name in names {
        // A wildcard is covered if some name under it is.
        let asked = name.strip_prefix("*.").map(|domain| format!("any.{domain}"));
        let asked = asked.as_deref().unwrap_or(name);
        let is_covered = ServerName::try_from(asked)
            .is_ok_and(|asked| verify_server_name(&parsed, &asked).is_ok());
        if !is_covered {
            return Err(CertificateError::Name { cert: cert.to_owned(), name: name.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_private() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("tls");
        let asked = names(&["s3.example.org", "*.s3.example.org", "10.0.0.7"]);
        let files = load_or_create(&dir, &asked).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&files.key)), (0o700, 0o600));
        let made = fs::read(&files.cert).unwrap();

        let everything = [asked, names(&["localhost", "127.0.0.1", "::1"])].concat();
        load_or_create(&dir, &everything).unwrap();
        assert_eq!(fs::read(&files.cert).unwrap(), made);
        for other in ["example.org", "10.0.0.8", "*.example.org"] {
            let error = load_or_create(&dir, &names(&[other])).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(other), "{error}");
        }
        assert_eq!(fs::read(&files.cert).unwrap(), made);
        gateway::http::listener::Tls::load(files).expect("the gateway can show it");
    }

    #[test]
    fn half_a_pair_is_not_replaced() {
        for lost in ["cert.pem", "key.pem"] {
            let dir = tempfile::tempdir().unwrap();
            load_or_create(dir.path(), &[]).unwrap();
            fs::remove_file(dir.path().join(lost)).unwrap();
            let error = load_or_create(dir.path(), &[]).unwrap_err().to_string();
            assert!(error.contains(lost) && error.contains("is missing"), "{error}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn names_of_certificates() {
        for good in ["localhost", "s3.example.org", "*.s3.example.org", "10.0.0.7", "::1"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "*", "a b", "https://h", "h:1", "s3.*.org", "*.*.org", "é.org"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
