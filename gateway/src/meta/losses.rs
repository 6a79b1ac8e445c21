//! Shards that nodes lost: for the ledger, until it knows, and as long as their
//! segments live for repair, which puts them elsewhere.

use std::collections::BTreeSet;

use protocol::{Epoch, NodeId, Root, SegmentId, ShardId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::contents::shard_index;
use super::holdings::shard;
use super::model::Millis;
use super::repairs::lose;
use super::{Meta, MetaError, bytes, from_sql, to_sql};

/// A shard that a node did not prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The shard.
    pub shard: ShardId,
    /// Who had it.
    pub node: NodeId,
    /// The epoch in which it showed.
    pub epoch: Epoch,
    /// Its root.
    pub root: Root,
    /// Its length.
    pub len: u64,
    /// How many shards it takes to rebuild it.
    pub data: u8,
    /// The group that was asked for.
    pub group: u64,
}

/// How long a claim that the ledger took may still be refuted by the bytes, and is not
/// made anew: twice what a network leaves for that.
const OPEN_MS: Millis = 48 * 3600 * 1000;

impl Meta {
    /// Keeps a loss for the ledger. One that is kept stays as it is while its claim
    /// may be open: a claim that is made again must be the same.
    pub async fn keep_loss(&self, loss: Loss, now: Millis) -> Result<(), MetaError> {
        self.writer.run(move |tx| Box::pin(async move { keep(tx, &loss, now).await })).await
    }

    /// Takes note that a node has lost a shard, and keeps that for the ledger, if it
    /// still is the one that should hold it.
    pub async fn lose_claimed(&self, loss: Loss, now: Millis) -> Result<bool, MetaError> {
        let ShardId { segment, index } = loss.shard;
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let is_lost = lose(tx, segment, index, loss.node, now).await?;
                    if is_lost {
                        keep(tx, &loss, now).await?;
                    }
                    Ok(is_lost)
                })
            })
            .await
    }

    /// Losses that the ledger does not know, at most `max` of those that come
    /// after this one.
    pub async fn losses(
        &self,
        after: Option<(ShardId, NodeId)>,
        max: u32,
    ) -> Result<Vec<Loss>, MetaError> {
        let (segment, index, node) = match after {
            Some((shard, node)) => {
                (shard.segment.0.to_vec(), i64::from(shard.index), node.0.to_vec())
            }
            None => (Vec::new(), 0, Vec::new()),
        };
        let rows = sqlx::query(
            "SELECT segment, idx, node, epoch, root, len, data, grp FROM losses
             WHERE claimed_ms IS NULL AND (segment, idx, node) > (?, ?, ?)
             ORDER BY segment, idx, node LIMIT ?",
        )
        .bind(segment)
        .bind(index)
        .bind(node)
        .bind(max)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let data = u8::try_from(row.get::<i64, _>(6));
                Ok(Loss {
                    shard: shard(row.get(0), row.get(1))?,
                    node: NodeId(bytes(row.get(2), "a node id")?),
                    epoch: Epoch(from_sql(row.get(3))?),
                    root: Root(bytes(row.get(4), "a root")?),
                    len: from_sql(row.get(5))?,
                    data: data.map_err(|_| MetaError::Corrupt("a scheme"))?,
                    group: from_sql(row.get(7))?,
                })
            })
            .collect()
    }

    /// The ledger knows of a loss, or never will.
    pub async fn claimed_loss(
        &self,
        shard: ShardId,
        node: NodeId,
        now: Millis,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE losses SET claimed_ms = ?
                         WHERE segment = ? AND idx = ? AND node = ?",
                    )
                    .bind(now)
                    .bind(shard.segment.0.to_vec())
                    .bind(i64::from(shard.index))
                    .bind(node.0.to_vec())
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Forgets losses of segments that are gone, when nobody refutes them any more.
    pub async fn forget_losses(&self, now: Millis) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "DELETE FROM losses WHERE claimed_ms < ?
                         AND NOT EXISTS (SELECT 1 FROM segments WHERE id = losses.segment)",
                    )
                    .bind(closed_before(now))
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Who lost which shards of a segment.
    pub(super) async fn losers(
        &self,
        segment: SegmentId,
    ) -> Result<BTreeSet<(u8, NodeId)>, MetaError> {
        let rows = sqlx::query("SELECT idx, node FROM losses WHERE segment = ?")
            .bind(segment.0.to_vec())
            .fetch_all(&self.readers)
            .await?;
        let loser = |row: &SqliteRow| {
            Ok((shard_index(row.get(0))?, NodeId(bytes(row.get(1), "a node id")?)))
        };
        rows.iter().map(loser).collect()
    }
}

/// Since when a claim must have been taken for the bytes to be of no use any more.
pub(super) fn closed_before(now: Millis) -> Millis {
    now - OPEN_MS
}

async fn keep(tx: &mut SqliteConnection, loss: &Loss, now: Millis) -> Result<(), MetaError> {
    sqlx::query(
        "INSERT INTO losses (segment, idx, node, epoch, root, len, data, grp)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (segment, idx, node) DO UPDATE
         SET epoch = excluded.epoch, root = excluded.root, len = excluded.len,
             data = excluded.data, grp = excluded.grp, claimed_ms = NULL
         WHERE claimed_ms < ?",
    )
    .bind(loss.shard.segment.0.to_vec())
    .bind(i64::from(loss.shard.index))
    .bind(loss.node.0.to_vec())
    .bind(to_sql(loss.epoch.0)?)
    .bind(loss.root.0.to_vec())
    .bind(to_sql(loss.len)?)
    .bind(i64::from(loss.data))
    .bind(to_sql(loss.group)?)
    .bind(closed_before(now))
    .execute(tx)
    .await?;
    Ok(())
}
