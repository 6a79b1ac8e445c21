//! What settling did to whom, found by party and by account.

use protocol::ids::PublicKey;
use protocol::{AccountId, Epoch};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection, Row};

use super::{Reader, Store, StoreError, to_sql};
use crate::account::Party;
use crate::event::Event;

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Orders all events.
    pub id: u64,
    /// The block that did it.
    pub height: u64,
    /// The event as JSON.
    pub event: Value,
}

/// What an event is found by.
struct Index {
    epoch: Option<Epoch>,
    party: Option<[u8; 32]>,
    account: Option<AccountId>,
}

fn index(event: &Event) -> Index {
    let of = |epoch: Option<Epoch>, party| Index { epoch, party: Some(party), account: None };
    let key = |party: &Party| match party {
        Party::Node(node) => node.0,
        Party::Gateway(gateway) => gateway.0,
    };
    match event {
        Event::Earned(earned) => of(Some(earned.epoch), earned.node.0),
        Event::Shared { epoch, gateway, .. }
        | Event::Covered { epoch, gateway, .. }
        | Event::Void { epoch, gateway, .. } => of(Some(*epoch), gateway.0),
        Event::Charged { epoch, account, .. } => {
            Index { epoch: Some(*epoch), party: None, account: Some(*account) }
        }
        Event::Matured { epoch, party, .. } => of(Some(*epoch), key(party)),
        Event::Penalty { party, .. } => of(None, key(party)),
        Event::Claim { node, .. }
        | Event::HeldReturned { node, .. }
        | Event::Released { node, .. }
        | Event::Forfeited { node, .. } => of(None, node.0),
    }
}

/// Keeps the events of a block, and that they are told.
pub(super) async fn insert(
    tx: &mut SqliteConnection,
    height: u64,
    events: &[Event],
) -> Result<(), StoreError> {
    for (seq, event) in (0i64..).zip(events) {
        let Index { epoch, party, account } = index(event);
        let json = serde_json::to_value(event).expect("events have nothing that JSON lacks");
        sqlx::query(
            "INSERT INTO events (height, seq, kind, epoch, party, account, json)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(to_sql(height)?)
        .bind(seq)
        .bind(json["event"].as_str().unwrap_or_default())
        .bind(epoch.map(|epoch| to_sql(epoch.0)).transpose()?)
        .bind(party.map(Vec::from))
        .bind(account.map(|account| Vec::from(account.0)))
        .bind(json.to_string())
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query("UPDATE told SET height = ?").bind(to_sql(height)?).execute(tx).await?;
    Ok(())
}

impl Store {
    /// The first block whose events are not told yet.
    pub async fn untold(&mut self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT height + 1 FROM told").fetch_one(&mut self.connection);
        let height = u64::try_from(row.await?.try_get::<i64, _>(0)?);
        height.map_err(|_| StoreError::Corrupt("a negative height"))
    }

    /// Keeps the events of blocks that were written without.
    pub async fn tell(&mut self, blocks: &[(u64, Vec<Event>)]) -> Result<(), StoreError> {
        let mut tx = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        for (height, events) in blocks {
            insert(&mut tx, *height, events).await?;
        }
        Ok(tx.commit().await?)
    }
}

impl Reader {
    /// At most `max` events of a party after this one, the oldest first: those
    /// of epochs within the bounds, and those that belong to no epoch.
    pub async fn events_of_party(
        &self,
        party: PublicKey,
        (from, until): (Epoch, Epoch),
        after: u64,
        max: u32,
    ) -> Result<Vec<Told>, StoreError> {
        let sql = |value| i64::try_from(value).unwrap_or(i64::MAX);
        let rows = sqlx::query(
            "SELECT id, height, json FROM events WHERE party = ? AND id > ?
             AND (epoch IS NULL OR epoch BETWEEN ? AND ?) ORDER BY id LIMIT ?",
        )
        .bind(Vec::from(party.0))
        .bind(sql(after))
        .bind(sql(from.0))
        .bind(sql(until.0))
        .bind(max)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_told).collect()
    }

    /// What an epoch charged an account, through each gateway.
    pub async fn charges(&self, account: AccountId, epoch: Epoch) -> Result<Vec<Told>, StoreError> {
        let Ok(epoch) = i64::try_from(epoch.0) else { return Ok(Vec::new()) };
        let rows = sqlx::query(
            "SELECT id, height, json FROM events
             WHERE account = ? AND epoch = ? AND kind = 'charged' ORDER BY id",
        )
        .bind(Vec::from(account.0))
        .bind(epoch)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_told).collect()
    }
}

fn read_told(row: &SqliteRow) -> Result<Told, StoreError> {
    let number = |column| {
        let value = row.try_get::<i64, _>(column)?;
        u64::try_from(value).map_err(|_| StoreError::Corrupt("a negative number"))
    };
    let event = serde_json::from_str(row.try_get(2)?);
    Ok(Told {
        id: number(0)?,
        height: number(1)?,
        event: event.map_err(|_| StoreError::Corrupt("an event"))?,
    })
}
