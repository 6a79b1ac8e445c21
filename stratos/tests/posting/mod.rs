//! Forms as browsers send them, signed as their authors do.

// Each test binary uses a part of this.
#![allow(dead_code, missing_docs)]

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ring::hmac;
use stratos::client::Response;
use time::OffsetDateTime;
use time::macros::format_description;

use super::asking::outcome;
use super::world::{BUCKET, World};

const BOUNDARY: &str = "----WebKitFormBoundaryA1b2C3d4";

/// What a form may hold.
#[derive(Clone)]
pub struct Policy {
    expiration: String,
    bucket: String,
    conditions: Vec<String>,
    raw: Option<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            expiration: "2099-01-01T00:00:00.000Z".into(),
            bucket: BUCKET.into(),
            conditions: Vec::new(),
            raw: None,
        }
    }
}

impl Policy {
    pub fn raw(json: &str) -> Self {
        Self { raw: Some(json.into()), ..Self::default() }
    }

    pub fn with(&self, condition: &str) -> Self {
        let mut more = self.clone();
        more.conditions.push(condition.into());
        more
    }

    pub fn expiring(self, expiration: &str) -> Self {
        Self { expiration: expiration.into(), ..self }
    }

    pub fn for_bucket(self, bucket: &str) -> Self {
        Self { bucket: bucket.into(), ..self }
    }

    pub fn base64(&self) -> String {
        let mut conditions = vec![format!(r#"{{"bucket": "{}"}}"#, self.bucket)];
        conditions.extend(self.conditions.iter().cloned());
        let conditions = conditions.join(",");
        let json =
            format!(r#"{{"expiration": "{}", "conditions": [{conditions}]}}"#, self.expiration);
        BASE64_STANDARD.encode(self.raw.as_ref().unwrap_or(&json))
    }
}

#[derive(Clone, Default)]
pub struct Form {
    fields: Vec<(String, String)>,
    file: Option<(String, Vec<u8>)>,
    headers: HeaderMap,
}

impl Form {
    pub fn new(key: &str) -> Self {
        Self::default().field("key", key)
    }

    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The same, in front of all others.
    pub fn first(mut self, name: &str, value: &str) -> Self {
        self.fields.insert(0, (name.into(), value.into()));
        self
    }

    pub fn change(mut self, name: &str, value: &str) -> Self {
        let field = self.fields.iter_mut().find(|(n, _)| n == name);
        field.unwrap_or_else(|| panic!("no field {name}")).1 = value.into();
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(n, _)| n != name);
        self
    }

    pub fn file(mut self, name: &str, bytes: &[u8]) -> Self {
        self.file = Some((name.into(), bytes.to_vec()));
        self
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap();
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    /// Signed by the first account with Signature Version 4, whose own fields
    /// the policy allows.
    pub fn v4(self, world: &World, policy: &Policy) -> Self {
        let at = world.cluster.endpoint();
        let now = OffsetDateTime::now_utc();
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let date = now.format(format).unwrap();
        let credential =
            format!("{}/{}/{}/s3/aws4_request", at.access_key_id, &date[..8], at.region);
        let policy = policy
            .with(&format!(r#"{{"x-amz-credential": "{credential}"}}"#))
            .with(&format!(r#"{{"x-amz-date": "{date}"}}"#))
            .with(r#"{"x-amz-algorithm": "AWS4-HMAC-SHA256"}"#)
            .base64();
        let key = generate_signing_key(&at.secret_access_key, now.into(), &at.region, "s3");
        let signature = calculate_signature(key, policy.as_bytes());
        self.first("policy", &policy)
            .first("x-amz-signature", &signature)
            .first("x-amz-credential", &credential)
            .first("x-amz-date", &date)
            .first("x-amz-algorithm", "AWS4-HMAC-SHA256")
    }

    /// Signed with Signature Version 2.
    pub fn v2(self, world: &World, policy: &Policy) -> Self {
        let at = world.cluster.endpoint();
        let policy = policy.base64();
        let secret = at.secret_access_key.as_bytes();
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
        let signature = BASE64_STANDARD.encode(hmac::sign(&key, policy.as_bytes()));
        self.first("policy", &policy)
            .first("signature", &signature)
            .first("awsaccesskeyid", &at.access_key_id)
    }

    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.fields {
            let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"");
            body.extend_from_slice(format!("{head}\r\n\r\n{value}\r\n").as_bytes());
        }
        if let Some((name, bytes)) = &self.file {
            let disposition = format!("form-data; name=\"file\"; filename=\"{name}\"");
            let head = format!("--{BOUNDARY}\r\nContent-Disposition: {disposition}");
            let head = format!("{head}\r\nContent-Type: application/octet-stream\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        body
    }
}

pub async fn post(world: &World, form: Form) -> Response {
    send(world, form.body(), form.headers).await
}

pub async fn post_body(world: &World, body: Vec<u8>) -> Response {
    send(world, body, HeaderMap::new()).await
}

async fn send(world: &World, body: Vec<u8>, mut headers: HeaderMap) -> Response {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    headers.insert(http::header::CONTENT_TYPE, kind.parse().unwrap());
    let url = format!("{}/{BUCKET}", world.s3.endpoint());
    world.s3.send_unsigned(Method::POST, &url, headers, body.into()).await.unwrap()
}

/// The S3 code of the refusal, or "".
pub async fn code_of(answer: Response) -> String {
    outcome(answer).await.1
}
