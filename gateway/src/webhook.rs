//! Webhooks: where events are sent, by the operator's leave only.
//!
//! A client names a webhook, never a URL. The name in the URL is resolved once
//! and the connection goes to the address that was checked; redirects are not
//! followed and the body of the answer is not read. Addresses that belong to a
//! machine's own surroundings (link-local, metadata services) are refused
//! always; private ones are reached only if the URL holds the address itself, or if
//! the operator says that the name may lead to one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use ring::hmac;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);

/// How long all of it may take.
const WHOLE: Duration = Duration::from_secs(10);

/// Longest name of a webhook.
const NAME_MAX: usize = 64;

/// Where events are sent.
#[derive(Clone)]
pub struct Webhook {
    host: Host,
    port: u16,
    /// `Host` of the request.
    authority: HeaderValue,
    path: Uri,
    options: Options,
}

/// What an operator may say of a webhook besides its URL.
#[derive(Clone, Default)]
pub struct Options {
    /// With a secret, events are signed.
    pub secret: Option<Zeroizing<String>>,
    /// Whether its name may lead to a private address, such as that of a service
    /// in the same cluster.
    pub may_be_private: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

/// Why a webhook cannot be one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum WebhookError {
    /// The name.
    #[error("{0:?} is not a name of a webhook: write 1 to 64 of a-z, A-Z, 0-9, - and _")]
    Name(String),
    /// It is no URL.
    #[error("{0:?} is not the URL of a webhook: write http://HOST[:PORT]/PATH")]
    Url(String),
    /// It would need TLS.
    #[error("webhooks over https are not supported yet: write http://, to a proxy that speaks TLS")]
    Https,
    /// It leads where nothing may go.
    #[error("{0} is link-local or a metadata service, which no webhook may reach")]
    Forbidden(IpAddr),
}

/// Why an event was not delivered.
#[derive(Debug, Error)]
pub enum SendError {
    /// The name leads nowhere.
    #[error("its name cannot be resolved")]
    Resolve,
    /// The name leads where it must not.
    #[error(
        "its name leads to {0}, which is not public: set private = true, or write the address itself"
    )]
    Forbidden(IpAddr),
    /// It took too long.
    #[error("it did not answer in time")]
    Timeout,
    /// The connection failed.
    #[error("{0}")]
    Connection(String),
    /// It said no.
    #[error("it answered {0}")]
    Status(StatusCode),
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Path and secret may both be what lets somebody in.
        f.debug_struct("Webhook").field("host", &self.host).field("port", &self.port).finish()
    }
}

/// Checks the name of a webhook.
pub fn check_name(name: &str) -> Result<(), WebhookError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let ok = (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(allowed);
    if ok { Ok(()) } else { Err(WebhookError::Name(name.to_owned())) }
}

impl Webhook {
    /// Checks a URL.
    pub fn parse(url: &str, options: Options) -> Result<Self, WebhookError> {
        let bad = || WebhookError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(WebhookError::Https),
            _ => return Err(bad()),
        }
        let authority = uri.authority().ok_or_else(bad)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(bad());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = match host.parse::<IpAddr>() {
            Ok(address) if is_never(address) => return Err(WebhookError::Forbidden(address)),
            Ok(address) => Host::Address(address),
            // What looks like a number would be an address to the resolver.
            Err(_) if host.rsplit('.').next().is_some_and(is_number) => return Err(bad()),
            Err(_) => Host::Name(host.to_owned()),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            host,
            port: authority.port_u16().unwrap_or(80),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| bad())?,
            path: path.parse().map_err(|_| bad())?,
            options,
        })
    }

    /// Sends one record. `Ok` means that the receiver said so (2xx).
    pub async fn send(&self, record: &str, now_s: i64) -> Result<(), SendError> {
        timeout(WHOLE, self.exchange(record, now_s)).await.unwrap_or(Err(SendError::Timeout))
    }

    async fn exchange(&self, record: &str, now_s: i64) -> Result<(), SendError> {
        let failed = |error: hyper::Error| SendError::Connection(error.to_string());
        let address = self.resolve().await?;
        let connected = timeout(CONNECT, TcpStream::connect(address)).await;
        let connected = connected.map_err(|_| SendError::Timeout)?;
        let stream = connected.map_err(|error| SendError::Connection(error.to_string()))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(failed)?;
        // Ends with this function.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let answer = sender.send_request(self.request(record, now_s)).await.map_err(failed)?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(SendError::Status(status)),
        }
    }

    /// The address to connect to: looked up once, and allowed.
    async fn resolve(&self) -> Result<SocketAddr, SendError> {
        let name = match &self.host {
            Host::Address(address) => return Ok((*address, self.port).into()),
            Host::Name(name) => name,
        };
        let found = tokio::net::lookup_host((name.as_str(), self.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|_| SendError::Resolve)?.collect();
        // One bad address among good ones is an attack, not an accident.
        let may_be = |address: &&SocketAddr| match self.options.may_be_private {
            true => !is_never(address.ip()),
            false => is_public(address.ip()),
        };
        match found.iter().find(|address| !may_be(address)) {
            Some(bad) => Err(SendError::Forbidden(bad.ip())),
            None => found.first().copied().ok_or(SendError::Resolve),
        }
    }

    fn request(&self, record: &str, now_s: i64) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(record.as_bytes())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.authority.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static("stratos"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(secret) = &self.options.secret {
            let signature = signature(secret.as_bytes(), now_s, record);
            let value = HeaderValue::try_from(format!("t={now_s},v1={signature}"));
            headers.insert("x-stratos-signature", value.expect("digits"));
        }
        request
    }
}

