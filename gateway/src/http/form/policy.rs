//! The policy of a form: what its signer lets the browser send. Pure.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use s3s::{S3Error, S3ErrorCode};
use serde_json::Value;
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fields::Fields;
use crate::error::refuse;
use crate::ops::put_object::BODY_MAX;

/// A policy, read. Whether it is what somebody signed is not its business.
#[derive(Debug, PartialEq)]
pub struct Policy {
    expiration: OffsetDateTime,
    conditions: Vec<Condition>,
}

#[derive(Debug, PartialEq, Eq)]
enum Condition {
    /// A field has this value.
    Eq(String, String),
    /// A field begins so.
    StartsWith(String, String),
    /// The file has at least and at most so many bytes.
    Length(u64, u64),
}

/// How many bytes the file may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// At least.
    pub min: u64,
    /// At most.
    pub max: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { min: 0, max: BODY_MAX }
    }
}

/// Why a form is refused by its policy.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// It cannot be read.
    #[error("Invalid Policy: {0}")]
    Malformed(String),
    /// The form does not keep to it.
    #[error("Invalid according to Policy: {0}")]
    Broken(String),
}

impl From<PolicyError> for S3Error {
    fn from(error: PolicyError) -> Self {
        let code = match error {
            PolicyError::Malformed(_) => S3ErrorCode::InvalidPolicyDocument,
            PolicyError::Broken(_) => S3ErrorCode::AccessDenied,
        };
        refuse(code, error.to_string())
    }
}

fn malformed(what: impl Into<String>) -> PolicyError {
    PolicyError::Malformed(what.into())
}

impl Policy {
    /// Reads the field `policy`.
    pub fn parse(base64: &str) -> Result<Self, PolicyError> {
        let json =
            BASE64_STANDARD.decode(base64.trim()).map_err(|_| malformed("Invalid Base64."))?;
        let document: Value =
            serde_json::from_slice(&json).map_err(|_| malformed("Invalid JSON."))?;
        let Value::Object(members) = document else { return Err(malformed("Invalid JSON.")) };
        if let Some(name) =
            members.keys().find(|name| !["expiration", "conditions"].contains(&name.as_str()))
        {
            return Err(malformed(format!("Unexpected: '{name}'")));
        }
        let expiration = members.get("expiration");
        let expiration = expiration.ok_or_else(|| malformed("Policy missing expiration."))?;
        let conditions = members.get("conditions");
        let conditions = conditions.ok_or_else(|| malformed("Policy missing conditions."))?;
        let Value::Array(conditions) = conditions else {
            return Err(malformed("Invalid 'conditions' value: must be a List."));
        };
        Ok(Self {
            expiration: parse_expiration(expiration)?,
            conditions: conditions.iter().map(Condition::parse).collect::<Result<_, _>>()?,
        })
    }

    /// Whether the form may be taken now, and how large its file may be.
    pub fn check(
        &self,
        fields: &Fields,
        bucket: &str,
        now: OffsetDateTime,
    ) -> Result<Sizes, PolicyError> {
        let broken = |what: String| Err(PolicyError::Broken(what));
        if self.expiration <= now {
            return broken("Policy expired.".to_owned());
        }
        let mut sizes = Sizes::default();
        for condition in &self.conditions {
            if let Condition::Length(min, max) = condition {
                sizes = Sizes { min: sizes.min.max(*min), max: sizes.max.min(*max) };
            } else if !condition.holds(fields, bucket) {
                return broken(format!("Policy Condition failed: {}", condition.to_json()));
            }
        }
        let covered = |name: &str| self.conditions.iter().any(|c| c.field() == Some(name));
        let mut names = std::iter::once("bucket").chain(fields.iter().map(|(name, _)| name));
        match names.find(|name| needs_condition(name) && !covered(name)) {
            Some(name) => broken(format!("Extra input fields: {name}")),
            None => Ok(sizes),
        }
    }
}

/// All but these must be allowed by the policy. A checksum lets nothing in: it
/// can only make an upload fail.
fn needs_condition(name: &str) -> bool {
    let is_free = matches!(
        name,
        "awsaccesskeyid"
            | "file"
            | "policy"
            | "signature"
            | "x-amz-signature"
            | "x-amz-checksum-crc32"
            | "x-amz-checksum-crc32c"
            | "x-amz-checksum-crc64nvme"
            | "x-amz-checksum-sha1"
            | "x-amz-checksum-sha256"
    );
    !is_free && !name.starts_with("x-ignore-")
}

