//! The repair queue: shards that a segment should have and has not, or whose
//! node is gone. The most endangered segments come first.
//!
//! A row is put here by the transaction that finds the loss, and taken away by
//! the one that places the shard anew (`places`). Not here: what is done about
//! it (`upkeep::repair`).

use std::collections::BTreeSet;

use erasure::{CodecId, Scheme};
use protocol::{AccountId, Incarnation, NodeId, Root, SegmentId, ShardId};
use sqlx::{Row, SqliteConnection};

use super::contents::shard_index;
use super::model::{ContentId, Millis};
use super::{Meta, MetaError, bytes, from_sql};

/// Sets the margin of the queued shards of some segments: how many shards
/// beyond the needed ones stand, those in the queue not counted.
const SET_MARGIN: &str = "UPDATE repairs SET margin = (
        SELECT count(*) FROM shards s JOIN nodes n ON n.num = s.node
        WHERE s.segment = repairs.segment AND s.state = 1
          AND s.incarnation = n.incarnation AND n.state NOT IN (3, 5, 6)
          AND NOT EXISTS (SELECT 1 FROM repairs r
                          WHERE r.segment = s.segment AND r.idx = s.idx)
    ) - (
        SELECT CAST(substr(c.scheme, 1, instr(c.scheme, '+') - 1) AS INTEGER)
        FROM segments g JOIN contents c ON c.id = g.content WHERE g.id = repairs.segment
    )";

/// Shards that are queued in one transaction.
const PAGE: u32 = 2000;

/// A segment and all that is known of its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSegment {
    /// The segment.
    pub segment: SegmentId,
    /// The content that it is part of.
    pub content: ContentId,
    /// Whose it is.
    pub account: AccountId,
    /// Encrypted bytes.
    pub len: u64,
    /// Data and parity.
    pub scheme: Scheme,
    /// The code.
    pub codec: CodecId,
    /// What is known of each shard that ever had a node.
    pub shards: Vec<KnownShard>,
    /// The numbers of the shards in the queue, and how often each was tried.
    pub queued: Vec<(u8, i64)>,
    /// Who lost which of the shards.
    losers: BTreeSet<(u8, NodeId)>,
}

impl KnownSegment {
    /// Nodes that are not to be trusted with this shard again where another can have
    /// it: they lost it, or do not show it, and would refute that by the new copy.
    pub fn losers(&self, index: u8) -> Vec<NodeId> {
        let has_failed =
            |shard: &&KnownShard| shard.index == index && (shard.doubtful || shard.stored);
        let holders = self.shards.iter().filter(has_failed).map(|shard| shard.node);
        let lost = self.losers.iter().filter(|(of, _)| *of == index).map(|(_, node)| *node);
        holders.chain(lost).collect()
    }

    /// How often it was tried to place this shard anew.
    pub fn tries(&self, index: u8) -> i64 {
        self.queued.iter().find(|(of, _)| *of == index).map_or(0, |(_, tries)| *tries)
    }
}

/// One shard, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownShard {
    /// Its number.
    pub index: u8,
    /// The node that holds it, or should.
    pub node: NodeId,
    /// The life of the node's folder that it was stored in.
    pub incarnation: Incarnation,
    /// Whether it was stored, in the life of the folder that is the present one.
    pub stored: bool,
    /// Whether it is said to be lost by a folder that once had it: it may be
    /// there all the same, which its root would show.
    pub doubtful: bool,
    /// Its root; without meaning unless it is stored or doubtful.
    pub root: Root,
    /// Its bytes; likewise.
    pub len: u64,
    /// Grows with every change of place: a repair compares and sets it.
    pub generation: i64,
}

