//! Which bucket a `Host` header names.
//!
//! Only configured domains carry buckets, and only at a label boundary:
//! `photos.s3.example.com` names `photos` when `s3.example.com` is configured,
//! `photoss3.example.com` names nothing. Every other host (an address,
//! `localhost`, a name nobody configured) is path style: a bucket is never
//! guessed from it.

use s3s::host::{S3Host, VirtualHost};
use s3s::{S3Result, s3_error};
use thiserror::Error;

/// The domains under which buckets are sub-domains.
///
/// Invariant: lower case, no port, no trailing dot, longest first, so that the
/// most particular of two nested domains wins.
#[derive(Debug, Clone, Default)]
pub struct Domains(Vec<String>);

/// A configured domain that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a domain: expected a name such as s3.example.com, without port or path")]
pub struct DomainError(String);

impl Domains {
    /// Reads the configured names; `*.s3.example.com` means `s3.example.com`.
    pub fn parse<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Self, DomainError> {
        let mut domains = Vec::new();
        for name in names {
            let name = name.as_ref();
            let domain = name.strip_prefix("*.").unwrap_or(name);
            let domain = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
            let all_digits = domain.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            if !is_host_name(&domain) || all_digits {
                return Err(DomainError(name.to_owned()));
            }
            domains.push(domain);
        }
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        domains.dedup();
        Ok(Self(domains))
    }

    /// The bucket that `host` names, if it names one.
    pub fn bucket(&self, host: &str) -> Result<Option<String>, BadHost> {
        let name = host_name(host)?;
        for domain in &self.0 {
            if name == *domain {
                return Ok(None);
            }
            let bucket = name.strip_suffix(domain.as_str()).and_then(|b| b.strip_suffix('.'));
            if let Some(bucket) = bucket {
                return Ok(Some(bucket.to_owned()));
            }
        }
        Ok(None)
    }
}

/// A `Host` header that names no host at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("The Host header is not valid.")]
pub struct BadHost;

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let bucket = self.bucket(host).map_err(|e| s3_error!(InvalidRequest, "{}", e))?;
        let found = VirtualHost::new(host);
        Ok(match bucket {
            Some(bucket) => found.with_bucket(bucket),
            None => found,
        })
    }
}

/// The name in lower case without port and trailing dot.
fn host_name(host: &str) -> Result<String, BadHost> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(BadHost)?;
        let port_ok = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let address: std::net::Ipv6Addr = address.parse().map_err(|_| BadHost)?;
        return if port_ok { Ok(address.to_string()) } else { Err(BadHost) };
    }
    let name = match host.split_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return Err(BadHost),
        None => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if is_host_name(&name) { Ok(name) } else { Err(BadHost) }
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// Labels of letters, digits, `-` and `_` (which names inside container
/// networks have), none of them empty.
fn is_host_name(name: &str) -> bool {
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 255 && name.split('.').all(label_ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, want: Result<Option<&str>, BadHost>) {
        let domains = Domains::parse(["s3.example.com", "*.Store.Example", "eu.s3.example.com"]);
        let domains = domains.expect("three good domains");
        let got = domains.bucket(host);
        assert_eq!(got.as_ref().map(Option::as_deref), want.as_ref().copied(), "{host:?}");
        // What the S3 layer sees is the same.
        let seen = domains.parse_host_header(host);
        assert_eq!(seen.is_ok(), want.is_ok(), "{host:?}");
        if let Ok(seen) = seen {
            assert_eq!(seen.bucket(), want.ok().flatten(), "{host:?}");
        }
    }

    #[test]
    fn buckets_of_hosts() {
        check("s3.example.com", Ok(None));
        check("photos.s3.example.com", Ok(Some("photos")));
        check("Photos.S3.Example.COM", Ok(Some("photos")));
        check("photos.s3.example.com:9000", Ok(Some("photos")));
        check("photos.s3.example.com.", Ok(Some("photos")));
        check("photos.s3.example.com.:443", Ok(Some("photos")));
        check("a.b.s3.example.com", Ok(Some("a.b")));
        check("photos.store.example", Ok(Some("photos")));
        check("photos.eu.s3.example.com", Ok(Some("photos")));
        check("eu.s3.example.com", Ok(None));
    }

    #[test]
    fn hosts_that_name_no_bucket() {
        check("localhost", Ok(None));
        check("localhost:9000", Ok(None));
        check("photos.localhost:9000", Ok(None));
        check("127.0.0.1:9000", Ok(None));
        check("[::1]:9000", Ok(None));
        check("[::1]", Ok(None));
        check("my_gateway:9000", Ok(None));
        check("photos.evil.com", Ok(None));
        check("s3.example.com.evil.com", Ok(None));
        check("photoss3.example.com", Ok(None));
        check("evils3.example.com", Ok(None));
        check("example.com", Ok(None));
    }

    #[test]
    fn hosts_that_are_none() {
        check("", Err(BadHost));
        check(".s3.example.com", Err(BadHost));
        check("a..s3.example.com", Err(BadHost));
        check("photos.s3.example.com:99999", Err(BadHost));
        check("photos.s3.example.com:+80", Err(BadHost));
        check("user@s3.example.com", Err(BadHost));
        check("a/b.s3.example.com", Err(BadHost));
        check("[::1", Err(BadHost));
        check("[zz]", Err(BadHost));
    }

    #[test]
    fn configured_domains_are_checked() {
        for bad in ["", "s3.example.com:9000", "http://s3", "a b", ".", "10.0.0.1", "a..b"] {
            assert!(Domains::parse([bad]).is_err(), "{bad:?}");
        }
        assert!(Domains::parse::<&str>([]).is_ok());
    }
}
