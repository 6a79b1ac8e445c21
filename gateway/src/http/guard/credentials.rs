//! Finds the one place where a request carries its credentials, and takes
//! them apart. Whether they are right is for `authenticate` to say.
//!
//! Credentials in two places are refused, and so is every header or parameter
//! of theirs that comes twice (`limits`, `target`): what is verified is what was
//! sent.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{AUTHORIZATION, DATE};
use http::request::Parts;
use s3s::dto::{Timestamp, TimestampFormat};
use time::OffsetDateTime;

use super::refusal::{Code, S3Refusal};
use super::target::Query;

/// How a request says who sent it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credentials<'a> {
    /// It does not.
    Anonymous,
    /// By a Version 4 signature.
    Signed(Claim<'a>),
}

/// What a Version 4 signature claims to cover.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    pub place: Place,
    pub access_key: &'a str,
    pub scope: Scope<'a>,
    /// When it was signed, as `X-Amz-Date` has it.
    pub date: Cow<'a, str>,
    /// Names separated by `;`.
    pub signed_headers: &'a str,
    /// The raw `X-Amz-Expires`; presigned URLs only.
    pub expires: Option<&'a str>,
    /// What a temporary key comes with.
    pub token: Option<&'a str>,
    /// In hex.
    pub signature: &'a str,
}

/// Where the claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Header,
    Query,
}

impl Place {
    /// A claim that cannot be used, with the code that belongs to its place.
    pub fn malformed(self, what: impl std::fmt::Display) -> S3Refusal {
        match self {
            Place::Header => S3Refusal::new(
                Code::AuthorizationHeaderMalformed,
                format!("The authorization header is malformed; {what}"),
            ),
            Place::Query => {
                S3Refusal::new(Code::AuthorizationQueryParametersError, what.to_string())
            }
        }
    }
}

/// `KEY/20260102/us-east-1/s3/aws4_request`, without the key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scope<'a> {
    pub day: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

impl<'a> Scope<'a> {
    /// The access key and its scope.
    fn parse(credential: &'a str, place: Place) -> Result<(&'a str, Self), S3Refusal> {
        let mut parts = credential.split('/');
        let fields = [(); 5].map(|()| parts.next());
        match fields {
            [Some(key), Some(day), Some(region), Some(service), Some("aws4_request")]
                if !key.is_empty() && parts.next().is_none() =>
            {
                Ok((key, Self { day, region, service }))
            }
            _ => Err(place.malformed(
                "the Credential is mal-formed; expecting \
                 \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
            )),
        }
    }
}

/// The header that holds the token of a temporary key.
pub(super) const SECURITY_TOKEN: &str = "x-amz-security-token";
/// The algorithm of the requests that are taken.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The parameters that only a presigned URL has. One is enough to claim it.
const PRESIGNED_MARKS: [&str; 3] = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"];
/// The same of Signature Version 2.
const VERSION_2_MARKS: [&str; 2] = ["AWSAccessKeyId", "Signature"];

impl<'a> Credentials<'a> {
    pub fn find(parts: &'a Parts, query: &'a Query<'_>) -> Result<Self, S3Refusal> {
        let header = parts.headers.get(AUTHORIZATION);
        let presigned = PRESIGNED_MARKS.iter().any(|name| query.has(name));
        let version_2 = VERSION_2_MARKS.iter().any(|name| query.has(name));

        let places = [header.is_some(), presigned, version_2];
        if 1 < places.iter().filter(|&&present| present).count() {
            return Err(S3Refusal::new(
                Code::InvalidArgument,
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, \
                 Signature query string parameter or the Authorization header should be specified",
            ));
        }
        if version_2 {
            return Err(version_2_refused());
        }
        if presigned {
            return claim_in_query(query, &parts.headers).map(Credentials::Signed);
        }
        match header {
            None => Ok(Credentials::Anonymous),
            Some(value) => {
                let value = value.to_str().map_err(|_| unsupported_type())?;
                claim_in_header(value, &parts.headers).map(Credentials::Signed)
            }
        }
    }
}

fn version_2_refused() -> S3Refusal {
    S3Refusal::new(
        Code::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use \
         AWS4-HMAC-SHA256 (in your client: use signature_version s3v4).",
    )
}

fn unsupported_type() -> S3Refusal {
    S3Refusal::new(Code::InvalidArgument, "Unsupported Authorization Type")
        .field("ArgumentName", "Authorization")
}

