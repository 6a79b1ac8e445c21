//! Metadata: what exists, where it is, and who owns it. The only place with
//! SQL.
//!
//! SQLite in WAL mode with `synchronous = FULL`: a transaction that committed
//! survives a power cut. One task writes (`writer`), a pool of connections
//! reads. Functions are named for the domain, one statement or one transaction
//! each.
//!
//! Not here: what bytes mean (`object/`), who may do what (`auth/`), and what
//! the ledger knows.

mod accounts;
mod audits;
mod buckets;
mod census;
mod condemned;
mod config;
mod contents;
mod deletion;
mod holdings;
mod list;
mod list_versions;
mod losses;
mod model;
mod nodes;
mod outbox;
mod places;
mod rename;
mod repairs;
mod uploads;
mod usage;
mod versions;
pub mod wal;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection};
use thiserror::Error;

pub use accounts::AccessKey;
pub use audits::{AuditCounts, Judged, NodeEvent, Waiting};
pub use buckets::{BucketUsage, NewBucket};
pub use census::{CountedSegment, CountedShard, Stray};
pub use condemned::Condemned;
pub use config::{BucketConfig, LogTarget};
pub use contents::{ContentState, Intent};
pub use deletion::{Decided, DeleteCondition, DeleteRequest, Deleted};
pub use holdings::Target;
pub use list::{ListPage, ListQuery, UploadsPage, UploadsQuery};
pub use list_versions::{VersionsPage, VersionsQuery};
pub use losses::Loss;
pub use model::*;
pub use nodes::{KnownNode, NodeState};
pub use outbox::{Due, Queue};
pub use places::{Leftover, Replaced};
pub use rename::RenameRequest;
pub use repairs::{KnownSegment, KnownShard};
pub use uploads::{Assemble, CompleteRequest, Completed, PartCommit};
pub use usage::StoredBytes;
pub use versions::{NewVersion, Placed};

use accounts::CanonicalIds;
use writer::Writer;

/// The on-disk format this program writes and reads.
const FORMAT: i64 = 5;

/// From each format to the next, the first of them from 1.
const MIGRATIONS: [&str; FORMAT as usize - 1] = [
    include_str!("format_2.sql"),
    include_str!("format_3.sql"),
    include_str!("format_4.sql"),
    include_str!("format_5.sql"),
];

/// Connections that read.
const READERS: u32 = 8;

