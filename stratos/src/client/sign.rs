//! Signature V4 for S3, by `aws-sigv4`.
//!
//! S3 differs from the other services in three points: the path is encoded
//! once and never normalized (`a//b` and `./x` are names), and the payload's
//! hash stands in a header.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningError, SigningInstructions, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::HeaderMap;

use crate::client::body::PayloadHash;
use crate::client::{ClientError, encode};

/// Signs requests with one key for one region.
#[derive(Clone, Debug)]
pub struct Signer {
    credentials: Credentials,
    region: String,
}

/// What a signature is made from.
pub struct ToSign<'a> {
    /// The method.
    pub method: &'a str,
    /// The whole address, percent-encoded.
    pub uri: &'a str,
    /// The headers that are known before signing; all of them are signed.
    pub headers: &'a HeaderMap,
}

impl Signer {
    /// A signer of requests to S3 in `region`.
    pub fn new(region: &str, access_key: &str, secret_key: &str) -> Self {
        let credentials = Credentials::new(access_key, secret_key, None, None, "stratos");
        Self { credentials, region: region.to_owned() }
    }

    /// The headers to add, so that the request is signed.
    pub fn headers(
        &self,
        request: &ToSign<'_>,
        hash: &PayloadHash,
        now: SystemTime,
    ) -> Result<HeaderMap, ClientError> {
        let mut settings = settings(SignatureLocation::Headers);
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let body = match hash {
            PayloadHash::Unsigned => SignableBody::UnsignedPayload,
            PayloadHash::Sha256(hash) => SignableBody::Precomputed(hex::encode(hash)),
        };
        let signed = self.sign(request, body, settings, now)?;
        let mut headers = HeaderMap::new();
        for (name, value) in signed.headers() {
            let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(http::Error::from)?;
            headers.insert(name, value.parse().map_err(http::Error::from)?);
        }
        Ok(headers)
    }

    /// The query string to append, so that whoever has the address may use it
    /// until it expires.
    pub fn query(
        &self,
        request: &ToSign<'_>,
        expires: Duration,
        now: SystemTime,
    ) -> Result<String, ClientError> {
        let mut settings = settings(SignatureLocation::QueryParams);
        settings.expires_in = Some(expires);
        let signed = self.sign(request, SignableBody::UnsignedPayload, settings, now)?;
        Ok(encode::query(signed.params().iter().map(|(name, value)| (*name, value.as_ref()))))
    }

    fn sign(
        &self,
        request: &ToSign<'_>,
        body: SignableBody<'_>,
        settings: SigningSettings,
        now: SystemTime,
    ) -> Result<SigningInstructions, ClientError> {
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(now)
            .settings(settings)
            .build()
            .expect("every parameter is given")
            .into();
        let headers = text_headers(request.headers)?;
        let request = SignableRequest::new(request.method, request.uri, headers.into_iter(), body)
            .map_err(signing)?;
        Ok(sign(request, &params).map_err(signing)?.into_parts().0)
    }
}

fn settings(location: SignatureLocation) -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.signature_location = location;
    settings
}

fn text_headers(headers: &HeaderMap) -> Result<Vec<(&str, &str)>, ClientError> {
    headers
        .iter()
        .map(|(name, value)| {
            let text = value.to_str().map_err(|_| ClientError::Header(name.to_string()))?;
            Ok((name.as_str(), text))
        })
        .collect()
}

fn signing(error: SigningError) -> ClientError {
    ClientError::Signing(error.to_string())
}

#[cfg(test)]
mod tests {
    //! The examples of the S3 manual: "Signature Calculations for the
    //! Authorization Header" and "Authenticating Requests: Using Query
    //! Parameters".
    use super::*;

    const HOST: &str = "http://examplebucket.s3.amazonaws.com";

    fn signer() -> Signer {
        Signer::new("us-east-1", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    }

    fn may_24_2013() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600)
    }

    fn sha256(text: &str) -> PayloadHash {
        use sha2::Digest;
        PayloadHash::Sha256(sha2::Sha256::digest(text).into())
    }

    #[track_caller]
    fn check(method: &str, path: &str, headers: &[(&'static str, &str)], body: &str, want: &str) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect();
        let uri = format!("{HOST}{path}");
        let request = ToSign { method, uri: &uri, headers: &headers };
        let signed = signer().headers(&request, &sha256(body), may_24_2013()).expect("signed");
        let authorization = signed["authorization"].to_str().expect("text");
        let (_, signature) = authorization.rsplit_once("Signature=").expect("a signature");
        assert_eq!(signature, want, "{method} {path}");
    }

    #[test]
    fn the_examples_of_the_manual_are_signed_alike() {
        check(
            "GET",
            "/test.txt",
            &[("range", "bytes=0-9")],
            "",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        );
        check(
            "PUT",
            "/test%24file.text",
            &[
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            "Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        );
        check(
            "GET",
            "/?lifecycle=",
            &[],
            "",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        );
        check(
            "GET",
            "/?max-keys=2&prefix=J",
            &[],
            "",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
    }

    #[test]
    fn the_presigned_example_of_the_manual_is_signed_alike() {
        let uri = format!("{HOST}/test.txt");
        let request = ToSign { method: "GET", uri: &uri, headers: &HeaderMap::new() };
        let query =
            signer().query(&request, Duration::from_secs(86_400), may_24_2013()).expect("signed");
        assert!(
            query.ends_with(
                "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
            ),
            "{query}"
        );
        assert!(query.contains("X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1"));
    }

    #[test]
    fn a_header_that_is_no_text_is_named() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-meta-a", http::HeaderValue::from_bytes(&[0xe9]).expect("a value"));
        let request = ToSign { method: "GET", uri: HOST, headers: &headers };
        let error = signer().headers(&request, &sha256(""), may_24_2013()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "header x-amz-meta-a is not plain ASCII text: encode it first"
        );
    }
}
