//! Multipart uploads: parts are contents of their own; completing one makes a
//! version that shares them, in one transaction.

use protocol::AccountId;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::condemned::condemn_unreferenced;
use super::contents::{check_live, make_live};
use super::model::{
    Attributes, ContentId, Millis, Part, Precondition, Upload, UploadedPart, Version, Written,
};
use super::versions::{NewVersion, Placed, commit, json, part, to_json};
use super::{Meta, MetaError, bytes, to_sql};
use crate::events::Draft;

/// Uploads that may be open in one bucket.
const OPEN_MAX: i64 = 1000;

/// A part that was written and waits for its commit.
#[derive(Clone, Debug)]
pub struct PartCommit {
    /// The upload.
    pub upload: String,
    /// What was written, or nothing if the part shares what another has.
    pub placed: Placed,
    /// Now.
    pub now_ms: Millis,
    /// How long a part that it replaces is kept.
    pub grace_ms: Millis,
}

/// From an upload, its chosen parts and what was declared: the entity tag and
/// attributes of the whole.
pub type Assemble = fn(&Upload, &[Part], &str) -> Result<(String, Attributes), MetaError>;

/// A request to complete an upload.
#[derive(Clone, Debug)]
pub struct CompleteRequest {
    /// The upload.
    pub upload: String,
    /// Part numbers and entity tags, in the order asked for.
    pub parts: Vec<(i32, String)>,
    /// Computes size, entity tag and attributes of the whole, or says what is
    /// wrong. Runs inside the transaction, so it must be pure.
    pub assemble: Assemble,
    /// What was declared about the whole; handed to `assemble`.
    pub declared: String,
    /// The least size of a part that is not the last.
    pub part_min: u64,
    /// What must hold.
    pub precondition: Precondition,
    /// What is told of it.
    pub events: Vec<Draft>,
    /// Random: the end of the version's id.
    pub entropy: u64,
    /// Now.
    pub now_ms: Millis,
    /// How long what is not used is kept.
    pub grace_ms: Millis,
}

/// The answer to a completed upload.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Completed {
    /// Entity tag of the whole.
    pub etag: String,
    /// Its S3 version id.
    pub version_id: String,
    /// Its attributes.
    pub attributes: Attributes,
}

/// Reads `id, bucket, key, account, created_ms, attributes, lock` from column 0
/// on.
pub(super) fn upload(row: &SqliteRow) -> Result<Upload, MetaError> {
    let account: &[u8] = row.get(3);
    Ok(Upload {
        id: row.get(0),
        bucket: row.get(1),
        key: row.get(2),
        account: if account.is_empty() {
            None
        } else {
            Some(AccountId(bytes(account, "an account id")?))
        },
        created_ms: row.get(4),
        attributes: json(row.get(5))?,
        promised: json(row.get(6))?,
    })
}

