//! Renaming an object: its row gets another key, and nothing else moves.

use super::model::{Millis, Precondition, Versioning};
use super::versions::{NULL, Now, check, drop_version, find, next_seq, versioning_of};
use super::{Meta, MetaError};

/// A rename within one bucket.
#[derive(Clone, Debug)]
pub struct RenameRequest {
    /// The bucket.
    pub bucket: i64,
    /// The key it has.
    pub from: Vec<u8>,
    /// The key it gets.
    pub to: Vec<u8>,
    /// What must hold of the object that is renamed.
    pub source: Precondition,
    /// What must hold of what is there already.
    pub destination: Precondition,
    /// Now.
    pub now_ms: Millis,
    /// How long what it replaces is kept for readers under way.
    pub grace_ms: Millis,
}

impl Meta {
    /// Renames the object of a bucket without versions; what has the new key is
    /// replaced.
    pub async fn rename(&self, request: RenameRequest) -> Result<(), MetaError> {
        self.writer.run(move |tx| Box::pin(async move { rename(tx, &request).await })).await
    }
}

async fn rename(tx: &mut sqlx::SqliteConnection, request: &RenameRequest) -> Result<(), MetaError> {
    let RenameRequest { bucket, from, to, now_ms, grace_ms, .. } = request;
    if versioning_of(tx, *bucket).await? != Versioning::Off {
        return Err(MetaError::Refused(
            s3s::S3ErrorCode::InvalidRequest,
            "objects of a bucket with versions cannot be renamed",
        ));
    }
    let source = find(tx, *bucket, from, None).await?.ok_or(MetaError::NoSuchKey)?;
    check(&request.source, Some(&source))?;
    let replaced = find(tx, *bucket, to, None).await?;
    check(&request.destination, replaced.as_ref())?;
    if from == to {
        return Ok(());
    }
    let seq = next_seq(tx, *bucket, to).await?;
    if let Some(replaced) = replaced {
        let now = Now { now_ms: *now_ms, grace_ms: *grace_ms };
        drop_version(tx, &replaced, now, false).await?;
    }
    sqlx::query("UPDATE versions SET key = ?, seq = ?, version_id = ? WHERE id = ?")
        .bind(to)
        .bind(seq)
        .bind(NULL)
        .bind(source.id)
        .execute(tx)
        .await?;
    Ok(())
}
