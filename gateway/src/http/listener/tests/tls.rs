//! The same over TLS, and what comes instead of it.

use std::fs;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::tls::tests::{certificate, write};
use super::*;

struct Trusting(TlsConnector);

impl Trusting {
    /// A client that trusts the certificate and offers these protocols.
    fn new(files: &TlsFiles, alpn: &[&str], versions: Versions) -> Self {
        let cert = CertificateDer::from_pem_file(&files.cert).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(cert).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self(TlsConnector::from(Arc::new(config)))
    }

    async fn connect(&self, server: &Server) -> io::Result<TlsStream<TcpStream>> {
        let tcp = soon(TcpStream::connect(server.addr)).await.expect("somebody listens");
        let name = ServerName::try_from("localhost").expect("a name");
        soon(self.0.connect(name, tcp)).await
    }
}

type Versions = &'static [&'static rustls::SupportedProtocolVersion];

async fn start(limits: HttpLimits) -> (Server, TlsFiles, TempDir) {
    let (folder, files) = certificate();
    let tls = Tls::load(files.clone()).expect("good files");
    (Server::start_with(limits, Some(tls)).await, files, folder)
}

/// Sends a request on HTTP/1.1 and reads to the end of the connection.
async fn ask(mut stream: TlsStream<TcpStream>) -> String {
    let request = b"GET /secure HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    soon(stream.write_all(request)).await.expect("the server reads");
    let mut all = Vec::new();
    // An end without `close_notify` would be an error.
    soon(stream.read_to_end(&mut all)).await.expect("a clean end");
    String::from_utf8(all).expect("a text").to_ascii_lowercase()
}

#[tokio::test]
async fn requests_over_both_versions_of_tls_are_answered_and_marked() {
    let (server, files, _folder) = start(HttpLimits::default()).await;
    const OLD: Versions = &[&rustls::version::TLS12];
    for versions in [rustls::ALL_VERSIONS, OLD] {
        let client = Trusting::new(&files, &["http/1.1"], versions);
        let answer = ask(client.connect(&server).await.expect("trust")).await;
        has_status(&answer, 200);
        assert!(answer.ends_with("secure"), "{answer}");
    }
    server.open_falls_to(0).await;
}

#[tokio::test]
async fn a_request_without_tls_is_not_marked() {
    let server = Server::start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    client.send("GET /secure HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(client.answer().await.ends_with("plain"));
}

#[tokio::test]
async fn http2_is_spoken_with_those_that_speak_nothing_else() {
    let (server, files, _folder) = start(HttpLimits::default()).await;
    let check = async |offered: &[&str], want: Option<&str>| {
        let client = Trusting::new(&files, offered, rustls::ALL_VERSIONS);
        let stream = client.connect(&server).await.expect("trust");
        assert_eq!(stream.get_ref().1.alpn_protocol(), want.map(str::as_bytes), "{offered:?}");
        stream
    };
    check(&["h2", "http/1.1"], Some("http/1.1")).await;
    check(&[], None).await;
    let stream = check(&["h2"], Some("h2")).await;
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut send, connection) =
        soon(hyper::client::conn::http2::handshake(executor, io)).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = Request::get("https://localhost/secure").body(String::new()).expect("a request");
    let answer = soon(send.send_request(request)).await.expect("an answer");
    let body = soon(answer.into_body().collect()).await.expect("a body").to_bytes();
    assert_eq!(body, "secure");
    drop(send);
    soon(connection).await.expect("no panic").expect("a clean end");
}

