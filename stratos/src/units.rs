//! Sizes, durations and amounts as people write and read them.
//!
//! `4KiB`, `64MiB` and `10m` in, `64.0 MiB` and `999,998.75` out. All of it is
//! integer arithmetic, so that an amount is never shown as more than it is.

use std::time::Duration;

use protocol::price::{Amount, CREDIT};
use thiserror::Error;

/// Bytes in one MiB.
pub const MIB: u64 = 1 << 20;
/// Bytes in one GiB.
pub const GIB: u64 = 1 << 30;

const SIZES: &[(&str, u64)] =
    &[("TiB", 1 << 40), ("GiB", GIB), ("MiB", MIB), ("KiB", 1 << 10), ("B", 1), ("", 1)];

const DURATIONS_MS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Why a text is not a size or a duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// It is not a size.
    #[error("{0:?} is not a size: write a whole number and B, KiB, MiB, GiB or TiB, such as 64MiB")]
    Size(String),
    /// It is not a duration.
    #[error("{0:?} is not a duration: write a whole number and ms, s, m, h or d, such as 10m")]
    Duration(String),
}

/// Parses `4096`, `4KiB`, `64MiB`, `1TiB`.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, SIZES).ok_or_else(|| UnitError::Size(text.to_owned()))
}

/// Parses `250ms`, `600s`, `10m`, `2h`, `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    parse(text, DURATIONS_MS)
        .map(Duration::from_millis)
        .ok_or_else(|| UnitError::Duration(text.to_owned()))
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// `512 B`, `4.0 KiB`, `1.5 GiB`.
pub fn show_size(bytes: u64) -> String {
    let found = SIZES.iter().find(|(_, factor)| *factor > 1 && *factor <= bytes);
    let Some((unit, factor)) = found else { return format!("{bytes} B") };
    let tenths = (bytes % factor) * 10 / factor;
    format!("{}.{tenths} {unit}", bytes / factor)
}

/// `900 s`, `15 m`, `36.5 h`, `12.0 d`: the largest unit that keeps two digits.
pub fn show_duration(seconds: u64) -> String {
    const UNITS: &[(&str, u64)] = &[("d", 86_400), ("h", 3_600), ("m", 60)];
    let found = UNITS.iter().find(|(_, factor)| seconds >= 2 * factor);
    let Some((unit, factor)) = found else { return format!("{seconds} s") };
    let tenths = (seconds % factor) * 10 / factor;
    format!("{}.{tenths} {unit}", seconds / factor)
}

/// An amount in credits with up to six decimals: `1,000,000`, `0.25`. What is
/// smaller than the sixth decimal is cut off, and `<0.000001` if nothing is left.
pub fn show_credits(amount: Amount) -> String {
    const MICRO: u128 = CREDIT / 1_000_000;
    if amount.0 > 0 && amount.0 < MICRO {
        return "<0.000001".to_owned();
    }
    let decimals = format!("{:06}", amount.0 % CREDIT / MICRO);
    let decimals = decimals.trim_end_matches('0');
    let whole = group_thousands(amount.0 / CREDIT);
    if decimals.is_empty() { whole } else { format!("{whole}.{decimals}") }
}

fn group_thousands(number: u128) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed() {
        let check = |text: &str, want: Option<u64>| {
            let want = want.ok_or_else(|| UnitError::Size(text.to_owned()));
            assert_eq!(parse_size(text), want, "{text:?}");
        };
        check("0", Some(0));
        check("4096", Some(4096));
        check("4096B", Some(4096));
        check("4KiB", Some(4096));
        check("64MiB", Some(64 << 20));
        check("5GiB", Some(5 << 30));
        check("2TiB", Some(2 << 40));
        check("16777215TiB", Some(16_777_215 << 40));
        check("16777216TiB", None);
        check("99999999999999999999", None);
        check("", None);
        check("KiB", None);
        check("4KB", None);
        check("4 KiB", None);
        check("-4KiB", None);
        check("1.5GiB", None);
        check("4kib", None);
    }

    #[test]
    fn durations_are_parsed() {
        let check = |text: &str, want_ms: Option<u64>| {
            let want = want_ms.map(Duration::from_millis);
            let want = want.ok_or_else(|| UnitError::Duration(text.to_owned()));
            assert_eq!(parse_duration(text), want, "{text:?}");
        };
        check("250ms", Some(250));
        check("600s", Some(600_000));
        check("10m", Some(600_000));
        check("2h", Some(7_200_000));
        check("7d", Some(604_800_000));
        check("0s", Some(0));
        check("600", None);
        check("", None);
        check("s", None);
        check("1h30m", None);
        check("10min", None);
        check("999999999999999999d", None);
    }

    #[test]
    fn sizes_are_shown() {
        let check = |bytes: u64, want: &str| assert_eq!(show_size(bytes), want);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.0 KiB");
        check(4096, "4.0 KiB");
        check(64 << 20, "64.0 MiB");
        check(GIB + GIB / 2, "1.5 GiB");
        check((1 << 30) - 1, "1023.9 MiB");
        check(u64::MAX, "16777215.9 TiB");
    }

    #[test]
    fn durations_are_shown() {
        let check = |seconds: u64, want: &str| assert_eq!(show_duration(seconds), want);
        check(0, "0 s");
        check(119, "119 s");
        check(900, "15.0 m");
        check(131_400, "36.5 h");
        check(1_036_800, "12.0 d");
    }

    #[test]
    fn credits_are_shown_and_never_rounded_up() {
        let check = |atto: u128, want: &str| assert_eq!(show_credits(Amount(atto)), want);
        check(0, "0");
        check(1, "<0.000001");
        check(CREDIT / 1_000_000, "0.000001");
        check(CREDIT / 4, "0.25");
        check(CREDIT, "1");
        check(999 * CREDIT, "999");
        check(1_000_000 * CREDIT, "1,000,000");
        check(1_000_000 * CREDIT - 1, "999,999.999999");
        check(12_345 * CREDIT + CREDIT / 2, "12,345.5");
        check(u128::MAX, "340,282,366,920,938,463,463.374607");
    }
}
