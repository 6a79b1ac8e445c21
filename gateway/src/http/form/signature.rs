//! Who signed the policy of a form. Pure but for the look-up of the key, which
//! is an argument.
//!
//! Version 4 signs the base64 of the policy with the key of a day; version 2,
//! which many an old form still carries, with the secret itself and SHA-1. Of
//! the two only forms may have the old one, and a setting refuses it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use ring::hmac;
use s3s::{S3Error, S3ErrorCode, S3Result};
use subtle::ConstantTimeEq;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use super::fields::{Fields, missing};
use crate::auth::credentials::{CredentialError, Resolved};
use crate::auth::identity::Identity;
use crate::auth::sigv4::SigningKey;
use crate::error::{custom, refuse};

/// The clocks of signer and gateway may be this far apart.
const SKEW: Duration = Duration::minutes(15);
/// A key of a day signs for a week.
const AGE_MAX: Duration = Duration::days(7);
/// Regions that every gateway answers to besides its own.
const LENIENT_REGIONS: [&str; 2] = ["us-east-1", "auto"];

/// What forms are checked against.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The region of the gateway.
    pub region: &'a str,
    /// Whether version 2 counts.
    pub allow_v2: bool,
    /// The clock.
    pub now: OffsetDateTime,
}

/// A policy and who is said to have signed it.
#[derive(Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// Base64.
    pub policy: &'a str,
    access_key: &'a str,
    token: Option<&'a str>,
    proof: Proof<'a>,
}

#[derive(Debug, PartialEq, Eq)]
enum Proof<'a> {
    V4 { day: &'a str, region: &'a str, signature: &'a str },
    V2 { signature: &'a str },
}

/// Fields of which each says that the form is meant to be signed.
const MARKS: [&str; 8] = [
    "policy",
    "signature",
    "awsaccesskeyid",
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-algorithm",
    "x-amz-date",
    "x-amz-security-token",
];

impl<'a> Signed<'a> {
    /// Finds the policy and what is needed to check it; `None` if the form is
    /// from anybody.
    pub fn find(fields: &'a Fields, rules: &Rules<'_>) -> S3Result<Option<Self>> {
        if MARKS.iter().all(|name| fields.get(name).is_none()) {
            return Ok(None);
        }
        let need = |name: &str, shown: &str| fields.get(name).ok_or_else(|| missing(shown));
        let is_v2 = ["signature", "awsaccesskeyid"].map(|name| fields.get(name).is_some());
        let is_v4 = ["x-amz-signature", "x-amz-credential", "x-amz-algorithm"]
            .map(|name| fields.get(name).is_some());
        let (is_v2, is_v4) = (is_v2.contains(&true), is_v4.contains(&true));
        let policy = need("policy", "policy")?;
        let token = fields.get("x-amz-security-token");
        if is_v2 && is_v4 {
            return Err(refuse(
                S3ErrorCode::InvalidArgument,
                "Only one auth mechanism allowed: the form has signatures of two versions.",
            ));
        }
        if is_v2 {
            if !rules.allow_v2 {
                return Err(refuse(
                    S3ErrorCode::InvalidRequest,
                    "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
                ));
            }
            let access_key = need("awsaccesskeyid", "AWSAccessKeyId")?;
            let signature = need("signature", "signature")?;
            return Ok(Some(Self { policy, access_key, token, proof: Proof::V2 { signature } }));
        }
        if need("x-amz-algorithm", "X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
            return Err(refuse(
                S3ErrorCode::InvalidArgument,
                "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"",
            ));
        }
        let credential = need("x-amz-credential", "X-Amz-Credential")?;
        let date = need("x-amz-date", "X-Amz-Date")?;
        let signature = need("x-amz-signature", "X-Amz-Signature")?;
        let (access_key, day, region) = scope(credential, date, rules)?;
        let proof = Proof::V4 { day, region, signature };
        Ok(Some(Self { policy, access_key, token, proof }))
    }

    /// Who signed, if it is true. A key that does not exist takes as long as
    /// one that signed something else.
    pub fn verify(
        &self,
        resolve: impl FnOnce(&str, Option<&str>) -> Result<Resolved, CredentialError>,
    ) -> S3Result<Identity> {
        let resolved = resolve(self.access_key, self.token);
        let secret = resolved.as_ref().map_or("", |found| found.secret.as_str());
        let is_right = self.proves(secret);
        match resolved {
            Err(error) => Err(refused(error)),
            Ok(_) if !is_right => Err(refuse(
                S3ErrorCode::SignatureDoesNotMatch,
                "The request signature we calculated does not match the signature you provided. \
                 Check your key and signing method.",
            )),
            Ok(found) => Ok(found.identity),
        }
    }

    fn proves(&self, secret: &str) -> bool {
        match self.proof {
            Proof::V4 { day, region, signature } => {
                SigningKey::new(secret, day, region, "s3").verify(self.policy, signature)
            }
            Proof::V2 { signature } => {
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
                let tag = hmac::sign(&key, self.policy.as_bytes());
                let right = BASE64_STANDARD.encode(tag.as_ref());
                right.as_bytes().ct_eq(signature.as_bytes()).into()
            }
        }
    }
}

/// Access key, day and region of a credential, if they are for now and here.
fn scope<'a>(
    credential: &'a str,
    date: &str,
    rules: &Rules<'_>,
) -> S3Result<(&'a str, &'a str, &'a str)> {
    let malformed = |message: String| {
        let message = format!("Error parsing the X-Amz-Credential parameter; {message}");
        custom("AuthorizationQueryParametersError", StatusCode::BAD_REQUEST, message)
    };
    let mut parts = credential.rsplitn(5, '/');
    let mut part = || parts.next().unwrap_or_default();
    let (end, service, region, day, access_key) = (part(), part(), part(), part(), part());
    if end != "aws4_request" || access_key.is_empty() {
        let want = "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".";
        return Err(malformed(want.to_owned()));
    }
    if service != "s3" {
        return Err(malformed("incorrect service. This endpoint belongs to \"s3\".".to_owned()));
    }
    if region != rules.region && !LENIENT_REGIONS.contains(&region) {
        let want = rules.region;
        return Err(malformed(format!("the region '{region}' is wrong; expecting '{want}'")));
    }
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let signed_at = PrimitiveDateTime::parse(date, format).map_err(|_| {
        let message = "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"";
        custom("AuthorizationQueryParametersError", StatusCode::BAD_REQUEST, message)
    })?;
    if date.get(..8) != Some(day) {
        return Err(malformed(format!("the date {day} is not that of X-Amz-Date")));
    }
    let age = rules.now - signed_at.assume_utc();
    if age < -SKEW {
        return Err(refuse(
            S3ErrorCode::RequestTimeTooSkewed,
            "The difference between the request time and the current time is too large.",
        ));
    }
    if AGE_MAX < age {
        return Err(refuse(S3ErrorCode::AccessDenied, "Request has expired"));
    }
    Ok((access_key, day, region))
}

