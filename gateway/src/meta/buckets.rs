//! Buckets.

use protocol::AccountId;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::config::{BucketConfig, versioning_from_sql, versioning_to_sql};
use super::model::{Bucket, Millis, Versioning};
use super::uploads::drop_parts;
use super::versions::to_json;
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
    /// What it is configured as from the start. With object lock it has
    /// versions, too.
    pub config: BucketConfig,
    /// Now.
    pub now_ms: Millis,
}

/// What is in a bucket.
#[derive(Clone, Debug)]
pub struct BucketUsage {
    /// The bucket.
    pub bucket: Bucket,
    /// Latest versions.
    pub objects: u64,
    /// Their plain bytes.
    pub bytes: u64,
}

/// What `bucket` reads, from column 0 on.
const COLUMNS: &str = "id, name, account, wrapped_key, created_ms, versioning, config, rev";

impl Meta {
    fn bucket_row(&self, row: &SqliteRow) -> Result<Bucket, MetaError> {
        let id = row.get(0);
        Ok(Bucket {
            id,
            name: row.get(1),
            account: AccountId(bytes(row.get(2), "an account id")?),
            wrapped_key: row.get(3),
            created_ms: row.get(4),
            versioning: versioning_from_sql(row.get(5))?,
            config: self.configs.get(id, row.get(7), row.get(6))?,
        })
    }

    /// Makes a bucket.
    pub async fn create_bucket(&self, new: NewBucket) -> Result<(), MetaError> {
        let locked = new.config.object_lock.is_some();
        let versioning = if locked { Versioning::Enabled } else { Versioning::Off };
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
                        "INSERT INTO buckets (name, account, wrapped_key, created_ms, versioning,
                                              config)
                         VALUES (?, ?, ?, ?, ?, ?)",
                    )
                    .bind(new.name)
                    .bind(new.account.0.to_vec())
                    .bind(new.wrapped_key)
                    .bind(new.now_ms)
                    .bind(versioning_to_sql(versioning))
                    .bind(to_json(&new.config))
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// The bucket of this name.
    pub async fn bucket(&self, name: &str) -> Result<Bucket, MetaError> {
        let row =
            sqlx::query(AssertSqlSafe(format!("SELECT {COLUMNS} FROM buckets WHERE name = ?")))
                .bind(name)
                .fetch_optional(&self.readers)
                .await?;
        self.bucket_row(&row.ok_or(MetaError::NoSuchBucket)?)
    }

    /// All buckets with ids behind `after`, at most `limit`.
    pub async fn buckets(&self, after: i64, limit: u32) -> Result<Vec<Bucket>, MetaError> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM buckets WHERE id > ? ORDER BY id LIMIT ?"
        )))
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| self.bucket_row(row)).collect()
    }

    /// An account's buckets from `after` (exclusive) on, by name.
    pub async fn buckets_of(
        &self,
        account: AccountId,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Bucket>, MetaError> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM buckets
             WHERE account = ? AND name > ? AND substr(name, 1, length(?)) = ?
             ORDER BY name LIMIT ?"
        )))
        .bind(account.0.to_vec())
        .bind(after)
        .bind(prefix)
        .bind(prefix)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| self.bucket_row(row)).collect()
    }

    /// All buckets and what is in them.
    pub async fn bucket_usage(&self) -> Result<Vec<BucketUsage>, MetaError> {
        let rows = sqlx::query(
            "SELECT b.id, b.name, b.account, b.wrapped_key, b.created_ms, b.versioning, b.config,
                    b.rev, count(v.id), coalesce(sum(v.size), 0)
             FROM buckets b
             LEFT JOIN versions v ON v.bucket = b.id AND v.latest = 1 AND v.delete_marker = 0
             GROUP BY b.id ORDER BY b.name",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(BucketUsage {
                    bucket: self.bucket_row(row)?,
                    objects: from_sql(row.get(8))?,
                    bytes: from_sql(row.get(9))?,
                })
            })
            .collect()
    }

    /// Removes a bucket without versions. Uploads that are open are aborted.
    pub async fn delete_bucket(&self, id: i64, not_before: Millis) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let holds =
                        sqlx::query("SELECT EXISTS (SELECT 1 FROM versions WHERE bucket = ?)")
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
                    let open = sqlx::query("SELECT id FROM uploads WHERE bucket = ? AND state = 0")
                        .bind(id)
                        .fetch_all(&mut *tx)
                        .await?;
                    for upload in open {
                        drop_parts(tx, upload.get(0), not_before).await?;
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
