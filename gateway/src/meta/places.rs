//! Shards that change their place: repaired, moved, and the places they leave.
//!
//! ```text
//! promise (a leftover, state 0) -> put on the node -> settle: compare-and-set of the generation
//!             |                        |               |- won:  the old place is returned, too
//!             |                        |               `- lost: the new place stays one
//!             `- return (state 2) <----' it failed: promised again, or emptied in the end
//! ```
//! A shard goes only to a place that is written down first, so whatever a crash
//! leaves on a node is known here. A place is promised once: while a shard is
//! being deleted from a node (state 1) it cannot be stored there again.
//!
//! A place that a shard left keeps its bytes for a while. It may be promised again
//! meanwhile, and is not emptied while its segment lacks a shard: it may be the
//! very one. Nor while the node may need the bytes to refute that it lost them.

use protocol::{AccountId, NodeId, SegmentId, ShardId};
use sqlx::{Row, SqliteConnection};

use super::contents::{count_stored, shard_index};
use super::losses::closed_before;
use super::model::{ContentId, Millis, PlacedShard, StoredShard};
use super::repairs::set_margin;
use super::{Meta, MetaError, bytes, from_sql};

/// A place whose node does not answer is looked at again after this.
const LATER_MS: Millis = 10 * 60 * 1000;

/// A shard that is durable in its new place.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// The content.
    pub content: ContentId,
    /// Whose it is.
    pub account: AccountId,
    /// The segment.
    pub segment: SegmentId,
    /// The generation that was found; `None` where the shard had no node yet.
    pub generation: Option<i64>,
    /// Where it is now.
    pub stored: StoredShard,
    /// The lease under which the place was promised: a place that was taken back
    /// and promised anew is somebody else's.
    pub lease: Millis,
    /// When the old place may be emptied: readers may still be there.
    pub not_before: Millis,
}

/// A shard in a place that metadata do not refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The node.
    pub node: NodeId,
    /// The shard.
    pub shard: ShardId,
}