/// ISO 8601 in UTC, with or without a fraction of the second.
fn parse_expiration(value: &Value) -> Result<OffsetDateTime, PolicyError> {
    let text = value.as_str().unwrap_or_default();
    let is_plain = text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T');
    let parsed = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| is_plain);
    parsed.ok_or_else(|| malformed(format!("Invalid 'expiration' value: {value}")))
}

impl Condition {
    fn parse(value: &Value) -> Result<Self, PolicyError> {
        match value {
            Value::Object(pair) if pair.len() == 1 => {
                let (name, value) = pair.iter().next().expect("one pair");
                let value = value.as_str().ok_or_else(|| {
                    malformed("Invalid Simple-Condition: value must be a string.")
                })?;
                Ok(Condition::Eq(name.to_ascii_lowercase(), value.to_owned()))
            }
            Value::Object(_) => Err(malformed(
                "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
            )),
            Value::Array(words) => Self::parse_list(words),
            _ => Err(malformed("Invalid 'conditions' value: must be Lists and Objects.")),
        }
    }

    fn parse_list(words: &[Value]) -> Result<Self, PolicyError> {
        let [operation, first, second] = words else {
            return Err(malformed("Invalid Condition: wrong number of arguments."));
        };
        let operation = operation.as_str().unwrap_or_default().to_ascii_lowercase();
        if operation == "content-length-range" {
            let bounds = number(first).zip(number(second));
            let (min, max) = bounds.ok_or_else(|| {
                malformed("Invalid content-length-range: the bounds must be numbers.")
            })?;
            return Ok(Condition::Length(min, max));
        }
        let name =
            first.as_str().and_then(|name| name.strip_prefix('$')).map(str::to_ascii_lowercase);
        let name =
            name.ok_or_else(|| malformed("Invalid Condition: a field is named as $field."))?;
        let value = second.as_str().map(str::to_owned);
        let value = value.ok_or_else(|| malformed("Invalid Condition: value must be a string."))?;
        match operation.as_str() {
            "eq" => Ok(Condition::Eq(name, value)),
            "starts-with" => Ok(Condition::StartsWith(name, value)),
            _ => Err(malformed(format!("Invalid Condition: unknown operation '{operation}'."))),
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Condition::Eq(name, _) | Condition::StartsWith(name, _) => Some(name),
            Condition::Length(..) => None,
        }
    }

    /// A field that is not there has no value, not even an empty one; but who lets
    /// it begin with nothing lets it be anything. The bucket is that of the URL,
    /// and a field of this name must be the same.
    fn holds(&self, fields: &Fields, bucket: &str) -> bool {
        let value = |name: &str| match (name, fields.get(name)) {
            ("bucket", None) => Some(bucket.to_owned()),
            ("bucket", Some(named)) => (named == bucket).then(|| bucket.to_owned()),
            (_, value) => value.map(str::to_owned),
        };
        match self {
            Condition::StartsWith(name, want) if want.is_empty() && fields.get(name).is_none() => {
                true
            }
            Condition::Eq(name, want) => value(name).is_some_and(|value| value == *want),
            // A list of types begins so in each of its types.
            Condition::StartsWith(name, want) if name == "content-type" => value(name)
                .is_some_and(|types| types.split(',').all(|t| t.trim_start().starts_with(want))),
            Condition::StartsWith(name, want) => {
                value(name).is_some_and(|value| value.starts_with(want))
            }
            Condition::Length(..) => true,
        }
    }

    fn to_json(&self) -> String {
        let (operation, name, value) = match self {
            Condition::Eq(name, value) => ("eq", name, value),
            Condition::StartsWith(name, value) => ("starts-with", name, value),
            Condition::Length(min, max) => {
                return format!("[\"content-length-range\", {min}, {max}]");
            }
        };
        let quoted = |text: String| Value::from(text).to_string();
        format!("[\"{operation}\", {}, {}]", quoted(format!("${name}")), quoted(value.clone()))
    }
}

