//! Contents: intents of uploads, their segments and shards. What is no longer
//! wanted stands in `condemned`.
//!
//! A content is `open` from its intent to its commit. Whatever decides its fate
//! does so by a compare-and-set on the state: a commit that finds it no longer
//! open fails, and an abort that finds it no longer open does nothing. Clock
//! skew can therefore cost an upload, never an object.

use erasure::{CodecId, Scheme};
use protocol::{AccountId, Incarnation, NodeId, Root, SegmentId};
use sqlx::{Row, SqliteConnection};

use super::model::{
    Content, ContentId, Millis, PlacedShard, Segment, StoredSegment, StoredShard, Written,
};
use super::{Meta, MetaError, bytes, from_sql, repairs, to_sql};

const OPEN: i64 = 0;
const LIVE: i64 = 1;
const CONDEMNED: i64 = 2;

/// Where a content stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentState {
    /// Being written.
    Open,
    /// Referred to by a version or part.
    Live,
    /// To be removed.
    Condemned,
    /// Not known.
    Absent,
}

impl ContentState {
    pub(super) fn of(number: i64) -> Result<Self, MetaError> {
        match number {
            OPEN => Ok(Self::Open),
            LIVE => Ok(Self::Live),
            CONDEMNED => Ok(Self::Condemned),
            _ => Err(MetaError::Corrupt("a content state")),
        }
    }
}

/// What is written down before the first byte of a segment goes to a node.
#[derive(Clone, Debug)]
pub struct Intent {
    /// The content, which this makes if it is the first segment.
    pub content: ContentId,
    /// Whose it is.
    pub account: AccountId,
    /// Data and parity.
    pub scheme: Scheme,
    /// The code.
    pub codec: CodecId,
    /// Tells the right data key from a wrong one.
    pub key_commit: [u8; 32],
    /// The segment's number.
    pub ordinal: u32,
    /// The segment.
    pub segment: SegmentId,
    /// The node chosen for each shard; `None` where there are too few nodes.
    pub nodes: Vec<Option<(NodeId, Incarnation)>>,
    /// When the upload counts as abandoned.
    pub lease_ms: Millis,
}

impl Meta {
    /// Writes down that shards are about to be sent.
    pub async fn intend(&self, intent: Intent) -> Result<(), MetaError> {
        self.writer.run(move |tx| Box::pin(async move { write_intent(tx, &intent).await })).await
    }

    /// Records a segment that is not the last, so that the commit need not.
    pub async fn keep_segment(
        &self,
        content: ContentId,
        account: AccountId,
        segment: StoredSegment,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move { record_segment(tx, content, account, &segment).await })
            })
            .await
    }

    /// Where a content stands: asked when the outcome of a commit is not known.
    pub async fn content_state(&self, content: ContentId) -> Result<ContentState, MetaError> {
        let row = sqlx::query("SELECT state FROM contents WHERE id = ?")
            .bind(content.0.to_vec())
            .fetch_optional(&self.readers)
            .await?;
        row.map_or(Ok(ContentState::Absent), |row| ContentState::of(row.get(0)))
    }

    /// Records a shard that became durable after its segment was committed:
    /// it need not be repaired.
    pub async fn late_shard(
        &self,
        account: AccountId,
        segment: SegmentId,
        stored: StoredShard,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move { record_late(tx, account, segment, &stored).await })
            })
            .await
    }

    /// A content that a version refers to, or did when a reader looked: what is
    /// condemned stays readable until it is forgotten.
    pub async fn content(&self, id: ContentId) -> Result<Content, MetaError> {
        let row = sqlx::query(
            "SELECT size, scheme, codec, key_commit, inline_bytes FROM contents
             WHERE id = ? AND state IN (1, 2)",
        )
        .bind(id.0.to_vec())
        .fetch_optional(&self.readers)
        .await?
        .ok_or(MetaError::NoSuchKey)?;
        let codec = u16::try_from(row.get::<i64, _>(2))
            .ok()
            .and_then(|codec| CodecId::try_from(codec).ok())
            .ok_or(MetaError::Corrupt("a codec"))?;
        Ok(Content {
            id,
            size: from_sql(row.get(0))?,
            scheme: row.get::<&str, _>(1).parse().map_err(|_| MetaError::Corrupt("a scheme"))?,
            codec,
            key_commit: bytes(row.get(3), "a key commitment")?,
            inline: row.get(4),
        })
    }

    /// One segment of a content, with those shards that were stored.
    pub async fn segment(&self, content: ContentId, ordinal: u32) -> Result<Segment, MetaError> {
        let rows = sqlx::query(
            "SELECT g.id, g.len, s.idx, n.id, s.root, s.len FROM segments g
             LEFT JOIN shards s ON s.segment = g.id AND s.state = 1
             LEFT JOIN nodes n ON n.num = s.node
             WHERE g.content = ? AND g.ordinal = ? ORDER BY s.idx",
        )
        .bind(content.0.to_vec())
        .bind(ordinal)
        .fetch_all(&self.readers)
        .await?;
        let first = rows.first().ok_or(MetaError::NoSuchKey)?;
        let id = SegmentId(bytes(first.get(0), "a segment id")?);
        let len = from_sql(first.get(1))?;
        let mut shards = Vec::with_capacity(rows.len());
        for row in &rows {
            // A segment without a stored shard still has its row.
            let Some(index) = row.get::<Option<i64>, _>(2) else { continue };
            shards.push(PlacedShard {
                index: shard_index(index)?,
                node: NodeId(bytes(row.get(3), "a node id")?),
                root: Root(bytes(row.get(4), "a root")?),
                len: from_sql(row.get(5))?,
            });
        }
        Ok(Segment { ordinal, id, len, shards })
    }
}

