//! Shards that nodes lost by their audits, until the ledger knows.

use protocol::{Epoch, NodeId, Root, ShardId};
use sqlx::Row;

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
    /// Keeps a loss for the ledger. The first of a shard there stays as it is: a
    /// claim that is made again must be the same.
    pub async fn keep_loss(&self, loss: Loss) -> Result<(), MetaError> {
        let (epoch, len) = (to_sql(loss.epoch.0)?, to_sql(loss.len)?);
        let group = to_sql(loss.group)?;
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO losses (segment, idx, node, epoch, root, len, data, grp)
                         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
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
             WHERE (segment, idx, node) > (?, ?, ?) ORDER BY segment, idx, node LIMIT ?",
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

    /// The ledger knows of it, or never will.
    pub async fn drop_loss(&self, shard: ShardId, node: NodeId) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM losses WHERE segment = ? AND idx = ? AND node = ?")
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
}
