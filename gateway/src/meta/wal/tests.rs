//! Logs that SQLite wrote, logs that we wrote, and bytes that are none.

use std::io::Cursor;
use std::path::Path;

use proptest::prelude::*;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tempfile::TempDir;

use super::*;

const ALL: usize = usize::MAX;

/// A database whose log nobody empties.
struct Database {
    connection: SqliteConnection,
    folder: TempDir,
}

impl Database {
    async fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(&folder.path().join("db")).await;
        let mut made = Self { connection, folder };
        made.run("CREATE TABLE t (id INTEGER PRIMARY KEY, x BLOB)").await;
        made
    }

    async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&mut self.connection)
            .await
            .unwrap();
    }

    fn log(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("db-wal")).unwrap()
    }

    fn file(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("db")).unwrap()
    }
}

async fn open(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("wal_autocheckpoint", "0")
        .connect()
        .await
        .unwrap()
}

/// Lays commits over a database file.
fn lay(file: &mut Vec<u8>, commits: &Commits) {
    let size = commits.page_size as usize;
    file.resize(commits.db_pages as usize * size, 0);
    for (number, page) in &commits.pages {
        let at = (*number as usize - 1) * size;
        file[at..at + size].copy_from_slice(page);
    }
}

/// The sum that a file, which is whole, holds.
async fn sum_of(file: &[u8]) -> i64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy");
    std::fs::write(&path, file).unwrap();
    let mut connection = open(&path).await;
    let check: String =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(check, "ok");
    let sum = sqlx::query_scalar("SELECT coalesce(sum(id), 0) FROM t").fetch_one(&mut connection);
    let sum = sum.await.unwrap();
    connection.close().await.unwrap();
    sum
}

#[tokio::test]
async fn the_log_of_sqlite_is_read_commit_by_commit() {
    let mut db = Database::make().await;
    let mut file = db.file();
    let first = read(&mut Cursor::new(db.log()), None, ALL).unwrap().unwrap();
    lay(&mut file, &first);
    assert_eq!(sum_of(&file).await, 0);
    let mut at = first.end;
    for n in 1..=20 {
        db.run(&format!("INSERT INTO t VALUES ({n}, randomblob(3000))")).await;
        let next = read(&mut Cursor::new(db.log()), Some(at), ALL).unwrap().unwrap();
        lay(&mut file, &next);
        at = next.end;
        assert_eq!(sum_of(&file).await, (1..=n).sum::<i64>());
        assert_eq!(read(&mut Cursor::new(db.log()), Some(at), ALL).unwrap(), None);
    }
    // What shrinks is cut off.
    db.run("DELETE FROM t WHERE id > 1; VACUUM").await;
    let next = read(&mut Cursor::new(db.log()), Some(at), ALL).unwrap().unwrap();
    assert!(next.pages.keys().all(|&number| number <= next.db_pages));
    lay(&mut file, &next);
    assert_eq!(sum_of(&file).await, 1);
}

#[tokio::test]
async fn reading_ends_where_there_is_enough_and_goes_on_there() {
    let mut db = Database::make().await;
    for n in 1..=10 {
        db.run(&format!("INSERT INTO t VALUES ({n}, randomblob(9000))")).await;
    }
    let (mut file, mut at, mut count) = (db.file(), None, 0);
    while let Some(commits) = read(&mut Cursor::new(db.log()), at, 1).unwrap() {
        assert!(commits.is_cut);
        lay(&mut file, &commits);
        (at, count) = (Some(commits.end), count + 1);
    }
    assert_eq!((count, sum_of(&file).await), (11, 55));
}

