//! Checks what a Version 4 signature claims: for which region, service and
//! day, for how long, and over which headers.
//!
//! The signature itself is verified after that (`authenticate`), over exactly
//! these claims. The clock is an argument.

use http::HeaderMap;
use http::StatusCode;
use http::header::HeaderName;
use time::{Date, Duration, Month, OffsetDateTime};

use super::credentials::{Claim, Place};
use super::refusal::{Code, S3Refusal};

/// The clocks of client and gateway may be this far apart.
const SKEW: Duration = Duration::minutes(15);
/// A presigned URL lives for at most a week.
const EXPIRES_MAX: u32 = 7 * 24 * 60 * 60;
/// Regions that every gateway answers to besides its own: what clients send
/// that were told none.
const LENIENT_REGIONS: [&str; 2] = ["us-east-1", "auto"];

/// Which of the gateway's services a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    S3,
    /// STS, and IAM, whose clients send the same kind of form.
    Sts,
}

impl Door {
    /// The names that a scope may have here; errors tell the first.
    fn services(self) -> &'static [&'static str] {
        match self {
            Door::S3 => &["s3"],
            Door::Sts => &["sts", "iam"],
        }
    }
}

impl Claim<'_> {
    /// When it was signed, if what it claims may be.
    pub fn check(
        &self,
        headers: &HeaderMap,
        door: Door,
        region: &str,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, S3Refusal> {
        self.check_scope(door, region)?;
        let signed_at = self.check_time(now)?;
        self.check_signed_headers(headers)?;
        Ok(signed_at)
    }

    fn check_scope(&self, door: Door, region: &str) -> Result<(), S3Refusal> {
        let scope = &self.scope;
        let services = door.services();
        if !services.contains(&scope.service) {
            return Err(self.place.malformed(format!(
                "incorrect service \"{}\". This endpoint belongs to \"{}\".",
                scope.service, services[0]
            )));
        }
        if scope.region != region && !LENIENT_REGIONS.contains(&scope.region) {
            let refusal = self
                .place
                .malformed(format!("the region '{}' is wrong; expecting '{region}'", scope.region));
            return Err(with_region(refusal, region));
        }
        Ok(())
    }

    fn check_time(&self, now: OffsetDateTime) -> Result<OffsetDateTime, S3Refusal> {
        let Some(signed_at) = parse_amz_date(&self.date) else {
            return Err(match self.place {
                Place::Header => S3Refusal::new(
                    Code::AccessDenied,
                    "AWS authentication requires a valid Date or x-amz-date header",
                ),
                Place::Query => self.place.malformed(
                    "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"",
                ),
            });
        };
        // `parse_amz_date` accepted it, so it is ASCII and long enough.
        if self.scope.day != &self.date[..8] {
            return Err(self.place.malformed(format!(
                "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{}\".",
                self.scope.day,
                &self.date[..8]
            )));
        }
        let age = now - signed_at;
        match self.expires {
            None if SKEW < age.abs() => Err(skewed(&self.date, now)),
            None => Ok(signed_at),
            Some(expires) => {
                let lifetime = parse_expires(expires)?;
                if age < -SKEW {
                    return Err(skewed(&self.date, now));
                }
                if lifetime < age {
                    return Err(S3Refusal::new(Code::AccessDenied, "Request has expired")
                        .field("X-Amz-Expires", expires)
                        .field("ServerTime", iso_8601(now)));
                }
                Ok(signed_at)
            }
        }
    }

    /// A header that is not signed could have been added by anybody who saw
    /// the URL: an ACL, a copy source, a retention date.
    fn check_signed_headers(&self, headers: &HeaderMap) -> Result<(), S3Refusal> {
        if !self.signs("host") {
            return Err(not_signed("host".to_owned()));
        }
        let mut missing: Vec<&str> = headers
            .keys()
            .map(HeaderName::as_str)
            .filter(|name| name.starts_with("x-amz-"))
            .filter(|name| !self.signs(name) && !self.may_stay_unsigned(name))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort_unstable();
        Err(not_signed(missing.join(", ")))
    }

    /// Whether the signature covers this header.
    pub fn signs(&self, name: &str) -> bool {
        self.signed_headers.split(';').any(|signed| signed == name)
    }

    fn may_stay_unsigned(&self, name: &str) -> bool {
        match name {
            // It is the payload hash of the signed text itself; presigned, it
            // can only make the gateway stricter about the body.
            "x-amz-content-sha256" => true,
            // Part of the signed text of a header claim. A presigned URL takes
            // its date from the query.
            "x-amz-date" => self.place == Place::Header,
            // Added on the way by a CDN, or by browsers; they mean nothing here.
            "x-amz-cf-id" | "x-amz-user-agent" => true,
            _ => false,
        }
    }
}

