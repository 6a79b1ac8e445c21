//! Signature Version 4: the arithmetic that the header, presigned URLs, chunks
//! of a body and browser forms share. Pure.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use ring::hmac;
use subtle::ConstantTimeEq;

/// A key that signs for one secret, day, region and service.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Derives it. `day` is `yyyymmdd`.
    pub fn new(secret: &str, day: &str, region: &str, service: &str) -> Self {
        let first = format!("AWS4{secret}");
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
        for step in [day, region, service, "aws4_request"] {
            let tag = hmac::sign(&key, step.as_bytes());
            key = hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref());
        }
        Self(key)
    }

    /// The signature of a string, in hex.
    pub fn sign(&self, string_to_sign: &str) -> String {
        hex::encode(hmac::sign(&self.0, string_to_sign.as_bytes()).as_ref())
    }

    /// Whether `signature` is that of the string. Takes the same time either way.
    pub fn verify(&self, string_to_sign: &str, signature: &str) -> bool {
        self.sign(string_to_sign).as_bytes().ct_eq(signature.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the documentation of S3 for a GET of a range.
    #[test]
    fn the_documented_example_has_the_documented_signature() {
        let key = SigningKey::new(
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "20130524",
            "us-east-1",
            "s3",
        );
        let string = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n\
                      7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
        let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        assert_eq!(key.sign(string), signature);
        assert!(key.verify(string, signature));
        assert!(!key.verify(string, &signature.replace('f', "e")));
    }
}
