//! Versions of objects: the commit that makes one visible, and what reads and
//! deletes them.
//!
//! Everything that decides a write happens in one transaction, in commit
//! order: the intent is still open, the preconditions hold, the version gets
//! its sequence number, the one it replaces is let go.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::condemned::condemn_unreferenced;
use super::contents::{check_live, make_live};
use super::model::{Attributes, Checksum, ContentId, Millis, Part, Precondition, Version, Written};
use super::{Meta, MetaError, bytes, from_sql, to_sql};

/// A part of a new version, and how it comes to be there.
#[derive(Clone, Debug)]
pub enum Placed {
    /// Written for this version: its content goes live in the same transaction.
    Written(Box<Written>, Part),
    /// Shared with a version or part that has it: its content must be live.
    Shared(Part),
}

/// A version to be committed.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The bucket.
    pub bucket: i64,
    /// The key.
    pub key: Vec<u8>,
    /// Plain bytes.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// Headers, user metadata, checksum.
    pub attributes: Attributes,
    /// Its parts, in order.
    pub parts: Vec<Placed>,
    /// What must hold.
    pub precondition: Precondition,
    /// Now.
    pub now_ms: Millis,
    /// How long what it replaces is kept, for readers under way.
    pub grace_ms: Millis,
}

/// Reads `id, version_id, delete_marker, size, etag, modified_ms, attributes`
/// from column `at` on.
pub(super) fn version(row: &SqliteRow, at: usize) -> Result<Version, MetaError> {
    Ok(Version {
        id: row.get(at),
        version_id: row.get(at + 1),
        delete_marker: row.get::<i64, _>(at + 2) != 0,
        size: from_sql(row.get(at + 3))?,
        etag: row.get(at + 4),
        modified_ms: row.get(at + 5),
        attributes: json(row.get(at + 6))?,
    })
}

pub(super) fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, MetaError> {
    serde_json::from_str(text).map_err(|_| MetaError::Corrupt("attributes"))
}

pub(super) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("attributes are strings and maps of strings")
}

/// Reads `number, content, size, wrapped_key, etag, checksum` from column 0 on.
pub(super) fn part(row: &SqliteRow) -> Result<Part, MetaError> {
    Ok(Part {
        number: row.get(0),
        content: ContentId(bytes(row.get(1), "a content id")?),
        size: from_sql(row.get(2))?,
        wrapped_key: row.get(3),
        etag: row.get(4),
        checksum: json::<Option<Checksum>>(row.get(5))?,
    })
}

impl Meta {
    /// Makes a version visible, all at once or not at all. Returns it.
    pub async fn commit(&self, new: NewVersion) -> Result<Version, MetaError> {
        self.writer.run(move |tx| Box::pin(async move { commit(tx, &new).await })).await
    }

    /// The latest version of a key, delete markers included.
    pub async fn latest(&self, bucket: i64, key: &[u8]) -> Result<Option<Version>, MetaError> {
        let row = sqlx::query(
            "SELECT id, version_id, delete_marker, size, etag, modified_ms, attributes
             FROM versions WHERE bucket = ? AND key = ? AND latest = 1",
        )
        .bind(bucket)
        .bind(key)
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| version(&row, 0)).transpose()
    }

    /// The parts of a version, in order.
    pub async fn parts(&self, version: i64) -> Result<Vec<Part>, MetaError> {
        let rows = sqlx::query(
            "SELECT number, content, size, wrapped_key, etag, checksum
             FROM version_parts WHERE version = ? ORDER BY number",
        )
        .bind(version)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(part).collect()
    }

    /// Deletes the object of an unversioned bucket. Deleting what is not there
    /// is no error; `if_match` must hold for what is.
    pub async fn delete_object(
        &self,
        bucket: i64,
        key: Vec<u8>,
        if_match: Option<String>,
        not_before: Millis,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let Some(found) = latest_in(tx, bucket, &key).await? else {
                        return match if_match {
                            Some(_) => Err(MetaError::NoSuchKey),
                            None => Ok(()),
                        };
                    };
                    if if_match.is_some_and(|tag| tag != "*" && tag != found.etag) {
                        return Err(MetaError::PreconditionFailed);
                    }
                    drop_version(tx, found.id, not_before).await
                })
            })
            .await
    }
}

async fn latest_in(
    tx: &mut SqliteConnection,
    bucket: i64,
    key: &[u8],
) -> Result<Option<Version>, MetaError> {
    let row = sqlx::query(
        "SELECT id, version_id, delete_marker, size, etag, modified_ms, attributes
         FROM versions WHERE bucket = ? AND key = ? AND latest = 1",
    )
    .bind(bucket)
    .bind(key)
    .fetch_optional(tx)
    .await?;
    row.map(|row| version(&row, 0)).transpose()
}