pub(super) fn shard_index(value: i64) -> Result<u8, MetaError> {
    u8::try_from(value).map_err(|_| MetaError::Corrupt("a shard index"))
}

async fn write_intent(tx: &mut SqliteConnection, intent: &Intent) -> Result<(), MetaError> {
    let content = intent.content.0.to_vec();
    if intent.ordinal == 0 {
        sqlx::query(
            "INSERT INTO contents (id, state, account, size, scheme, codec, key_commit,
                                   lease_ms, not_before_ms)
             VALUES (?, 0, ?, 0, ?, ?, ?, ?, 0)",
        )
        .bind(&content)
        .bind(intent.account.0.to_vec())
        .bind(intent.scheme.to_string())
        .bind(i64::from(u16::from(intent.codec)))
        .bind(intent.key_commit.to_vec())
        .bind(intent.lease_ms)
        .execute(&mut *tx)
        .await?;
    } else {
        // Each further segment renews the lease, if there still is one.
        let done = sqlx::query("UPDATE contents SET lease_ms = ? WHERE id = ? AND state = 0")
            .bind(intent.lease_ms)
            .bind(&content)
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() != 1 {
            return Err(MetaError::NotOpen);
        }
    }
    sqlx::query("INSERT INTO segments (content, ordinal, id, len) VALUES (?, ?, ?, 0)")
        .bind(&content)
        .bind(intent.ordinal)
        .bind(intent.segment.0.to_vec())
        .execute(&mut *tx)
        .await?;
    for (index, node) in intent.nodes.iter().enumerate() {
        let Some((node, incarnation)) = node else { continue };
        sqlx::query(
            "INSERT INTO shards (segment, idx, node, incarnation, root, len, state, gen)
             VALUES (?, ?, (SELECT num FROM nodes WHERE id = ?), ?, x'', 0, 0, 0)",
        )
        .bind(intent.segment.0.to_vec())
        .bind(i64::try_from(index).expect("at most 255 shards"))
        .bind(node.0.to_vec())
        .bind(incarnation.0.to_vec())
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Records the shards of a segment that are durable; the others are missing
/// and go to the repair queue with the commit.
async fn record_segment(
    tx: &mut SqliteConnection,
    content: ContentId,
    account: AccountId,
    segment: &StoredSegment,
) -> Result<(), MetaError> {
    let done = sqlx::query("UPDATE segments SET len = ? WHERE id = ? AND content = ?")
        .bind(to_sql(segment.len)?)
        .bind(segment.id.0.to_vec())
        .bind(content.0.to_vec())
        .execute(&mut *tx)
        .await?;
    if done.rows_affected() != 1 {
        return Err(MetaError::NotOpen);
    }
    for StoredShard { placed, incarnation } in &segment.shards {
        // The incarnation that acknowledged must be the one we know: a folder
        // that was wiped in between holds nothing.
        let done = sqlx::query(
            "UPDATE shards SET state = 1, root = ?, len = ?, incarnation = ?
             WHERE segment = ? AND idx = ? AND state = 0
               AND node = (SELECT num FROM nodes WHERE id = ? AND incarnation = ?
                             AND state NOT IN (3, 5, 6))",
        )
        .bind(placed.root.0.to_vec())
        .bind(to_sql(placed.len)?)
        .bind(incarnation.0.to_vec())
        .bind(segment.id.0.to_vec())
        .bind(i64::from(placed.index))
        .bind(placed.node.0.to_vec())
        .bind(incarnation.0.to_vec())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 1 {
            count_stored(tx, account, placed, incarnation).await?;
        }
    }
    Ok(())
}

async fn record_late(
    tx: &mut SqliteConnection,
    account: AccountId,
    segment: SegmentId,
    stored: &StoredShard,
) -> Result<(), MetaError> {
    let StoredShard { placed, incarnation } = stored;
    let done = sqlx::query(
        "UPDATE shards SET state = 1, root = ?, len = ?, incarnation = ?
         WHERE segment = ? AND idx = ? AND state = 2 AND gen = 0
           AND node = (SELECT num FROM nodes WHERE id = ? AND incarnation = ?)
           AND NOT EXISTS (SELECT 1 FROM leftovers l WHERE l.segment = shards.segment
                             AND l.idx = shards.idx AND l.node = shards.node)",
    )
    .bind(placed.root.0.to_vec())
    .bind(to_sql(placed.len)?)
    .bind(incarnation.0.to_vec())
    .bind(segment.0.to_vec())
    .bind(i64::from(placed.index))
    .bind(placed.node.0.to_vec())
    .bind(incarnation.0.to_vec())
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        // The segment is not committed, is gone, or was repaired meanwhile, or
        // the place is about to be emptied.
        return Ok(());
    }
    sqlx::query("DELETE FROM repairs WHERE segment = ? AND idx = ?")
        .bind(segment.0.to_vec())
        .bind(i64::from(placed.index))
        .execute(&mut *tx)
        .await?;
    count_stored(tx, account, placed, incarnation).await
}

