//! Versions of objects: the commit that makes one visible, what reads them and
//! what changes their tags, ACL and lock.
//!
//! Everything that decides a write happens in one transaction, in commit
//! order: the intent is still open, the preconditions hold, the version gets
//! its sequence number, the one it replaces is let go. The number is the
//! beginning of the version's S3 id, so ids sort in commit order.
//!
//! Not here: deletion (`deletion`).

use protocol::AccountId;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::condemned::condemn_unreferenced;
use super::config::versioning_from_sql;
use super::contents::{check_live, make_live};
use super::model::{
    Attributes, Checksum, ContentId, Lock, LockMode, Millis, Part, Precondition, Version,
    Versioning, Written,
};
use super::{Meta, MetaError, bytes, from_sql, outbox, to_sql};
use crate::events::{Draft, Happened};

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
    /// Headers, user metadata, checksum, tags, ACL.
    pub attributes: Attributes,
    /// Who writes it; `None` is anybody.
    pub owner: Option<AccountId>,
    /// What protects it.
    pub lock: Lock,
    /// Random: the end of its S3 version id, where the bucket has versions.
    pub entropy: u64,
    /// Its parts, in order.
    pub parts: Vec<Placed>,
    /// What must hold.
    pub precondition: Precondition,
    /// What is told of it.
    pub events: Vec<Draft>,
    /// Now.
    pub now_ms: Millis,
    /// How long what it replaces is kept, for readers under way.
    pub grace_ms: Millis,
}

/// What [`version`] reads.
pub(super) const COLUMNS: &str = "id, version_id, latest, delete_marker, size, etag, modified_ms, \
    attributes, owner, lock_mode, lock_until_ms, legal_hold";

/// Reads [`COLUMNS`] from column `at` on.
pub(super) fn version(row: &SqliteRow, at: usize) -> Result<Version, MetaError> {
    let owner: &[u8] = row.get(at + 8);
    let owner = if owner.is_empty() { None } else { Some(AccountId(bytes(owner, "an account")?)) };
    let retention = match row.get::<i64, _>(at + 9) {
        0 => None,
        1 => Some((LockMode::Governance, row.get(at + 10))),
        2 => Some((LockMode::Compliance, row.get(at + 10))),
        _ => return Err(MetaError::Corrupt("a lock mode")),
    };
    Ok(Version {
        id: row.get(at),
        version_id: row.get(at + 1),
        latest: row.get::<i64, _>(at + 2) != 0,
        delete_marker: row.get::<i64, _>(at + 3) != 0,
        size: from_sql(row.get(at + 4))?,
        etag: row.get(at + 5),
        modified_ms: row.get(at + 6),
        attributes: json(row.get(at + 7))?,
        owner,
        lock: Lock { retention, legal_hold: row.get::<i64, _>(at + 11) != 0 },
    })
}

/// Mode and date of a lock as SQL has them.
fn lock_to_sql(lock: &Lock) -> (i64, Millis) {
    match lock.retention {
        None => (0, 0),
        Some((LockMode::Governance, until)) => (1, until),
        Some((LockMode::Compliance, until)) => (2, until),
    }
}

/// The S3 id of a version: in hex, its number and something random.
pub(super) fn version_id(seq: i64, entropy: u64) -> String {
    format!("{seq:016x}{entropy:016x}")
}