fn refused(error: CredentialError) -> S3Error {
    match error {
        CredentialError::Unknown => refuse(
            S3ErrorCode::InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records.",
        ),
        CredentialError::Token => refuse(
            S3ErrorCode::InvalidToken,
            "The provided token is malformed or otherwise invalid.",
        ),
        CredentialError::Expired => {
            refuse(S3ErrorCode::ExpiredToken, "The provided token has expired.")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use time::macros::datetime;
    use zeroize::Zeroizing;

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
    const RULES: Rules<'_> =
        Rules { region: "eu-north-1", allow_v2: true, now: datetime!(2015-12-29 00:10:00 UTC) };

    fn resolve(id: &str, token: Option<&str>) -> Result<Resolved, CredentialError> {
        match (id, token) {
            (KEY, None) => Ok(Resolved {
                secret: Arc::new(Zeroizing::new(SECRET.to_owned())),
                identity: Identity { access_key: KEY.to_owned(), ..Identity::anonymous() },
            }),
            (KEY, Some("old")) => Err(CredentialError::Expired),
            (KEY, Some(_)) => Err(CredentialError::Token),
            _ => Err(CredentialError::Unknown),
        }
    }

    /// The access key, or the code of the refusal.
    fn ask(pairs: &[(&str, &str)], rules: Rules<'_>) -> String {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, &Bytes::from(value.to_string())).unwrap();
        }
        let verified = Signed::find(&fields, &rules)
            .and_then(|signed| signed.map(|signed| signed.verify(resolve)).transpose());
        match verified {
            Ok(Some(identity)) => identity.access_key,
            Ok(None) => "anybody".to_owned(),
            Err(error) => error.code().as_str().to_owned(),
        }
    }

    type Pairs = Vec<(&'static str, String)>;

    fn ask_all(pairs: &Pairs) -> String {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (*n, v.as_str())).collect();
        ask(&pairs, RULES)
    }

    fn v4() -> Pairs {
        let policy = BASE64_STANDARD.encode("{}");
        let signature = SigningKey::new(SECRET, "20151229", "us-east-1", "s3").sign(&policy);
        vec![
            ("policy", policy),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256".into()),
            ("x-amz-credential", format!("{KEY}/20151229/us-east-1/s3/aws4_request")),
            ("x-amz-date", "20151229T000000Z".into()),
            ("x-amz-signature", signature),
        ]
    }

    fn with(mut pairs: Pairs, name: &'static str, value: &str) -> Pairs {
        pairs.retain(|(n, _)| *n != name);
        pairs.push((name, value.to_owned()));
        pairs
    }

    fn without(mut pairs: Pairs, name: &str) -> Pairs {
        pairs.retain(|(n, _)| *n != name);
        pairs
    }

    #[test]
    fn version_4() {
        assert_eq!(ask_all(&v4()), KEY);
        assert_eq!(ask(&[("key", "k")], RULES), "anybody");
        for part in
            ["policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"]
        {
            assert_eq!(ask_all(&without(v4(), part)), "InvalidArgument", "{part}");
        }
        let credential = |text: &str| ask_all(&with(v4(), "x-amz-credential", text));
        for bad in [
            "",
            KEY,
            "/20151229/us-east-1/s3/aws4_request",
            "A/20151229/us-east-1/sts/aws4_request",
            "A/20151229/us-west-1/s3/aws4_request",
            "A/20151228/us-east-1/s3/aws4_request",
            "A/20151229/us-east-1/s3/aws5",
        ] {
            assert_eq!(credential(bad), "AuthorizationQueryParametersError", "{bad}");
        }
        assert_eq!(credential("B/20151229/us-east-1/s3/aws4_request"), "InvalidAccessKeyId");
        let own = format!("{KEY}/20151229/eu-north-1/s3/aws4_request");
        assert_eq!(credential(&own), "SignatureDoesNotMatch");
        assert_eq!(ask_all(&with(v4(), "x-amz-signature", "00")), "SignatureDoesNotMatch");
        let other = BASE64_STANDARD.encode("{} ");
        assert_eq!(ask_all(&with(v4(), "policy", &other)), "SignatureDoesNotMatch");
        assert_eq!(ask_all(&with(v4(), "x-amz-algorithm", "AWS4")), "InvalidArgument");
        assert_eq!(
            ask_all(&with(v4(), "x-amz-date", "yesterday")),
            "AuthorizationQueryParametersError"
        );
        assert_eq!(ask_all(&with(v4(), "x-amz-security-token", "x")), "InvalidToken");
        assert_eq!(ask_all(&with(v4(), "x-amz-security-token", "old")), "ExpiredToken");
    }

    #[test]
    fn a_signature_has_its_week() {
        let at = |now| {
            let pairs = v4();
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (*n, v.as_str())).collect();
            ask(&pairs, Rules { now, ..RULES })
        };
        assert_eq!(at(datetime!(2015-12-28 23:45:00 UTC)), KEY);
        assert_eq!(at(datetime!(2015-12-28 23:44:59 UTC)), "RequestTimeTooSkewed");
        assert_eq!(at(datetime!(2016-01-05 00:00:00 UTC)), KEY);
        assert_eq!(at(datetime!(2016-01-05 00:00:01 UTC)), "AccessDenied");
    }

    #[test]
    fn version_2_is_for_forms_and_can_be_refused() {
        let policy = BASE64_STANDARD.encode("{}");
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
        let signature = BASE64_STANDARD.encode(hmac::sign(&key, policy.as_bytes()));
        let v2: Pairs = vec![
            ("policy", policy),
            ("AWSAccessKeyId", KEY.into()),
            ("signature", signature.clone()),
        ];
        assert_eq!(ask_all(&v2), KEY);
        for part in ["policy", "AWSAccessKeyId", "signature"] {
            assert_eq!(ask_all(&without(v2.clone(), part)), "InvalidArgument", "{part}");
        }
        let reversed: String = signature.chars().rev().collect();
        assert_eq!(ask_all(&with(v2.clone(), "signature", &reversed)), "SignatureDoesNotMatch");
        assert_eq!(ask_all(&with(v2.clone(), "AWSAccessKeyId", "foo")), "InvalidAccessKeyId");
        assert_eq!(ask_all(&with(v2.clone(), "x-amz-signature", "00")), "InvalidArgument");
        let pairs: Vec<(&str, &str)> = v2.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(ask(&pairs, Rules { allow_v2: false, ..RULES }), "InvalidRequest");
    }

    #[test]
    fn a_secret_that_is_empty_proves_nothing_for_an_unknown_key() {
        let policy = BASE64_STANDARD.encode("{}");
        let signature = SigningKey::new("", "20151229", "us-east-1", "s3").sign(&policy);
        let forged = with(v4(), "x-amz-signature", &signature);
        let forged = with(forged, "x-amz-credential", "B/20151229/us-east-1/s3/aws4_request");
        assert_eq!(ask_all(&forged), "InvalidAccessKeyId");
    }
}