impl Meta {
    /// Writes down that a shard is about to be stored on `node`. `false` when
    /// that place is not free.
    pub async fn promise_place(
        &self,
        node: NodeId,
        shard: ShardId,
        lease: Millis,
    ) -> Result<bool, MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "INSERT INTO leftovers (node, segment, idx, state, not_before_ms)
                         SELECT num, ?, ?, 0, ? FROM nodes WHERE id = ?
                         ON CONFLICT (node, segment, idx) DO UPDATE
                         SET state = 0, not_before_ms = excluded.not_before_ms
                         WHERE state = 2",
                    )
                    .bind(shard.segment.0.to_vec())
                    .bind(i64::from(shard.index))
                    .bind(lease)
                    .bind(node.0.to_vec())
                    .execute(tx)
                    .await?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await
    }

    /// Makes the new place of a shard the one that counts, if nothing changed
    /// meanwhile. `false` when something did: then the new place is a leftover.
    pub async fn settle_place(&self, replaced: Replaced) -> Result<bool, MetaError> {
        let shard = ShardId { segment: replaced.segment, index: replaced.stored.placed.index };
        let (node, lease) = (replaced.stored.placed.node, replaced.lease);
        let settled =
            self.writer.run(move |tx| Box::pin(async move { settle(tx, &replaced).await })).await;
        match settled {
            Err(MetaError::NotOpen) => {
                self.set_place(node, shard, 1, 0, Some(lease)).await?;
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    /// Gives a promised place up: whatever is there is to be deleted, and the
    /// node is not used for this shard until it is.
    pub async fn leave_place(
        &self,
        node: NodeId,
        shard: ShardId,
        not_before: Millis,
    ) -> Result<(), MetaError> {
        self.set_place(node, shard, 1, not_before, None).await
    }

    /// Gives a promised place back that may hold the shard or not: it can be
    /// promised again, since it would be the same bytes.
    pub async fn return_place(
        &self,
        node: NodeId,
        shard: ShardId,
        not_before: Millis,
    ) -> Result<(), MetaError> {
        self.set_place(node, shard, 2, not_before, None).await
    }

    async fn set_place(
        &self,
        node: NodeId,
        shard: ShardId,
        state: i64,
        not_before: Millis,
        lease: Option<Millis>,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE leftovers SET state = ?, not_before_ms = ?
                         WHERE segment = ? AND idx = ? AND state = 0
                           AND not_before_ms = coalesce(?, not_before_ms)
                           AND node = (SELECT num FROM nodes WHERE id = ?)",
                    )
                    .bind(state)
                    .bind(not_before)
                    .bind(shard.segment.0.to_vec())
                    .bind(i64::from(shard.index))
                    .bind(lease)
                    .bind(node.0.to_vec())
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Takes up to `limit` places whose time has come, promised ones that were
    /// abandoned included: from now on nobody can settle there.
    pub async fn take_leftovers(
        &self,
        now: Millis,
        limit: u32,
    ) -> Result<Vec<Leftover>, MetaError> {
        self.writer
            .run(move |tx| Box::pin(async move { take_leftovers(tx, now, limit).await }))
            .await
    }

    /// Forgets places that are empty now.
    pub async fn forget_leftovers(&self, gone: Vec<Leftover>) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    for Leftover { node, shard } in gone {
                        sqlx::query(
                            "DELETE FROM leftovers WHERE state = 1 AND segment = ? AND idx = ?
                               AND node = (SELECT num FROM nodes WHERE id = ?)",
                        )
                        .bind(shard.segment.0.to_vec())
                        .bind(i64::from(shard.index))
                        .bind(node.0.to_vec())
                        .execute(&mut *tx)
                        .await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Shards that a node holds, from `after` on, in order.
    pub async fn shards_of_node(
        &self,
        node: NodeId,
        after: Option<ShardId>,
        limit: u32,
    ) -> Result<Vec<(SegmentId, PlacedShard)>, MetaError> {
        let (segment, index) =
            after.map_or((Vec::new(), -1), |at| (at.segment.0.to_vec(), i64::from(at.index)));
        let rows = sqlx::query(
            "SELECT s.segment, s.idx, s.root, s.len FROM shards s JOIN nodes n ON n.num = s.node
             WHERE n.id = ? AND s.state = 1 AND (s.segment, s.idx) > (?, ?)
             ORDER BY s.node, s.segment, s.idx LIMIT ?",
        )
        .bind(node.0.to_vec())
        .bind(segment)
        .bind(index)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let placed = PlacedShard {
                    index: shard_index(row.get(1))?,
                    node,
                    root: protocol::Root(bytes(row.get(2), "a root")?),
                    len: from_sql(row.get(3))?,
                };
                Ok((SegmentId(bytes(row.get(0), "a segment id")?), placed))
            })
            .collect()
    }
}

async fn settle(tx: &mut SqliteConnection, replaced: &Replaced) -> Result<(), MetaError> {
    let StoredShard { placed: place, incarnation } = &replaced.stored;
    let (id, index) = (replaced.segment.0.to_vec(), i64::from(place.index));
    // Whoever empties places has not taken this one, nor was it promised anew.
    let kept = sqlx::query(
        "DELETE FROM leftovers WHERE state = 0 AND segment = ? AND idx = ? AND not_before_ms = ?
           AND node = (SELECT num FROM nodes WHERE id = ? AND incarnation = ?
                         AND state NOT IN (3, 5, 6))",
    )
    .bind(&id)
    .bind(index)
    .bind(replaced.lease)
    .bind(place.node.0.to_vec())
    .bind(incarnation.0.to_vec())
    .execute(&mut *tx)
    .await?;
    let live = sqlx::query("SELECT 1 FROM contents WHERE id = ? AND state = 1")
        .bind(replaced.content.0.to_vec())
        .fetch_optional(&mut *tx)
        .await?;
    // Two repairs of different shards may have chosen the same node.
    let other = sqlx::query(
        "SELECT 1 FROM shards WHERE segment = ? AND idx <> ? AND state = 1
           AND node = (SELECT num FROM nodes WHERE id = ?)",
    )
    .bind(&id)
    .bind(index)
    .bind(place.node.0.to_vec())
    .fetch_optional(&mut *tx)
    .await?;
    if kept.rows_affected() != 1 || live.is_none() || other.is_some() {
        return Err(MetaError::NotOpen);
    }
    leave_old(tx, replaced).await?;
    let done =
        match replaced.generation {
            Some(generation) => sqlx::query(
                "UPDATE shards SET state = 1, root = ?, len = ?, incarnation = ?, gen = gen + 1,
                        node = (SELECT num FROM nodes WHERE id = ?)
                 WHERE segment = ? AND idx = ? AND gen = ?",
            )
            .bind(place.root.0.to_vec())
            .bind(super::to_sql(place.len)?)
            .bind(incarnation.0.to_vec())
            .bind(place.node.0.to_vec())
            .bind(&id)
            .bind(index)
            .bind(generation)
            .execute(&mut *tx)
            .await?,
            None => {
                sqlx::query(
                    "INSERT INTO shards (segment, idx, node, incarnation, root, len, state, gen)
                 VALUES (?, ?, (SELECT num FROM nodes WHERE id = ?), ?, ?, ?, 1, 0)
                 ON CONFLICT DO NOTHING",
                )
                .bind(&id)
                .bind(index)
                .bind(place.node.0.to_vec())
                .bind(incarnation.0.to_vec())
                .bind(place.root.0.to_vec())
                .bind(super::to_sql(place.len)?)
                .execute(&mut *tx)
                .await?
            }
        };
    if done.rows_affected() != 1 {
        return Err(MetaError::NotOpen);
    }
    for sql in [
        "DELETE FROM repairs WHERE segment = ? AND idx = ?",
        "DELETE FROM challenges WHERE segment = ? AND idx = ?",
    ] {
        sqlx::query(sql).bind(&id).bind(index).execute(&mut *tx).await?;
    }
    count_stored(tx, replaced.account, place, incarnation).await?;
    set_margin(tx, replaced.segment).await
}

/// The place that the shard leaves is emptied later, and not paid for any more.
async fn leave_old(tx: &mut SqliteConnection, replaced: &Replaced) -> Result<(), MetaError> {
    let place = &replaced.stored.placed;
    let (id, index) = (replaced.segment.0.to_vec(), i64::from(place.index));
    sqlx::query(
        "UPDATE stored SET bytes = max(0, bytes - (
            SELECT s.len FROM shards s WHERE s.segment = ? AND s.idx = ?))
         WHERE account = ? AND node = (
            SELECT node FROM shards WHERE segment = ? AND idx = ? AND state = 1)",
    )
    .bind(&id)
    .bind(index)
    .bind(replaced.account.0.to_vec())
    .bind(&id)
    .bind(index)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO leftovers (node, segment, idx, state, not_before_ms)
         SELECT s.node, s.segment, s.idx, 2, ? FROM shards s
         WHERE s.segment = ? AND s.idx = ? AND s.node <> (SELECT num FROM nodes WHERE id = ?)
         ON CONFLICT (node, segment, idx) DO UPDATE SET state = 1",
    )
    .bind(replaced.not_before)
    .bind(&id)
    .bind(index)
    .bind(place.node.0.to_vec())
    .execute(tx)
    .await?;
    Ok(())
}