/// Whether a write may happen, given what is there now. Pure.
pub(super) fn check(
    precondition: &Precondition,
    present: Option<&Version>,
) -> Result<(), MetaError> {
    let present = present.filter(|version| !version.delete_marker);
    if let Some(tag) = &precondition.matches {
        match present {
            None => return Err(MetaError::NoSuchKey),
            Some(version) if tag != "*" && *tag != version.etag => {
                return Err(MetaError::PreconditionFailed);
            }
            Some(_) => {}
        }
    }
    if precondition.absent && present.is_some() {
        return Err(MetaError::PreconditionFailed);
    }
    if let (Some(tag), Some(version)) = (&precondition.other_than, present)
        && *tag == version.etag
    {
        return Err(MetaError::PreconditionFailed);
    }
    Ok(())
}

pub(super) async fn commit(
    tx: &mut SqliteConnection,
    new: &NewVersion,
) -> Result<Version, MetaError> {
    let bucket = sqlx::query("SELECT 1 FROM buckets WHERE id = ?")
        .bind(new.bucket)
        .fetch_optional(&mut *tx)
        .await?;
    bucket.ok_or(MetaError::NoSuchBucket)?;
    let sizes = new.parts.iter().map(|(Placed::Written(_, part) | Placed::Shared(part))| part.size);
    if new.parts.is_empty() || sizes.sum::<u64>() != new.size {
        // A source that was replaced while it was copied has no parts left.
        return Err(MetaError::SourceGone);
    }
    for placed in &new.parts {
        match placed {
            Placed::Written(written, _) => make_live(tx, written, new.now_ms).await?,
            Placed::Shared(part) => check_live(tx, part.content).await?,
        }
    }
    let present = latest_in(tx, new.bucket, &new.key).await?;
    check(&new.precondition, present.as_ref())?;

    let seq = next_seq(tx, new.bucket, &new.key).await?;
    // LastModified never goes back, whatever the clock does.
    let modified_ms = present.as_ref().map_or(new.now_ms, |old| old.modified_ms.max(new.now_ms));
    // The parts are referred to before the old version lets go of its own: a
    // copy of an object onto itself shares them.
    if let Some(old) = &present {
        sqlx::query("UPDATE versions SET latest = 0, version_id = ? WHERE id = ?")
            .bind(format!("replaced-{seq}"))
            .bind(old.id)
            .execute(&mut *tx)
            .await?;
    }
    let id = insert_version(tx, new, seq, modified_ms).await?;
    if let Some(old) = &present {
        drop_version(tx, old.id, new.now_ms + new.grace_ms).await?;
    }
    Ok(Version {
        id,
        version_id: "null".to_owned(),
        delete_marker: false,
        size: new.size,
        etag: new.etag.clone(),
        modified_ms,
        attributes: new.attributes.clone(),
    })
}

async fn next_seq(tx: &mut SqliteConnection, bucket: i64, key: &[u8]) -> Result<i64, MetaError> {
    let row = sqlx::query(
        "INSERT INTO keys (bucket, key, head_seq) VALUES (?, ?, 1)
         ON CONFLICT (bucket, key) DO UPDATE SET head_seq = head_seq + 1
         RETURNING head_seq",
    )
    .bind(bucket)
    .bind(key)
    .fetch_one(tx)
    .await?;
    Ok(row.get(0))
}

async fn insert_version(
    tx: &mut SqliteConnection,
    new: &NewVersion,
    seq: i64,
    modified_ms: Millis,
) -> Result<i64, MetaError> {
    let row = sqlx::query(
        "INSERT INTO versions (bucket, key, seq, version_id, latest, delete_marker, size, etag,
                               modified_ms, attributes)
         VALUES (?, ?, ?, 'null', 1, 0, ?, ?, ?, ?) RETURNING id",
    )
    .bind(new.bucket)
    .bind(&new.key)
    .bind(seq)
    .bind(to_sql(new.size)?)
    .bind(&new.etag)
    .bind(modified_ms)
    .bind(to_json(&new.attributes))
    .fetch_one(&mut *tx)
    .await?;
    let id: i64 = row.get(0);
    for placed in &new.parts {
        let (Placed::Written(_, part) | Placed::Shared(part)) = placed;
        sqlx::query(
            "INSERT INTO version_parts (version, number, content, size, wrapped_key, etag, checksum)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(part.number)
        .bind(part.content.0.to_vec())
        .bind(to_sql(part.size)?)
        .bind(&part.wrapped_key)
        .bind(&part.etag)
        .bind(to_json(&part.checksum))
        .execute(&mut *tx)
        .await?;
    }
    Ok(id)
}

/// Removes a version and condemns what nothing else refers to.
async fn drop_version(
    tx: &mut SqliteConnection,
    id: i64,
    not_before: Millis,
) -> Result<(), MetaError> {
    let rows = sqlx::query("DELETE FROM version_parts WHERE version = ? RETURNING content")
        .bind(id)
        .fetch_all(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM versions WHERE id = ?").bind(id).execute(&mut *tx).await?;
    for row in rows {
        let content = ContentId(bytes(row.get(0), "a content id")?);
        condemn_unreferenced(tx, content, not_before).await?;
    }
    Ok(())
}
