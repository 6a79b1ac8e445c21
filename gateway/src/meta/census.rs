//! What a census compares with what nodes hold: segments and their shards in the
//! order of ids, and every other place that is known.

use std::collections::HashSet;

use erasure::Scheme;
use protocol::{NodeId, Root, SegmentId, ShardId};
use sqlx::Row;

use super::contents::{ContentState, shard_index};
use super::model::Millis;
use super::{Meta, MetaError, bytes, from_sql, to_sql};

/// A segment as a census sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedSegment {
    /// The segment.
    pub id: SegmentId,
    /// Where its content stands.
    pub state: ContentState,
    /// Data and parity.
    pub scheme: Scheme,
    /// Its shards that ever had a node.
    pub shards: Vec<CountedShard>,
}

/// A shard as a census sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedShard {
    /// Its number.
    pub index: u8,
    /// The node that holds it, or should, or was meant to.
    pub node: NodeId,
    /// Its root and length; `None` unless it was stored, in the present life of
    /// the node's folder.
    pub stored: Option<(Root, u64)>,
}

/// A shard that a node holds for us and metadata do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stray {
    /// The node.
    pub node: NodeId,
    /// The shard.
    pub shard: ShardId,
    /// Its bytes.
    pub len: u64,
}

impl Meta {
    /// Segments in the order of their ids, `after` excluded.
    pub async fn count_segments(
        &self,
        after: Option<SegmentId>,
        limit: u32,
    ) -> Result<Vec<CountedSegment>, MetaError> {
        let after = after.map_or(Vec::new(), |segment| segment.0.to_vec());
        let rows = sqlx::query(
            "SELECT g.id, c.state, c.scheme, s.idx, n.id,
                    s.state = 1 AND s.incarnation = n.incarnation, s.root, s.len
             FROM (SELECT id, content FROM segments WHERE id > ? ORDER BY id LIMIT ?) g
             JOIN contents c ON c.id = g.content
             LEFT JOIN shards s ON s.segment = g.id
             LEFT JOIN nodes n ON n.num = s.node
             ORDER BY g.id, s.idx",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let mut segments: Vec<CountedSegment> = Vec::new();
        for row in &rows {
            let id = SegmentId(bytes(row.get(0), "a segment id")?);
            if segments.last().is_none_or(|last| last.id != id) {
                segments.push(CountedSegment {
                    id,
                    state: ContentState::of(row.get(1))?,
                    scheme: row
                        .get::<&str, _>(2)
                        .parse()
                        .map_err(|_| MetaError::Corrupt("a scheme"))?,
                    shards: Vec::new(),
                });
            }
            let Some(index) = row.get::<Option<i64>, _>(3) else { continue };
            let stored = if row.get::<bool, _>(5) {
                Some((Root(bytes(row.get(6), "a root")?), from_sql(row.get(7))?))
            } else {
                None
            };
            let shard = CountedShard {
                index: shard_index(index)?,
                node: NodeId(bytes(row.get(4), "a node id")?),
                stored,
            };
            segments.last_mut().expect("pushed above").shards.push(shard);
        }
        Ok(segments)
    }

    /// Places from `from` to `to`, both included, that are about to be used or
    /// emptied.
    pub async fn leftovers_between(
        &self,
        from: SegmentId,
        to: SegmentId,
    ) -> Result<HashSet<(NodeId, ShardId)>, MetaError> {
        let rows = sqlx::query(
            "SELECT n.id, l.segment, l.idx FROM leftovers l JOIN nodes n ON n.num = l.node
             WHERE l.segment BETWEEN ? AND ?",
        )
        .bind(from.0.to_vec())
        .bind(to.0.to_vec())
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let segment = SegmentId(bytes(row.get(1), "a segment id")?);
                let shard = ShardId { segment, index: shard_index(row.get(2))? };
                Ok((NodeId(bytes(row.get(0), "a node id")?), shard))
            })
            .collect()
    }

    /// Whether metadata say that a shard is, will be or was on a node.
    pub async fn knows_place(&self, node: NodeId, shard: ShardId) -> Result<bool, MetaError> {
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM shards s JOIN nodes n ON n.num = s.node
                            WHERE s.segment = ?1 AND s.idx = ?2 AND n.id = ?3)
                 OR EXISTS (SELECT 1 FROM leftovers l JOIN nodes n ON n.num = l.node
                            WHERE l.segment = ?1 AND l.idx = ?2 AND n.id = ?3)",
        )
        .bind(shard.segment.0.to_vec())
        .bind(i64::from(shard.index))
        .bind(node.0.to_vec())
        .fetch_one(&self.readers)
        .await?;
        Ok(row.get(0))
    }

    /// Whether metadata say that a shard is stored on a node, now.
    pub async fn is_stored_on(
        &self,
        node: NodeId,
        shard: ShardId,
        root: Root,
    ) -> Result<bool, MetaError> {
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM shards s JOIN nodes n ON n.num = s.node
                            WHERE s.segment = ? AND s.idx = ? AND n.id = ? AND s.state = 1
                              AND s.incarnation = n.incarnation AND s.root = ?)",
        )
        .bind(shard.segment.0.to_vec())
        .bind(i64::from(shard.index))
        .bind(node.0.to_vec())
        .bind(root.0.to_vec())
        .fetch_one(&self.readers)
        .await?;
        Ok(row.get(0))
    }

    /// Keeps note of shards that nobody knows.
    pub async fn keep_strays(&self, strays: Vec<Stray>, now: Millis) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    for stray in &strays {
                        sqlx::query(
                            "INSERT INTO strays (node, segment, idx, len, first_ms)
                             SELECT num, ?, ?, ?, ? FROM nodes WHERE id = ?
                             ON CONFLICT DO NOTHING",
                        )
                        .bind(stray.shard.segment.0.to_vec())
                        .bind(i64::from(stray.shard.index))
                        .bind(to_sql(stray.len)?)
                        .bind(now)
                        .bind(stray.node.0.to_vec())
                        .execute(&mut *tx)
                        .await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Shards that nobody knows, oldest first.
    pub async fn strays(&self, limit: u32) -> Result<Vec<(Stray, Millis)>, MetaError> {
        let rows = sqlx::query(
            "SELECT n.id, t.segment, t.idx, t.len, t.first_ms FROM strays t
             JOIN nodes n ON n.num = t.node ORDER BY t.first_ms LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let segment = SegmentId(bytes(row.get(1), "a segment id")?);
                let stray = Stray {
                    node: NodeId(bytes(row.get(0), "a node id")?),
                    shard: ShardId { segment, index: shard_index(row.get(2))? },
                    len: from_sql(row.get(3))?,
                };
                Ok((stray, row.get(4)))
            })
            .collect()
    }

    /// How many shards are strays, and how many are stored as metadata know.
    pub async fn count_strays(&self) -> Result<(u64, u64), MetaError> {
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM strays), (SELECT count(*) FROM shards WHERE state = 1)",
        )
        .fetch_one(&self.readers)
        .await?;
        Ok((from_sql(row.get(0))?, from_sql(row.get(1))?))
    }

    /// Has a stray deleted, unless it is known by now: its place is a leftover from
    /// then on, so that nobody can settle there meanwhile.
    pub async fn doom_stray(&self, stray: Stray) -> Result<bool, MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "INSERT INTO leftovers (node, segment, idx, state, not_before_ms)
                         SELECT n.num, ?1, ?2, 1, 0 FROM nodes n WHERE n.id = ?3
                           AND NOT EXISTS (SELECT 1 FROM shards s
                                           WHERE s.segment = ?1 AND s.idx = ?2 AND s.node = n.num)
                         ON CONFLICT DO NOTHING",
                    )
                    .bind(stray.shard.segment.0.to_vec())
                    .bind(i64::from(stray.shard.index))
                    .bind(stray.node.0.to_vec())
                    .execute(&mut *tx)
                    .await?;
                    sqlx::query(
                        "DELETE FROM strays WHERE segment = ? AND idx = ?
                           AND node = (SELECT num FROM nodes WHERE id = ?)",
                    )
                    .bind(stray.shard.segment.0.to_vec())
                    .bind(i64::from(stray.shard.index))
                    .bind(stray.node.0.to_vec())
                    .execute(tx)
                    .await?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await
    }

    /// Forgets a stray that is gone, or known by now.
    pub async fn forget_stray(&self, stray: Stray) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "DELETE FROM strays WHERE segment = ? AND idx = ?
                           AND node = (SELECT num FROM nodes WHERE id = ?)",
                    )
                    .bind(stray.shard.segment.0.to_vec())
                    .bind(i64::from(stray.shard.index))
                    .bind(stray.node.0.to_vec())
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }
}
