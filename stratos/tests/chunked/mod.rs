//! A client that sends `aws-chunked` bodies, well-formed or not.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::{self, calculate_signature, generate_signing_key};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::{Digest, Sha256};
use stratos::client::{Body, Response};

use super::world::{BUCKET, World};

pub const UNSIGNED: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
pub const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

/// Signs chunk after chunk, each with the signature before it.
pub struct ChunkSigner {
    key: Vec<u8>,
    scope: String,
    previous: String,
}

impl ChunkSigner {
    /// A chunk as it is sent.
    pub fn chunk(&mut self, data: &[u8]) -> Vec<u8> {
        let (nothing, hash) = (hex::encode(Sha256::digest(b"")), hex::encode(Sha256::digest(data)));
        let Self { key, scope, previous } = self;
        let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{scope}\n{previous}\n{nothing}\n{hash}");
        *previous = calculate_signature(key, text.as_bytes());
        let line = format!("{:x};chunk-signature={previous}\r\n", data.len());
        [line.as_bytes(), data, b"\r\n"].concat()
    }
}

/// A PUT whose payload hash is `hash`, of whatever `body` makes.
pub async fn put(
    world: &World,
    key: &str,
    hash: &str,
    headers: &[(&'static str, &str)],
    body: impl FnOnce(&mut ChunkSigner) -> Vec<u8>,
) -> Response {
    let at = world.cluster.endpoint();
    let url = format!("{}/{BUCKET}/{key}", at.endpoint);
    let credentials =
        Credentials::new(&at.access_key_id, &at.secret_access_key, None, None, "test").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let now = SystemTime::now();
    let params = v4::SigningParams::builder()
        .identity(&credentials)
        .region(&at.region)
        .name("s3")
        .time(now)
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let signable = SignableBody::Precomputed(hash.to_owned());
    let request =
        SignableRequest::new("PUT", url.as_str(), headers.iter().copied(), signable).unwrap();
    let (signed, seed) = sign(request, &params).unwrap().into_parts();
    let mut all = HeaderMap::new();
    for (name, value) in headers.iter().copied().chain(signed.headers()) {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        all.insert(name, HeaderValue::from_str(value).unwrap());
    }
    let date = all["x-amz-date"].to_str().unwrap();
    let mut signer = ChunkSigner {
        key: generate_signing_key(&at.secret_access_key, now, &at.region, "s3").as_ref().to_vec(),
        scope: format!("{date}\n{}/{}/s3/aws4_request", &date[..8], at.region),
        previous: seed,
    };
    let body = Body::unsigned(body(&mut signer).into());
    world.s3.send_unsigned(Method::PUT, &url, all, body).await.unwrap()
}
