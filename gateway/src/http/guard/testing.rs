//! Requests for the tests of the guard. Those that are signed are signed by a
//! library that others wrote.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::HeaderValue;
use http::Request;
use http::request::Parts;
use time::OffsetDateTime;
use time::macros::datetime;
use zeroize::Zeroizing;

use super::{Domains, GuardSettings, Resolve};
use crate::auth::credentials::{CredentialError, Resolved};
use crate::auth::identity::Identity;
use protocol::AccountId;

/// When everything happens.
pub(in crate::http) const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);
/// The secret of `AKID`, and of `TEMP` with the token `good/+=`.
pub(in crate::http) const SECRET: &str = "a/secret+key";
/// The token of `TEMP`.
pub(in crate::http) const TOKEN: &str = "good/+=";

/// Settings with the two keys.
pub(in crate::http) fn settings() -> GuardSettings {
    GuardSettings {
        region: "eu-north-1".to_owned(),
        domains: Domains::parse(["s3.example.com"]).expect("a good domain"),
        resolve: resolve(),
        now: || NOW,
    }
}

fn resolve() -> Resolve {
    Arc::new(|id, token| match (id, token) {
        ("AKID", None) | ("TEMP", Some(TOKEN)) => Ok(Resolved {
            secret: Arc::new(Zeroizing::new(SECRET.to_owned())),
            identity: Identity {
                account: Some(AccountId([1; 16])),
                access_key: id.to_owned(),
                ..Identity::default()
            },
        }),
        ("AKID" | "TEMP", Some("old")) => Err(CredentialError::Expired),
        ("AKID" | "TEMP", _) => Err(CredentialError::Token),
        _ => Err(CredentialError::Unknown),
    })
}

/// How a request is to be signed.
#[derive(Clone, Copy)]
pub(in crate::http) struct Signer<'a> {
    pub key: &'a str,
    pub secret: &'a str,
    pub token: Option<&'a str>,
    pub service: &'a str,
    /// In the query, for an hour.
    pub presigned: bool,
    /// What stands for the hash of the body, in `x-amz-content-sha256`. Without it
    /// that of an empty body is signed, or nothing of the body of a URL.
    pub payload: Option<&'a str>,
}

/// In the head, by `AKID`, and nothing said of the body.
pub(in crate::http) const HEADER: Signer<'_> = Signer {
    key: "AKID",
    secret: SECRET,
    token: None,
    service: "s3",
    presigned: false,
    payload: Some("UNSIGNED-PAYLOAD"),
};
/// The same as a presigned URL.
pub(in crate::http) const QUERY: Signer<'_> = Signer { presigned: true, payload: None, ..HEADER };

impl Signer<'_> {
    /// The head of a signed request; `uri` is a path and a query. All headers are
    /// signed, `host` and the date among them.
    pub fn sign(&self, method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        if self.presigned {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(3600));
        }
        if self.payload.is_some() {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let body = match self.payload {
            Some(payload) => SignableBody::Precomputed(payload.to_owned()),
            None if self.presigned => SignableBody::UnsignedPayload,
            None => SignableBody::Bytes(b""),
        };
        let token = self.token.map(str::to_owned);
        let identity =
            aws_credential_types::Credentials::new(self.key, self.secret, token, None, "tests");
        let identity = identity.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("eu-north-1")
            .name(self.service)
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.unix_timestamp() as u64))
            .settings(settings)
            .build()
            .expect("every parameter is given")
            .into();
        let mut headers = headers.to_vec();
        if !headers.iter().any(|(name, _)| *name == "host") {
            headers.push(("host", "s3.example.com:9000"));
        }
        let url = format!("http://s3.example.com:9000{uri}");
        let request = SignableRequest::new(method, &url, headers.iter().copied(), body);
        let signed =
            sign(request.expect("a request"), &params).expect("a signature").into_parts().0;
        let added: Vec<(String, String)> =
            signed.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        headers.extend(added.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        if let (true, Some(payload)) = (self.presigned, self.payload) {
            headers.push(("x-amz-content-sha256", payload));
        }
        let mut uri = uri.to_owned();
        for (name, value) in signed.params() {
            let escape = |c: char| match c {
                'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '.' | '_' | '~' => c.to_string(),
                _ => c.to_string().bytes().map(|b| format!("%{b:02X}")).collect(),
            };
            let value: String = value.chars().map(escape).collect();
            uri.push(if uri.contains('?') { '&' } else { '?' });
            uri.push_str(&format!("{name}={value}"));
        }
        parts(method, &uri, &headers)
    }
}

/// A claim over `host` and `x-amz-date` at 2026-01-02 03:04:05.
pub(in crate::http) const HEADER_AUTH: &str = "AWS4-HMAC-SHA256 \
    Credential=AKID/20260102/us-east-1/s3/aws4_request, \
    SignedHeaders=host;x-amz-date, Signature=00ff";

/// The same as query parameters, for an hour.
pub(in crate::http) const PRESIGNED: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKID%2F20260102%2Fus-east-1%2Fs3%2Faws4_request\
    &X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host\
    &X-Amz-Signature=00ff";

/// The head of a request; header values may be any bytes of UTF-8.
pub(in crate::http) fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        request = request.header(*name, value);
    }
    request.body(()).expect("a request").into_parts().0
}
