//! Mutual authentication by raw public keys (RFC 7250): the Ed25519 key is the
//! identity, compared byte for byte. TLS 1.3 only, AES-128-GCM first, no
//! certificate authority, nothing that expires.
//!
//! The dialling end pins the one key it expects ([`client_config`]). The
//! listening end asks an [`Admission`] whether the key it sees may connect; a
//! node admits registered gateways alone, so another node's key, however
//! sound, is refused.

use std::fmt;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};
use zeroize::Zeroizing;

use crate::ids::PublicKey;
use crate::keys::SecretKey;

/// The protocol's name and version in the handshake.
pub const ALPN: &[u8] = b"stratos/1";

/// The server name in the handshake. Identity is the key, so it says nothing.
pub const SERVER_NAME: &str = "stratos";

/// SubjectPublicKeyInfo of an Ed25519 key: this prefix and the 32 key bytes (RFC 8410).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// PKCS#8 of an Ed25519 seed: this prefix and the 32 seed bytes (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Says whether a key may connect.
#[derive(Clone)]
pub struct Admission(Arc<dyn Fn(PublicKey) -> bool + Send + Sync>);

impl Admission {
    /// Admits the keys for which `rule` holds when they connect.
    pub fn new(rule: impl Fn(PublicKey) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(rule))
    }

    /// Admits one key.
    pub fn only(key: PublicKey) -> Self {
        Self::new(move |seen| seen == key)
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admission")
    }
}

/// The configuration of a listening end.
pub fn server_config(key: &SecretKey, admission: Admission) -> QuicServerConfig {
    let provider = provider();
    let verifier = Arc::new(Verifier::new(admission, &provider));
    let mut tls = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 suites")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(identity(
            key, &provider,
        ))));
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // Early data could be replayed.
    tls.max_early_data_size = 0;
    QuicServerConfig::try_from(tls).expect("the provider has QUIC's initial suite")
}

/// The configuration of a dialling end that expects exactly `server`.
pub fn client_config(key: &SecretKey, server: impl Into<PublicKey>) -> QuicClientConfig {
    let provider = provider();
    let verifier = Arc::new(Verifier::new(Admission::only(server.into()), &provider));
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 suites")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(identity(
            key, &provider,
        ))));
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.enable_early_data = false;
    QuicClientConfig::try_from(tls).expect("the provider has QUIC's initial suite")
}

/// The key that the other end of a connection proved to hold.
pub fn peer_key(connection: &quinn::Connection) -> Option<PublicKey> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    key_of(chain.first()?)
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    // AES-128-GCM costs a tenth to a fifth less than AES-256-GCM, and what
    // travels is encrypted already.
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

fn identity(key: &SecretKey, provider: &CryptoProvider) -> Arc<CertifiedKey> {
    let der = Zeroizing::new([PKCS8_PREFIX.as_slice(), key.seed().as_ref()].concat());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.to_vec()));
    let signer = provider.key_provider.load_private_key(private).expect("ring loads Ed25519 keys");
    let public = [SPKI_PREFIX.as_slice(), &key.public().0].concat();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], signer))
}

fn key_of(certificate: &CertificateDer<'_>) -> Option<PublicKey> {
    let key = certificate.as_ref().strip_prefix(SPKI_PREFIX.as_slice())?;
    Some(PublicKey(key.try_into().ok()?))
}

#[derive(Debug)]
struct Verifier {
    admission: Admission,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(admission: Admission, provider: &CryptoProvider) -> Self {
        Self { admission, algorithms: provider.signature_verification_algorithms }
    }

    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let admitted = intermediates.is_empty()
            && key_of(end_entity).is_some_and(|key| (self.admission.0)(key));
        if admitted { Ok(()) } else { Err(Error::General("this key is not admitted".into())) }
    }

    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signature)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