fn with_region(refusal: S3Refusal, region: &str) -> S3Refusal {
    let refusal = refusal.field("Region", region);
    match region.try_into() {
        // Clients that got no body, because they asked with HEAD, look here.
        Ok(value) => refusal.header(HeaderName::from_static("x-amz-bucket-region"), value),
        Err(_) => refusal,
    }
}

fn not_signed(names: String) -> S3Refusal {
    S3Refusal::new(
        Code::AccessDenied,
        "There were headers present in the request which were not signed",
    )
    .field("HeadersNotSigned", names)
}

fn skewed(date: &str, now: OffsetDateTime) -> S3Refusal {
    S3Refusal::new(
        Code::RequestTimeTooSkewed,
        "The difference between the request time and the current time is too large.",
    )
    .field("RequestTime", date)
    .field("ServerTime", iso_8601(now))
    .field("MaxAllowedSkewMilliseconds", SKEW.whole_milliseconds().to_string())
}

/// Digits only, so that no sign and no overflow gets through.
fn parse_expires(text: &str) -> Result<Duration, S3Refusal> {
    let refuse = |message: &'static str| {
        // Test suites of S3 expect 403 where the reference answers 400.
        S3Refusal::new(Code::AuthorizationQueryParametersError, message)
            .status(StatusCode::FORBIDDEN)
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse("X-Amz-Expires should be a number"));
    }
    if text.starts_with('-') {
        return Err(refuse("X-Amz-Expires must be non-negative"));
    }
    match digits.parse::<u32>() {
        Ok(0) => Err(refuse("X-Amz-Expires must be at least one second")),
        Ok(seconds) if seconds <= EXPIRES_MAX => Ok(Duration::seconds(seconds.into())),
        // A number that does not fit is too large as well.
        Ok(_) | Err(_) => Err(refuse(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given \
             X-Amz-Expires must be less than 604800 seconds",
        )),
    }
}

/// `20260102T030405Z`.
fn parse_amz_date(text: &str) -> Option<OffsetDateTime> {
    let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
    if bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<u16> {
        bytes[range]
            .iter()
            .try_fold(0u16, |sum, &b| b.is_ascii_digit().then(|| sum * 10 + u16::from(b - b'0')))
    };
    let two = |at: usize| number(at..at + 2).and_then(|n| u8::try_from(n).ok());
    let month = Month::try_from(two(4)?).ok()?;
    let date = Date::from_calendar_date(number(0..4)?.into(), month, two(6)?).ok()?;
    Some(date.with_hms(two(9)?, two(11)?, two(13)?).ok()?.assume_utc())
}

