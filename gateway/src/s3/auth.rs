//! Secrets for `s3s`, which checks signatures.

use std::sync::Arc;

use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3ErrorCode, S3Result};

use crate::error::refuse;
use crate::gateway::Gateway;

/// Looks secrets up in the gateway's access keys.
pub(super) struct Auth {
    pub(super) gateway: Arc<Gateway>,
}

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let Ok(found) = self.gateway.credentials.resolve(access_key, None) else {
            return Err(refuse(
                S3ErrorCode::InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records.",
            ));
        };
        Ok(SecretKey::from(found.secret.as_str()))
    }
}
