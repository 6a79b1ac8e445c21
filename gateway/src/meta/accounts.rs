//! Accounts and their access keys.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use protocol::AccountId;
use protocol::ids::PublicKey;
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::model::{Account, Millis, canonical_id};
use super::{Meta, MetaError, bytes};

/// An access key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// The public half.
    pub id: String,
    /// Whose it is.
    pub account: AccountId,
    /// The secret half, sealed with the master key.
    pub sealed_secret: Vec<u8>,
    /// Its own policy (JSON), which must allow what it does.
    pub policy: Option<String>,
    /// When it was made.
    pub created_ms: Millis,
}

fn account(row: &SqliteRow) -> Result<Account, MetaError> {
    Ok(Account {
        id: AccountId(bytes(row.get(0), "an account id")?),
        name: row.get(1),
        display_name: row.get(2),
        email: row.get(3),
        created_ms: row.get(4),
        owner: match row.get::<Option<&[u8]>, _>(5) {
            Some(owner) => Some(PublicKey(bytes(owner, "an owner's key")?)),
            None => None,
        },
    })
}

fn access_key(row: &SqliteRow) -> Result<AccessKey, MetaError> {
    Ok(AccessKey {
        id: row.get(0),
        account: AccountId(bytes(row.get(1), "an account id")?),
        sealed_secret: row.get(2),
        policy: row.get(3),
        created_ms: row.get(4),
    })
}

/// Turns a violated uniqueness into a sentence of ours.
fn exists(what: &'static str) -> impl Fn(sqlx::Error) -> MetaError {
    move |error| match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => {
            let is_email = database.message().contains("accounts_email");
            MetaError::Exists(if is_email { "an account of this e-mail address" } else { what })
        }
        _ => error.into(),
    }
}

/// Accounts by the id that S3 shows. It is a hash of the id, so SQL cannot look
/// for it; accounts are never deleted, so this only grows.
#[derive(Clone, Default)]
pub(super) struct CanonicalIds(Arc<RwLock<HashMap<String, AccountId>>>);

impl CanonicalIds {
    /// Those of all accounts.
    pub async fn load(readers: &SqlitePool) -> Result<Self, MetaError> {
        let rows = sqlx::query("SELECT id FROM accounts").fetch_all(readers).await?;
        let ids = Self::default();
        for row in rows {
            ids.add(AccountId(bytes(row.get(0), "an account id")?));
        }
        Ok(ids)
    }

    fn add(&self, id: AccountId) {
        let mut ids = self.0.write().unwrap_or_else(PoisonError::into_inner);
        ids.insert(canonical_id(id), id);
    }

    fn find(&self, canonical: &str) -> Option<AccountId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(canonical).copied()
    }
}

impl Meta {
    /// Makes an account.
    pub async fn add_account(&self, account: Account) -> Result<(), MetaError> {
        let id = account.id;
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO accounts (id, name, display_name, email, created_ms, owner)
                         VALUES (?, ?, ?, ?, ?, ?)",
                    )
                    .bind(account.id.0.to_vec())
                    .bind(account.name)
                    .bind(account.display_name)
                    .bind(account.email)
                    .bind(account.created_ms)
                    .bind(account.owner.map(|owner| owner.0.to_vec()))
                    .execute(tx)
                    .await
                    .map_err(exists("an account of this name"))?;
                    Ok(())
                })
            })
            .await?;
        self.canonical_ids.add(id);
        Ok(())
    }

    /// All accounts, by name.
    pub async fn accounts(&self) -> Result<Vec<Account>, MetaError> {
        let rows = sqlx::query(
            "SELECT id, name, display_name, email, created_ms, owner FROM accounts ORDER BY name",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(account).collect()
    }

    /// The account of this name.
    pub async fn account_named(&self, name: &str) -> Result<Account, MetaError> {
        let row = sqlx::query(
            "SELECT id, name, display_name, email, created_ms, owner FROM accounts WHERE name = ?",
        )
        .bind(name)
        .fetch_optional(&self.readers)
        .await?;
        account(&row.ok_or(MetaError::Missing("account"))?)
    }

    /// The account with this id.
    pub async fn account(&self, id: AccountId) -> Result<Account, MetaError> {
        let row = sqlx::query(
            "SELECT id, name, display_name, email, created_ms, owner FROM accounts WHERE id = ?",
        )
        .bind(id.0.to_vec())
        .fetch_optional(&self.readers)
        .await?;
        account(&row.ok_or(MetaError::Missing("account"))?)
    }

    /// The account with this e-mail address, in any case of letters.
    pub async fn account_by_email(&self, email: &str) -> Result<Account, MetaError> {
        if email.is_empty() {
            // Any number of accounts have none.
            return Err(MetaError::Missing("account"));
        }
        let row = sqlx::query(
            "SELECT id, name, display_name, email, created_ms, owner FROM accounts
             WHERE lower(email) = lower(?) AND email <> ''",
        )
        .bind(email)
        .fetch_optional(&self.readers)
        .await?;
        account(&row.ok_or(MetaError::Missing("account"))?)
    }

    /// The account with this S3 canonical user id.
    pub async fn account_by_canonical_id(&self, canonical: &str) -> Result<Account, MetaError> {
        let found = self.canonical_ids.find(canonical);
        self.account(found.ok_or(MetaError::Missing("account"))?).await
    }

    /// Since when accounts cannot pay.
    pub async fn short_accounts(&self) -> Result<HashMap<AccountId, Millis>, MetaError> {
        let rows =
            sqlx::query("SELECT id, short_since_ms FROM accounts WHERE short_since_ms IS NOT NULL")
                .fetch_all(&self.readers)
                .await?;
        rows.iter()
            .map(|row| Ok((AccountId(bytes(row.get(0), "an account id")?), row.get(1))))
            .collect()
    }

    /// Keeps since when an account cannot pay, or that it can. The time stays
    /// as it was first kept.
    pub async fn keep_short(
        &self,
        account: AccountId,
        since: Option<Millis>,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE accounts SET short_since_ms =
                            CASE WHEN ?1 IS NULL THEN NULL ELSE coalesce(short_since_ms, ?1) END
                         WHERE id = ?2",
                    )
                    .bind(since)
                    .bind(account.0.to_vec())
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Keeps a new access key.
    pub async fn add_access_key(&self, key: AccessKey) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO access_keys (id, account, secret, policy, created_ms)
                         VALUES (?, ?, ?, ?, ?)",
                    )
                    .bind(key.id)
                    .bind(key.account.0.to_vec())
                    .bind(key.sealed_secret)
                    .bind(key.policy)
                    .bind(key.created_ms)
                    .execute(tx)
                    .await
                    .map_err(exists("an access key of this id"))?;
                    Ok(())
                })
            })
            .await
    }

    /// All access keys, oldest first.
    pub async fn access_keys(&self) -> Result<Vec<AccessKey>, MetaError> {
        let rows = sqlx::query(
            "SELECT id, account, secret, policy, created_ms FROM access_keys ORDER BY created_ms, id",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(access_key).collect()
    }

    /// Forgets an access key: what it signs is refused from now on.
    pub async fn delete_access_key(&self, id: String) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let done = sqlx::query("DELETE FROM access_keys WHERE id = ?")
                        .bind(id)
                        .execute(tx)
                        .await?;
                    if done.rows_affected() == 1 {
                        Ok(())
                    } else {
                        Err(MetaError::Missing("access key"))
                    }
                })
            })
            .await
    }
}
