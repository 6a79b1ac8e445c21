//! The local key ring: named keys that seal data keys for SSE-KMS. Each is
//! random, kept in the metadata, sealed by the master key.

use thiserror::Error;

use super::cipher::{Key, OpenError};
use crate::gateway::Gateway;
use crate::meta::MetaError;

/// Why a key cannot be had.
#[derive(Debug, Error)]
pub enum KeyRingError {
    /// Nobody made it.
    #[error("the key '{0}' does not exist")]
    Unknown(String),
    /// It does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Metadata failed.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// The name of a key: what clients send may be an ARN that ends in it.
fn name(id: &str) -> &str {
    let resource = id.strip_prefix("arn:aws:kms:").and_then(|arn| arn.splitn(3, ':').nth(2));
    let resource = resource.unwrap_or(id);
    resource.strip_prefix("key/").or(resource.strip_prefix("alias/")).unwrap_or(resource)
}

fn setting(name: &str) -> String {
    format!("kms/{name}")
}

fn context(name: &str) -> Vec<u8> {
    [b"key ring ".as_slice(), name.as_bytes()].concat()
}

/// The key of this id.
pub async fn key(gateway: &Gateway, id: &str) -> Result<Key, KeyRingError> {
    let name = name(id);
    let sealed = gateway.meta.setting(&setting(name)).await?;
    let sealed = sealed.and_then(|sealed| hex::decode(sealed).ok());
    let sealed = sealed.ok_or_else(|| KeyRingError::Unknown(id.to_owned()))?;
    Ok(gateway.master.unwrap(&context(name), &sealed)?)
}

/// Makes those of `names` that are not there yet.
pub async fn make(gateway: &Gateway, names: &[String]) -> Result<(), MetaError> {
    for id in names {
        let name = name(id);
        if gateway.meta.setting(&setting(name)).await?.is_none() {
            let sealed = gateway.master.wrap(&context(name), &Key::generate());
            gateway.meta.keep_setting(setting(name), hex::encode(sealed)).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_key_is_named_by_its_id_or_arn() {
        assert_eq!(name("aws/s3"), "aws/s3");
        assert_eq!(name("alias/mine"), "mine");
        assert_eq!(name("arn:aws:kms:us-east-1:123:key/mine"), "mine");
        assert_eq!(name("arn:aws:kms:us-east-1:123:alias/aws/s3"), "aws/s3");
    }
}
