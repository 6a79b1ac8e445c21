//! The ledger on disk: SQLite in WAL mode with `synchronous = FULL`, so a block
//! that committed survives a power cut. The only place with SQL.
//!
//! One connection writes ([`Store`]), a few read ([`Reader`]). Genesis and
//! block 0 come in one transaction, and so does each later block with its
//! entries and what they did to whom: there is no half-made ledger. A ledger of
//! format 1 becomes one of format 2 in one transaction when it is opened. Not
//! here: whether a block follows (`chain`).

mod events;

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::wire::{Wire, Writer};
use protocol::{AccountId, Epoch, GatewayId};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row};
use thiserror::Error;

use crate::block::{Block, Header};
use crate::entry::{Entry, LaneKey};
use crate::event::Event;
use crate::finality::Finality;
use crate::genesis::Genesis;

/// The on-disk format this program writes and reads.
const FORMAT: i64 = 2;

/// "STRL": tells our databases from those of other programs.
const APPLICATION: i64 = 0x5354_524c;

/// Connections that read.
const READERS: u32 = 4;

/// Why the ledger cannot be read from disk or written to it.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A newer program wrote it.
    #[error("{path} has format {found}, this program knows {FORMAT}: use a newer stratos")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// It is not a ledger.
    #[error("{0} is not a ledger but a file of something else: choose another folder")]
    Foreign(PathBuf),
    /// Bytes that this program cannot read.
    #[error("the stored ledger holds {0} that cannot be read: restore it from a backup")]
    Corrupt(&'static str),
    /// The database failed.
    #[error("the ledger's database: {0}")]
    Database(#[from] sqlx::Error),
}

impl StoreError {
    /// Whether the disk is full: what was to be written can be when it is not.
    pub fn is_full(&self) -> bool {
        // 13: "database or disk is full"; 4874: no room for the shared memory.
        let is_full = |code: &str| matches!(code, "13" | "4874");
        matches!(self, Self::Database(sqlx::Error::Database(error))
                 if error.code().as_deref().is_some_and(is_full))
    }
}

/// The writing half.
#[derive(Debug)]
pub struct Store {
    connection: SqliteConnection,
}

/// The reading half.
#[derive(Clone, Debug)]
pub struct Reader {
    pool: SqlitePool,
}

/// Opens the ledger in `path`, or makes an empty one.
pub async fn open(path: &Path) -> Result<(Store, Reader), StoreError> {
    let plain = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging();
    // Looks before it touches: the settings below change the file.
    let mut looking = plain.clone().connect().await?;
    let found = inspect(&mut looking, path).await;
    looking.close().await?;

    let options = plain
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("wal_autocheckpoint", "4000");
    let found = found?;
    let mut connection = options.connect().await?;
    if let Some(script) = found.script() {
        sqlx::raw_sql(script).execute(&mut connection).await?;
    }
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options.read_only(true).create_if_missing(false))
        .await?;
    Ok((Store { connection }, Reader { pool }))
}

/// What a file is.
#[derive(Clone, Copy)]
enum Found {
    Empty,
    Format1,
    Current,
}

impl Found {
    /// What makes a ledger of it that this program knows. One transaction: a
    /// half-made database never counts as made.
    fn script(self) -> Option<&'static str> {
        match self {
            Self::Empty => Some(concat!(
                "BEGIN IMMEDIATE;",
                include_str!("schema.sql"),
                "PRAGMA application_id = 1398035020; PRAGMA user_version = 2; COMMIT;"
            )),
            Self::Format1 => Some(concat!(
                "BEGIN IMMEDIATE;",
                include_str!("migrate_2.sql"),
                "PRAGMA user_version = 2; COMMIT;"
            )),
            Self::Current => None,
        }
    }
}

/// What the file is; all but an empty one and a ledger is an error.
async fn inspect(connection: &mut SqliteConnection, path: &Path) -> Result<Found, StoreError> {
    let version = match number(connection, "PRAGMA user_version").await {
        // 26: "file is not a database".
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("26") => {
            return Err(StoreError::Foreign(path.into()));
        }
        other => other?,
    };
    let application = number(connection, "PRAGMA application_id").await?;
    let tables = number(connection, "SELECT count(*) FROM sqlite_master").await?;
    if tables == 0 && version == 0 {
        return Ok(Found::Empty);
    }
    if application != APPLICATION {
        return Err(StoreError::Foreign(path.into()));
    }
    match version {
        1 => Ok(Found::Format1),
        FORMAT => Ok(Found::Current),
        found if found > FORMAT => Err(StoreError::Newer { path: path.into(), found }),
        _ => Err(StoreError::Foreign(path.into())),
    }
}

