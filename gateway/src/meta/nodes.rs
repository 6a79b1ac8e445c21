//! Storage nodes, as far as metadata must know them: a number to refer to,
//! which life of the node's folder is the present one, and the node's standing.
//!
//! Not here: what moves a node from one state to another (`nodes::lifecycle`),
//! and what it holds (`contents`).

use protocol::{Incarnation, NodeId};
use sqlx::{Row, SqliteConnection};

use super::{Meta, MetaError, Millis, bytes, from_sql};
use crate::object::audit::Score;

/// Events that are kept of one node: the newest.
const EVENTS_MAX: i64 = 1000;

/// How a node stands with this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeState {
    /// New: it gets a small share of placements until it has proved itself.
    Vetting,
    /// In full use.
    Active,
    /// It leaves in good order: nothing new, and what it holds is moved away.
    Draining,
    /// It left: nothing is on it any more.
    Left,
    /// The operator paused it: nothing new; what it holds stays and is read.
    Suspended,
    /// It failed its audits: what it holds counts as lost.
    Disqualified,
    /// It did not answer for so long that what it holds counts as lost.
    Lost,
}

impl NodeState {
    /// All of them, by number.
    pub const ALL: [Self; 7] = [
        Self::Vetting,
        Self::Active,
        Self::Draining,
        Self::Left,
        Self::Suspended,
        Self::Disqualified,
        Self::Lost,
    ];

    /// The word in JSON, metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vetting => "vetting",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Left => "left",
            Self::Suspended => "suspended",
            Self::Disqualified => "disqualified",
            Self::Lost => "lost",
        }
    }

    /// Whether new shards may be placed there.
    pub fn takes_shards(self) -> bool {
        matches!(self, Self::Vetting | Self::Active)
    }

    /// Whether the shards there count for the redundancy of their segments.
    pub fn keeps_shards(self) -> bool {
        !matches!(self, Self::Left | Self::Disqualified | Self::Lost)
    }

    fn number(self) -> i64 {
        self as i64
    }

    fn from_number(number: i64) -> Result<Self, MetaError> {
        let place = usize::try_from(number).ok();
        place.and_then(|place| Self::ALL.get(place).copied()).ok_or(CORRUPT)
    }
}

const CORRUPT: MetaError = MetaError::Corrupt("the state of a node");

/// A node and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownNode {
    /// The node.
    pub node: NodeId,
    /// The present life of its folder.
    pub incarnation: Incarnation,
    /// How it stands.
    pub state: NodeState,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since_ms: Millis,
    /// When it last answered, up to a minute; 0 before the first time.
    pub seen_ms: Millis,
    /// Audits that it passed.
    pub passed: u64,
    /// Good outcomes of audits, in millionths, forgetting old ones.
    pub alpha: i64,
    /// Bad ones.
    pub beta: i64,
}

impl KnownNode {
    /// The score of its audits, in millionths.
    pub fn score(&self) -> u32 {
        Score { alpha: self.alpha, beta: self.beta }.millionths()
    }
}

