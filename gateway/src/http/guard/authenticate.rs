//! Who sent a request: the one place where signatures of requests are verified.
//!
//! A key that does not exist costs as much time as a wrong signature, and
//! signatures are compared in constant time. What comes out is a [`Caller`];
//! without one nothing passes, be it that of nobody in particular.
//!
//! Not here: the signatures of chunks (`chunks`), which go on from the one that
//! was verified here, and those of browser forms, which are in the body.

use std::net::IpAddr;

use http::request::Parts;
use time::OffsetDateTime;

use super::GuardSettings;
use super::canonical::{scope_text, strings_to_sign};
use super::chunks::Seal;
use super::claim::Door;
use super::credentials::{Claim, Credentials, Place};
use super::payload::{CONTENT_SHA256, UNSIGNED};
use super::refusal::{Code, S3Refusal};
use super::target::Query;
use crate::auth::credentials::{CredentialError, Resolved};
use crate::auth::identity::{AuthKind, Caller, Identity};
use crate::auth::sigv4::SigningKey;
use crate::http::listener::{Peer, Secure};

/// A sender, and what the signatures of its chunks go on from.
pub(super) struct Authenticated {
    pub caller: Caller,
    pub seal: Option<Seal>,
}

/// What is verified.
pub(super) struct Evidence<'a> {
    pub parts: &'a Parts,
    pub query: &'a Query<'a>,
    pub credentials: &'a Credentials<'a>,
    pub door: Door,
    /// What stands for the hash of the body if the head does not say; in hex.
    pub body_hash: Option<&'a str>,
}

/// Finds out who sent a request, or refuses it.
pub(super) fn authenticate(
    settings: &GuardSettings,
    evidence: &Evidence<'_>,
) -> Result<Authenticated, S3Refusal> {
    let now = (settings.now)();
    let Evidence { parts, query, credentials, door, .. } = evidence;
    let caller = |identity, auth, signature_age_ms| Caller {
        identity,
        auth,
        peer: peer(parts),
        secure: parts.extensions.get::<Secure>().is_some(),
        signature_age_ms,
        facts: crate::auth::identity::Facts::default(),
    };
    let claim = match credentials {
        Credentials::Anonymous => {
            let caller = caller(Identity::anonymous(), AuthKind::Anonymous, None);
            return Ok(Authenticated { caller, seal: None });
        }
        Credentials::Signed(claim) => claim,
    };
    let signed_at = claim.check(&parts.headers, *door, &settings.region, now)?;
    let payloads = payloads(evidence, claim)?;
    let strings = strings_to_sign(parts, query, claim, &payloads)?;
    let (resolved, key) = verify(settings, claim, &strings)?;
    let (auth, age) = match claim.place {
        Place::Header => (AuthKind::Header, None),
        Place::Query => (AuthKind::Query, Some(age_ms(now, signed_at))),
    };
    let scope = scope_text(&claim.scope);
    let seal = Seal::new(key, &claim.date, scope, claim.signature);
    Ok(Authenticated { caller: caller(resolved.identity, auth, age), seal: Some(seal) })
}

fn peer(parts: &Parts) -> Option<IpAddr> {
    // A socket that speaks IPv6 sees clients of IPv4 in disguise.
    parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical())
}

fn age_ms(now: OffsetDateTime, signed_at: OffsetDateTime) -> i64 {
    i64::try_from((now - signed_at).whole_milliseconds()).unwrap_or(i64::MAX)
}

/// What may stand for the hash of the body in what was signed.
fn payloads<'a>(evidence: &Evidence<'a>, claim: &Claim<'_>) -> Result<Vec<&'a str>, S3Refusal> {
    let header = evidence.parts.headers.get(CONTENT_SHA256);
    let header = header.and_then(|value| value.to_str().ok());
    match claim.place {
        Place::Header => match header.or(evidence.body_hash) {
            Some(hash) => Ok(vec![hash]),
            None => Err(S3Refusal::new(
                Code::InvalidRequest,
                "Missing required header for this request: x-amz-content-sha256",
            )),
        },
        // Nobody knows the body when a URL is signed, but some say so, or more,
        // in a parameter or a header.
        Place::Query => {
            let said = evidence.query.get("X-Amz-Content-Sha256").or(header);
            Ok([Some(UNSIGNED), said.filter(|said| *said != UNSIGNED)]
                .into_iter()
                .flatten()
                .collect())
        }
    }
}

/// The key that signed one of the strings, and whose it is.
fn verify(
    settings: &GuardSettings,
    claim: &Claim<'_>,
    strings: &[String],
) -> Result<(Resolved, SigningKey), S3Refusal> {
    let resolved = (settings.resolve)(claim.access_key, claim.token);
    let secret = resolved.as_ref().map_or("", |found| found.secret.as_str());
    let scope = &claim.scope;
    let key = SigningKey::new(secret, scope.day, scope.region, scope.service);
    // All forms are looked at, whichever it was.
    let is_signed =
        strings.iter().fold(false, |found, string| key.verify(string, claim.signature) | found);
    match resolved {
        Ok(resolved) if is_signed => Ok((resolved, key)),
        Ok(_) => Err(S3Refusal::new(
            Code::SignatureDoesNotMatch,
            "The request signature we calculated does not match the signature you provided. \
             Check your key and signing method.",
        )
        .field("AWSAccessKeyId", claim.access_key)
        .field("SignatureProvided", claim.signature)),
        Err(error) => Err(refused(error, claim)),
    }
}

fn refused(error: CredentialError, claim: &Claim<'_>) -> S3Refusal {
    match error {
        CredentialError::Unknown => S3Refusal::new(
            Code::InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records.",
        )
        .field("AWSAccessKeyId", claim.access_key),
        CredentialError::Token => S3Refusal::new(
            Code::InvalidToken,
            "The provided token is malformed or otherwise invalid.",
        ),
        CredentialError::Expired => {
            S3Refusal::new(Code::ExpiredToken, "The provided token has expired.")
        }
    }
}

#[cfg(test)]
mod tests;
