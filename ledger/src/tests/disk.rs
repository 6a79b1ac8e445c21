//! A ledger in a folder: what survives, and what is refused.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::keys::write_private;
use protocol::price::Amount;
use protocol::statement::{TransferId, gateway_account};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio_util::sync::CancellationToken;

use super::world::{EPOCH, OPENING, PRICES, START, World, gateway, lived};
use crate::block::Block;
use crate::chain::{Chain, Source};
use crate::clock::Timing;
use crate::economy::Economy;
use crate::entry::Deposit;
use crate::genesis::Params;
use crate::ledger::{Ledger, OpenError, Settings};
use crate::replay::ReplayError;
use crate::store::{self, StoreError};

pub(crate) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

pub(crate) fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.into(),
        listen: LOOPBACK,
        gateways: vec![gateway(0)],
        params: Params::for_epoch(EPOCH, OPENING),
        economy: Economy::NEUTRAL,
        prices: PRICES,
        witnesses: Vec::new(),
    }
}

/// A clock that a test moves, and no pause between blocks.
pub(crate) fn manual_clock() -> (Timing, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(START));
    let clock = now.clone();
    let timing = Timing {
        now_ms: Arc::new(move || clock.load(Ordering::SeqCst)),
        block_interval: Duration::ZERO,
    };
    (timing, now)
}

async fn sql(dir: &Path, script: &'static str) {
    let options = SqliteConnectOptions::new().filename(dir.join("ledger.sqlite"));
    let mut connection = options.create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql(script).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn open(dir: &Path) -> Result<Ledger, OpenError> {
    Ledger::open_with(settings(dir), manual_clock().0).await
}

fn deposit(id: u8) -> Deposit {
    let account = gateway_account(gateway(0));
    Deposit { id: TransferId([id; 16]), account, amount: Amount(5) }
}

/// Begins a ledger, makes two blocks, and stops it.
async fn begun(dir: &Path) {
    let ledger = open(dir).await.unwrap();
    let (operator, stop) = (ledger.operator(), CancellationToken::new());
    let running = tokio::spawn(ledger.run(stop.clone()));
    assert_eq!(operator.deposit(deposit(1)).await, Ok(Ok(())));
    assert_eq!(operator.deposit(deposit(2)).await, Ok(Ok(())));
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn blocks_read_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let world: World = lived();
    {
        let (mut store, reader) = store::open(&path).await.unwrap();
        assert_eq!(reader.genesis().await.unwrap(), None);
        store.begin(world.state().genesis(), &world.blocks[0]).await.unwrap();
        for block in &world.blocks[1..] {
            store.append(block, &[]).await.unwrap();
        }
        store.close().await.unwrap();
        reader.close().await;
    }
    let (store, reader) = store::open(&path).await.unwrap();
    let genesis = reader.genesis().await.unwrap().unwrap();
    assert_eq!(genesis, *world.state().genesis());
    let blocks: Vec<Block> = reader.blocks(0, 1000).await.unwrap();
    assert_eq!(blocks, world.blocks);
    assert_eq!(reader.blocks(2, 1).await.unwrap(), world.blocks[2..3]);
    let mut chain = Chain::new(genesis).unwrap();
    for block in &blocks[1..] {
        chain.extend(block, Source::Foreign).unwrap();
    }
    assert_eq!(chain.state(), world.state());
    assert_eq!(chain.log().root(), world.chain.log().root());
    store.close().await.unwrap();
}

#[tokio::test]
async fn nothing_stored_can_be_changed_or_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, reader) = store::open(&folder.path().join("ledger.sqlite")).await.unwrap();
    let world: World = lived();
    store.begin(world.state().genesis(), &world.blocks[0]).await.unwrap();
    assert!(store.append(&world.blocks[2], &[]).await.is_err(), "block 1 is missing");
    store.append(&world.blocks[1], &[]).await.unwrap();
    assert!(store.append(&world.blocks[1], &[]).await.is_err(), "block 1 is there");
    assert_eq!(reader.blocks(0, 9).await.unwrap(), world.blocks[..2]);
    let options = SqliteConnectOptions::new().filename(folder.path().join("ledger.sqlite"));
    let mut other = options.connect().await.unwrap();
    for change in ["UPDATE entries SET height = 0", "DELETE FROM blocks", "DELETE FROM genesis"] {
        assert!(sqlx::raw_sql(change).execute(&mut other).await.is_err(), "{change}");
    }
    other.close().await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_ledger_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).await.unwrap();
    let (id, chain) = (first.id(), first.chain());
    drop(first);
    begun(folder.path()).await;
    let ledger = open(folder.path()).await.unwrap();
    assert_eq!((ledger.id(), ledger.chain()), (id, chain));
    let (operator, stop) = (ledger.operator(), CancellationToken::new());
    let running = tokio::spawn(ledger.run(stop.clone()));
    let other = Deposit { amount: Amount(6), ..deposit(1) };
    assert!(operator.deposit(other).await.unwrap().is_err(), "the id is remembered");
    assert_eq!(operator.deposit(deposit(1)).await, Ok(Ok(())), "and so is what it was for");
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_folder_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).await.unwrap();
    assert!(matches!(open(folder.path()).await, Err(OpenError::InUse(_))));
    drop(ledger);
    open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_lost_or_wrong_key_is_noticed_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    begun(folder.path()).await;
    let path = folder.path().join("ledger.key");
    let key = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(matches!(open(folder.path()).await, Err(OpenError::KeyMissing(_))));
    assert!(!path.exists());
    write_private(&path, "17".repeat(32).as_bytes()).unwrap();
    assert!(matches!(open(folder.path()).await, Err(OpenError::KeyMismatch { .. })));
    write_private(&path, &key).unwrap();
    open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_newer_format_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    begun(folder.path()).await;
    sql(folder.path(), "PRAGMA user_version = 3").await;
    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::Store(StoreError::Newer { found: 3, .. })), "{error}");
}