impl Meta {
    /// All nodes that were ever seen.
    pub async fn nodes(&self) -> Result<Vec<KnownNode>, MetaError> {
        let rows = sqlx::query(
            "SELECT id, incarnation, state, reason, since_ms, seen_ms, passed, alpha, beta
             FROM nodes ORDER BY num",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(KnownNode {
                    node: NodeId(bytes(row.get(0), "a node id")?),
                    incarnation: Incarnation(bytes(row.get(1), "an incarnation")?),
                    state: NodeState::from_number(row.get(2))?,
                    reason: row.get(3),
                    since_ms: row.get(4),
                    seen_ms: row.get(5),
                    passed: from_sql(row.get(6))?,
                    alpha: row.get(7),
                    beta: row.get(8),
                })
            })
            .collect()
    }

    /// Moves a node to another state, if it is in one of `from`; says whether
    /// it was. The event is written down in the same transaction.
    pub async fn set_node_state(
        &self,
        node: NodeId,
        from: Vec<NodeState>,
        to: NodeState,
        reason: String,
        now: Millis,
    ) -> Result<bool, MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let row = sqlx::query("SELECT num, state FROM nodes WHERE id = ?")
                        .bind(node.0.to_vec())
                        .fetch_optional(&mut *tx)
                        .await?;
                    let Some(row) = row else { return Ok(false) };
                    let (num, state) = (row.get(0), NodeState::from_number(row.get(1))?);
                    if !from.contains(&state) {
                        return Ok(false);
                    }
                    move_to(tx, num, to, &reason, now).await?;
                    Ok(true)
                })
            })
            .await
    }

    /// Writes down who answered when, and that nodes are being watched.
    pub async fn keep_seen(
        &self,
        seen: Vec<(NodeId, Millis)>,
        now: Millis,
        watched: &'static str,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    for (node, seen_ms) in seen {
                        sqlx::query("UPDATE nodes SET seen_ms = max(seen_ms, ?) WHERE id = ?")
                            .bind(seen_ms)
                            .bind(node.0.to_vec())
                            .execute(&mut *tx)
                            .await?;
                    }
                    keep_watched(tx, watched, now).await
                })
            })
            .await
    }

    /// Nobody watched for `gap`: nodes count as seen that much later.
    pub async fn forgive_absence(
        &self,
        gap: Millis,
        now: Millis,
        watched: &'static str,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE nodes SET seen_ms = min(max(seen_ms, ?), seen_ms + ?)
                         WHERE seen_ms > 0",
                    )
                    .bind(now)
                    .bind(gap)
                    .execute(&mut *tx)
                    .await?;
                    keep_watched(tx, watched, now).await
                })
            })
            .await
    }

    /// Whether any shard that is wanted is on the node, or on its way to it. What
    /// is condemned goes in its time, and is missed by nobody.
    pub async fn holds_shards(&self, node: NodeId) -> Result<bool, MetaError> {
        let row = sqlx::query(
            "SELECT EXISTS (
                SELECT 1 FROM shards s JOIN segments g ON g.id = s.segment
                JOIN contents c ON c.id = g.content AND c.state <> 2
                WHERE s.node = (SELECT num FROM nodes WHERE id = ?1) AND s.state <> 2)
              OR EXISTS (
                SELECT 1 FROM leftovers WHERE state = 0
                  AND node = (SELECT num FROM nodes WHERE id = ?1))",
        )
        .bind(node.0.to_vec())
        .fetch_one(&self.readers)
        .await?;
        Ok(row.get(0))
    }

    /// Shards that are stored on the node, and their bytes.
    pub async fn shards_on(&self, node: NodeId) -> Result<(u64, u64), MetaError> {
        let row = sqlx::query(
            "SELECT count(*), coalesce(sum(len), 0) FROM shards
             WHERE node = (SELECT num FROM nodes WHERE id = ?) AND state = 1",
        )
        .bind(node.0.to_vec())
        .fetch_one(&self.readers)
        .await?;
        Ok((from_sql(row.get(0))?, from_sql(row.get(1))?))
    }

    /// Records a node's present incarnation. Shards of an earlier one are lost:
    /// they are queued for repair in the same transaction. A node that begins
    /// again with an empty folder begins again as a newcomer, too.
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
                    let before = sqlx::query(
                        "SELECT num, state, incarnation, alpha, beta FROM nodes WHERE id = ?",
                    )
                    .bind(&id)
                    .fetch_optional(&mut *tx)
                    .await?;
                    sqlx::query(
                        "INSERT INTO nodes (id, incarnation, reason, since_ms, seen_ms)
                         VALUES (?, ?, 'it joined', ?, ?)
                         ON CONFLICT (id) DO UPDATE
                         SET incarnation = excluded.incarnation, seen_ms = excluded.seen_ms",
                    )
                    .bind(&id)
                    .bind(&now)
                    .bind(now_ms)
                    .bind(now_ms)
                    .execute(&mut *tx)
                    .await?;
                    let Some(row) = before.filter(|row| row.get::<&[u8], _>(2) != now) else {
                        return Ok(()); // Shards are of the life that they were stored in.
                    };
                    let (num, state) = (row.get(0), NodeState::from_number(row.get(1))?);
                    let score = Score { alpha: row.get(3), beta: row.get(4) };
                    begin_again(tx, num, state, score, now_ms).await?;
                    // An empty folder has nothing left to empty.
                    sqlx::query("DELETE FROM leftovers WHERE node = ? AND state <> 0")
                        .bind(num)
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
                    .execute(&mut *tx)
                    .await?;
                    super::repairs::set_margin_of_node(tx, node).await
                })
            })
            .await
    }
}

/// A node that has a new folder is no longer the one that was known. What the
/// operator decided, and what it did wrong, stays.
async fn begin_again(
    tx: &mut SqliteConnection,
    num: i64,
    state: NodeState,
    score: Score,
    now: Millis,
) -> Result<(), MetaError> {
    const REASON: &str = "it began again with an empty folder";
    // No amnesty: what was on it is lost, though no audit asked for it.
    let score = score.wiped();
    sqlx::query("UPDATE nodes SET passed = 0, alpha = ?, beta = ? WHERE num = ?")
        .bind(score.alpha)
        .bind(score.beta)
        .bind(num)
        .execute(&mut *tx)
        .await?;
    match state {
        NodeState::Vetting | NodeState::Active | NodeState::Lost => {
            move_to(tx, num, NodeState::Vetting, REASON, now).await
        }
        NodeState::Draining | NodeState::Left | NodeState::Suspended | NodeState::Disqualified => {
            add_event(tx, num, state.name(), REASON, now).await
        }
    }
}

async fn keep_watched(
    tx: &mut SqliteConnection,
    watched: &str,
    now: Millis,
) -> Result<(), MetaError> {
    sqlx::query(
        "INSERT INTO settings (name, value) VALUES (?, ?)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(watched)
    .bind(now.to_string())
    .execute(tx)
    .await?;
    Ok(())
}

async fn move_to(
    tx: &mut SqliteConnection,
    num: i64,
    to: NodeState,
    reason: &str,
    now: Millis,
) -> Result<(), MetaError> {
    sqlx::query("UPDATE nodes SET state = ?, reason = ?, since_ms = ? WHERE num = ?")
        .bind(to.number())
        .bind(reason)
        .bind(now)
        .bind(num)
        .execute(&mut *tx)
        .await?;
    add_event(tx, num, to.name(), reason, now).await
}

/// Writes down what happened to a node, with its score after it, and forgets
/// what is too old to keep.
pub(super) async fn add_event(
    tx: &mut SqliteConnection,
    num: i64,
    kind: &str,
    text: &str,
    now: Millis,
) -> Result<(), MetaError> {
    sqlx::query(
        "INSERT INTO node_events (node, at_ms, kind, text, score)
         SELECT num, ?, ?, ?, 1000000 * alpha / max(1, alpha + beta) FROM nodes WHERE num = ?",
    )
    .bind(now)
    .bind(kind)
    .bind(text)
    .bind(num)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "DELETE FROM node_events WHERE node = ? AND id <= (
            SELECT id FROM node_events WHERE node = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
    )
    .bind(num)
    .bind(num)
    .bind(EVENTS_MAX)
    .execute(tx)
    .await?;
    Ok(())
}