/// Why metadata could not be read or changed.
#[derive(Debug, Error)]
pub enum MetaError {
    /// No such bucket.
    #[error("the bucket does not exist")]
    NoSuchBucket,
    /// The name is taken.
    #[error("the bucket exists already")]
    BucketExists {
        /// Whether the asker owns it.
        own: bool,
    },
    /// It holds objects or uploads.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// No such key.
    #[error("the key does not exist")]
    NoSuchKey,
    /// No such multipart upload (any more).
    #[error("the upload does not exist; it may have been completed or aborted")]
    NoSuchUpload,
    /// A part that was not uploaded, or with another entity tag.
    #[error("part {0} was not uploaded, or its entity tag does not match")]
    InvalidPart(i32),
    /// Parts out of order.
    #[error("the list of parts is not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last below the minimum.
    #[error("part {number} has {size} bytes, all but the last must have at least {min}")]
    PartTooSmall {
        /// The part.
        number: i32,
        /// Its size.
        size: u64,
        /// The least it may have.
        min: u64,
    },
    /// A checksum or size that was declared does not fit the parts.
    #[error("{0}")]
    BadComplete(String),
    /// A checksum that was declared for the whole is not that of the parts.
    #[error("{0}")]
    BadDigest(String),
    /// The condition of a conditional request does not hold.
    #[error("a precondition does not hold")]
    PreconditionFailed,
    /// A version that its lock protects.
    #[error("the version is protected by an object lock")]
    Locked,
    /// Object lock was there first.
    #[error(
        "an Object Lock configuration is present on this bucket, so the versioning state cannot be changed"
    )]
    LockNeedsVersioning,
    /// No such version of the key.
    #[error("the specified version does not exist")]
    NoSuchVersion,
    /// A version that says that the object is gone.
    #[error("the specified method is not allowed against this resource")]
    DeleteMarker,
    /// A change that the state of things does not allow.
    #[error("{1}")]
    Refused(s3s::S3ErrorCode, &'static str),
    /// The upload was aborted or took too long.
    #[error("the upload is no longer open")]
    NotOpen,
    /// A source of a copy went away.
    #[error("the source was deleted while it was copied")]
    SourceGone,
    /// Too few shards are still where they were stored.
    #[error("too few shards of a segment are stored")]
    Quorum,
    /// An account or key name that is taken.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// An account or key that does not exist.
    #[error("no such {0}")]
    Missing(&'static str),
    /// Too many uploads are open.
    #[error("too many multipart uploads are open in this bucket")]
    TooManyUploads,
    /// Stored data that this program cannot read.
    #[error("metadata holds {0}, which this version cannot read")]
    Corrupt(&'static str),
    /// The transaction may or may not be on disk.
    #[error("it is not known whether the change was kept")]
    CommitUnknown,
    /// The gateway is stopping.
    #[error("the gateway is stopping")]
    Stopped,
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// Why metadata could not be opened.
#[derive(Debug, Error)]
pub enum MetaOpenError {
    /// A newer program wrote it.
    #[error("{path} has format {found}, this program knows {FORMAT}: use a newer stratos")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// It is not ours, or the disk failed.
    #[error("{path} cannot be used as metadata: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// It is some other database.
    #[error("{0} is a database of something else: choose another folder")]
    Foreign(PathBuf),
}

/// Metadata of one gateway.
#[derive(Clone)]
pub struct Meta {
    writer: Writer,
    readers: SqlitePool,
    configs: Arc<config::ParsedConfigs>,
    canonical_ids: CanonicalIds,
}

impl Meta {
    /// Opens the metadata in `path`, or makes it.
    pub async fn open(path: &Path) -> Result<Self, MetaOpenError> {
        let failed = |source| MetaOpenError::Database { path: path.into(), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .foreign_keys(false)
            // `vault` decides when: it ships what the log holds before that.
            .pragma("wal_autocheckpoint", "0")
            .statement_cache_capacity(256)
            .disable_statement_logging();
        let mut connection = options.connect().await.map_err(failed)?;
        migrate(&mut connection, path).await?;
        let reading = options.read_only(true).create_if_missing(false);
        let mut keeper = reading.connect().await.map_err(failed)?;
        // It is not there before it has read something.
        sqlx::query("SELECT count(*) FROM sqlite_master")
            .fetch_one(&mut keeper)
            .await
            .map_err(failed)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(reading)
            .await
            .map_err(failed)?;
        let canonical_ids = CanonicalIds::load(&readers).await.map_err(|error| match error {
            MetaError::Database(source) => failed(source),
            _ => MetaOpenError::Foreign(path.into()),
        })?;
        Ok(Self {
            writer: Writer::start(connection, keeper),
            readers,
            configs: Arc::default(),
            canonical_ids,
        })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), MetaError> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }

    /// Runs `look` while nobody writes; if it returns something, the log is
    /// moved into the database file before anybody writes again. With it comes
    /// whether the log is empty now. Nobody else checkpoints, so the database
    /// file does not change before the next call.
    pub(crate) async fn checkpoint<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Result<Option<(T, bool)>, MetaError> {
        self.writer.checkpoint(look).await
    }

    /// Reads a setting that was kept.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, MetaError> {
        let row = sqlx::query("SELECT value FROM settings WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Keeps a setting.
    pub async fn keep_setting(
        &self,
        name: impl Into<String>,
        value: String,
    ) -> Result<(), MetaError> {
        let name = name.into();
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO settings (name, value) VALUES (?, ?)
                         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    )
                    .bind(name)
                    .bind(value)
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }
}

/// Whether the file in `path`, which nobody has open, is metadata that this
/// program can read, and whole. Says what is wrong.
pub async fn inspect(path: &Path) -> Result<(), String> {
    let said = |error: sqlx::Error| error.to_string();
    let options = SqliteConnectOptions::new().filename(path).disable_statement_logging();
    let mut connection = options.connect().await.map_err(said)?;
    let row = sqlx::query("PRAGMA user_version").fetch_one(&mut connection).await.map_err(said)?;
    let found: i64 = row.get(0);
    let rows = sqlx::query("PRAGMA integrity_check").fetch_all(&mut connection).await;
    let findings: Vec<String> = rows.map_err(said)?.iter().map(|row| row.get(0)).collect();
    connection.close().await.map_err(said)?;
    match findings.as_slice() {
        _ if found > FORMAT => {
            Err(format!("it has format {found}, this program knows {FORMAT}: use a newer stratos"))
        }
        [fine] if fine == "ok" => Ok(()),
        findings => Err(findings.first().cloned().unwrap_or_default()),
    }
}

/// What was committed last before a loss is not known, and numbers that it gave
/// out must not be given out again.
pub async fn renew(path: &Path) -> Result<(), String> {
    let said = |error: sqlx::Error| error.to_string();
    let options = SqliteConnectOptions::new().filename(path).disable_statement_logging();
    let mut connection = options.connect().await.map_err(said)?;
    sqlx::query("UPDATE sqlite_sequence SET seq = seq + 1000000")
        .execute(&mut connection)
        .await
        .map_err(said)?;
    connection.close().await.map_err(said)
}

async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), MetaOpenError> {
    let failed = |source| MetaOpenError::Database { path: path.into(), source };
    let row = sqlx::query("PRAGMA user_version").fetch_one(&mut *connection).await;
    let found: i64 = row.map_err(failed)?.get(0);
    if found > FORMAT {
        return Err(MetaOpenError::Newer { path: path.into(), found });
    }
    if found == FORMAT {
        return Ok(());
    }
    let steps = match usize::try_from(found) {
        Ok(found @ 1..) => MIGRATIONS[found - 1..].concat(),
        _ => include_str!("schema.sql").to_owned(),
    };
    // One transaction: a half-made database never counts as made.
    let script = format!("BEGIN IMMEDIATE; {steps} PRAGMA user_version = {FORMAT}; COMMIT;");
    let tables =
        sqlx::query("SELECT count(*) FROM sqlite_master").fetch_one(&mut *connection).await;
    if found == 0 && tables.map_err(failed)?.get::<i64, _>(0) > 0 {
        return Err(MetaOpenError::Foreign(path.into()));
    }
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *connection).await.map_err(failed)?;
    Ok(())
}

/// Bytes of a fixed-size column.
fn bytes<const N: usize>(value: &[u8], what: &'static str) -> Result<[u8; N], MetaError> {
    value.try_into().map_err(|_| MetaError::Corrupt(what))
}

/// A size or length as SQL has it.
fn to_sql(value: u64) -> Result<i64, MetaError> {
    i64::try_from(value).map_err(|_| MetaError::Corrupt("a length beyond 2^63"))
}

/// A size or length from SQL.
fn from_sql(value: i64) -> Result<u64, MetaError> {
    u64::try_from(value).map_err(|_| MetaError::Corrupt("a negative length"))
}

#[cfg(test)]
mod tests;