async fn number(connection: &mut SqliteConnection, sql: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query(sql).fetch_one(connection).await?.try_get(0)
}

impl Store {
    /// Keeps the genesis and the block that follows from it.
    pub async fn begin(&mut self, genesis: &Genesis, first: &Block) -> Result<(), StoreError> {
        let mut tx = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("INSERT INTO genesis (id, content) VALUES (1, ?)")
            .bind(genesis.to_wire())
            .execute(&mut *tx)
            .await?;
        insert_block(&mut tx, first).await?;
        events::insert(&mut tx, first.header.height, &[]).await?;
        Ok(tx.commit().await?)
    }

    /// Keeps a block and what it did to whom. When this returns, it survives a
    /// power cut.
    pub async fn append(&mut self, block: &Block, events: &[Event]) -> Result<(), StoreError> {
        // Not by the library's transactions: when the disk is full SQLite may have
        // rolled back by itself, and then they believe that one is open for ever.
        let connection = &mut self.connection;
        run(connection, "BEGIN IMMEDIATE").await?;
        let mut done = insert_all(connection, block, events).await;
        if done.is_ok() {
            done = run(connection, "COMMIT").await;
        }
        if done.is_err() {
            let _ = run(connection, "ROLLBACK").await; // If there is anything to roll back.
        }
        done
    }

    /// Flushes and closes.
    pub async fn close(self) -> Result<(), StoreError> {
        Ok(self.connection.close().await?)
    }
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), StoreError> {
    sqlx::raw_sql(sql).execute(connection).await?;
    Ok(())
}

async fn insert_all(
    connection: &mut SqliteConnection,
    block: &Block,
    events: &[Event],
) -> Result<(), StoreError> {
    insert_block(connection, block).await?;
    let first = block.header.log_size - block.entries.len() as u64;
    for (index, entry) in (first..).zip(&block.entries) {
        insert_entry(connection, index, block.header.height, entry).await?;
    }
    events::insert(connection, block.header.height, events).await
}

async fn insert_block(tx: &mut SqliteConnection, block: &Block) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO blocks (height, header, finality) VALUES (?, ?, ?)")
        .bind(to_sql(block.header.height)?)
        .bind(block.header.to_wire())
        .bind(block.finality.to_wire())
        .execute(tx)
        .await?;
    Ok(())
}

async fn insert_entry(
    tx: &mut SqliteConnection,
    index: u64,
    height: u64,
    entry: &Entry,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO entries (idx, height, content, lane) VALUES (?, ?, ?, ?)")
        .bind(to_sql(index)?)
        .bind(to_sql(height)?)
        .bind(entry.to_wire())
        .bind(entry.lane().map(|(epoch, key)| lane_bytes(epoch, key)))
        .execute(tx)
        .await?;
    Ok(())
}

impl Reader {
    /// The genesis, if the ledger has begun.
    pub async fn genesis(&self) -> Result<Option<Genesis>, StoreError> {
        let row =
            sqlx::query("SELECT content FROM genesis WHERE id = 1").fetch_optional(&self.pool);
        let Some(row) = row.await? else { return Ok(None) };
        let genesis = Genesis::from_wire(row.try_get(0)?);
        genesis.map(Some).map_err(|_| StoreError::Corrupt("a genesis"))
    }

    /// At most `max` blocks from this height on.
    pub async fn blocks(&self, from: u64, max: u32) -> Result<Vec<Block>, StoreError> {
        let Ok(from) = i64::try_from(from) else { return Ok(Vec::new()) };
        let rows = sqlx::query(
            "SELECT header, finality FROM blocks WHERE height >= ? ORDER BY height LIMIT ?",
        )
        .bind(from)
        .bind(max)
        .fetch_all(&self.pool)
        .await?;
        let mut blocks = rows.iter().map(read_block).collect::<Result<Vec<_>, _>>()?;
        if let Some(last) = blocks.last() {
            let last = to_sql(last.header.height)?;
            self.fill_entries(&mut blocks, from, last).await?;
        }
        Ok(blocks)
    }

