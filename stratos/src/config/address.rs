//! Where to dial: a host name or an IP, and a port.
//!
//! Listeners are given as IPs; what is dialled may have a name, because in
//! containers the name stays and the IP does not.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

/// An address to dial, HOST:PORT.
///
/// Invariant: the host is an IP or a name of letters, digits, `-`, `_` and `.`;
/// the port is not 0. Only [`str::parse`] builds one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// Why a text is not an [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// There is no `:` or nothing before it.
    #[error("there is no HOST:PORT")]
    Form,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// The host is neither an IP nor a name.
    #[error("the host is neither an IP nor a name")]
    Host,
    /// The host means "every address of this machine".
    #[error("nobody can dial the wildcard address")]
    Wildcard,
}

/// A name could not be looked up.
#[derive(Debug, Error)]
#[error("cannot look up {address}: {cause}; check the name, or write an IP")]
pub struct ResolveError {
    address: Address,
    cause: String,
}

impl Address {
    /// Looks the host up and returns its first address.
    pub async fn resolve(&self) -> Result<SocketAddr, ResolveError> {
        let failed = |cause: String| ResolveError { address: self.clone(), cause };
        let mut found = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|error| failed(error.to_string()))?;
        found.next().ok_or_else(|| failed("the name has no address".to_owned()))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::Form)?;
        let port = match port.parse() {
            Ok(0) | Err(_) => return Err(AddressError::Port),
            Ok(port) => port,
        };
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let ip = match inner {
            Some(inner) => Some(inner.parse::<Ipv6Addr>().map_err(|_| AddressError::Host)?.into()),
            None => host.parse::<IpAddr>().ok().filter(IpAddr::is_ipv4),
        };
        match ip {
            Some(ip) if ip.is_unspecified() => Err(AddressError::Wildcard),
            Some(ip) => Ok(Self { host: ip.to_string(), port }),
            None if host.is_empty() => Err(AddressError::Form),
            None if is_name(host) => Ok(Self { host: host.to_owned(), port }),
            None => Err(AddressError::Host),
        }
    }
}

fn is_name(host: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    // Digits and dots alone are an IP that somebody mistyped.
    host.len() <= 253 && host.bytes().all(allowed) && host.bytes().any(|b| b.is_ascii_alphabetic())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, want: Result<&str, AddressError>| {
            let got = text.parse::<Address>().map(|address| address.to_string());
            assert_eq!(got, want.map(str::to_owned), "{text:?}");
        };
        check("127.0.0.1:4400", Ok("127.0.0.1:4400"));
        check("[::1]:4400", Ok("[::1]:4400"));
        check("ledger:4400", Ok("ledger:4400"));
        check("ledger-0.ledger.ns.svc:1", Ok("ledger-0.ledger.ns.svc:1"));
        check("", Err(AddressError::Form));
        check("ledger", Err(AddressError::Form));
        check(":4400", Err(AddressError::Form));
        check("ledger:", Err(AddressError::Port));
        check("ledger:0", Err(AddressError::Port));
        check("ledger:65536", Err(AddressError::Port));
        check("http://ledger:1", Err(AddressError::Host));
        check("::1:4400", Err(AddressError::Host));
        check("[ledger]:4400", Err(AddressError::Host));
        check("10.0.0:4400", Err(AddressError::Host));
        check("a b:1", Err(AddressError::Host));
        check("0.0.0.0:4400", Err(AddressError::Wildcard));
        check("[::]:4400", Err(AddressError::Wildcard));
    }

    #[tokio::test]
    async fn an_ip_needs_no_lookup() {
        for text in ["127.0.0.1:4400", "[::1]:4400"] {
            let address: Address = text.parse().expect("an address");
            assert_eq!(address.resolve().await.expect("found"), text.parse().expect("an address"));
        }
    }
}
