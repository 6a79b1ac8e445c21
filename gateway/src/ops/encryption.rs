//! Whose key seals the data key of an object: the bucket's (SSE-S3, which
//! happens in any case), one of the local key ring (SSE-KMS), or one that comes
//! with every request (SSE-C).
//!
//! The bytes are always encrypted with a data key of their own; only what seals
//! that differs, so a copy from one kind to another moves no bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use md5::{Digest, Md5};
use s3s::dto::ServerSideEncryption;
use s3s::{S3ErrorCode, S3Result};
use subtle::ConstantTimeEq;

use crate::error::{custom, refuse};
use crate::gateway::Gateway;
use crate::meta::{Bucket, Encryption};
use crate::object::cipher::Key;
use crate::object::keyring;

/// The key that a bucket uses for `aws:kms` when nobody names one.
pub const DEFAULT_KMS_KEY: &str = "aws/s3";

/// Which headers hold a customer's key.
#[derive(Clone, Copy)]
pub enum KeyOf {
    /// The object.
    Object,
    /// The source of a copy.
    CopySource,
}

impl KeyOf {
    fn prefix(self) -> &'static str {
        match self {
            KeyOf::Object => "x-amz-server-side-encryption-customer-",
            KeyOf::CopySource => "x-amz-copy-source-server-side-encryption-customer-",
        }
    }
}

/// A key that a client sent.
#[derive(Debug)]
pub struct CustomerKey {
    key: Key,
    md5: String,
}