fn claim_in_query<'a>(
    query: &'a Query<'_>,
    headers: &'a HeaderMap,
) -> Result<Claim<'a>, S3Refusal> {
    let place = Place::Query;
    let needed = |name: &str| {
        query.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            place.malformed(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, \
                 X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and \
                 X-Amz-Expires parameters.",
            )
        })
    };
    if needed("X-Amz-Algorithm")? != ALGORITHM {
        return Err(place.malformed(format!("X-Amz-Algorithm only supports \"{ALGORITHM}\"")));
    }
    let signature = needed("X-Amz-Signature")?;
    let (access_key, scope) = Scope::parse(needed("X-Amz-Credential")?, place)?;
    Ok(Claim {
        place,
        access_key,
        scope,
        date: needed("X-Amz-Date")?.into(),
        signed_headers: needed("X-Amz-SignedHeaders")?,
        expires: Some(needed("X-Amz-Expires")?),
        token: query.get("X-Amz-Security-Token").or_else(|| text(headers, SECURITY_TOKEN)),
        signature,
    })
}

fn claim_in_header<'a>(value: &'a str, headers: &'a HeaderMap) -> Result<Claim<'a>, S3Refusal> {
    if value.is_empty() {
        return Err(S3Refusal::new(Code::AccessDenied, "Access Denied"));
    }
    let (algorithm, rest) = value.split_once(' ').unwrap_or((value, ""));
    match algorithm {
        ALGORITHM => {}
        "AWS" => return Err(version_2_refused()),
        _ => return Err(unsupported_type()),
    }
    let place = Place::Header;
    let [credential, signed_headers, signature] = header_fields(rest).ok_or_else(|| {
        place.malformed("expecting Credential=..., SignedHeaders=..., Signature=... in this order.")
    })?;
    let (access_key, scope) = Scope::parse(credential, place)?;
    let date = date(headers).ok_or_else(|| {
        S3Refusal::new(
            Code::AccessDenied,
            "AWS authentication requires a valid Date or x-amz-date header",
        )
    })?;
    let token = text(headers, SECURITY_TOKEN);
    Ok(Claim { place, access_key, scope, date, signed_headers, expires: None, token, signature })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// When the request was signed: `x-amz-date`, or `Date` in the same form or in
/// that of HTTP.
fn date(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    if headers.contains_key("x-amz-date") {
        return text(headers, "x-amz-date").map(Cow::Borrowed);
    }
    let date = text(headers, DATE.as_str())?;
    match Timestamp::parse(TimestampFormat::HttpDate, date) {
        Ok(time) => Some(amz_date(time.into()).into()),
        Err(_) => Some(date.into()),
    }
}

/// `20260102T030405Z`.
fn amz_date(time: OffsetDateTime) -> String {
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

/// The three values, each exactly once and in the one order that every client
/// writes them in.
fn header_fields(rest: &str) -> Option<[&str; 3]> {
    let mut fields = rest.split(',');
    let mut next = |name: &str| {
        let value = fields.next()?.trim().strip_prefix(name)?;
        (!value.is_empty() && !value.contains(char::is_whitespace)).then_some(value)
    };
    let found = [next("Credential=")?, next("SignedHeaders=")?, next("Signature=")?];
    fields.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::guard::Domains;
    use crate::http::guard::target::Target;
    use crate::http::guard::testing::{HEADER_AUTH, PRESIGNED, parts};

    #[track_caller]
    fn check(method: &str, query: &str, headers: &[(&str, &str)], want: Result<&str, &str>) {
        let mut all = vec![("host", "h"), ("x-amz-date", "20260102T030405Z")];
        all.extend_from_slice(headers);
        let parts = parts(method, &format!("/b/k?{query}"), &all);
        let target = Target::parse(&parts, &Domains::default()).expect("a good target");
        let got = match Credentials::find(&parts, &target.query) {
            Ok(Credentials::Anonymous) => Ok("anonymous"),
            Ok(Credentials::Signed(Claim { place: Place::Header, .. })) => Ok("header"),
            Ok(Credentials::Signed(Claim { place: Place::Query, .. })) => Ok("query"),
            Err(refusal) => Err(refusal.code.as_str()),
        };
        assert_eq!(got, want, "{method} {query:?} {headers:?}");
    }

    const AUTH: &str = "authorization";

    #[test]
    fn one_place_is_fine() {
        check("GET", "", &[], Ok("anonymous"));
        check("GET", "", &[(AUTH, HEADER_AUTH)], Ok("header"));
        check("GET", PRESIGNED, &[], Ok("query"));
    }

    #[test]
    fn two_places_are_not() {
        check("GET", PRESIGNED, &[(AUTH, HEADER_AUTH)], Err("InvalidArgument"));
        check("GET", "Signature=x", &[(AUTH, HEADER_AUTH)], Err("InvalidArgument"));
    }

    #[test]
    fn version_2_is_told_what_to_use() {
        let query = "AWSAccessKeyId=a&Expires=1&Signature=s";
        check("GET", query, &[], Err("InvalidRequest"));
        check("GET", "Signature=s", &[], Err("InvalidRequest"));
        check("GET", "", &[(AUTH, "AWS AKID:c2ln")], Err("InvalidRequest"));
        assert!(version_2_refused().message.contains("use signature_version s3v4"));
        assert_eq!(version_2_refused().status, 400);
    }

    #[test]
    fn headers_that_cannot_be_read() {
        check("GET", "", &[(AUTH, "")], Err("AccessDenied"));
        check("GET", "", &[(AUTH, "Bearer x")], Err("InvalidArgument"));
        check("GET", "", &[(AUTH, "AWS4-ECDSA-P256-SHA256 Credential=a")], Err("InvalidArgument"));
        let malformed = Err("AuthorizationHeaderMalformed");
        let scope = "a/20260102/us-east-1/s3/aws4_request";
        for rest in [
            String::new(),
            format!("Credential={scope}"),
            format!("Credential={scope},SignedHeaders=host"),
            format!("SignedHeaders=host,Credential={scope},Signature=x"),
            format!("Credential={scope},SignedHeaders=host,Signature=x,SignedHeaders=y"),
            format!("Credential={scope}/x,SignedHeaders=host,Signature=x"),
            "Credential=a/20260102/s3/aws4_request,SignedHeaders=host,Signature=x".to_owned(),
            "Credential=/20260102/r/s3/aws4_request,SignedHeaders=host,Signature=x".to_owned(),
            "Credential=a/20260102/r/s3/aws4,SignedHeaders=host,Signature=x".to_owned(),
        ] {
            check("GET", "", &[(AUTH, &format!("{ALGORITHM} {rest}"))], malformed);
        }
    }

    #[test]
    fn presigned_needs_all_its_parameters() {
        let malformed = Err("AuthorizationQueryParametersError");
        for name in ["Algorithm", "Credential", "Signature", "Date", "SignedHeaders", "Expires"] {
            let name = format!("X-Amz-{name}=");
            let rest: Vec<&str> = PRESIGNED.split('&').filter(|p| !p.starts_with(&name)).collect();
            assert_eq!(rest.len(), 5, "{name}");
            check("GET", &rest.join("&"), &[], malformed);
        }
        check("GET", &PRESIGNED.replace("HMAC", "ECDSA"), &[], malformed);
        check("GET", &PRESIGNED.replace("aws4_request", "x"), &[], malformed);
    }

    #[test]
    fn the_date_is_read_in_both_forms() {
        let date = |headers: &[(&str, &str)]| {
            date(&parts("GET", "/", headers).headers).map(Cow::into_owned)
        };
        let want = Some("20260102T030405Z".to_owned());
        assert_eq!(date(&[("x-amz-date", "20260102T030405Z"), ("date", "x")]), want);
        assert_eq!(date(&[("date", "20260102T030405Z")]), want);
        assert_eq!(date(&[("date", "Fri, 02 Jan 2026 03:04:05 GMT")]), want);
        assert_eq!(date(&[]), None);
    }

    #[test]
    fn a_temporary_key_has_its_token_in_the_same_place() {
        let token = |query: &str, headers: &[(&str, &str)]| {
            let mut all = vec![("host", "h"), ("x-amz-date", "20260102T030405Z")];
            all.extend_from_slice(headers);
            let parts = parts("GET", &format!("/b/k?{query}"), &all);
            let target = Target::parse(&parts, &Domains::default()).expect("a good target");
            match Credentials::find(&parts, &target.query).expect("good credentials") {
                Credentials::Signed(claim) => claim.token.map(str::to_owned),
                Credentials::Anonymous => panic!("it is signed"),
            }
        };
        let header = (SECURITY_TOKEN, "t/+=");
        assert_eq!(token("", &[(AUTH, HEADER_AUTH), header]).as_deref(), Some("t/+="));
        assert_eq!(token("", &[(AUTH, HEADER_AUTH)]), None);
        let presigned = format!("{PRESIGNED}&X-Amz-Security-Token=t%2F%2B%3D");
        assert_eq!(token(&presigned, &[]).as_deref(), Some("t/+="));
        let stray = "X-Amz-Security-Token=t";
        assert_eq!(token(stray, &[(AUTH, HEADER_AUTH)]), None);
    }

    #[test]
    fn a_header_claim_needs_a_date() {
        let parts = parts("GET", "/b/k", &[("host", "h"), (AUTH, HEADER_AUTH)]);
        let target = Target::parse(&parts, &Domains::default()).expect("a good target");
        let refusal = Credentials::find(&parts, &target.query).expect_err("no date");
        assert_eq!((refusal.code, refusal.status.as_u16()), (Code::AccessDenied, 403));
    }
}
