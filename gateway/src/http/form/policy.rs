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
mod tests;
