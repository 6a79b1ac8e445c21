//! Audits: what is waited for, and what came of it.
//!
//! Not here: what can be asked for (`holdings`), which challenge is drawn and
//! what a score is (`object::audit`).

use protocol::audit::{AuditLine, Outcome};
use protocol::{Epoch, NodeId, ShardId};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::holdings::{NUM, shard};
use super::nodes::add_event;
use super::{Meta, MetaError, Millis, bytes, from_sql, to_sql};
use crate::object::audit::Score;

/// A challenge that a node did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The node.
    pub node: NodeId,
    /// The shard.
    pub shard: ShardId,
    /// The group of it.
    pub group: u64,
    /// How often it was asked.
    pub tries: u32,
}

/// What came of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The node.
    pub node: NodeId,
    /// How it ended.
    pub outcome: Outcome,
    /// The epoch it counts for.
    pub epoch: Epoch,
    /// Why, in words.
    pub text: String,
}

/// How audits of a node ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditCounts {
    /// Passed.
    pub ok: u64,
    /// Not reached.
    pub offline: u64,
    /// Connected and silent.
    pub contained: u64,
    /// Wrong or not found.
    pub failed: u64,
}

impl AuditCounts {
    /// The share of audits for which the node was connected, in millionths;
    /// none if there were none.
    pub fn online(&self) -> Option<u64> {
        let there = self.ok + self.contained + self.failed;
        (there * 1_000_000).checked_div(there + self.offline)
    }
}

/// Something that happened to a node's standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// When.
    pub at_ms: Millis,
    /// What: an outcome or a state.
    pub kind: String,
    /// Why, in words.
    pub text: String,
    /// The score after it, in millionths.
    pub score: u64,
}

impl Meta {
    /// Writes down how an audit ended: the score, the counts of the epoch, and
    /// an event unless it passed. Returns the score, in millionths, and how many
    /// audits the node passed; nothing for a node that is not known.
    pub async fn judge_audit(
        &self,
        judged: Judged,
        now: Millis,
    ) -> Result<Option<(u32, u64)>, MetaError> {
        self.writer.run(move |tx| Box::pin(async move { judge(tx, &judged, now).await })).await
    }

    /// Writes down that a node sent what does not belong to a shard.
    pub async fn note_lie(&self, node: NodeId, text: String, now: Millis) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let row = sqlx::query("SELECT num FROM nodes WHERE id = ?")
                        .bind(node.0.to_vec())
                        .fetch_optional(&mut *tx)
                        .await?;
                    let Some(row) = row else { return Ok(()) };
                    add_event(tx, row.get(0), "lie", &text, now).await
                })
            })
            .await
    }

    /// Keeps a challenge that was not answered, to be asked again. One of the same
    /// shard that waits already stays as it is: being asked anew is no fresh start.
    pub async fn keep_challenge(&self, waiting: Waiting, due: Millis) -> Result<(), MetaError> {
        let group = to_sql(waiting.group)?;
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let sql = format!(
                        "INSERT INTO challenges (node, segment, idx, grp, tries, due_ms)
                         VALUES ({NUM}, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
                    );
                    sqlx::query(AssertSqlSafe(sql))
                        .bind(waiting.node.0.to_vec())
                        .bind(waiting.shard.segment.0.to_vec())
                        .bind(i64::from(waiting.shard.index))
                        .bind(group)
                        .bind(waiting.tries)
                        .bind(due)
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    /// A challenge that waited was asked again, and waits on.
    pub async fn put_off_challenge(&self, waiting: Waiting, due: Millis) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let sql = format!(
                        "UPDATE challenges SET tries = ?, due_ms = ?
                         WHERE node = {NUM} AND segment = ? AND idx = ?"
                    );
                    sqlx::query(AssertSqlSafe(sql))
                        .bind(waiting.tries)
                        .bind(due)
                        .bind(waiting.node.0.to_vec())
                        .bind(waiting.shard.segment.0.to_vec())
                        .bind(i64::from(waiting.shard.index))
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Challenges that are to be asked again by now.
    pub async fn due_challenges(&self, now: Millis, max: u32) -> Result<Vec<Waiting>, MetaError> {
        let rows = sqlx::query(
            "SELECT n.id, c.segment, c.idx, c.grp, c.tries FROM challenges c
             JOIN nodes n ON n.num = c.node WHERE c.due_ms <= ? ORDER BY c.due_ms LIMIT ?",
        )
        .bind(now)
        .bind(max)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Waiting {
                    node: NodeId(bytes(row.get(0), "a node id")?),
                    shard: shard(row.get(1), row.get(2))?,
                    group: from_sql(row.get(3))?,
                    tries: row.get(4),
                })
            })
            .collect()
    }

    /// A challenge is over.
    pub async fn drop_challenge(&self, node: NodeId, shard: ShardId) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let sql = format!(
                        "DELETE FROM challenges WHERE node = {NUM} AND segment = ? AND idx = ?"
                    );
                    sqlx::query(AssertSqlSafe(sql))
                        .bind(node.0.to_vec())
                        .bind(shard.segment.0.to_vec())
                        .bind(i64::from(shard.index))
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    /// How the audits of an epoch ended, by node.
    pub async fn audit_lines(&self, epoch: Epoch) -> Result<Vec<AuditLine>, MetaError> {
        let rows = sqlx::query(
            "SELECT n.id, a.passed, a.offline, a.contained, a.failed, a.score
             FROM audits_counted a JOIN nodes n ON n.num = a.node
             WHERE a.epoch = ? ORDER BY n.id",
        )
        .bind(to_sql(epoch.0)?)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(AuditLine {
                    node: NodeId(bytes(row.get(0), "a node id")?),
                    ok: row.get(1),
                    offline: row.get(2),
                    contained: row.get(3),
                    failed: row.get(4),
                    score: row.get(5),
                })
            })
            .collect()
    }

    /// Epochs with audits, oldest first.
    pub async fn audited_epochs(&self) -> Result<Vec<Epoch>, MetaError> {
        let rows = sqlx::query("SELECT DISTINCT epoch FROM audits_counted ORDER BY epoch")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| Ok(Epoch(from_sql(row.get(0))?))).collect()
    }

    /// Forgets the counts of epochs before this one.
    pub async fn forget_audits(&self, before: Epoch) -> Result<(), MetaError> {
        let before = to_sql(before.0)?;
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM audits_counted WHERE epoch < ?")
                        .bind(before)
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    /// How a node's audits ended in the epochs that are kept.
    pub async fn audit_counts(&self, node: NodeId) -> Result<AuditCounts, MetaError> {
        let sql = format!(
            "SELECT coalesce(sum(passed), 0), coalesce(sum(offline), 0),
                    coalesce(sum(contained), 0), coalesce(sum(failed), 0)
             FROM audits_counted WHERE node = {NUM}"
        );
        let row =
            sqlx::query(AssertSqlSafe(sql)).bind(node.0.to_vec()).fetch_one(&self.readers).await?;
        Ok(AuditCounts {
            ok: from_sql(row.get(0))?,
            offline: from_sql(row.get(1))?,
            contained: from_sql(row.get(2))?,
            failed: from_sql(row.get(3))?,
        })
    }

    /// What happened to a node's standing, newest first.
    pub async fn node_events(&self, node: NodeId, max: u32) -> Result<Vec<NodeEvent>, MetaError> {
        let sql = format!(
            "SELECT at_ms, kind, text, score FROM node_events WHERE node = {NUM}
             ORDER BY id DESC LIMIT ?"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(node.0.to_vec())
            .bind(max)
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                let score = from_sql(row.get(3))?;
                Ok(NodeEvent { at_ms: row.get(0), kind: row.get(1), text: row.get(2), score })
            })
            .collect()
    }
}

