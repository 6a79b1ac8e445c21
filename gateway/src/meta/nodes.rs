//! Storage nodes, as far as metadata must know them: a number to refer to, and
//! which life of the node's folder is the present one.

use protocol::{Incarnation, NodeId};

use super::{Meta, MetaError};

impl Meta {
    /// Records a node's present incarnation. Shards of an earlier one are lost:
    /// they are queued for repair in the same transaction.
    pub async fn see_node(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        now_ms: i64,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let (id, now) = (node.0.to_vec(), incarnation.0.to_vec());
                    sqlx::query(
                        "INSERT INTO nodes (id, incarnation) VALUES (?, ?)
                         ON CONFLICT (id) DO UPDATE SET incarnation = excluded.incarnation",
                    )
                    .bind(&id)
                    .bind(&now)
                    .execute(&mut *tx)
                    .await?;
                    sqlx::query(
                        "INSERT INTO repairs (segment, idx, queued_ms)
                         SELECT s.segment, s.idx, ? FROM shards s
                         JOIN nodes n ON n.num = s.node
                         WHERE n.id = ? AND s.state = 1 AND s.incarnation <> ?
                         ON CONFLICT DO NOTHING",
                    )
                    .bind(now_ms)
                    .bind(&id)
                    .bind(&now)
                    .execute(&mut *tx)
                    .await?;
                    // What is gone is not paid for any more.
                    sqlx::query(
                        "UPDATE stored SET bytes = max(0, bytes - (
                            SELECT coalesce(sum(s.len), 0) FROM shards s
                            JOIN segments g ON g.id = s.segment
                            JOIN contents c ON c.id = g.content
                            WHERE s.node = stored.node AND c.account = stored.account
                              AND s.state = 1 AND s.incarnation <> ?))
                         WHERE node = (SELECT num FROM nodes WHERE id = ?)",
                    )
                    .bind(&now)
                    .bind(&id)
                    .execute(&mut *tx)
                    .await?;
                    sqlx::query(
                        "UPDATE shards SET state = 2, root = x'', len = 0, gen = gen + 1
                         WHERE node = (SELECT num FROM nodes WHERE id = ?)
                           AND state = 1 AND incarnation <> ?",
                    )
                    .bind(&id)
                    .bind(&now)
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// How many shards wait for repair.
    pub async fn repairs_waiting(&self) -> Result<u64, MetaError> {
        use sqlx::Row;
        let row = sqlx::query("SELECT count(*) FROM repairs").fetch_one(&self.readers).await?;
        super::from_sql(row.get(0))
    }
}