/// `2026-01-02T03:04:05Z`, as AWS writes times in errors.
fn iso_8601(time: OffsetDateTime) -> String {
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::guard::credentials::Scope;
    use crate::http::guard::testing::parts;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

    fn claim(place: Place) -> Claim<'static> {
        Claim {
            place,
            access_key: "AKID",
            scope: Scope { day: "20260102", region: "eu-north-1", service: "s3" },
            date: "20260102T030405Z".into(),
            signed_headers: "host;x-amz-date",
            expires: (place == Place::Query).then_some("3600"),
            token: None,
            signature: "00ff",
        }
    }

    #[track_caller]
    fn check(claim: &Claim<'_>, want: Result<(), &str>) {
        check_with(claim, &[], want);
    }

    #[track_caller]
    fn check_with(claim: &Claim<'_>, headers: &[(&str, &str)], want: Result<(), &str>) {
        let headers = parts("GET", "/", headers).headers;
        let got = claim.check(&headers, Door::S3, "eu-north-1", NOW);
        assert_eq!(got.as_ref().map(|_| ()).map_err(|e| e.code.as_str()), want, "{claim:?}");
    }

    #[test]
    fn regions_and_services() {
        for place in [Place::Header, Place::Query] {
            let malformed = match place {
                Place::Header => "AuthorizationHeaderMalformed",
                Place::Query => "AuthorizationQueryParametersError",
            };
            let scope = |region, service| Scope { day: "20260102", region, service };
            let with = |scope| Claim { scope, ..claim(place) };
            check(&with(scope("eu-north-1", "s3")), Ok(()));
            check(&with(scope("us-east-1", "s3")), Ok(()));
            check(&with(scope("auto", "s3")), Ok(()));
            check(&with(scope("eu-west-1", "s3")), Err(malformed));
            check(&with(scope("", "s3")), Err(malformed));
            check(&with(scope("eu-north-1", "sts")), Err(malformed));
            check(&with(scope("eu-north-1", "iam")), Err(malformed));
        }
    }

    #[test]
    fn each_door_has_services_of_its_own() {
        let at = |door, service| {
            let scope = Scope { day: "20260102", region: "us-east-1", service };
            let claim = Claim { scope, ..claim(Place::Header) };
            claim.check(&HeaderMap::new(), door, "eu-north-1", NOW).is_ok()
        };
        assert!(at(Door::Sts, "sts") && at(Door::Sts, "iam") && at(Door::S3, "s3"));
        assert!(!at(Door::Sts, "s3") && !at(Door::S3, "sts") && !at(Door::S3, "iam"));
    }

    #[test]
    fn the_right_region_is_told() {
        let scope = Scope { day: "20260102", region: "mars", service: "s3" };
        let refusal = Claim { scope, ..claim(Place::Header) }
            .check(&HeaderMap::new(), Door::S3, "eu-north-1", NOW)
            .expect_err("a wrong region");
        assert_eq!(refusal.status, 400);
        assert!(refusal.fields.contains(&("Region", "eu-north-1".to_owned())));
        assert_eq!(refusal.headers[0].1, "eu-north-1");
    }

    #[test]
    fn a_header_claim_lives_for_fifteen_minutes() {
        let at = |date: &'static str| Claim { date: date.into(), ..claim(Place::Header) };
        check(&at("20260102T024905Z"), Ok(()));
        check(&at("20260102T024904Z"), Err("RequestTimeTooSkewed"));
        check(&at("20260102T031905Z"), Ok(()));
        check(&at("20260102T031906Z"), Err("RequestTimeTooSkewed"));
        for bad in ["", "20260102", "20260230T030405Z", "2026010éT030405Z", "20260102t030405z"] {
            check(&at(bad), Err("AccessDenied"));
        }
    }

    #[test]
    fn the_day_is_the_days() {
        let scope = Scope { day: "20260101", region: "eu-north-1", service: "s3" };
        check(&Claim { scope, ..claim(Place::Header) }, Err("AuthorizationHeaderMalformed"));
    }

    #[test]
    fn presigned_urls_expire() {
        let at = |date: &'static str, expires| Claim {
            date: date.into(),
            expires: Some(expires),
            ..claim(Place::Query)
        };
        check(&at("20260102T020405Z", "3600"), Ok(()));
        check(&at("20260102T020404Z", "3600"), Err("AccessDenied"));
        check(&at("20260102T031905Z", "3600"), Ok(()));
        check(&at("20260102T031906Z", "3600"), Err("RequestTimeTooSkewed"));
        check(&at("garbage", "3600"), Err("AuthorizationQueryParametersError"));
        for good in ["1", "604800"] {
            check(&at("20260102T030405Z", good), Ok(()));
        }
        for bad in
            ["0", "-7", "-0", "604801", "4294967296", "9223372036854775808", "1e3", " 1", "+1", ""]
        {
            check(&at("20260102T030405Z", bad), Err("AuthorizationQueryParametersError"));
            assert_eq!(parse_expires(bad).expect_err("out of range").status, 403, "{bad:?}");
        }
    }

    #[test]
    fn what_counts_must_be_signed() {
        let denied = Err("AccessDenied");
        for place in [Place::Header, Place::Query] {
            check_with(&claim(place), &[("range", "bytes=0-1"), ("x-amzn-trace-id", "1")], Ok(()));
            check_with(&claim(place), &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], Ok(()));
            check_with(&claim(place), &[("x-amz-cf-id", "1")], Ok(()));
            for name in [
                "x-amz-acl",
                "x-amz-tagging",
                "x-amz-copy-source",
                "x-amz-meta-a",
                "x-amz-object-lock-mode",
                "x-amz-security-token",
                "x-amz-checksum-crc32",
            ] {
                check_with(&claim(place), &[(name, "v")], denied);
                let signed_headers = format!("host;{name};x-amz-date");
                let signed = Claim { signed_headers: &signed_headers, ..claim(place) };
                check_with(&signed, &[(name, "v")], Ok(()));
            }
            for unsigned in ["x-amz-date", "Host", "hosts", ""] {
                check(&Claim { signed_headers: unsigned, ..claim(place) }, denied);
            }
        }
        let date = [("x-amz-date", "20260102T030405Z")];
        check_with(&Claim { signed_headers: "host", ..claim(Place::Header) }, &date, Ok(()));
        check_with(&Claim { signed_headers: "host", ..claim(Place::Query) }, &date, denied);
    }
}