/// The number in the S3 id of a version.
pub(super) fn seq_of(version_id: &str) -> Option<i64> {
    let digits = version_id.get(..16).filter(|_| version_id.len() == 32)?;
    i64::from_str_radix(digits, 16).ok()
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

    /// A version of a key: the one with this S3 id, or the latest. Delete markers
    /// included.
    pub async fn find_version(
        &self,
        bucket: i64,
        key: &[u8],
        version_id: Option<&str>,
    ) -> Result<Option<Version>, MetaError> {
        let mut connection = self.readers.acquire().await?;
        find(&mut connection, bucket, key, version_id).await
    }

    /// The version that consists of this content.
    pub async fn version_of(&self, content: ContentId) -> Result<Option<Version>, MetaError> {
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM versions
             WHERE id = (SELECT version FROM version_parts WHERE content = ? LIMIT 1)"
        )))
        .bind(content.0.to_vec())
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| version(&row, 0)).transpose()
    }

    /// Changes the tags, ACL, lock or attributes of a version.
    pub async fn change_version<F>(
        &self,
        bucket: i64,
        key: Vec<u8>,
        version_id: Option<String>,
        change: F,
    ) -> Result<Version, MetaError>
    where
        F: FnOnce(&mut Version) -> Result<(), MetaError> + Send + 'static,
    {
        self.change_version_and_tell((bucket, key, version_id), Vec::new(), 0, change).await
    }

    /// The same, and what is told of it.
    pub async fn change_version_and_tell<F>(
        &self,
        (bucket, key, version_id): (i64, Vec<u8>, Option<String>),
        events: Vec<Draft>,
        now_ms: Millis,
        change: F,
    ) -> Result<Version, MetaError>
    where
        F: FnOnce(&mut Version) -> Result<(), MetaError> + Send + 'static,
    {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let found = find(tx, bucket, &key, version_id.as_deref()).await?;
                    let mut found = found.ok_or(absent(version_id.as_deref()))?;
                    if found.delete_marker {
                        return Err(MetaError::DeleteMarker);
                    }
                    change(&mut found)?;
                    keep_changes(tx, &found).await?;
                    if !events.is_empty() {
                        let seq = next_seq(tx, bucket, &key).await?;
                        let happened = Happened {
                            at: now_ms,
                            seq,
                            version_id: (found.version_id != NULL)
                                .then(|| found.version_id.clone()),
                            object: Some((found.size, found.etag.clone())),
                        };
                        outbox::keep(tx, bucket, events.iter(), &happened).await?;
                    }
                    Ok(found)
                })
            })
            .await
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
}

/// What is said of a version that is not there.
fn absent(version_id: Option<&str>) -> MetaError {
    if version_id.is_some() { MetaError::NoSuchVersion } else { MetaError::NoSuchKey }
}

/// A version of a key: the one with this S3 id, or the latest.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    bucket: i64,
    key: &[u8],
    version_id: Option<&str>,
) -> Result<Option<Version>, MetaError> {
    let which = if version_id.is_some() { "version_id = ?" } else { "latest = 1" };
    let mut query = sqlx::query(AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM versions WHERE bucket = ? AND key = ? AND {which}"
    )))
    .bind(bucket)
    .bind(key);
    if let Some(version_id) = version_id {
        query = query.bind(version_id);
    }
    let row = query.fetch_optional(connection).await?;
    row.map(|row| version(&row, 0)).transpose()
}

async fn keep_changes(tx: &mut SqliteConnection, changed: &Version) -> Result<(), MetaError> {
    let (mode, until) = lock_to_sql(&changed.lock);
    sqlx::query(
        "UPDATE versions SET attributes = ?, lock_mode = ?, lock_until_ms = ?, legal_hold = ?
         WHERE id = ?",
    )
    .bind(to_json(&changed.attributes))
    .bind(mode)
    .bind(until)
    .bind(i64::from(changed.lock.legal_hold))
    .bind(changed.id)
    .execute(tx)
    .await?;
    Ok(())
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
    let versioning = versioning_of(tx, new.bucket).await?;
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
    let present = find(tx, new.bucket, &new.key, None).await?;
    check(&new.precondition, present.as_ref())?;

    let seq = next_seq(tx, new.bucket, &new.key).await?;
    let version = Version {
        id: 0,
        version_id: match versioning {
            Versioning::Enabled => version_id(seq, new.entropy),
            Versioning::Off | Versioning::Suspended => NULL.to_owned(),
        },
        latest: true,
        delete_marker: false,
        size: new.size,
        etag: new.etag.clone(),
        // LastModified never goes back, whatever the clock does.
        modified_ms: present.as_ref().map_or(new.now_ms, |old| old.modified_ms.max(new.now_ms)),
        attributes: new.attributes.clone(),
        owner: new.owner,
        lock: new.lock,
    };
    // The parts are referred to before the old version lets go of its own: a
    // copy of an object onto itself shares them.
    let place = Place { bucket: new.bucket, key: &new.key, seq };
    let (id, replaced) = put_on_top(tx, place, &version).await?;
    insert_parts(tx, id, &new.parts).await?;
    if let Some(replaced) = replaced {
        let now = Now { now_ms: new.now_ms, grace_ms: new.grace_ms };
        drop_version(tx, &replaced, now, false).await?;
    }
    let happened = Happened {
        at: version.modified_ms,
        seq,
        version_id: (version.version_id != NULL).then(|| version.version_id.clone()),
        object: Some((version.size, version.etag.clone())),
    };
    outbox::keep(tx, new.bucket, new.events.iter(), &happened).await?;
    Ok(Version { id, ..version })
}