async fn judge(
    tx: &mut SqliteConnection,
    judged: &Judged,
    now: Millis,
) -> Result<Option<(u32, u64)>, MetaError> {
    let row = sqlx::query("SELECT num, alpha, beta, passed FROM nodes WHERE id = ?")
        .bind(judged.node.0.to_vec())
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let num: i64 = row.get(0);
    let before = Score { alpha: row.get(1), beta: row.get(2) };
    let score = match judged.outcome {
        Outcome::Passed => before.after(true),
        Outcome::Failed => before.after(false),
        // Not held against it, or not yet.
        Outcome::Offline | Outcome::Contained => before,
    };
    let [passed, offline, contained, failed] =
        Outcome::ALL.map(|outcome| i64::from(outcome == judged.outcome));
    sqlx::query("UPDATE nodes SET alpha = ?, beta = ?, passed = passed + ? WHERE num = ?")
        .bind(score.alpha)
        .bind(score.beta)
        .bind(passed)
        .bind(num)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "INSERT INTO audits_counted (epoch, node, passed, offline, contained, failed, score)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (epoch, node) DO UPDATE SET
            passed = passed + excluded.passed, offline = offline + excluded.offline,
            contained = contained + excluded.contained, failed = failed + excluded.failed,
            score = excluded.score",
    )
    .bind(to_sql(judged.epoch.0)?)
    .bind(num)
    .bind(passed)
    .bind(offline)
    .bind(contained)
    .bind(failed)
    .bind(i64::from(score.millionths()))
    .execute(&mut *tx)
    .await?;
    if is_news(tx, num, judged.outcome).await? {
        add_event(tx, num, judged.outcome.name(), &judged.text, now).await?;
    }
    Ok(Some((score.millionths(), from_sql(row.get::<i64, _>(3) + passed)?)))
}

/// A node that is away for long would push out all else that happened to it.
async fn is_news(tx: &mut SqliteConnection, num: i64, outcome: Outcome) -> Result<bool, MetaError> {
    if outcome != Outcome::Offline {
        return Ok(outcome != Outcome::Passed);
    }
    let row = sqlx::query("SELECT kind FROM node_events WHERE node = ? ORDER BY id DESC LIMIT 1")
        .bind(num)
        .fetch_optional(tx)
        .await?;
    Ok(row.is_none_or(|row| row.get::<&str, _>(0) != Outcome::Offline.name()))
}
