//! Shards that nodes lost by their audits: for the ledger, until it knows, and as
//! long as their segments live for repair, which puts them elsewhere.

use std::collections::BTreeSet;

use protocol::{Epoch, NodeId, Root, SegmentId, ShardId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::contents::shard_index;
use super::holdings::shard;
use super::{Meta, MetaError, bytes, from_sql, to_sql};

/// A shard that a node did not prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The shard.
    pub shard: ShardId,
    /// Who had it.
    pub node: NodeId,
    /// The epoch of the audit.
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

impl Meta {
    /// Keeps a loss for the ledger. One that it does not know yet stays as it is: a
    /// claim that is made again must be the same.
    pub async fn keep_loss(&self, loss: Loss) -> Result<(), MetaError> {
        let (epoch, len) = (to_sql(loss.epoch.0)?, to_sql(loss.len)?);
        let group = to_sql(loss.group)?;
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO losses (segment, idx, node, epoch, root, len, data, grp)
                         VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                         ON CONFLICT (segment, idx, node) DO UPDATE
                         SET epoch = excluded.epoch, root = excluded.root, len = excluded.len,
                             data = excluded.data, grp = excluded.grp, is_claimed = 0
                         WHERE is_claimed = 1",
                    )
                    .bind(loss.shard.segment.0.to_vec())
                    .bind(i64::from(loss.shard.index))
                    .bind(loss.node.0.to_vec())
                    .bind(epoch)
                    .bind(loss.root.0.to_vec())
                    .bind(len)
                    .bind(i64::from(loss.data))
                    .bind(group)
                    .execute(tx)
                    .await?;
                    Ok(())
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
             WHERE is_claimed = 0 AND (segment, idx, node) > (?, ?, ?)
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
    pub async fn claimed_loss(&self, shard: ShardId, node: NodeId) -> Result<(), MetaError> {
        let (segment, index) = (shard.segment.0.to_vec(), i64::from(shard.index));
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE losses SET is_claimed = 1
                         WHERE segment = ? AND idx = ? AND node = ?",
                    )
                    .bind(&segment)
                    .bind(index)
                    .bind(node.0.to_vec())
                    .execute(&mut *tx)
                    .await?;
                    // The segment may be gone since: nothing else takes the row then.
                    sqlx::query(
                        "DELETE FROM losses WHERE segment = ? AND is_claimed = 1
                         AND NOT EXISTS (SELECT 1 FROM segments WHERE id = losses.segment)",
                    )
                    .bind(&segment)
                    .execute(&mut *tx)
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