#[tokio::test]
async fn a_foreign_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let check = async || {
        let error = store::open(&path).await.unwrap_err();
        assert!(matches!(error, StoreError::Foreign(_)), "{error}");
    };
    let text = "dear diary ".repeat(100);
    fs::write(&path, &text).unwrap();
    check().await;
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    fs::remove_file(&path).unwrap();
    sql(folder.path(), "CREATE TABLE diary (day TEXT); PRAGMA user_version = 1").await;
    let before = fs::read(&path).unwrap();
    check().await;
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_ledger_that_had_not_begun_begins() {
    let folder = tempfile::tempdir().unwrap();
    // A crash between the tables and the genesis.
    let (store, reader) = store::open(&folder.path().join("ledger.sqlite")).await.unwrap();
    store.close().await.unwrap();
    reader.close().await;
    write_private(&folder.path().join("ledger.key"), "17".repeat(32).as_bytes()).unwrap();
    begun(folder.path()).await;
}

#[tokio::test]
async fn a_stored_block_that_was_changed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    begun(folder.path()).await;
    // The deposit of 5 becomes one of 255.
    sql(
        folder.path(),
        "DROP TRIGGER entries_stay;
         UPDATE entries SET content =
             CAST(substr(content, 1, 33) || x'ff' || substr(content, 35) AS BLOB)
         WHERE idx = 1",
    )
    .await;
    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::Replay(ReplayError::Block { height: 2, .. })), "{error}");
}

#[tokio::test]
async fn a_stored_signature_or_root_that_was_changed_is_found() {
    for change in [
        "DROP TRIGGER blocks_stay;
         UPDATE blocks SET finality = CAST(x'01' || zeroblob(64) AS BLOB) WHERE height = 2",
        "DROP TRIGGER blocks_stay;
         UPDATE blocks SET header =
             CAST(substr(header, 1, 106) || zeroblob(32) || substr(header, 139) AS BLOB)
         WHERE height = 2",
        "DROP TRIGGER blocks_stay;
         UPDATE blocks SET header =
             CAST(substr(header, 1, 106) || zeroblob(32) || substr(header, 139) AS BLOB)
         WHERE height = 1",
    ] {
        let folder = tempfile::tempdir().unwrap();
        begun(folder.path()).await;
        sql(folder.path(), change).await;
        let error = open(folder.path()).await.unwrap_err();
        assert!(
            matches!(error, OpenError::Replay(ReplayError::Block { height: 2, .. })),
            "{change}: {error}"
        );
    }
}

#[tokio::test]
async fn after_a_failed_commit_the_ledger_stops() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).await.unwrap();
    let operator = ledger.operator();
    let running = tokio::spawn(ledger.run(CancellationToken::new()));
    assert_eq!(operator.deposit(deposit(1)).await, Ok(Ok(())));
    sql(
        folder.path(),
        "CREATE TRIGGER full BEFORE INSERT ON entries
         BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
    )
    .await;
    assert!(operator.deposit(deposit(2)).await.is_err(), "nobody hears yes");
    let error = running.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("could not be written"), "{error}");
    assert!(operator.deposit(deposit(3)).await.is_err());

    sql(folder.path(), "DROP TRIGGER full").await;
    let ledger = open(folder.path()).await.unwrap();
    let (operator, stop) = (ledger.operator(), CancellationToken::new());
    let running = tokio::spawn(ledger.run(stop.clone()));
    assert_eq!(operator.deposit(deposit(2)).await, Ok(Ok(())), "it was not taken before");
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_folder_or_port_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let inside_a_file = settings(&folder.path().join("file/ledger"));
    assert!(matches!(Ledger::open(inside_a_file).await, Err(OpenError::Folder(..))));
    let taken = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    let mut settings = settings(&folder.path().join("ledger"));
    settings.listen = taken.local_addr().unwrap();
    assert!(matches!(Ledger::open(settings).await, Err(OpenError::Listen(..))));
}