/// What seals a data key, and what is remembered and told of it.
#[derive(Debug)]
pub struct Sealing {
    /// Seals and opens data keys.
    pub key: Key,
    /// Kept with the object.
    pub encryption: Encryption,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

fn bad(message: &'static str) -> s3s::S3Error {
    refuse(S3ErrorCode::InvalidArgument, message)
}

/// The customer's key in the headers of a request.
pub fn customer_key(headers: &HeaderMap, of: KeyOf) -> S3Result<Option<CustomerKey>> {
    let field = |name: &str| text(headers, &format!("{}{name}", of.prefix()));
    let (algorithm, key, md5) = (field("algorithm"), field("key"), field("key-md5"));
    if algorithm.is_none() && key.is_none() && md5.is_none() {
        return Ok(None);
    }
    let algorithm = algorithm.ok_or_else(|| {
        bad("Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.")
    })?;
    if algorithm != "AES256" {
        return Err(custom(
            "InvalidEncryptionAlgorithmError",
            http::StatusCode::BAD_REQUEST,
            "The encryption request you specified is not valid. The valid value is AES256.",
        ));
    }
    let key = key.ok_or_else(|| {
        bad("Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.")
    })?;
    let md5 = md5.ok_or_else(|| {
        bad("Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key.")
    })?;
    let bytes = STANDARD.decode(key).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let bytes =
        bytes.ok_or_else(|| bad("The secret key was invalid for the specified algorithm."))?;
    let computed = STANDARD.encode(Md5::digest(bytes));
    if !bool::from(computed.as_bytes().ct_eq(md5.as_bytes())) {
        return Err(bad(
            "The calculated MD5 hash of the key did not match the hash that was provided.",
        ));
    }
    let key = Key::from_bytes(bytes).derive("stratos customer key v1");
    Ok(Some(CustomerKey { key, md5: computed }))
}

/// What will seal the data keys of a new object, from the headers of the request
/// or the bucket's default.
pub async fn for_write(
    gateway: &Gateway,
    bucket: &Bucket,
    headers: &HeaderMap,
) -> S3Result<Sealing> {
    let asked = text(headers, "x-amz-server-side-encryption");
    let key_id = text(headers, "x-amz-server-side-encryption-aws-kms-key-id");
    if let Some(customer) = customer_key(headers, KeyOf::Object)? {
        if asked.is_some() || key_id.is_some() {
            return Err(bad(
                "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
            ));
        }
        let encryption = Encryption::Customer { key_md5: customer.md5 };
        return Ok(Sealing { key: customer.key, encryption });
    }
    let context = text(headers, "x-amz-server-side-encryption-context").map(str::to_owned);
    let (kind, default_key) = match asked {
        Some(kind) => (Some(kind), None),
        None if key_id.is_some() => {
            return Err(bad(
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
            ));
        }
        None => bucket_default(bucket),
    };
    let encryption = match kind {
        None | Some(ServerSideEncryption::AES256) if key_id.is_none() => Encryption::Bucket,
        Some(ServerSideEncryption::AWS_KMS | ServerSideEncryption::AWS_KMS_DSSE) => {
            let key_id = key_id.or(default_key).unwrap_or(DEFAULT_KMS_KEY).to_owned();
            Encryption::Kms { key_id, context }
        }
        _ => return Err(bad("The encryption method specified is not supported")),
    };
    Ok(Sealing { key: sealing_key(gateway, bucket, &encryption, None).await?, encryption })
}

/// The kind and key of a bucket's default encryption.
fn bucket_default(bucket: &Bucket) -> (Option<&str>, Option<&str>) {
    let rule = bucket.config.encryption.as_ref().and_then(|kept| kept.rules.first());
    let default = rule.and_then(|rule| rule.apply_server_side_encryption_by_default.as_ref());
    let kind = default.map(|default| default.sse_algorithm.as_str());
    (kind, default.and_then(|default| default.kms_master_key_id.as_deref()))
}

/// Refuses to be told how an object is encrypted that is only read.
pub fn refuse_on_read(headers: &HeaderMap) -> S3Result<()> {
    if headers.contains_key("x-amz-server-side-encryption") {
        return Err(bad(
            "x-amz-server-side-encryption header is not supported for this operation.",
        ));
    }
    Ok(())
}

/// What opens the data keys of an object that is there.
pub async fn for_read(
    gateway: &Gateway,
    bucket: &Bucket,
    encryption: &Encryption,
    headers: &HeaderMap,
    of: KeyOf,
) -> S3Result<Sealing> {
    let customer = customer_key(headers, of)?;
    let key = sealing_key(gateway, bucket, encryption, customer).await?;
    Ok(Sealing { key, encryption: encryption.clone() })
}

async fn sealing_key(
    gateway: &Gateway,
    bucket: &Bucket,
    encryption: &Encryption,
    customer: Option<CustomerKey>,
) -> S3Result<Key> {
    match (encryption, customer) {
        (Encryption::Customer { key_md5 }, Some(given)) => {
            if !bool::from(key_md5.as_bytes().ct_eq(given.md5.as_bytes())) {
                return Err(refuse(
                    S3ErrorCode::InvalidRequest,
                    "The provided encryption parameters did not match the ones used originally to encrypt the object.",
                ));
            }
            Ok(given.key)
        }
        (Encryption::Customer { .. }, None) => Err(refuse(
            S3ErrorCode::InvalidRequest,
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
        )),
        (_, Some(_)) => Err(refuse(
            S3ErrorCode::InvalidRequest,
            "The encryption parameters are not applicable to this object.",
        )),
        (Encryption::Bucket, None) => Ok(gateway.bucket_key(bucket)?),
        (Encryption::Kms { key_id, .. }, None) => Ok(keyring::key(gateway, key_id).await?),
    }
}

/// What an answer says of the encryption of an object.
#[derive(Debug, Default)]
pub struct Told {
    /// `x-amz-server-side-encryption`.
    pub kind: Option<ServerSideEncryption>,
    /// `x-amz-server-side-encryption-aws-kms-key-id`.
    pub kms_key_id: Option<String>,
    /// `x-amz-server-side-encryption-customer-algorithm`.
    pub customer_algorithm: Option<String>,
    /// `x-amz-server-side-encryption-customer-key-md5`.
    pub customer_key_md5: Option<String>,
}

/// What an answer says of this encryption.
pub fn told(encryption: &Encryption) -> Told {
    match encryption {
        Encryption::Bucket => Told {
            kind: Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256)),
            ..Told::default()
        },
        Encryption::Kms { key_id, .. } => Told {
            kind: Some(ServerSideEncryption::from_static(ServerSideEncryption::AWS_KMS)),
            kms_key_id: Some(key_id.clone()),
            ..Told::default()
        },
        Encryption::Customer { key_md5 } => Told {
            customer_algorithm: Some("AES256".to_owned()),
            customer_key_md5: Some(key_md5.clone()),
            ..Told::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn a_customer_key_must_be_whole_and_right() {
        const NAME: [&str; 3] = [
            "x-amz-server-side-encryption-customer-algorithm",
            "x-amz-server-side-encryption-customer-key",
            "x-amz-server-side-encryption-customer-key-md5",
        ];
        let key = STANDARD.encode([7; 32]);
        let md5 = STANDARD.encode(Md5::digest([7; 32]));
        let short = STANDARD.encode([7; 31]);
        let all = [(NAME[0], "AES256"), (NAME[1], key.as_str()), (NAME[2], md5.as_str())];
        let found = customer_key(&headers(&all), KeyOf::Object).unwrap().unwrap();
        assert_eq!(found.md5, md5);
        assert!(customer_key(&headers(&all), KeyOf::CopySource).unwrap().is_none());
        for missing in 0..3 {
            let mut some = all.to_vec();
            some.remove(missing);
            assert!(customer_key(&headers(&some), KeyOf::Object).is_err(), "{missing}");
        }
        for (at, value) in [(0, "AES128"), (1, short.as_str()), (1, "?"), (2, "wrong")] {
            let mut some = all;
            some[at].1 = value;
            assert!(customer_key(&headers(&some), KeyOf::Object).is_err(), "{value}");
        }
        assert!(!format!("{found:?}").contains('7'.to_string().repeat(4).as_str()));
    }
}