/// The id of the version that a bucket without versions has.
pub(super) const NULL: &str = "null";

/// Where a version is put.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub bucket: i64,
    pub key: &'a [u8],
    pub seq: i64,
}

/// Makes `version` the latest. Returns its row and the version of the same id
/// that it takes the place of, whose id is another from now on.
pub(super) async fn put_on_top(
    tx: &mut SqliteConnection,
    place: Place<'_>,
    version: &Version,
) -> Result<(i64, Option<Version>), MetaError> {
    let Place { bucket, key, seq } = place;
    sqlx::query("UPDATE versions SET latest = 0 WHERE bucket = ? AND key = ? AND latest = 1")
        .bind(bucket)
        .bind(key)
        .execute(&mut *tx)
        .await?;
    let replaced = match version.version_id.as_str() {
        NULL => find(tx, bucket, key, Some(NULL)).await?,
        _ => None,
    };
    if let Some(replaced) = &replaced {
        sqlx::query("UPDATE versions SET version_id = ? WHERE id = ?")
            .bind(format!("replaced-{seq}"))
            .bind(replaced.id)
            .execute(&mut *tx)
            .await?;
    }
    let (mode, until) = lock_to_sql(&version.lock);
    let row = sqlx::query(
        "INSERT INTO versions (bucket, key, seq, version_id, latest, delete_marker, size, etag,
                               modified_ms, attributes, owner, lock_mode, lock_until_ms, legal_hold)
         VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(bucket)
    .bind(key)
    .bind(seq)
    .bind(&version.version_id)
    .bind(i64::from(version.delete_marker))
    .bind(to_sql(version.size)?)
    .bind(&version.etag)
    .bind(version.modified_ms)
    .bind(to_json(&version.attributes))
    .bind(version.owner.map_or_else(Vec::new, |owner| owner.0.to_vec()))
    .bind(mode)
    .bind(until)
    .bind(i64::from(version.lock.legal_hold))
    .fetch_one(tx)
    .await?;
    Ok((row.get(0), replaced))
}

/// Whether the bucket, which must exist, has versions.
pub(super) async fn versioning_of(
    tx: &mut SqliteConnection,
    bucket: i64,
) -> Result<Versioning, MetaError> {
    let row = sqlx::query("SELECT versioning FROM buckets WHERE id = ?")
        .bind(bucket)
        .fetch_optional(tx)
        .await?
        .ok_or(MetaError::NoSuchBucket)?;
    versioning_from_sql(row.get(0))
}

pub(super) async fn next_seq(
    tx: &mut SqliteConnection,
    bucket: i64,
    key: &[u8],
) -> Result<i64, MetaError> {
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

async fn insert_parts(
    tx: &mut SqliteConnection,
    version: i64,
    parts: &[Placed],
) -> Result<(), MetaError> {
    for placed in parts {
        let (Placed::Written(_, part) | Placed::Shared(part)) = placed;
        sqlx::query(
            "INSERT INTO version_parts (version, number, content, size, wrapped_key, etag, checksum)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(version)
        .bind(part.number)
        .bind(part.content.0.to_vec())
        .bind(to_sql(part.size)?)
        .bind(&part.wrapped_key)
        .bind(&part.etag)
        .bind(to_json(&part.checksum))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// The time of a change, and how long what it removes is kept for readers.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub now_ms: Millis,
    pub grace_ms: Millis,
}

/// Removes a version and condemns what nothing else refers to. Every version
/// that goes, whoever wants it to, goes through here: its lock is checked.
pub(super) async fn drop_version(
    tx: &mut SqliteConnection,
    version: &Version,
    now: Now,
    bypass: bool,
) -> Result<(), MetaError> {
    if !version.delete_marker && !version.lock.allows_deletion(bypass, now.now_ms) {
        return Err(MetaError::Locked);
    }
    let rows = sqlx::query("DELETE FROM version_parts WHERE version = ? RETURNING content")
        .bind(version.id)
        .fetch_all(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM versions WHERE id = ?").bind(version.id).execute(&mut *tx).await?;
    for row in rows {
        let content = ContentId(bytes(row.get(0), "a content id")?);
        condemn_unreferenced(tx, content, now.now_ms + now.grace_ms).await?;
    }
    Ok(())
}