    async fn fill_entries(
        &self,
        blocks: &mut [Block],
        from: i64,
        last: i64,
    ) -> Result<(), StoreError> {
        let rows = sqlx::query(
            "SELECT height, content FROM entries WHERE height BETWEEN ? AND ? ORDER BY idx",
        )
        .bind(from)
        .bind(last)
        .fetch_all(&self.pool)
        .await?;
        let mut blocks = blocks.iter_mut();
        let mut block = blocks.next();
        for row in &rows {
            let height: i64 = row.try_get(0)?;
            while block.as_ref().is_some_and(|b| to_sql(b.header.height).ok() != Some(height)) {
                block = blocks.next();
            }
            let block = block.as_mut().ok_or(StoreError::Corrupt("an entry of no block"))?;
            let entry = Entry::from_canonical(row.try_get(1)?);
            block.entries.push(entry.map_err(|_| StoreError::Corrupt("an entry"))?);
        }
        Ok(())
    }

    /// The latest receipt of a lane: its place in the log, and the entry.
    pub async fn receipt(
        &self,
        epoch: Epoch,
        key: LaneKey,
    ) -> Result<Option<(u64, Entry)>, StoreError> {
        let row = sqlx::query(
            "SELECT idx, content FROM entries WHERE lane = ? ORDER BY idx DESC LIMIT 1",
        )
        .bind(lane_bytes(epoch, key))
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read_place).transpose()
    }

    /// The latest usage statement of an account: its place in the log, and the
    /// entry.
    pub async fn statement(
        &self,
        gateway: GatewayId,
        account: AccountId,
        epoch: Epoch,
    ) -> Result<Option<(u64, Entry)>, StoreError> {
        let mut key = Writer::default();
        gateway.write(&mut key);
        account.write(&mut key);
        epoch.write(&mut key);
        let row = sqlx::query(
            "SELECT idx, content FROM entries WHERE substr(content, 1, 1) = x'05'
             AND substr(content, 18, 56) = ? ORDER BY idx DESC LIMIT 1",
        )
        .bind(key.0)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read_place).transpose()
    }

    /// The header of the block with which the log had this many entries.
    pub async fn header_of_size(&self, size: u64) -> Result<Option<Header>, StoreError> {
        let Ok(size) = i64::try_from(size) else { return Ok(None) };
        let row = sqlx::query(
            "SELECT header FROM blocks WHERE height = CASE ?1 WHEN 0 THEN 0
             ELSE (SELECT height FROM entries WHERE idx = ?1 - 1) END",
        )
        .bind(size)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let header = Header::from_wire(row.try_get(0)?);
        let header = header.map_err(|_| StoreError::Corrupt("a block header"))?;
        Ok(Some(header).filter(|header| to_sql(header.log_size).ok() == Some(size)))
    }

    /// Closes all connections.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

fn read_block(row: &SqliteRow) -> Result<Block, StoreError> {
    let header = Header::from_wire(row.try_get(0)?);
    let finality = Finality::from_wire(row.try_get(1)?);
    Ok(Block {
        header: header.map_err(|_| StoreError::Corrupt("a block header"))?,
        finality: finality.map_err(|_| StoreError::Corrupt("a block signature"))?,
        entries: Vec::new(),
    })
}

fn read_place(row: &SqliteRow) -> Result<(u64, Entry), StoreError> {
    let index = u64::try_from(row.try_get::<i64, _>(0)?);
    let entry = Entry::from_canonical(row.try_get(1)?);
    Ok((
        index.map_err(|_| StoreError::Corrupt("a negative place"))?,
        entry.map_err(|_| StoreError::Corrupt("an entry"))?,
    ))
}

fn lane_bytes(epoch: Epoch, key: LaneKey) -> Vec<u8> {
    let mut out = Writer::default();
    epoch.write(&mut out);
    key.write(&mut out);
    out.0
}

fn to_sql(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Corrupt("a number beyond 2^63"))
}