/// A number, or the digits of one in a string.
fn number(value: &Value) -> Option<u64> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok());
    value.as_u64().or_else(|| value.as_str().and_then(digits).flatten())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

    fn parse(json: &str) -> Result<Policy, PolicyError> {
        Policy::parse(&BASE64_STANDARD.encode(json))
    }

    fn policy(conditions: &str) -> Policy {
        let conditions = format!("[{{\"bucket\": \"photos\"}}, {conditions}]");
        parse(&format!(r#"{{"expiration": "2026-01-02T03:04:06Z", "conditions": {conditions}}}"#))
            .unwrap()
    }

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, &Bytes::from(value.to_string())).unwrap();
        }
        fields
    }

    /// Whether a form with these fields keeps to a policy with these conditions.
    #[track_caller]
    fn check(conditions: &str, pairs: &[(&str, &str)], want: Result<(), &str>) {
        let got = policy(conditions).check(&fields(pairs), "photos", NOW);
        let want = want.map_err(|what| PolicyError::Broken(what.to_owned()));
        assert_eq!(got.map(|_| ()), want, "{conditions} {pairs:?}");
    }

    #[test]
    fn conditions_hold_or_fail() {
        let key = ("key", "user/a");
        check(r#"{"key": "user/a"}"#, &[key], Ok(()));
        check(r#"["EQ", "$KEY", "user/a"]"#, &[key], Ok(()));
        check(r#"["Starts-With", "$Key", "user/"]"#, &[key], Ok(()));
        check(r#"["starts-with", "$key", ""]"#, &[key], Ok(()));
        let failed = |condition: &str| format!("Policy Condition failed: {condition}");
        let eq = failed(r#"["eq", "$key", "user/A"]"#);
        check(r#"{"key": "user/A"}"#, &[key], Err(&eq));
        let starts = failed(r#"["starts-with", "$key", "b\"c"]"#);
        check(r#"["starts-with", "$key", "b\"c"]"#, &[key], Err(&starts));
        // A field that is not there has no value, and may have any.
        let any = r#"["starts-with", "$key", ""]"#;
        let absent = failed(r#"["starts-with", "$acl", "p"]"#);
        check(&format!(r#"{any}, ["starts-with", "$acl", "p"]"#), &[key], Err(&absent));
        let empty = failed(r#"["eq", "$acl", ""]"#);
        check(&format!(r#"{any}, {{"acl": ""}}"#), &[key], Err(&empty));
        check(&format!(r#"{any}, ["starts-with", "$acl", ""]"#), &[key], Ok(()));
        let types = r#"{"key": "user/a"}, ["starts-with", "$Content-Type", "image/"]"#;
        check(types, &[key, ("content-type", "image/png, image/jpeg")], Ok(()));
        let list = failed(r#"["starts-with", "$content-type", "image/"]"#);
        check(types, &[key, ("content-type", "image/png,text/html")], Err(&list));
    }

    #[test]
    fn z07_every_field_needs_a_condition() {
        let key = ("key", "a");
        let any_key = r#"["starts-with", "$key", ""]"#;
        for free in [
            "policy",
            "signature",
            "AWSAccessKeyId",
            "x-amz-signature",
            "x-ignore-x",
            "x-amz-checksum-sha256",
        ] {
            check(any_key, &[key, (free, "v")], Ok(()));
        }
        for extra in [
            "acl",
            "content-type",
            "x-amz-meta-a",
            "x-amz-credential",
            "x-amz-date",
            "tagging",
            "x-amz-security-token",
            "success_action_redirect",
            "x-amz-tagging",
            "ignore",
            "content-md5",
        ] {
            let message = format!("Extra input fields: {extra}");
            check(any_key, &[key, (extra, "v")], Err(&message));
        }
        check(r#"{"acl": "private"}"#, &[key, ("acl", "private")], Err("Extra input fields: key"));
    }

    #[test]
    fn z07_a_policy_is_for_the_bucket_that_it_names() {
        let of = |conditions: &str, bucket: &str, pairs: &[(&str, &str)]| {
            let json =
                format!(r#"{{"expiration":"2027-01-01T00:00:00Z","conditions":[{conditions}]}}"#);
            parse(&json).unwrap().check(&fields(pairs), bucket, NOW)
        };
        assert!(of(r#"["eq","$bucket","photos"]"#, "photos", &[]).is_ok());
        assert!(of(r#"{"bUcKeT":"photos"}"#, "photos", &[("Bucket", "photos")]).is_ok());
        let refused =
            |result: Result<Sizes, PolicyError>| matches!(result, Err(PolicyError::Broken(_)));
        assert!(refused(of(r#"{"bucket":"photos"}"#, "other", &[])));
        assert!(refused(of(r#"{"bucket":"photos"}"#, "other", &[("bucket", "photos")])));
        assert!(refused(of(r#"{"bucket":"photos"}"#, "photos", &[("bucket", "other")])));
        assert!(refused(of("", "photos", &[])));
    }

    #[test]
    fn a_policy_expires() {
        let at = |time: &str| {
            let json = format!(r#"{{"expiration":"{time}","conditions":[{{"bucket":"b"}}]}}"#);
            parse(&json).and_then(|policy| policy.check(&Fields::default(), "b", NOW))
        };
        assert!(at("2026-01-02T03:04:06Z").is_ok());
        assert!(at("2026-01-02T03:04:05.001Z").is_ok());
        let expired = Err(PolicyError::Broken("Policy expired.".into()));
        assert_eq!(at("2026-01-02T03:04:05Z"), expired);
        assert_eq!(at("1970-01-01T00:00:00.000Z"), expired);
        for bad in
            ["", "2027", "2027-01-01", "2027-01-01 00:00:00+00:00", "2027-01-01T00:00:00", "never"]
        {
            assert!(matches!(at(bad), Err(PolicyError::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn the_size_of_the_file() {
        let of = |conditions: &str| {
            let conditions = format!(r#"["starts-with", "$key", ""], {conditions}"#);
            policy(&conditions).check(&fields(&[("key", "k")]), "photos", NOW).unwrap()
        };
        assert_eq!(of(r#"["content-length-range", 1, 10]"#), Sizes { min: 1, max: 10 });
        assert_eq!(of(r#"["Content-Length-Range", "0", "7"]"#), Sizes { min: 0, max: 7 });
        let two = r#"["content-length-range", 1, 10], ["content-length-range", 5, 20]"#;
        assert_eq!(of(two), Sizes { min: 5, max: 10 });
        let huge = r#"["content-length-range", 0, 18446744073709551615]"#;
        assert_eq!(of(huge), Sizes::default());
    }

    #[test]
    fn documents_that_are_no_policy() {
        let with = |conditions: &str| {
            parse(&format!(r#"{{"expiration":"2027-01-01T00:00:00Z","conditions":{conditions}}}"#))
        };
        for bad in [
            "{}",
            "null",
            "[{}]",
            "[[]]",
            "[1]",
            r#"[{"a":"1","b":"2"}]"#,
            r#"[{"a":1}]"#,
            r#"[["eq","$a"]]"#,
            r#"[["eq","a","b"]]"#,
            r#"[["like","$a","b"]]"#,
            r#"[["eq","$a",1]]"#,
            r#"[["content-length-range",0]]"#,
            r#"[["content-length-range",-1,0]]"#,
            r#"[["content-length-range",0,1.5]]"#,
            r#"[["content-length-range","+1","2"]]"#,
            r#"[["content-length-range","","2"]]"#,
        ] {
            assert!(matches!(with(bad), Err(PolicyError::Malformed(_))), "{bad}");
        }
        for bad in [
            "",
            "x",
            "[]",
            "{}",
            r#"{"conditions":[]}"#,
            r#"{"expiration":"2027-01-01T00:00:00Z"}"#,
            r#"{"EXPIRATION":"2027-01-01T00:00:00Z","conditions":[]}"#,
            r#"{"expiration":"2027-01-01T00:00:00Z","CONDITIONS":[]}"#,
            r#"{"expiration":"2027-01-01T00:00:00Z","conditions":[],"more":1}"#,
        ] {
            assert!(matches!(parse(bad), Err(PolicyError::Malformed(_))), "{bad}");
        }
        assert!(matches!(Policy::parse("no base64!"), Err(PolicyError::Malformed(_))));
        let error: S3Error = Policy::parse("").unwrap_err().into();
        assert_eq!(error.code().as_str(), "InvalidPolicyDocument");
    }

    proptest! {
        #[test]
        fn any_text_is_a_policy_or_refused(text in "\\PC{0,200}", json in "[\\[\\]{}\":,a$0-9 -]{0,100}") {
            let _ = Policy::parse(&text);
            let _ = parse(&text);
            let _ = parse(&json);
            let _ = parse(&format!(r#"{{"expiration":"2027-01-01T00:00:00Z","conditions":[{json}]}}"#));
        }
    }
}
