//! What was metered, kept so that a gateway that stops goes on where it was,
//! and so that what it once signed never goes down.

use std::collections::HashMap;

use protocol::price::Counters;
use protocol::wire::Wire;
use protocol::{AccountId, Epoch, NodeId};
use sqlx::Row;

use super::{Meta, MetaError, bytes, from_sql, to_sql};

/// Bytes of shards that a node holds for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBytes {
    /// The node.
    pub node: NodeId,
    /// The account.
    pub account: AccountId,
    /// Bytes.
    pub bytes: u64,
}

impl Meta {
    /// Who holds how much for whom.
    pub async fn stored(&self) -> Result<Vec<StoredBytes>, MetaError> {
        let rows = sqlx::query(
            "SELECT n.id, s.account, s.bytes FROM stored s JOIN nodes n ON n.num = s.node
             WHERE s.bytes > 0",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(StoredBytes {
                    node: NodeId(bytes(row.get(0), "a node id")?),
                    account: AccountId(bytes(row.get(1), "an account id")?),
                    bytes: from_sql(row.get(2))?,
                })
            })
            .collect()
    }

    /// Bytes of the shards that count on each node. What a node says that it stores
    /// is more: shards that left it stay for a grace.
    pub async fn stored_by_node(&self) -> Result<HashMap<NodeId, u64>, MetaError> {
        let rows = sqlx::query(
            "SELECT n.id, sum(s.bytes) FROM stored s JOIN nodes n ON n.num = s.node GROUP BY n.num",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| Ok((NodeId(bytes(row.get(0), "a node id")?), from_sql(row.get(1))?)))
            .collect()
    }

    /// Keeps what was metered so far in an epoch.
    pub async fn keep_metered(
        &self,
        epoch: Epoch,
        nodes: Vec<(NodeId, Counters)>,
        accounts: Vec<(AccountId, Counters)>,
    ) -> Result<(), MetaError> {
        let epoch = to_sql(epoch.0)?;
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    for (node, counters) in nodes {
                        sqlx::query(
                            "INSERT INTO metered_nodes (epoch, node, counters) VALUES (?, ?, ?)
                             ON CONFLICT (epoch, node) DO UPDATE
                             SET counters = excluded.counters",
                        )
                        .bind(epoch)
                        .bind(node.0.to_vec())
                        .bind(counters.to_wire())
                        .execute(&mut *tx)
                        .await?;
                    }
                    for (account, counters) in accounts {
                        sqlx::query(
                            "INSERT INTO metered_accounts (epoch, account, counters)
                             VALUES (?, ?, ?)
                             ON CONFLICT (epoch, account) DO UPDATE
                             SET counters = excluded.counters",
                        )
                        .bind(epoch)
                        .bind(account.0.to_vec())
                        .bind(counters.to_wire())
                        .execute(&mut *tx)
                        .await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// What nodes were metered in an epoch.
    pub async fn metered_nodes(&self, epoch: Epoch) -> Result<Vec<(NodeId, Counters)>, MetaError> {
        let rows = sqlx::query("SELECT node, counters FROM metered_nodes WHERE epoch = ?")
            .bind(to_sql(epoch.0)?)
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| Ok((NodeId(bytes(row.get(0), "a node id")?), counters(row.get(1))?)))
            .collect()
    }

    /// What accounts were metered in an epoch.
    pub async fn metered_accounts(
        &self,
        epoch: Epoch,
    ) -> Result<Vec<(AccountId, Counters)>, MetaError> {
        let rows = sqlx::query("SELECT account, counters FROM metered_accounts WHERE epoch = ?")
            .bind(to_sql(epoch.0)?)
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| Ok((AccountId(bytes(row.get(0), "an account id")?), counters(row.get(1))?)))
            .collect()
    }

    /// Epochs of which something is kept, oldest first.
    pub async fn metered_epochs(&self) -> Result<Vec<Epoch>, MetaError> {
        let rows = sqlx::query(
            "SELECT epoch FROM metered_nodes UNION SELECT epoch FROM metered_accounts
             ORDER BY 1",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok(Epoch(from_sql(row.get(0))?))).collect()
    }

    /// Forgets an epoch that is settled.
    pub async fn forget_metered(&self, epoch: Epoch) -> Result<(), MetaError> {
        let epoch = to_sql(epoch.0)?;
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    for sql in [
                        "DELETE FROM metered_nodes WHERE epoch = ?",
                        "DELETE FROM metered_accounts WHERE epoch = ?",
                    ] {
                        sqlx::query(sql).bind(epoch).execute(&mut *tx).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

fn counters(bytes: &[u8]) -> Result<Counters, MetaError> {
    Counters::from_wire(bytes).map_err(|_| MetaError::Corrupt("counters"))
}
