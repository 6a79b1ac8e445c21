//! Accounts, their keys and buckets.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use http::StatusCode;
use protocol::AccountId;
use protocol::grant::owned_account;
use protocol::ids::PublicKey;
use protocol::price::Amount;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Problem, rfc3339};
use crate::auth::policy::Policy;
use crate::gateway::now_ms;
use crate::meta::{Account, MetaError};

/// Longest name of an account.
const NAME_MAX: usize = 64;
/// Longest e-mail address.
const EMAIL_MAX: usize = 254;
/// Longest policy of a key, in bytes.
const KEY_POLICY_MAX: usize = 20 * 1024;

fn line(account: &Account) -> Value {
    json!({
        "id": account.id,
        "name": account.name,
        "canonical_id": account.canonical_id(),
        "display_name": account.display_name,
        "email": account.email,
    })
}

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
    let accounts = admin.gateway.meta.accounts().await?;
    Ok(Json(json!({ "accounts": accounts.iter().map(line).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAccount {
    name: String,
    display_name: Option<String>,
    email: Option<String>,
    /// The key of a wallet, which then owns the account.
    owner: Option<PublicKey>,
}

pub(super) async fn create(
    State(admin): State<Admin>,
    body: Result<Json<NewAccount>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(new) = body?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if new.name.is_empty() || new.name.len() > NAME_MAX || !new.name.chars().all(allowed) {
        return Err(bad("an account's name has 1 to 64 letters, digits or -_.@"));
    }
    // These are shown in answers to S3 clients.
    if new.display_name.iter().chain(&new.email).any(|text| text.contains(char::is_control)) {
        return Err(bad("display_name and email may not contain control characters"));
    }
    if new.email.as_ref().is_some_and(|email| email.len() > EMAIL_MAX) {
        return Err(bad(format!("email may have at most {EMAIL_MAX} bytes")));
    }
    let account = Account {
        id: new.owner.map_or_else(|| AccountId(protocol::keys::random()), owned_account),
        display_name: new.display_name.unwrap_or_else(|| new.name.clone()),
        name: new.name,
        email: new.email.unwrap_or_default(),
        created_ms: now_ms(),
        owner: new.owner,
    };
    let answer = line(&account);
    admin.gateway.meta.add_account(account).await?;
    Ok(Json(answer))
}

pub(super) async fn show(
    State(admin): State<Admin>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(name) = name?;
    let gateway = &admin.gateway;
    let account = gateway.meta.account_named(&name).await?;
    let query = json!({ "query": "account", "account": account.id });
    // An account that was made a moment ago is not on the ledger yet.
    let known = match admin.client.query(query).await {
        Ok(known) => known,
        Err(ledger::client::ClientError::Query(_)) => json!({}),
        Err(error) => return Err(error.into()),
    };
    let amount = |field: &str| {
        let value = known.get(field).cloned().unwrap_or_else(|| json!("0"));
        serde_json::from_value::<Amount>(value).unwrap_or_default()
    };
    let (available, reserved) = (amount("available"), amount("reserved"));
    let stored = gateway.meta.stored().await?;
    let stored: u64 = stored.iter().filter(|s| s.account == account.id).map(|s| s.bytes).sum();
    let balance = Amount(available.0.saturating_add(reserved.0));
    let mut answer = line(&account);
    answer["balance"] = json!(balance);
    answer["available"] = json!(available);
    answer["reserved"] = json!(reserved);
    answer["spent"] = json!(amount("spent"));
    answer["stored_bytes"] = json!(stored);
    answer["runway_seconds"] = json!(gateway.funds.runway_seconds(account.id));
    Ok(Json(answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    account: String,
    /// A policy as JSON, or as text that is JSON.
    policy: Option<Value>,
}

pub(super) async fn create_key(
    State(admin): State<Admin>,
    body: Result<Json<NewKey>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(new) = body?;
    let gateway = &admin.gateway;
    let policy = new.policy.map(check_policy).transpose()?;
    let account = gateway.meta.account_named(&new.account).await?;
    let made =
        gateway.credentials.create(&gateway.meta, &gateway.master, account.id, policy).await?;
    Ok(Json(json!({
        "access_key_id": made.id,
        "secret_access_key": made.secret.as_str(),
        "account": account.name,
    })))
}

/// The text of a policy that the gateway understands.
fn check_policy(policy: Value) -> Result<String, Problem> {
    let text = match policy {
        Value::String(text) => text,
        other => other.to_string(),
    };
    if text.len() > KEY_POLICY_MAX {
        return Err(bad(format!("the policy has {} bytes, at most {KEY_POLICY_MAX}", text.len())));
    }
    match Policy::parse_identity(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(bad(format!("the policy is refused: {error}"))),
    }
}

#[derive(Deserialize)]
pub(super) struct KeysQuery {
    account: Option<String>,
}

pub(super) async fn keys(
    State(admin): State<Admin>,
    query: Result<Query<KeysQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let meta = &admin.gateway.meta;
    let accounts = meta.accounts().await?;
    if let Some(name) = &query.account {
        meta.account_named(name).await?;
    }
    let mut keys = Vec::new();
    for key in meta.access_keys().await? {
        let owner = accounts.iter().find(|account| account.id == key.account);
        let owner = owner.ok_or(MetaError::Corrupt("a key of no account"))?;
        if query.account.as_ref().is_none_or(|name| *name == owner.name) {
            keys.push(json!({
                "access_key_id": key.id,
                "account": owner.name,
                "created": rfc3339(key.created_ms),
                "has_policy": key.policy.is_some(),
            }));
        }
    }
    Ok(Json(json!({ "keys": keys })))
}

pub(super) async fn delete_key(
    State(admin): State<Admin>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(id) = id?;
    let gateway = &admin.gateway;
    gateway.credentials.delete(&gateway.meta, &id).await?;
    Ok(Json(json!({ "access_key_id": id })))
}

pub(super) async fn buckets(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
    let meta = &admin.gateway.meta;
    let accounts = meta.accounts().await?;
    let name = |id: AccountId| {
        accounts.iter().find(|account| account.id == id).map_or("", |account| &account.name)
    };
    let usage = meta.bucket_usage().await?;
    let line = |usage: &crate::meta::BucketUsage| {
        json!({
            "name": usage.bucket.name,
            "account": name(usage.bucket.account),
            "objects": usage.objects,
            "bytes": usage.bytes,
            "created": rfc3339(usage.bucket.created_ms),
        })
    };
    Ok(Json(json!({ "buckets": usage.iter().map(line).collect::<Vec<_>>() })))
}

fn bad(sentence: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, sentence)
}
