//! Refuses what nobody signed, before a body is read. What an account may do is
//! decided by the operation, which knows the bucket.

use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3ErrorCode, S3Result};

use crate::error::refuse;

/// Only signed requests pass.
pub(super) struct Access;

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        match context.credentials() {
            Some(_) => Ok(()),
            None => Err(refuse(S3ErrorCode::AccessDenied, "Access Denied")),
        }
    }
}