async fn take_leftovers(
    tx: &mut SqliteConnection,
    now: Millis,
    limit: u32,
) -> Result<Vec<Leftover>, MetaError> {
    // A repair in place that was abandoned: what stands there is referred to, or
    // is the doubtful copy that may be needed yet.
    sqlx::query(
        "DELETE FROM leftovers WHERE not_before_ms <= ? AND EXISTS (
            SELECT 1 FROM shards s WHERE s.segment = leftovers.segment AND s.idx = leftovers.idx
              AND s.node = leftovers.node AND (s.state = 1 OR s.root <> x''))",
    )
    .bind(now)
    .execute(&mut *tx)
    .await?;
    // A repair that was given up may be tried at the same place again.
    sqlx::query(
        "UPDATE leftovers SET state = 2 WHERE state = 0 AND not_before_ms <= ?
           AND EXISTS (SELECT 1 FROM repairs r WHERE r.segment = leftovers.segment)",
    )
    .bind(now)
    .execute(&mut *tx)
    .await?;
    let rows = sqlx::query(
        "SELECT n.id, l.segment, l.idx FROM leftovers l JOIN nodes n ON n.num = l.node
         WHERE l.not_before_ms <= ? AND (l.state <> 2
           OR NOT EXISTS (SELECT 1 FROM repairs r WHERE r.segment = l.segment))
           AND NOT EXISTS (SELECT 1 FROM losses x
             WHERE x.segment = l.segment AND x.idx = l.idx AND x.node = n.id
               AND (x.claimed_ms IS NULL OR x.claimed_ms >= ?))
         ORDER BY l.not_before_ms LIMIT ?",
    )
    .bind(now)
    .bind(closed_before(now))
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in rows {
        let node = NodeId(bytes(row.get(0), "a node id")?);
        let segment = SegmentId(bytes(row.get(1), "a segment id")?);
        let shard = ShardId { segment, index: shard_index(row.get(2))? };
        // Looked at again later, if the node does not answer now.
        sqlx::query(
            "UPDATE leftovers SET state = 1, not_before_ms = ?
             WHERE segment = ? AND idx = ? AND node = (SELECT num FROM nodes WHERE id = ?)",
        )
        .bind(now + LATER_MS)
        .bind(segment.0.to_vec())
        .bind(i64::from(shard.index))
        .bind(node.0.to_vec())
        .execute(&mut *tx)
        .await?;
        // Nor may a straggler be counted there any more, however late it is told.
        sqlx::query(
            "UPDATE shards SET gen = gen + 1 WHERE segment = ? AND idx = ?
               AND node = (SELECT num FROM nodes WHERE id = ?)",
        )
        .bind(segment.0.to_vec())
        .bind(i64::from(shard.index))
        .bind(node.0.to_vec())
        .execute(&mut *tx)
        .await?;
        taken.push(Leftover { node, shard });
    }
    Ok(taken)
}