impl Meta {
    /// Begins an upload.
    pub async fn begin_upload(&self, new: Upload) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let open =
                        sqlx::query("SELECT count(*) FROM uploads WHERE bucket = ? AND state = 0")
                            .bind(new.bucket)
                            .fetch_one(&mut *tx)
                            .await?;
                    if open.get::<i64, _>(0) >= OPEN_MAX {
                        return Err(MetaError::TooManyUploads);
                    }
                    // The bucket may have gone since it was looked up.
                    let done = sqlx::query(
                        "INSERT INTO uploads (id, bucket, key, account, state, created_ms,
                                              attributes, ended_ms, request, result, lock)
                         SELECT ?, id, ?, ?, 0, ?, ?, 0, '', '', ? FROM buckets WHERE id = ?",
                    )
                    .bind(new.id)
                    .bind(new.key)
                    .bind(new.account.map_or_else(Vec::new, |account| account.0.to_vec()))
                    .bind(new.created_ms)
                    .bind(to_json(&new.attributes))
                    .bind(to_json(&new.promised))
                    .bind(new.bucket)
                    .execute(tx)
                    .await?;
                    if done.rows_affected() == 1 { Ok(()) } else { Err(MetaError::NoSuchBucket) }
                })
            })
            .await
    }

    /// An open upload of this key.
    pub async fn upload(&self, bucket: i64, key: &[u8], id: &str) -> Result<Upload, MetaError> {
        let row = sqlx::query(
            "SELECT id, bucket, key, account, created_ms, attributes, lock FROM uploads
             WHERE id = ? AND bucket = ? AND key = ? AND state = 0",
        )
        .bind(id)
        .bind(bucket)
        .bind(key)
        .fetch_optional(&self.readers)
        .await?;
        upload(&row.ok_or(MetaError::NoSuchUpload)?)
    }

    /// Makes a part visible in its upload, in place of an earlier one.
    pub async fn commit_part(&self, commit: PartCommit) -> Result<(), MetaError> {
        self.writer.run(move |tx| Box::pin(async move { commit_part(tx, &commit).await })).await
    }

    /// Parts behind number `after`, at most `limit`.
    pub async fn uploaded_parts(
        &self,
        upload: &str,
        after: i32,
        limit: u32,
    ) -> Result<Vec<UploadedPart>, MetaError> {
        let rows = sqlx::query(
            "SELECT number, content, size, wrapped_key, etag, checksum, modified_ms
             FROM upload_parts WHERE upload = ? AND number > ? ORDER BY number LIMIT ?",
        )
        .bind(upload)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| Ok(UploadedPart { part: part(row)?, modified_ms: row.get(6) }))
            .collect()
    }

    /// Completes an upload. Asked again with the same list, it answers the same.
    pub async fn complete_upload(
        &self,
        bucket: i64,
        key: Vec<u8>,
        request: CompleteRequest,
    ) -> Result<Completed, MetaError> {
        self.writer
            .run(move |tx| Box::pin(async move { complete(tx, bucket, &key, &request).await }))
            .await
    }

    /// Forgets uploads that ended before `before`; says how many.
    pub async fn forget_uploads(&self, before: Millis) -> Result<u64, MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let done = sqlx::query("DELETE FROM uploads WHERE state <> 0 AND ended_ms < ?")
                        .bind(before)
                        .execute(tx)
                        .await?;
                    Ok(done.rows_affected())
                })
            })
            .await
    }

    /// Aborts an open upload and condemns its parts.
    pub async fn abort_upload(
        &self,
        bucket: i64,
        key: Vec<u8>,
        id: String,
        not_before: Millis,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE uploads SET state = 2, ended_ms = ?
                         WHERE id = ? AND bucket = ? AND key = ? AND state = 0",
                    )
                    .bind(not_before)
                    .bind(&id)
                    .bind(bucket)
                    .bind(key)
                    .execute(&mut *tx)
                    .await?;
                    if done.rows_affected() != 1 {
                        return Err(MetaError::NoSuchUpload);
                    }
                    drop_parts(tx, &id, not_before).await
                })
            })
            .await
    }
}

async fn commit_part(tx: &mut SqliteConnection, commit: &PartCommit) -> Result<(), MetaError> {
    let open = sqlx::query("SELECT 1 FROM uploads WHERE id = ? AND state = 0")
        .bind(&commit.upload)
        .fetch_optional(&mut *tx)
        .await?;
    open.ok_or(MetaError::NoSuchUpload)?;
    let part = match &commit.placed {
        Placed::Written(written, part) => {
            let written: &Written = written;
            make_live(tx, written, commit.now_ms).await?;
            part
        }
        Placed::Shared(part) => {
            check_live(tx, part.content).await?;
            part
        }
    };
    let replaced =
        sqlx::query("DELETE FROM upload_parts WHERE upload = ? AND number = ? RETURNING content")
            .bind(&commit.upload)
            .bind(part.number)
            .fetch_optional(&mut *tx)
            .await?;
    sqlx::query(
        "INSERT INTO upload_parts (upload, number, content, size, wrapped_key, etag, checksum,
                                   modified_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&commit.upload)
    .bind(part.number)
    .bind(part.content.0.to_vec())
    .bind(to_sql(part.size)?)
    .bind(&part.wrapped_key)
    .bind(&part.etag)
    .bind(to_json(&part.checksum))
    .bind(commit.now_ms)
    .execute(&mut *tx)
    .await?;
    if let Some(row) = replaced {
        let content = ContentId(bytes(row.get(0), "a content id")?);
        condemn_unreferenced(tx, content, commit.now_ms + commit.grace_ms).await?;
    }
    Ok(())
}