pub(super) async fn count_stored(
    tx: &mut SqliteConnection,
    account: AccountId,
    placed: &PlacedShard,
    incarnation: &Incarnation,
) -> Result<(), MetaError> {
    sqlx::query(
        "INSERT INTO stored (node, account, bytes)
         SELECT num, ?, ? FROM nodes WHERE id = ? AND incarnation = ?
         ON CONFLICT (node, account) DO UPDATE SET bytes = bytes + excluded.bytes",
    )
    .bind(account.0.to_vec())
    .bind(to_sql(placed.len)?)
    .bind(placed.node.0.to_vec())
    .bind(incarnation.0.to_vec())
    .execute(tx)
    .await?;
    Ok(())
}

/// Turns an open content into a live one, if it still is open and every
/// segment has its quorum on nodes that still are who they were.
pub(super) async fn make_live(
    tx: &mut SqliteConnection,
    written: &Written,
    now: Millis,
) -> Result<(), MetaError> {
    let id = written.content.0.to_vec();
    if let Some(inline) = &written.inline {
        sqlx::query(
            "INSERT INTO contents (id, state, account, size, scheme, codec, key_commit,
                                   lease_ms, not_before_ms, inline_bytes)
             VALUES (?, 1, ?, ?, ?, ?, ?, 0, 0, ?)",
        )
        .bind(id)
        .bind(written.account.0.to_vec())
        .bind(to_sql(written.size)?)
        .bind(written.scheme.to_string())
        .bind(i64::from(u16::from(written.codec)))
        .bind(written.key_commit.to_vec())
        .bind(inline)
        .execute(tx)
        .await?;
        return Ok(());
    }
    let done = sqlx::query("UPDATE contents SET state = 1, size = ? WHERE id = ? AND state = 0")
        .bind(to_sql(written.size)?)
        .bind(&id)
        .execute(&mut *tx)
        .await?;
    if done.rows_affected() != 1 {
        return Err(MetaError::NotOpen);
    }
    if let Some(segment) = &written.last_segment {
        record_segment(tx, written.content, written.account, segment).await?;
    }
    check_quorum(tx, written).await?;
    let total = written.scheme.total();
    repairs::queue_missing(tx, written.content, total, now).await?;
    sqlx::query(
        "UPDATE shards SET state = 2 WHERE state = 0
           AND segment IN (SELECT id FROM segments WHERE content = ?)",
    )
    .bind(&id)
    .execute(tx)
    .await?;
    Ok(())
}

async fn check_quorum(tx: &mut SqliteConnection, written: &Written) -> Result<(), MetaError> {
    let full = sqlx::query(
        "SELECT count(*) FROM segments g WHERE g.content = ? AND g.len > 0 AND
            (SELECT count(*) FROM shards s JOIN nodes n ON n.num = s.node
             WHERE s.segment = g.id AND s.state = 1 AND s.incarnation = n.incarnation
               AND n.state NOT IN (3, 5, 6)) >= ?",
    )
    .bind(written.content.0.to_vec())
    .bind(i64::from(written.quorum))
    .fetch_one(tx)
    .await?;
    if from_sql(full.get(0))? == u64::from(written.segments) {
        Ok(())
    } else {
        Err(MetaError::Quorum)
    }
}

/// Checks that a content may be referred to once more.
pub(super) async fn check_live(
    tx: &mut SqliteConnection,
    content: ContentId,
) -> Result<(), MetaError> {
    let row = sqlx::query("SELECT 1 FROM contents WHERE id = ? AND state = 1")
        .bind(content.0.to_vec())
        .fetch_optional(tx)
        .await?;
    row.map(|_| ()).ok_or(MetaError::SourceGone)
}