#[tokio::test]
async fn a_log_that_was_begun_anew_is_followed_only_from_its_sealed_end() {
    let mut db = Database::make().await;
    let end = read(&mut Cursor::new(db.log()), None, ALL).unwrap().unwrap().end;
    db.run("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let sealed = Position { sealed: true, ..end };
    assert_eq!(read(&mut Cursor::new(db.log()), Some(sealed), ALL).unwrap(), None);
    let lost = read(&mut Cursor::new(db.log()), Some(end), ALL);
    assert!(matches!(lost, Err(WalError::Other)));
    let mut file = db.file();
    db.run("INSERT INTO t VALUES (7, x'')").await;
    let lost = read(&mut Cursor::new(db.log()), Some(end), ALL);
    assert!(matches!(lost, Err(WalError::Other)));
    let next = read(&mut Cursor::new(db.log()), Some(sealed), ALL).unwrap().unwrap();
    lay(&mut file, &next);
    assert_eq!(sum_of(&file).await, 7);
    // Twice begun anew: what was between is not known.
    db.run("PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES (8, x'')").await;
    let lost = read(&mut Cursor::new(db.log()), Some(sealed), ALL);
    assert!(matches!(lost, Err(WalError::Other)));
}

#[tokio::test]
async fn another_history_with_the_same_length_is_seen() {
    let mut db = Database::make().await;
    db.run("INSERT INTO t VALUES (1, x'')").await;
    let end = read(&mut Cursor::new(db.log()), None, ALL).unwrap().unwrap().end;
    let other = Position { sum: [end.sum[0] ^ 1, end.sum[1]], ..end };
    assert!(matches!(read(&mut Cursor::new(db.log()), Some(other), ALL), Err(WalError::Other)));
    let beyond = Position { frames: end.frames + 9, ..end };
    assert!(matches!(read(&mut Cursor::new(db.log()), Some(beyond), ALL), Err(WalError::Other)));
}

/// A log as SQLite writes it: the frames are (page, size after a commit or 0).
fn log(is_big: bool, frames: &[(u32, u32)]) -> Vec<u8> {
    const SIZE: usize = 512;
    let mut bytes = Vec::new();
    let magic = if is_big { 0x377f_0683 } else { 0x377f_0682u32 };
    for word in [magic, VERSION, SIZE as u32, 3, 77, 78] {
        bytes.extend(word.to_be_bytes());
    }
    let mut sum = add([0, 0], &bytes, is_big);
    let put = |bytes: &mut Vec<u8>, sum: [u32; 2]| {
        sum.iter().for_each(|word| bytes.extend(word.to_be_bytes()));
    };
    put(&mut bytes, sum);
    for (n, &(page, db_pages)) in frames.iter().enumerate() {
        let head = [page.to_be_bytes(), db_pages.to_be_bytes()].concat();
        let image = vec![n as u8 + 1; SIZE];
        sum = add(add(sum, &head, is_big), &image, is_big);
        bytes.extend(head);
        put(&mut bytes, [77, 78]);
        put(&mut bytes, sum);
        bytes.extend(image);
    }
    bytes
}

#[test]
fn the_last_image_of_a_page_counts_and_open_transactions_do_not() {
    for is_big in [false, true] {
        let bytes = log(is_big, &[(1, 0), (2, 2), (1, 2), (2, 0), (1, 0)]);
        let commits = read(&mut Cursor::new(&bytes), None, ALL).unwrap().unwrap();
        let images: Vec<u8> = commits.pages.values().map(|page| page[0]).collect();
        assert_eq!((images, commits.end.frames), (vec![3, 2], 3));
        assert_eq!(read(&mut Cursor::new(&bytes), Some(commits.end), ALL).unwrap(), None);
    }
}

proptest! {
    /// Wherever a log is cut off or a bit of it flips, what is read is what was
    /// committed before that place, or nothing.
    #[test]
    fn a_damaged_log_gives_a_prefix(
        frames in prop::collection::vec((1u32..5, any::<bool>()), 1..12),
        at in any::<prop::sample::Index>(), bit in 0u8..8, is_cut: bool,
    ) {
        let frames: Vec<_> =
            frames.into_iter().map(|(page, ends)| (page, if ends { 5 } else { 0 })).collect();
        let whole = log(false, &frames);
        let mut bytes = whole.clone();
        let at = at.index(bytes.len());
        if is_cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        let intact = at.saturating_sub(HEADER) / (FRAME + 512);
        let committed = if at < HEADER { 0 } else {
            frames[..intact].iter().rposition(|frame| frame.1 > 0).map_or(0, |last| last + 1)
        };
        match read(&mut Cursor::new(&bytes), None, ALL) {
            Ok(None) => prop_assert_eq!(committed, 0),
            Ok(Some(commits)) => {
                prop_assert_eq!(commits.end.frames, committed as u64);
                let want = read(&mut Cursor::new(log(false, &frames[..committed])), None, ALL);
                prop_assert_eq!(Some(commits), want.unwrap());
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    /// Foreign bytes are no commits.
    #[test]
    fn foreign_bytes_are_no_log(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert_eq!(read(&mut Cursor::new(bytes), None, ALL).unwrap(), None);
    }
}
