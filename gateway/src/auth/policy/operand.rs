//! The kinds of values that conditions compare: numbers, dates, addresses, ARNs.

use std::net::IpAddr;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

use super::pattern::{Pattern, Syntax, Token, tokens};
use super::{Context, PolicyError};

/// A decimal number, without exponent.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    if !text.chars().all(plain) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// A moment in nanoseconds since 1970: ISO 8601, or seconds since 1970.
pub(super) fn date(text: &str) -> Option<i128> {
    const SECOND: i128 = 1_000_000_000;
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(i128::from(seconds) * SECOND);
    }
    if let Ok(date) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(date.unix_timestamp_nanos());
    }
    let minutes = format_description!("[year]-[month]-[day]T[hour]:[minute]Z");
    if let Ok(date) = PrimitiveDateTime::parse(text, minutes) {
        return Some(date.assume_utc().unix_timestamp_nanos());
    }
    let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
    Some(day.midnight().assume_utc().unix_timestamp_nanos())
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// An IP address. An IPv4 address written as an IPv6 one is the IPv4 address.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// A block of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cidr {
    V4 { network: u32, len: u32 },
    V6 { network: u128, len: u32 },
}

impl Cidr {
    /// An address with or without `/` and the length of the network.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let cidr = match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(address) => {
                Self::V4 { network: address.to_bits(), len: len.unwrap_or(u32::BITS) }
            }
            IpAddr::V6(address) => {
                let len = len.unwrap_or(u128::BITS);
                match (address.to_ipv4_mapped(), len.checked_sub(96)) {
                    (Some(address), Some(len)) => Self::V4 { network: address.to_bits(), len },
                    _ => Self::V6 { network: address.to_bits(), len },
                }
            }
        };
        let fits = match cidr {
            Self::V4 { len, .. } => len <= u32::BITS,
            Self::V6 { len, .. } => len <= u128::BITS,
        };
        fits.then_some(cidr)
    }

    pub fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4 { network, len }, IpAddr::V4(address)) => {
                // A shift by all bits leaves none to compare.
                (network ^ address.to_bits()).checked_shr(u32::BITS - len).unwrap_or(0) == 0
            }
            (Self::V6 { network, len }, IpAddr::V6(address)) => {
                (network ^ address.to_bits()).checked_shr(u128::BITS - len).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// Whether it is so large that it chooses nobody.
    pub fn is_broad(self) -> bool {
        match self {
            Self::V4 { len, .. } => len < 8,
            Self::V6 { len, .. } => len < 32,
        }
    }
}

/// An ARN in which each of the six parts may have wildcards of its own.
#[derive(Clone, Debug)]
pub(super) enum ArnPattern {
    /// `*`
    Any,
    /// The parts between the first five colons.
    Parts(Vec<Pattern>),
}

/// Parts of an ARN.
const ARN_PARTS: usize = 6;

impl ArnPattern {
    pub fn parse(text: &str, variables: bool) -> Result<Self, PolicyError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let tokens = tokens(text, Syntax { wildcards: true, variables, any_case: false })?;
        let colon = |token: &Token| *token == Token::Char(':');
        let parts: Vec<Pattern> = tokens
            .splitn(ARN_PARTS, colon)
            .map(|part| Pattern::new(part.to_vec(), false))
            .collect();
        if parts.len() != ARN_PARTS {
            return Err(PolicyError(format!("{text:?} is not an ARN.")));
        }
        Ok(Self::Parts(parts))
    }

    /// Whether the ARN fits. `None`: a variable has no value.
    pub fn matches(&self, arn: &str, context: &Context) -> Option<bool> {
        let patterns = match self {
            Self::Any => return Some(true),
            Self::Parts(patterns) => patterns,
        };
        let parts: Vec<&str> = arn.splitn(ARN_PARTS, ':').collect();
        if parts.len() != ARN_PARTS {
            return Some(false);
        }
        let mut fits = true;
        for (pattern, part) in patterns.iter().zip(parts) {
            fits &= pattern.matches(part, context)?;
        }
        Some(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cidr: &str, inside: &str, want: bool) {
        let cidr_ = Cidr::parse(cidr).unwrap();
        assert_eq!(cidr_.contains(address(inside).unwrap()), want, "{inside} in {cidr}");
    }

    #[test]
    fn addresses_in_networks() {
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        // Bits after the length do not count.
        check("10.9.9.9/8", "10.0.0.1", true);
        check("0.0.0.0/0", "1.2.3.4", true);
        check("0.0.0.0/0", "::1", false);
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.1/32", "::ffff:192.0.2.1", true);
        check("::ffff:10.0.0.0/104", "10.1.1.1", true);
        check("::ffff:10.0.0.0/104", "11.1.1.1", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("::/0", "2001:db8::1", true);
        check("::/0", "10.0.0.1", false);
        for wrong in ["", "/8", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x", "10.0.0.0/8/8"] {
            assert_eq!(Cidr::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn dates_in_all_their_forms() {
        let want = Some(1_767_323_045_000_000_000);
        assert_eq!(date("2026-01-02T03:04:05Z"), want);
        assert_eq!(date("2026-01-02T03:04:05.000Z"), want);
        assert_eq!(date("2026-01-02T04:04:05+01:00"), want);
        assert_eq!(date("1767323045"), want);
        assert_eq!(date("2026-01-02T03:04Z"), Some(1_767_323_040_000_000_000));
        assert_eq!(date("2026-01-02"), Some(1_767_312_000_000_000_000));
        for wrong in ["", "yesterday", "2026-13-01", "2026-01-02T25:00:00Z", "1e3"] {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_plain_decimals() {
        assert_eq!(number("-10.5"), Some(-10.5));
        for wrong in ["", "inf", "NaN", "1e3", "0x1", "1,5", " 1"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }
}
