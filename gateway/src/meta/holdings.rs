//! What a node must hold: shards that it can be asked to prove, and what could not
//! be read without it.
//!
//! A shard can be audited while its content is live: from then until the
//! content is condemned the node must have it. Shards of contents that are
//! condemned may be deleted at any time.

use erasure::Scheme;
use protocol::{NodeId, Root, SegmentId, ShardId};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::contents::shard_index;
use super::{Meta, MetaError, bytes, from_sql};
use crate::object::audit::by_bytes;

/// The number of a node.
pub(super) const NUM: &str = "(SELECT num FROM nodes WHERE id = ?)";

/// Rows that a shard that is audited is drawn from.
const LOOK_MAX: i64 = 256;

/// Shards that are handled at once.
const PAGE: u32 = 1000;

/// A shard that a node must be able to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The shard.
    pub shard: ShardId,
    /// Its root.
    pub root: Root,
    /// Its length.
    pub len: u64,
    /// How many shards it takes to rebuild it.
    pub data: u8,
}

impl Meta {
    /// One of the shards of a node whose segments are not below `point`, or else
    /// of the first of all; `pick` says which, see `object::audit::by_bytes`.
    /// Segment ids are random, so any byte is as likely.
    pub async fn audit_target(
        &self,
        node: NodeId,
        point: [u8; 16],
        pick: u64,
    ) -> Result<Option<Target>, MetaError> {
        for from in [point, [0; 16]] {
            // The index of shards by node goes on by segment and index.
            let sql = format!(
                "SELECT s.segment, s.idx, s.root, s.len, c.scheme FROM (
                    SELECT * FROM shards INDEXED BY shards_node
                    WHERE node = {NUM} AND segment >= ? ORDER BY segment, idx LIMIT {LOOK_MAX}) s
                 JOIN nodes n ON n.num = s.node AND n.incarnation = s.incarnation
                 JOIN segments g ON g.id = s.segment
                 JOIN contents c ON c.id = g.content AND c.state = 1
                 WHERE s.state = 1 ORDER BY s.segment, s.idx"
            );
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(node.0.to_vec())
                .bind(from.to_vec())
                .fetch_all(&self.readers)
                .await?;
            let targets: Vec<_> = rows.iter().map(target).collect::<Result<_, MetaError>>()?;
            if let Some(one) = by_bytes(targets.iter().map(|target| target.len), pick) {
                return Ok(Some(targets[one]));
            }
        }
        Ok(None)
    }

    /// What a node must be able to prove of a shard, if it still must hold it.
    pub async fn audit_target_of(
        &self,
        node: NodeId,
        shard: ShardId,
    ) -> Result<Option<Target>, MetaError> {
        let row = sqlx::query(
            "SELECT s.segment, s.idx, s.root, s.len, c.scheme FROM shards s
             JOIN nodes n ON n.num = s.node AND n.incarnation = s.incarnation
             JOIN segments g ON g.id = s.segment
             JOIN contents c ON c.id = g.content AND c.state = 1
             WHERE s.segment = ? AND s.idx = ? AND n.id = ? AND s.state = 1",
        )
        .bind(shard.segment.0.to_vec())
        .bind(i64::from(shard.index))
        .bind(node.0.to_vec())
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| target(&row)).transpose()
    }

    /// Segments that could not be read without this node, with one of them.
    pub async fn depending_on(&self, node: NodeId) -> Result<(u64, Option<SegmentId>), MetaError> {
        let (mut count, mut example, mut after) = (0, None, Vec::new());
        loop {
            // Other shards count where they are kept and nobody doubts it.
            let sql = format!(
                "SELECT s.segment, c.scheme,
                    (SELECT count(*) FROM shards o JOIN nodes n ON n.num = o.node
                     WHERE o.segment = s.segment AND o.state = 1 AND o.node <> s.node
                       AND n.incarnation = o.incarnation AND n.state IN (0, 1, 2, 4)
                       AND NOT EXISTS (SELECT 1 FROM repairs r
                                       WHERE r.segment = o.segment AND r.idx = o.idx))
                 FROM shards s JOIN segments g ON g.id = s.segment
                 JOIN contents c ON c.id = g.content AND c.state = 1
                 WHERE s.node = {NUM} AND s.segment > ? AND s.state = 1
                 ORDER BY s.segment LIMIT {PAGE}"
            );
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(node.0.to_vec())
                .bind(after)
                .fetch_all(&self.readers)
                .await?;
            let Some(last) = rows.last() else { return Ok((count, example)) };
            after = last.get(0);
            for row in &rows {
                let scheme: Scheme =
                    row.get::<&str, _>(1).parse().map_err(|_| MetaError::Corrupt("a scheme"))?;
                if row.get::<i64, _>(2) < i64::from(scheme.needed()) {
                    count += 1;
                    example.get_or_insert(SegmentId(bytes(row.get(0), "a segment id")?));
                }
            }
        }
    }
}

pub(super) fn shard(segment: &[u8], index: i64) -> Result<ShardId, MetaError> {
    let segment = SegmentId(bytes(segment, "a segment id")?);
    Ok(ShardId { segment, index: shard_index(index)? })
}

fn target(row: &SqliteRow) -> Result<Target, MetaError> {
    let scheme: Scheme =
        row.get::<&str, _>(4).parse().map_err(|_| MetaError::Corrupt("a scheme"))?;
    Ok(Target {
        shard: shard(row.get(0), row.get(1))?,
        root: Root(bytes(row.get(2), "a root")?),
        len: from_sql(row.get(3))?,
        data: scheme.needed(),
    })
}
