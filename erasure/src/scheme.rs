//! How many shards there are, and what they are called.
//!
//! Not here: which schemes are wise for how many nodes; that is policy.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

use thiserror::Error;

/// How many shards a stripe becomes, and how many of them bring it back.
///
/// Parity is stored rather than the total, so "needed <= total" holds for
/// every value that can be built, and nobody has to check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scheme {
    data: NonZeroU8,
    parity: NonZeroU8,
}

impl Scheme {
    /// `None` when the total does not fit in one byte.
    pub fn new(data: NonZeroU8, parity: NonZeroU8) -> Option<Self> {
        data.get().checked_add(parity.get())?;
        Some(Self { data, parity })
    }

    /// Shards that hold the bytes themselves: indices `0..data`.
    pub fn data(self) -> u8 {
        self.data.get()
    }

    /// Shards that hold parity: indices `data..total`.
    pub fn parity(self) -> u8 {
        self.parity.get()
    }

    /// Shards needed to read; any will do.
    pub fn needed(self) -> u8 {
        self.data.get()
    }

    /// Shards written.
    pub fn total(self) -> u8 {
        self.data.get() + self.parity.get() // Checked in `new`.
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.data, self.parity)
    }
}

/// Why a text is not a [`Scheme`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SchemeError {
    /// There is no `+` between two counts.
    #[error("{0:?} is not a scheme, expected DATA+PARITY such as 4+2")]
    Form(String),
    /// One side of the `+` is not a plain number from 1 to 254.
    #[error("{0:?} is not a shard count, expected a number from 1 to 254")]
    Count(String),
    /// The shards could not be numbered with one byte.
    #[error("{data}+{parity} makes more than 255 shards")]
    TooMany {
        /// Data shards asked for.
        data: u8,
        /// Parity shards asked for.
        parity: u8,
    },
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        let (data, parity) =
            text.split_once('+').ok_or_else(|| SchemeError::Form(text.to_owned()))?;
        let (data, parity) = (parse_count(data)?, parse_count(parity)?);
        Self::new(data, parity)
            .ok_or(SchemeError::TooMany { data: data.get(), parity: parity.get() })
    }
}

fn parse_count(text: &str) -> Result<NonZeroU8, SchemeError> {
    // The library's number parser also takes "+2" and "02"; a scheme has one
    // spelling only, so that its text may serve as a name.
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse()
        .ok()
        .filter(|count: &NonZeroU8| plain && count.get() < u8::MAX)
        .ok_or_else(|| SchemeError::Count(text.to_owned()))
}

/// Which shard of a segment: `0..data` hold the bytes, `data..total` parity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardIndex(pub u8);

impl fmt::Display for ShardIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<ShardIndex> for usize {
    fn from(index: ShardIndex) -> Self {
        index.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<(u8, u8), SchemeError>) {
        let got = text.parse::<Scheme>();
        assert_eq!(got.map(|scheme| (scheme.data(), scheme.parity())), want, "{text:?}");
    }

    #[test]
    fn schemes() {
        let form = |text: &str| Err(SchemeError::Form(text.to_owned()));
        let count = |text: &str| Err(SchemeError::Count(text.to_owned()));
        check("1+1", Ok((1, 1)));
        check("4+2", Ok((4, 2)));
        check("128+127", Ok((128, 127)));
        check("254+1", Ok((254, 1)));
        check("", form(""));
        check("42", form("42"));
        check("4-2", form("4-2"));
        check("+", count(""));
        check("4+", count(""));
        check("+4+2", count(""));
        check("0+2", count("0"));
        check("4+0", count("0"));
        check("04+2", count("04"));
        check("4++2", count("+2"));
        check("4+2+1", count("2+1"));
        check(" 4+2", count(" 4"));
        check("4 + 2", count("4 "));
        check("4+-2", count("-2"));
        check("255+1", count("255"));
        check("256+1", count("256"));
        check("128+128", Err(SchemeError::TooMany { data: 128, parity: 128 }));
    }

    #[test]
    fn every_scheme_reads_back_what_it_writes() {
        for data in 1..=254 {
            for parity in 1..=255 - data {
                let [data, parity] = [data, parity].map(|n| NonZeroU8::new(n).unwrap());
                let scheme = Scheme::new(data, parity).unwrap();
                assert_eq!(scheme.to_string().parse(), Ok(scheme));
                assert!(scheme.needed() < scheme.total());
            }
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        let message = |text: &str| text.parse::<Scheme>().unwrap_err().to_string();
        assert_eq!(message("six"), r#""six" is not a scheme, expected DATA+PARITY such as 4+2"#);
        assert_eq!(message("4+0"), r#""0" is not a shard count, expected a number from 1 to 254"#);
        assert_eq!(message("200+100"), "200+100 makes more than 255 shards");
    }
}