async fn complete(
    tx: &mut SqliteConnection,
    bucket: i64,
    key: &[u8],
    request: &CompleteRequest,
) -> Result<Completed, MetaError> {
    let asked = blake3::hash(to_json(&request.parts).as_bytes()).to_hex().to_string();
    let row = sqlx::query(
        "SELECT id, bucket, key, account, created_ms, attributes, lock, state, request, result
         FROM uploads WHERE id = ? AND bucket = ? AND key = ?",
    )
    .bind(&request.upload)
    .bind(bucket)
    .bind(key)
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(MetaError::NoSuchUpload)?;
    match row.get::<i64, _>(7) {
        0 => {}
        1 if row.get::<&str, _>(8) == asked => return json(row.get(9)),
        _ => return Err(MetaError::NoSuchUpload),
    }
    let found = upload(&row)?;
    let parts = chosen_parts(tx, request).await?;
    let (etag, attributes) = (request.assemble)(&found, &parts, &request.declared)?;
    let version: Version = commit(
        tx,
        &NewVersion {
            bucket,
            key: key.to_vec(),
            size: parts.iter().map(|part| part.size).sum(),
            etag,
            attributes,
            owner: found.promised.owner,
            lock: found.promised.lock,
            entropy: request.entropy,
            parts: parts.into_iter().map(Placed::Shared).collect(),
            precondition: request.precondition.clone(),
            events: request.events.clone(),
            now_ms: request.now_ms,
            grace_ms: request.grace_ms,
        },
    )
    .await?;
    let completed = Completed {
        etag: version.etag,
        version_id: version.version_id,
        attributes: version.attributes,
    };
    sqlx::query("UPDATE uploads SET state = 1, ended_ms = ?, request = ?, result = ? WHERE id = ?")
        .bind(request.now_ms)
        .bind(asked)
        .bind(to_json(&completed))
        .bind(&request.upload)
        .execute(&mut *tx)
        .await?;
    // The parts that were chosen are referred to by the version now.
    drop_parts(tx, &request.upload, request.now_ms + request.grace_ms).await?;
    Ok(completed)
}

/// The uploaded parts that the request names, checked against it.
async fn chosen_parts(
    tx: &mut SqliteConnection,
    request: &CompleteRequest,
) -> Result<Vec<Part>, MetaError> {
    if !request.parts.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err(MetaError::InvalidPartOrder);
    }
    let rows = sqlx::query(
        "SELECT number, content, size, wrapped_key, etag, checksum
         FROM upload_parts WHERE upload = ? ORDER BY number",
    )
    .bind(&request.upload)
    .fetch_all(tx)
    .await?;
    let uploaded = rows.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let mut chosen = Vec::with_capacity(request.parts.len());
    for (number, etag) in &request.parts {
        let at = uploaded.binary_search_by_key(number, |part| part.number);
        let part = at.ok().map(|at| &uploaded[at]).filter(|part| part.etag == *etag);
        chosen.push(part.ok_or(MetaError::InvalidPart(*number))?.clone());
    }
    let all_but_last = chosen.len().saturating_sub(1);
    for part in &chosen[..all_but_last] {
        if part.size < request.part_min {
            let (number, size, min) = (part.number, part.size, request.part_min);
            return Err(MetaError::PartTooSmall { number, size, min });
        }
    }
    Ok(chosen)
}

pub(super) async fn drop_parts(
    tx: &mut SqliteConnection,
    upload: &str,
    not_before: Millis,
) -> Result<(), MetaError> {
    let rows = sqlx::query("DELETE FROM upload_parts WHERE upload = ? RETURNING content")
        .bind(upload)
        .fetch_all(&mut *tx)
        .await?;
    for row in rows {
        let content = ContentId(bytes(row.get(0), "a content id")?);
        condemn_unreferenced(tx, content, not_before).await?;
    }
    Ok(())
}
