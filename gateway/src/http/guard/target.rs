//! What a request is about: its host, its bucket, its key and its query,
//! decoded the way the S3 layer will decode them.
//!
//! Read from the path as it was sent: nothing is folded, `a//b`, `./x` and
//! `a/../b` stay three different keys.

use std::borrow::Cow;

use http::header::HOST;
use http::request::Parts;

use super::Domains;
use super::refusal::{Code, S3Refusal};

/// What the path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Root,
    Bucket,
    Object,
}

/// The request line, taken apart.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub level: Level,
    pub query: Query<'a>,
}

/// A key may have this many bytes.
const KEY_MAX: usize = 1024;

impl<'a> Target<'a> {
    pub fn parse(parts: &'a Parts, domains: &Domains) -> Result<Self, S3Refusal> {
        let bucket = domains
            .bucket(host(parts)?)
            .map_err(|e| S3Refusal::new(Code::InvalidRequest, e.to_string()))?;
        let path = decode(parts.uri.path(), Plus::IsPlus).ok_or_else(bad_uri)?;
        let path = path.strip_prefix('/').ok_or_else(bad_uri)?;
        let key = match bucket {
            Some(_) => path,
            None if path.is_empty() => {
                return Ok(Self { level: Level::Root, query: Query::parse(parts)? });
            }
            None => path.split_once('/').map_or("", |(_, key)| key),
        };
        if KEY_MAX < key.len() {
            return Err(S3Refusal::new(Code::KeyTooLong, "Your key is too long")
                .field("Size", key.len().to_string())
                .field("MaxSizeAllowed", KEY_MAX.to_string()));
        }
        let level = if key.is_empty() { Level::Bucket } else { Level::Object };
        Ok(Self { level, query: Query::parse(parts)? })
    }
}

/// The one host that the request names.
pub(super) fn host(parts: &Parts) -> Result<&str, S3Refusal> {
    let bad = |message: &'static str| S3Refusal::new(Code::InvalidRequest, message);
    let header = match parts.headers.get(HOST) {
        Some(value) => Some(value.to_str().map_err(|_| bad("The Host header is not valid."))?),
        None => None,
    };
    match (header, parts.uri.authority()) {
        (Some(header), None) => Ok(header),
        (None, Some(authority)) => Ok(authority.as_str()),
        (Some(header), Some(authority)) if authority.as_str().eq_ignore_ascii_case(header) => {
            Ok(header)
        }
        (Some(_), Some(_)) => Err(bad("The request names two different hosts.")),
        (None, None) => Err(bad("The Host header is missing.")),
    }
}

/// The query parameters, decoded, in the order they were sent.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    fn parse(parts: &'a Parts) -> Result<Self, S3Refusal> {
        let mut pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        let query = parts.uri.query().unwrap_or("");
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name, Plus::IsSpace).ok_or_else(bad_uri)?;
            let value = decode(value, Plus::IsSpace).ok_or_else(bad_uri)?;
            pairs.push((name, value));
        }
        let query = Self(pairs);
        query.check_unique()?;
        Ok(query)
    }

    /// The S3 layer treats a parameter that comes twice as absent, which would
    /// turn a bad signature into none: so nothing may come twice.
    fn check_unique(&self) -> Result<(), S3Refusal> {
        let mut names: Vec<&str> = self.names().collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(()),
            Some(pair) => Err(S3Refusal::new(
                Code::InvalidArgument,
                "A query parameter may be given only once.",
            )
            .field("ArgumentName", pair[0])),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_ref())
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    IsPlus,
    IsSpace,
}

/// `None` when an escape is broken or the bytes are not UTF-8: a lenient
/// reading here and a strict one at the signature would be two readings.
pub(super) fn decode(text: &str, plus: Plus) -> Option<Cow<'_, str>> {
    let plain = |b: u8| b != b'%' && (b != b'+' || plus == Plus::IsPlus);
    if text.bytes().all(plain) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            b'+' if plus == Plus::IsSpace => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex_digit(byte: u8) -> Option<u8> {
    // A hex digit is below 16.
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

fn bad_uri() -> S3Refusal {
    S3Refusal::new(Code::InvalidUri, "Couldn't parse the specified URI.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::guard::testing::parts;

    #[track_caller]
    fn check(uri: &str, host: &str, want: Result<Level, &str>) {
        let domains = Domains::parse(["s3.example.com"]).expect("a good domain");
        let parts = parts("GET", uri, &[("host", host)]);
        let got = Target::parse(&parts, &domains);
        let got = got.as_ref().map(|target| target.level).map_err(|e| e.code.as_str());
        assert_eq!(got, want, "{uri:?} at {host:?}");
    }

    #[test]
    fn levels() {
        check("/", "localhost", Ok(Level::Root));
        check("/?x=1", "s3.example.com", Ok(Level::Root));
        check("/photos", "localhost", Ok(Level::Bucket));
        check("/photos/", "localhost", Ok(Level::Bucket));
        check("/photos//", "localhost", Ok(Level::Object));
        check("/photos/a//b", "localhost", Ok(Level::Object));
        check("/photos/../x", "localhost", Ok(Level::Object));
        check("/", "photos.s3.example.com", Ok(Level::Bucket));
        check("/a", "photos.s3.example.com", Ok(Level::Object));
    }

    #[test]
    fn keys_end_at_1024_bytes() {
        let key = |n: usize| "k".repeat(n);
        check(&format!("/b/{}", key(1024)), "h", Ok(Level::Object));
        check(&format!("/b/{}", key(1025)), "h", Err("KeyTooLongError"));
        check(&format!("/{}", key(1025)), "b.s3.example.com", Err("KeyTooLongError"));
        check(&format!("/b/{}", "%41".repeat(1024)), "h", Ok(Level::Object));
        check(&format!("/b/{}", "%C3%A9".repeat(513)), "h", Err("KeyTooLongError"));
    }

    #[test]
    fn broken_uris() {
        check("/b/%", "h", Err("InvalidURI"));
        check("/b/%4", "h", Err("InvalidURI"));
        check("/b/%zz", "h", Err("InvalidURI"));
        check("/b/%ff", "h", Err("InvalidURI"));
        check("/b?x=%ff", "h", Err("InvalidURI"));
        check("/b?%4", "h", Err("InvalidURI"));
        check("/b?partNumber=1&partNumber=2", "h", Err("InvalidArgument"));
        check("/b?partNumber=1&part%4Eumber=2", "h", Err("InvalidArgument"));
    }

    #[test]
    fn one_host() {
        check("http://s3.example.com/b", "S3.example.com", Ok(Level::Bucket));
        check("http://evil.com/b", "s3.example.com", Err("InvalidRequest"));
        check("/b", "a b", Err("InvalidRequest"));
        let none = parts("GET", "/b", &[]);
        let refusal = Target::parse(&none, &Domains::default()).expect_err("no host");
        assert_eq!(refusal.code, Code::InvalidRequest);
    }

    #[test]
    fn plus_is_a_space_in_the_query_only() {
        let parts = parts("GET", "/b/a+b?q=a+b%2Bc&flag&=v", &[("host", "h")]);
        let target = Target::parse(&parts, &Domains::default()).expect("a good request");
        assert_eq!(target.query.get("q"), Some("a b+c"));
        assert_eq!(target.query.get("flag"), Some(""));
        assert_eq!(decode("a+b%2B", Plus::IsPlus).as_deref(), Some("a+b+"));
    }
}
