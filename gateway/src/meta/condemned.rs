//! What is no longer wanted: uploads given up, contents condemned, and what is
//! forgotten once its shards are gone.
//!
//! Everything here is a compare-and-set on the state of a content: what is open
//! may be given up, what is live and not referred to may be condemned, and only
//! what is condemned may be forgotten.

use protocol::{NodeId, SegmentId};
use sqlx::{Row, SqliteConnection};

use super::contents::shard_index;
use super::model::{ContentId, Millis};
use super::{Meta, MetaError, bytes};

/// A condemned content and where its shards may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condemned {
    /// The content.
    pub content: ContentId,
    /// Every shard that was ever meant to be somewhere.
    pub shards: Vec<(SegmentId, u8, NodeId)>,
}

impl Meta {
    /// Gives up an open content. `false` when it is not open (any more): then
    /// nothing was changed, and nothing may be deleted.
    pub async fn abandon(&self, content: ContentId, not_before: Millis) -> Result<bool, MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE contents SET state = 2, not_before_ms = ?
                         WHERE id = ? AND state = 0",
                    )
                    .bind(not_before)
                    .bind(content.0.to_vec())
                    .execute(tx)
                    .await?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await
    }

    /// Gives up all open contents whose lease has run out; says how many.
    pub async fn abandon_expired(&self, now: Millis, grace: Millis) -> Result<u64, MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE contents SET state = 2, not_before_ms = ?
                         WHERE state = 0 AND lease_ms < ?",
                    )
                    .bind(now + grace)
                    .bind(now)
                    .execute(tx)
                    .await?;
                    Ok(done.rows_affected())
                })
            })
            .await
    }

    /// Gives up every open content: asked at the start, when whoever wrote them
    /// is gone.
    pub async fn abandon_all(&self, not_before: Millis) -> Result<u64, MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE contents SET state = 2, not_before_ms = ? WHERE state = 0",
                    )
                    .bind(not_before)
                    .execute(tx)
                    .await?;
                    Ok(done.rows_affected())
                })
            })
            .await
    }

    /// Condemned contents whose time has come.
    pub async fn condemned(&self, now: Millis, limit: u32) -> Result<Vec<Condemned>, MetaError> {
        let rows =
            sqlx::query("SELECT id FROM contents WHERE state = 2 AND not_before_ms <= ? LIMIT ?")
                .bind(now)
                .bind(limit)
                .fetch_all(&self.readers)
                .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let content = ContentId(bytes(row.get(0), "a content id")?);
            let shards = sqlx::query(
                "SELECT s.segment, s.idx, n.id FROM segments g
                 JOIN shards s ON s.segment = g.id JOIN nodes n ON n.num = s.node
                 WHERE g.content = ?",
            )
            .bind(content.0.to_vec())
            .fetch_all(&self.readers)
            .await?;
            let shards = shards.iter().map(|row| {
                let segment = SegmentId(bytes(row.get(0), "a segment id")?);
                let index = shard_index(row.get(1))?;
                Ok((segment, index, NodeId(bytes(row.get(2), "a node id")?)))
            });
            let shards = shards.collect::<Result<Vec<_>, MetaError>>()?;
            found.push(Condemned { content, shards });
        }
        Ok(found)
    }

    /// Forgets condemned contents whose shards are gone.
    pub async fn forget(&self, contents: Vec<ContentId>) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    for content in contents {
                        forget(tx, content).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Puts contents that cannot be removed now behind all others.
    pub async fn postpone(
        &self,
        contents: Vec<ContentId>,
        not_before: Millis,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    for content in contents {
                        sqlx::query(
                            "UPDATE contents SET not_before_ms = ? WHERE id = ? AND state = 2",
                        )
                        .bind(not_before)
                        .bind(content.0.to_vec())
                        .execute(&mut *tx)
                        .await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

/// Condemns a content that nothing refers to any more.
pub(super) async fn condemn_unreferenced(
    tx: &mut SqliteConnection,
    content: ContentId,
    not_before: Millis,
) -> Result<(), MetaError> {
    let id = content.0.to_vec();
    sqlx::query(
        "UPDATE contents SET state = 2, not_before_ms = ? WHERE id = ? AND state = 1
           AND NOT EXISTS (SELECT 1 FROM version_parts WHERE content = ?)
           AND NOT EXISTS (SELECT 1 FROM upload_parts WHERE content = ?)",
    )
    .bind(not_before)
    .bind(&id)
    .bind(&id)
    .bind(&id)
    .execute(tx)
    .await?;
    Ok(())
}

async fn forget(tx: &mut SqliteConnection, content: ContentId) -> Result<(), MetaError> {
    let id = content.0.to_vec();
    let row = sqlx::query("SELECT account FROM contents WHERE id = ? AND state = 2")
        .bind(&id)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(MetaError::NotOpen)?;
    // Segments first: by the index of nodes, this would read every shard there is.
    sqlx::query(
        "UPDATE stored SET bytes = max(0, bytes - (
            SELECT coalesce(sum(s.len), 0) FROM segments g CROSS JOIN shards s
            WHERE s.segment = g.id AND g.content = ? AND s.node = stored.node AND s.state = 1))
         WHERE account = ?",
    )
    .bind(&id)
    .bind(row.get::<Vec<u8>, _>(0))
    .execute(&mut *tx)
    .await?;
    for sql in [
        "DELETE FROM repairs WHERE segment IN (SELECT id FROM segments WHERE content = ?)",
        "DELETE FROM shards WHERE segment IN (SELECT id FROM segments WHERE content = ?)",
        "DELETE FROM segments WHERE content = ?",
        "DELETE FROM contents WHERE id = ?",
    ] {
        sqlx::query(sql).bind(&id).execute(&mut *tx).await?;
    }
    Ok(())
}