/// HMAC-SHA256 of `SECONDS.RECORD`, in hex.
pub fn signature(secret: &[u8], now_s: i64, record: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hex::encode(hmac::sign(&key, format!("{now_s}.{record}").as_bytes()))
}

fn is_number(label: &str) -> bool {
    label.starts_with(|c: char| c.is_ascii_digit()) || label.is_empty()
}

/// IPv4 in the clothes of IPv6, undressed.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 =
        |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match [a, b, c, d, e, f] {
        // Mapped, translated by NAT64, compatible (but not :: and ::1), 6to4.
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        [0, 0, 0, 0, 0, 0] if g != 0 => v4(g, h),
        [0x2002, ..] => v4(b, c),
        _ => address,
    }
}

/// Addresses that no webhook may reach, whoever wrote them.
fn is_never(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.octets()[0] == 0
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4 == Ipv4Addr::new(100, 100, 100, 200)
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
        }
    }
}

/// Addresses that a name may lead to.
fn is_public(address: IpAddr) -> bool {
    let is_inside = match plain(address) {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback() || v4.is_private() || (a == 100 && b & 0xc0 == 64) || a >= 240
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    };
    !is_inside && !is_never(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b03_only_plain_urls_of_allowed_hosts_are_webhooks() {
        let parse =
            |url: &str| Webhook::parse(url, Options::default()).map(|hook| (hook.host, hook.port));
        let bad = |url: &str| Err(WebhookError::Url(url.to_owned()));
        let name = |name: &str| Host::Name(name.to_owned());
        assert_eq!(parse("http://example.org/a?b=c"), Ok((name("example.org"), 80)));
        assert_eq!(
            parse("http://127.0.0.1:8080/"),
            Ok((Host::Address([127, 0, 0, 1].into()), 8080))
        );
        assert_eq!(parse("http://[::1]:1").unwrap().1, 1);
        assert_eq!(parse("https://example.org/"), Err(WebhookError::Https));
        for url in [
            "file:///etc/passwd",
            "http://user:pass@example.org/",
            "http:///path",
            "example.org",
            "/path",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://127.1/",
        ] {
            assert_eq!(parse(url), bad(url), "{url}");
        }
    }

    #[test]
    fn b03_the_surroundings_of_a_machine_are_never_reached() {
        for address in [
            "169.254.169.254",
            "0.0.0.0",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1",
            "::",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert!(is_never(address) && !is_public(address), "{address}");
        }
    }

    #[test]
    fn b03_a_name_leads_to_public_addresses_only() {
        for address in ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"] {
            let address: IpAddr = address.parse().unwrap();
            assert!(!is_public(address) && !is_never(address), "{address}");
        }
        for address in ["::1", "fd12::1", "::ffff:10.0.0.1"] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "100.128.0.1", "2606:4700::1111"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn names_are_plain() {
        assert!(check_name("audit-log_2").is_ok());
        for name in ["", "a b", "a/b", "é", &"n".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let secret = Some(Zeroizing::new("s3cr3t".to_owned()));
        let options = Options { secret, ..Options::default() };
        let hook = Webhook::parse("http://h.example/T0K3N", options).unwrap();
        let shown = format!("{hook:?}");
        assert!(!shown.contains("T0K3N") && !shown.contains("s3cr3t"), "{shown}");
        let request = hook.request("{}", 7);
        let signed = request.headers()["x-stratos-signature"].to_str().unwrap();
        assert_eq!(signed, format!("t=7,v1={}", signature(b"s3cr3t", 7, "{}")));
    }
}
