//! A ledger of format 1 becomes one of format 2, and loses nothing.

use std::path::Path;

use protocol::Epoch;
use protocol::ids::PublicKey;
use protocol::keys::write_private;
use protocol::wire::Wire;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};

use super::disk::{manual_clock, settings};
use super::world::{World, account, gateway, lived, node, sequencer};
use crate::ledger::Ledger;
use crate::store::{self, StoreError};

async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.connect().await.unwrap()
}

/// A folder as the program before this one left it.
async fn format_1(dir: &Path, world: &World) {
    let mut db = connect(&dir.join("ledger.sqlite")).await;
    let script = concat!(
        "BEGIN;",
        include_str!("format_1.sql"),
        "PRAGMA application_id = 1398035020; PRAGMA user_version = 1; COMMIT;"
    );
    sqlx::raw_sql(script).execute(&mut db).await.unwrap();
    let genesis = sqlx::query("INSERT INTO genesis VALUES (1, ?)");
    genesis.bind(world.state().genesis().to_wire()).execute(&mut db).await.unwrap();
    for block in &world.blocks {
        let height = i64::try_from(block.header.height).unwrap();
        let insert = sqlx::query("INSERT INTO blocks VALUES (?, ?, ?)").bind(height);
        let insert = insert.bind(block.header.to_wire()).bind(block.finality.to_wire());
        insert.execute(&mut db).await.unwrap();
        let first = block.header.log_size - block.entries.len() as u64;
        for (index, entry) in (first..).zip(&block.entries) {
            let lane = entry.lane().map(|(epoch, key)| [epoch.to_wire(), key.to_wire()].concat());
            let insert = sqlx::query("INSERT INTO entries VALUES (?, ?, ?, ?)");
            let insert = insert.bind(i64::try_from(index).unwrap()).bind(height);
            insert.bind(entry.to_wire()).bind(lane).execute(&mut db).await.unwrap();
        }
    }
    db.close().await.unwrap();
    let key = sequencer();
    write_private(&dir.join("ledger.key"), hex::encode([100; 32]).as_bytes()).unwrap();
    assert_eq!(world.state().genesis().sequencer, key.public().into());
}

async fn schema(path: &Path) -> Vec<String> {
    let mut db = connect(path).await;
    let rows = sqlx::query("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name");
    let rows = rows.fetch_all(&mut db).await.unwrap();
    db.close().await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0).replace('"', "")).collect()
}

#[tokio::test]
async fn a_ledger_of_format_1_goes_on() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = lived();
    format_1(old.path(), &world).await;
    drop(Ledger::open_with(settings(old.path()), manual_clock().0).await.unwrap());
    drop(Ledger::open_with(settings(new.path()), manual_clock().0).await.unwrap());
    let (old, new) = (old.path().join("ledger.sqlite"), new.path().join("ledger.sqlite"));
    assert_eq!(schema(&old).await, schema(&new).await);

    let (mut store, reader) = store::open(&old).await.unwrap();
    assert_eq!(reader.blocks(0, 1000).await.unwrap(), world.blocks);
    assert_eq!(store.untold().await.unwrap(), world.blocks.len() as u64);
    let (index, _) = reader.statement(gateway(0), account(0), Epoch(0)).await.unwrap().unwrap();
    assert_eq!(reader.statement(gateway(1), account(0), Epoch(0)).await.unwrap(), None);
    assert!(index > 0);
    for block in &world.blocks {
        let header = reader.header_of_size(block.header.log_size).await.unwrap();
        assert_eq!(header.as_ref(), Some(&block.header));
    }
    let between = world.blocks[1].header.log_size - 1;
    assert_eq!(reader.header_of_size(between).await.unwrap(), None);
    assert_eq!(reader.header_of_size(u64::MAX).await.unwrap(), None);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    format_1(folder.path(), &lived()).await;
    let path = folder.path().join("ledger.sqlite");
    let mut db = connect(&path).await;
    sqlx::raw_sql("CREATE TABLE told (mine TEXT)").execute(&mut db).await.unwrap();
    db.close().await.unwrap();
    let before = schema(&path).await;
    assert!(matches!(store::open(&path).await, Err(StoreError::Database(_))));
    assert_eq!(schema(&path).await, before);
}

#[tokio::test]
async fn events_are_told_once_and_again_if_they_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let world = lived();
    format_1(folder.path(), &world).await;
    let path = folder.path().join("ledger.sqlite");
    let mut told = Vec::new();
    for round in 0..3 {
        drop(Ledger::open_with(settings(folder.path()), manual_clock().0).await.unwrap());
        let (store, reader) = store::open(&path).await.unwrap();
        let all = (Epoch(0), Epoch(u64::MAX));
        let party = PublicKey(node(0).0);
        let earned = reader.events_of_party(party, all, 0, 100).await.unwrap();
        let charged = reader.charges(account(0), Epoch(0)).await.unwrap();
        told.push((earned, charged));
        store.close().await.unwrap();
        reader.close().await;
        if round == 1 {
            let mut db = connect(&path).await;
            let script = "DELETE FROM events; UPDATE told SET height = 0";
            sqlx::raw_sql(script).execute(&mut db).await.unwrap();
            db.close().await.unwrap();
        }
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
    let mut state = world.replayed();
    assert_eq!(told[0].0.is_empty(), state.take_events().is_empty());
}
