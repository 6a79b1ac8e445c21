//! Requests of any kind, and what is answered to them.

// Each test binary uses a part of this.
#![allow(dead_code, missing_docs)]

use std::time::Duration;

use http::{HeaderValue, Method};
use stratos::client::{ClientError, Request, Response};

use super::world::BUCKET;

pub const HOUR: Duration = Duration::from_secs(3600);

/// The status, and the S3 code of the refusal or "".
pub async fn outcome(answer: Response) -> (u16, String) {
    let status = answer.status.as_u16();
    match answer.ok().await {
        Ok(answer) => {
            answer.drain().await.unwrap();
            (status, String::new())
        }
        Err(ClientError::S3 { code, .. }) => (status, code),
        Err(error) => panic!("{error}"),
    }
}

pub fn refused(code: &str) -> (u16, String) {
    (400, code.to_owned())
}

pub fn done() -> (u16, String) {
    (200, String::new())
}

pub fn request(
    method: Method,
    key: &str,
    query: &[(&str, &str)],
    headers: &[(&'static str, &str)],
) -> Request {
    let mut request = Request::new(method, BUCKET, key);
    for (name, value) in query {
        request = request.query(name, value);
    }
    for (name, value) in headers {
        request = request.header(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

pub async fn text(answer: Response) -> String {
    let answer = answer.ok().await.unwrap();
    String::from_utf8(answer.bytes().await.unwrap().to_vec()).unwrap()
}

/// The text of the first element of this name.
pub fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let (_, rest) = xml.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{name}: {xml}"));
    rest.split_once(&format!("</{name}>")).unwrap().0
}

pub fn crc32(bytes: &[u8]) -> String {
    use base64::Engine;
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes);
    base64::prelude::BASE64_STANDARD.encode(&crc.to_be_bytes()[4..])
}