#[tokio::test]
async fn a_client_without_tls_is_told_and_keeps_no_seat() {
    let (server, _, _folder) =
        start(HttpLimits { linger: short(50), ..HttpLimits::default() }).await;
    let mut client = server.connect().await;
    client.send("GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let answer = client.answer().await;
    has_status(&answer, 400);
    assert!(answer.ends_with("use https://.\r\n"), "{answer}");
    assert_eq!(client.rest().await, "");
    server.open_falls_to(0).await;
    assert!(server.toy.paths().is_empty());
}

#[tokio::test]
async fn h02_a_tls_handshake_that_never_ends_is_cut() {
    let limits = HttpLimits { handshake_timeout: short(50), ..HttpLimits::default() };
    let (server, _, _folder) = start(limits).await;
    // The head of a record that never comes, and a few bytes of it.
    for begin in [&b"\x16"[..], b"\x16\x03\x01\x02\x00", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"] {
        let mut client = server.connect().await;
        soon(client.0.write_all(begin)).await.expect("the server reads");
        client.rest().await;
    }
    server.open_falls_to(0).await;
    assert_eq!(server.stats.handshakes_failed.load(Ordering::Relaxed), 3);
    assert!(server.toy.paths().is_empty());
}

#[tokio::test]
async fn h02_handshakes_take_seats_as_all_connections_do() {
    let limits = HttpLimits { max_connections: 1, ..HttpLimits::default() };
    let (server, files, _folder) = start(limits).await;
    let mut idle = server.connect().await;
    soon(idle.0.write_all(b"\x16")).await.expect("the server reads");
    until(|| server.stats.open.load(Ordering::Relaxed) == 1).await;
    let client = Trusting::new(&files, &[], rustls::ALL_VERSIONS);
    assert!(client.connect(&server).await.is_err());
    assert_eq!(server.stats.refused.load(Ordering::Relaxed), 1);
    drop(idle);
    server.open_falls_to(0).await;
    has_status(&ask(client.connect(&server).await.expect("a seat")).await, 200);
}

#[tokio::test]
async fn what_is_no_tls_record_inside_ends_the_connection() {
    let (server, _, _folder) = start(HttpLimits::default()).await;
    let mut client = server.connect().await;
    soon(client.0.write_all(&[0x16; 2000])).await.expect("the server reads");
    let mut alert = Vec::new();
    // What is still unread may reset the connection; that is an end, too.
    let _ = soon(client.0.read_to_end(&mut alert)).await;
    server.open_falls_to(0).await;
    assert!(server.toy.paths().is_empty());
}

#[tokio::test]
async fn a_refusal_over_tls_is_read_by_a_client_that_still_sends() {
    let limits = HttpLimits { linger: short(2000), ..HttpLimits::default() };
    let (server, files, _folder) = start(limits).await;
    let client = Trusting::new(&files, &[], rustls::ALL_VERSIONS);
    let mut stream = client.connect(&server).await.expect("trust");
    let head = b"PUT /refuse HTTP/1.1\r\nhost: h\r\ncontent-length: 4000000\r\n\r\n";
    soon(stream.write_all(head)).await.expect("the server reads");
    soon(stream.write_all(&vec![b'x'; 4_000_000])).await.expect("the server reads");
    let mut all = Vec::new();
    soon(stream.read_to_end(&mut all)).await.expect("a clean end");
    let answer = String::from_utf8(all).expect("a text").to_ascii_lowercase();
    has_status(&answer, 403);
    assert!(answer.ends_with("no"), "{answer}");
    drop(stream);
    server.open_falls_to(0).await;
}

#[tokio::test]
async fn the_next_handshake_shows_the_new_certificate() {
    let (_folder, files) = certificate();
    let tls = Tls::load(files.clone()).expect("good files");
    let server = Server::start_with(HttpLimits::default(), Some(tls.clone())).await;
    let before = Trusting::new(&files, &[], rustls::ALL_VERSIONS);
    let open = before.connect(&server).await.expect("trust");
    write(&files);
    tls.reload().expect("good files");
    let after = Trusting::new(&files, &[], rustls::ALL_VERSIONS);
    has_status(&ask(after.connect(&server).await.expect("trust")).await, 200);
    assert!(Trusting::new(&files, &[], rustls::ALL_VERSIONS).connect(&server).await.is_ok());
    // What was open stays open; a new connection finds another certificate.
    has_status(&ask(open).await, 200);
    fs::remove_file(&files.cert).expect("a file");
    assert!(tls.reload().is_err());
    has_status(&ask(after.connect(&server).await.expect("trust")).await, 200);
}
