//! Events that happened and were not delivered yet.
//!
//! They are written by the transaction that makes them happen, so an event is
//! told if and only if its change stands. Not here: delivery.

use sqlx::{Row, SqliteConnection};

use super::model::Millis;
use super::{Meta, MetaError};
use crate::events::{Draft, Happened};

/// The events of a bucket for one target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue {
    /// The bucket.
    pub bucket: i64,
    /// The target's ARN.
    pub target: String,
}

/// An event whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its row; grows with time.
    pub id: i64,
    /// What is sent: JSON.
    pub record: String,
    /// How often it was tried.
    pub tries: u32,
}

/// Puts what is to be told of a change in the outbox.
pub(super) async fn keep<'a>(
    tx: &mut SqliteConnection,
    bucket: i64,
    drafts: impl Iterator<Item = &'a Draft>,
    happened: &Happened,
) -> Result<(), MetaError> {
    for draft in drafts {
        insert(tx, bucket, &draft.target, &draft.complete(happened)).await?;
    }
    Ok(())
}

async fn insert(
    tx: &mut SqliteConnection,
    bucket: i64,
    target: &str,
    record: &str,
) -> Result<(), MetaError> {
    sqlx::query(
        "INSERT INTO outbox (bucket, target, record, tries, due_ms) VALUES (?, ?, ?, 0, 0)",
    )
    .bind(bucket)
    .bind(target)
    .bind(record)
    .execute(tx)
    .await?;
    Ok(())
}

impl Meta {
    /// Puts something of no object's in the outbox.
    pub async fn tell(&self, queue: Queue, record: String) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move { insert(tx, queue.bucket, &queue.target, &record).await })
            })
            .await
    }

    /// Queues with events whose time has come, those that waited longest first.
    pub async fn due_queues(&self, now: Millis, limit: u32) -> Result<Vec<Queue>, MetaError> {
        let rows = sqlx::query(
            "SELECT bucket, target FROM outbox WHERE due_ms <= ?
             GROUP BY bucket, target ORDER BY min(due_ms), min(id) LIMIT ?",
        )
        .bind(now)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().map(|row| Queue { bucket: row.get(0), target: row.get(1) }).collect())
    }

    /// Events of a queue whose time has come, in the order in which they
    /// happened.
    pub async fn due_events(
        &self,
        queue: &Queue,
        now: Millis,
        limit: u32,
    ) -> Result<Vec<Due>, MetaError> {
        let rows = sqlx::query(
            "SELECT id, record, tries FROM outbox
             WHERE bucket = ? AND target = ? AND due_ms <= ? ORDER BY id LIMIT ?",
        )
        .bind(queue.bucket)
        .bind(&queue.target)
        .bind(now)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        Ok(rows
            .iter()
            .map(|row| Due { id: row.get(0), record: row.get(1), tries: row.get(2) })
            .collect())
    }

    /// Forgets events that were delivered or given up.
    pub async fn forget_events(&self, ids: Vec<i64>) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    for id in ids {
                        sqlx::query("DELETE FROM outbox WHERE id = ?")
                            .bind(id)
                            .execute(&mut *tx)
                            .await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Puts off an event that could not be delivered until `due`, and those
    /// behind it in its queue until `rest_due`.
    pub async fn put_off(
        &self,
        queue: Queue,
        id: i64,
        due: Millis,
        rest_due: Millis,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE outbox SET due_ms = ? WHERE bucket = ? AND target = ? AND due_ms < ?",
                    )
                    .bind(rest_due)
                    .bind(queue.bucket)
                    .bind(queue.target)
                    .bind(rest_due)
                    .execute(&mut *tx)
                    .await?;
                    sqlx::query("UPDATE outbox SET due_ms = ?, tries = tries + 1 WHERE id = ?")
                        .bind(due)
                        .bind(id)
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Drops the oldest events of buckets that have more than `max` waiting;
    /// says how many.
    pub async fn trim_outbox(&self, max: u32) -> Result<u64, MetaError> {
        let rows = sqlx::query("SELECT bucket FROM outbox GROUP BY bucket HAVING count(*) > ?")
            .bind(max)
            .fetch_all(&self.readers)
            .await?;
        let buckets: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        if buckets.is_empty() {
            return Ok(0);
        }
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let mut dropped = 0;
                    for bucket in buckets {
                        let done = sqlx::query(
                            "DELETE FROM outbox WHERE bucket = ? AND id <=
                                (SELECT id FROM outbox WHERE bucket = ?
                                 ORDER BY id DESC LIMIT 1 OFFSET ?)",
                        )
                        .bind(bucket)
                        .bind(bucket)
                        .bind(max)
                        .execute(&mut *tx)
                        .await?;
                        dropped += done.rows_affected();
                    }
                    Ok(dropped)
                })
            })
            .await
    }

    /// Events that wait, of all buckets.
    pub async fn events_waiting(&self) -> Result<u64, MetaError> {
        let row = sqlx::query("SELECT count(*) FROM outbox").fetch_one(&self.readers).await?;
        super::from_sql(row.get(0))
    }
}