impl Meta {
    /// Queues a shard that a read found lost or spoilt.
    pub async fn queue_repair(
        &self,
        segment: SegmentId,
        index: u8,
        now: Millis,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO repairs (segment, idx, queued_ms)
                         SELECT segment, idx, ? FROM shards WHERE segment = ? AND idx = ?
                         ON CONFLICT (segment, idx) DO UPDATE SET absent = 0",
                    )
                    .bind(now)
                    .bind(segment.0.to_vec())
                    .bind(i64::from(index))
                    .execute(&mut *tx)
                    .await?;
                    set_margin(tx, segment).await
                })
            })
            .await
    }

    /// Takes note that `node` has lost a shard, if it still is the one that
    /// should hold it: it is missing from now on, not paid for, and queued.
    pub async fn lose_shard(
        &self,
        segment: SegmentId,
        index: u8,
        node: NodeId,
        now: Millis,
    ) -> Result<bool, MetaError> {
        self.writer
            .run(move |tx| Box::pin(async move { lose(tx, segment, index, node, now).await }))
            .await
    }

    /// Queues everything that a node holds, since it is gone or does not answer;
    /// says how many shards that were. A page at a time: others write, too.
    pub async fn queue_node(
        &self,
        node: NodeId,
        absent: bool,
        now: Millis,
    ) -> Result<u64, MetaError> {
        let (mut after, mut queued) = (None, 0);
        loop {
            let page = self.shards_of_node(node, after, PAGE).await?;
            let Some((segment, last)) = page.last() else { return Ok(queued) };
            after = Some(ShardId { segment: *segment, index: last.index });
            queued += self
                .writer
                .run(move |tx| {
                    Box::pin(async move {
                        let mut queued = 0;
                        for (segment, shard) in page {
                            queued +=
                                queue_held(tx, segment, shard.index, node, absent, now).await?;
                        }
                        Ok(queued)
                    })
                })
                .await?;
        }
    }

    /// Takes back what was queued only because a node did not answer.
    pub async fn unqueue_node(&self, node: NodeId) -> Result<u64, MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "DELETE FROM repairs WHERE absent = 1 AND EXISTS (
                            SELECT 1 FROM shards s JOIN nodes n ON n.num = s.node
                            WHERE s.segment = repairs.segment AND s.idx = repairs.idx
                              AND n.id = ? AND s.state = 1)",
                    )
                    .bind(node.0.to_vec())
                    .execute(&mut *tx)
                    .await?;
                    if done.rows_affected() > 0 {
                        set_margin_of_node(tx, node).await?;
                    }
                    Ok(done.rows_affected())
                })
            })
            .await
    }

    /// Queues shards of live segments that are stored nowhere, if they still are.
    pub async fn queue_unstored(
        &self,
        shards: Vec<(SegmentId, u8)>,
        now: Millis,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    for (segment, index) in shards {
                        let done = sqlx::query(
                            "INSERT INTO repairs (segment, idx, queued_ms)
                             SELECT g.id, ?2, ?3 FROM segments g
                             JOIN contents c ON c.id = g.content AND c.state = 1
                             WHERE g.id = ?1 AND NOT EXISTS (
                                SELECT 1 FROM shards s JOIN nodes n ON n.num = s.node
                                WHERE s.segment = ?1 AND s.idx = ?2 AND s.state = 1
                                  AND n.state NOT IN (3, 5, 6))
                             ON CONFLICT DO NOTHING",
                        )
                        .bind(segment.0.to_vec())
                        .bind(i64::from(index))
                        .bind(now)
                        .execute(&mut *tx)
                        .await?;
                        if done.rows_affected() > 0 {
                            set_margin(tx, segment).await?;
                        }
                    }
                    Ok(())
                })
            })
            .await
    }

    /// The most endangered segments whose time has come, with their margins.
    pub async fn damaged(
        &self,
        now: Millis,
        margin_max: i64,
        limit: u32,
    ) -> Result<Vec<(SegmentId, i64)>, MetaError> {
        let rows = sqlx::query(
            "SELECT segment, margin FROM repairs WHERE due_ms <= ? AND margin <= ?
             ORDER BY margin, due_ms LIMIT ?",
        )
        .bind(now)
        .bind(margin_max)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let mut found: Vec<(SegmentId, i64)> = Vec::with_capacity(rows.len());
        for row in rows {
            let segment = SegmentId(bytes(row.get(0), "a segment id")?);
            if found.iter().all(|(known, _)| *known != segment) {
                found.push((segment, row.get(1)));
            }
        }
        Ok(found)
    }

    /// All that is known of a segment of a live content; `None` when there is
    /// none (any more).
    pub async fn known_segment(
        &self,
        segment: SegmentId,
    ) -> Result<Option<KnownSegment>, MetaError> {
        let id = segment.0.to_vec();
        let row = sqlx::query(
            "SELECT c.id, c.account, g.len, c.scheme, c.codec FROM segments g
             JOIN contents c ON c.id = g.content WHERE g.id = ? AND c.state = 1",
        )
        .bind(&id)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let codec = u16::try_from(row.get::<i64, _>(4)).ok();
        let queued = sqlx::query("SELECT idx, tries FROM repairs WHERE segment = ? ORDER BY idx")
            .bind(&id)
            .fetch_all(&self.readers)
            .await?;
        let queued = queued.iter().map(|row| Ok((shard_index(row.get(0))?, row.get(1))));
        let queued = queued.collect::<Result<_, MetaError>>()?;
        Ok(Some(KnownSegment {
            segment,
            content: ContentId(bytes(row.get(0), "a content id")?),
            account: AccountId(bytes(row.get(1), "an account id")?),
            len: from_sql(row.get(2))?,
            scheme: row.get::<&str, _>(3).parse().map_err(|_| MetaError::Corrupt("a scheme"))?,
            codec: codec
                .and_then(|codec| CodecId::try_from(codec).ok())
                .ok_or(MetaError::Corrupt("a codec"))?,
            shards: self.known_shards(segment).await?,
            queued,
            losers: self.losers(segment).await?,
        }))
    }

    async fn known_shards(&self, segment: SegmentId) -> Result<Vec<KnownShard>, MetaError> {
        let rows = sqlx::query(
            "SELECT s.idx, n.id, s.incarnation, s.state = 1 AND s.incarnation = n.incarnation,
                    s.root, s.len, s.gen,
                    s.state = 2 AND s.incarnation = n.incarnation AND s.root <> x''
             FROM shards s JOIN nodes n ON n.num = s.node WHERE s.segment = ? ORDER BY s.idx",
        )
        .bind(segment.0.to_vec())
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let (stored, doubtful): (bool, bool) = (row.get(3), row.get(7));
                Ok(KnownShard {
                    index: shard_index(row.get(0))?,
                    node: NodeId(bytes(row.get(1), "a node id")?),
                    incarnation: Incarnation(bytes(row.get(2), "an incarnation")?),
                    stored,
                    doubtful,
                    root: if stored || doubtful {
                        Root(bytes(row.get(4), "a root")?)
                    } else {
                        Root([0; 32])
                    },
                    len: from_sql(row.get(5))?,
                    generation: row.get(6),
                })
            })
            .collect()
    }

    /// Takes a shard from the queue that turned out to be sound, unless it was
    /// lost or moved since it was looked at.
    pub async fn unqueue(
        &self,
        segment: SegmentId,
        index: u8,
        generation: i64,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "DELETE FROM repairs WHERE segment = ?1 AND idx = ?2 AND EXISTS (
                            SELECT 1 FROM shards WHERE segment = ?1 AND idx = ?2
                              AND state = 1 AND gen = ?3)",
                    )
                    .bind(segment.0.to_vec())
                    .bind(i64::from(index))
                    .bind(generation)
                    .execute(&mut *tx)
                    .await?;
                    set_margin(tx, segment).await
                })
            })
            .await
    }

    /// Puts off a segment whose repair did not work out: each time for twice as
    /// long, up to an hour.
    pub async fn postpone_repair(&self, segment: SegmentId, now: Millis) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE repairs SET tries = tries + 1,
                            due_ms = ? + min(3600000, 1000 << min(tries, 12))
                         WHERE segment = ?",
                    )
                    .bind(now)
                    .bind(segment.0.to_vec())
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Whoever waited because of what was missing is tried again at once: a node
    /// joined or came back.
    pub async fn hurry_repairs(&self) -> Result<(), MetaError> {
        self.writer
            .run(|tx| {
                Box::pin(async move {
                    sqlx::query("UPDATE repairs SET due_ms = 0, tries = 0 WHERE due_ms > 0")
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    /// How many shards wait for repair.
    pub async fn repairs_waiting(&self) -> Result<u64, MetaError> {
        let row = sqlx::query("SELECT count(*) FROM repairs").fetch_one(&self.readers).await?;
        from_sql(row.get(0))
    }
}

/// Queues a shard that is on `node`; says whether it was not queued yet.
async fn queue_held(
    tx: &mut SqliteConnection,
    segment: SegmentId,
    index: u8,
    node: NodeId,
    absent: bool,
    now: Millis,
) -> Result<u64, MetaError> {
    let done = sqlx::query(
        "INSERT INTO repairs (segment, idx, queued_ms, absent)
         SELECT s.segment, s.idx, ?, ? FROM shards s JOIN nodes n ON n.num = s.node
         WHERE s.segment = ? AND s.idx = ? AND s.state = 1 AND n.id = ?
         ON CONFLICT DO NOTHING",
    )
    .bind(now)
    .bind(i64::from(absent))
    .bind(segment.0.to_vec())
    .bind(i64::from(index))
    .bind(node.0.to_vec())
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() > 0 {
        set_margin(tx, segment).await?;
    }
    Ok(done.rows_affected())
}

pub(super) async fn lose(
    tx: &mut SqliteConnection,
    segment: SegmentId,
    index: u8,
    node: NodeId,
    now: Millis,
) -> Result<bool, MetaError> {
    let (id, index) = (segment.0.to_vec(), i64::from(index));
    // What is gone is not paid for any more.
    sqlx::query(
        "UPDATE stored SET bytes = max(0, bytes - (
            SELECT coalesce(sum(s.len), 0) FROM shards s JOIN nodes n ON n.num = s.node
            WHERE s.segment = ? AND s.idx = ? AND s.state = 1 AND n.id = ?
              AND n.num = stored.node))
         WHERE node = (SELECT num FROM nodes WHERE id = ?)
           AND account = (SELECT c.account FROM segments g JOIN contents c ON c.id = g.content
                          WHERE g.id = ?)",
    )
    .bind(&id)
    .bind(index)
    .bind(node.0.to_vec())
    .bind(node.0.to_vec())
    .bind(&id)
    .execute(&mut *tx)
    .await?;
    // Root and length are kept: if it is there after all, it can be read.
    let done = sqlx::query(
        "UPDATE shards SET state = 2, gen = gen + 1
         WHERE segment = ? AND idx = ? AND state = 1
           AND node = (SELECT num FROM nodes WHERE id = ?)",
    )
    .bind(&id)
    .bind(index)
    .bind(node.0.to_vec())
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO repairs (segment, idx, queued_ms) VALUES (?, ?, ?)
         ON CONFLICT (segment, idx) DO UPDATE SET absent = 0",
    )
    .bind(&id)
    .bind(index)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    set_margin(tx, segment).await?;
    Ok(true)
}

/// Queues every shard of a content that is not stored: those that no node
/// acknowledged, and those for which there was no node.
pub(super) async fn queue_missing(
    tx: &mut SqliteConnection,
    content: ContentId,
    total: u8,
    now: Millis,
) -> Result<(), MetaError> {
    let mut queued = 0;
    for index in 0..total {
        let done = sqlx::query(
            "INSERT INTO repairs (segment, idx, queued_ms)
             SELECT g.id, ?, ? FROM segments g WHERE g.content = ?
               AND NOT EXISTS (SELECT 1 FROM shards s
                               WHERE s.segment = g.id AND s.idx = ? AND s.state = 1)
             ON CONFLICT DO NOTHING",
        )
        .bind(i64::from(index))
        .bind(now)
        .bind(content.0.to_vec())
        .bind(i64::from(index))
        .execute(&mut *tx)
        .await?;
        queued += done.rows_affected();
    }
    if queued > 0 {
        let sql =
            format!("{SET_MARGIN} WHERE segment IN (SELECT id FROM segments WHERE content = ?)");
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(content.0.to_vec()).execute(tx).await?;
    }
    Ok(())
}

/// Counts anew how endangered a segment is.
pub(super) async fn set_margin(
    tx: &mut SqliteConnection,
    segment: SegmentId,
) -> Result<(), MetaError> {
    let sql = format!("{SET_MARGIN} WHERE segment = ?");
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(segment.0.to_vec()).execute(tx).await?;
    Ok(())
}

/// Counts anew how endangered the segments are that a node holds a shard of.
pub(super) async fn set_margin_of_node(
    tx: &mut SqliteConnection,
    node: NodeId,
) -> Result<(), MetaError> {
    let sql = format!(
        "{SET_MARGIN} WHERE segment IN (
            SELECT s.segment FROM shards s JOIN nodes n ON n.num = s.node WHERE n.id = ?)"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(node.0.to_vec()).execute(tx).await?;
    Ok(())
}
