//! Buckets.

use protocol::AccountId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::model::{Bucket, Millis};
use super::{Meta, MetaError, bytes, from_sql};

/// A bucket to be made.
#[derive(Clone, Debug)]
pub struct NewBucket {
    /// Its S3 name.
    pub name: String,
    /// Its owner.
    pub account: AccountId,
    /// The bucket key under the master key.
    pub wrapped_key: Vec<u8>,
    /// Now.
    pub now_ms: Millis,
}

/// What is in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketUsage {
    /// The bucket.
    pub bucket: Bucket,
    /// Latest versions.
    pub objects: u64,
    /// Their plain bytes.
    pub bytes: u64,
}

fn bucket(row: &SqliteRow) -> Result<Bucket, MetaError> {
    Ok(Bucket {
        id: row.get(0),
        name: row.get(1),
        account: AccountId(bytes(row.get(2), "an account id")?),
        wrapped_key: row.get(3),
        created_ms: row.get(4),
    })
}

impl Meta {
    /// Makes a bucket.
    pub async fn create_bucket(&self, new: NewBucket) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let owner = sqlx::query("SELECT account FROM buckets WHERE name = ?")
                        .bind(&new.name)
                        .fetch_optional(&mut *tx)
                        .await?;
                    if let Some(row) = owner {
                        let own = row.get::<&[u8], _>(0) == new.account.0;
                        return Err(MetaError::BucketExists { own });
                    }
                    sqlx::query(
                        "INSERT INTO buckets (name, account, wrapped_key, created_ms)
                         VALUES (?, ?, ?, ?)",
                    )
                    .bind(new.name)
                    .bind(new.account.0.to_vec())
                    .bind(new.wrapped_key)
                    .bind(new.now_ms)
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// The bucket of this name.
    pub async fn bucket(&self, name: &str) -> Result<Bucket, MetaError> {
        let row = sqlx::query(
            "SELECT id, name, account, wrapped_key, created_ms FROM buckets WHERE name = ?",
        )
        .bind(name)
        .fetch_optional(&self.readers)
        .await?;
        bucket(&row.ok_or(MetaError::NoSuchBucket)?)
    }

    /// An account's buckets from `after` (exclusive) on, by name.
    pub async fn buckets_of(
        &self,
        account: AccountId,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Bucket>, MetaError> {
        let rows = sqlx::query(
            "SELECT id, name, account, wrapped_key, created_ms FROM buckets
             WHERE account = ? AND name > ? AND substr(name, 1, length(?)) = ?
             ORDER BY name LIMIT ?",
        )
        .bind(account.0.to_vec())
        .bind(after)
        .bind(prefix)
        .bind(prefix)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(bucket).collect()
    }

    /// All buckets and what is in them.
    pub async fn bucket_usage(&self) -> Result<Vec<BucketUsage>, MetaError> {
        let rows = sqlx::query(
            "SELECT b.id, b.name, b.account, b.wrapped_key, b.created_ms,
                    count(v.id), coalesce(sum(v.size), 0)
             FROM buckets b
             LEFT JOIN versions v ON v.bucket = b.id AND v.latest = 1 AND v.delete_marker = 0
             GROUP BY b.id ORDER BY b.name",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(BucketUsage {
                    bucket: bucket(row)?,
                    objects: from_sql(row.get(5))?,
                    bytes: from_sql(row.get(6))?,
                })
            })
            .collect()
    }

    /// Removes an empty bucket: no versions and no open uploads.
    pub async fn delete_bucket(&self, id: i64) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let holds = sqlx::query(
                        "SELECT EXISTS (SELECT 1 FROM versions WHERE bucket = ?)
                             OR EXISTS (SELECT 1 FROM uploads WHERE bucket = ? AND state = 0)",
                    )
                    .bind(id)
                    .bind(id)
                    .fetch_one(&mut *tx)
                    .await?;
                    if holds.get::<i64, _>(0) != 0 {
                        return Err(MetaError::BucketNotEmpty);
                    }
                    let done = sqlx::query("DELETE FROM buckets WHERE id = ?")
                        .bind(id)
                        .execute(&mut *tx)
                        .await?;
                    if done.rows_affected() == 0 {
                        return Err(MetaError::NoSuchBucket);
                    }
                    // No bucket has this id again, so nothing refers to these.
                    for sql in [
                        "DELETE FROM keys WHERE bucket = ?",
                        "DELETE FROM uploads WHERE bucket = ?",
                    ] {
                        sqlx::query(sql).bind(id).execute(&mut *tx).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}
