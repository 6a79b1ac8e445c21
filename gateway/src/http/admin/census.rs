//! Counting every shard: begun by one request, asked for by others.
//!
//! A census of a large network takes minutes, longer than a request may. One
//! runs at a time; its result is kept until the next.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Problem, rfc3339};
use crate::census::{self, Census, Depth, FINDINGS_MAX};
use crate::gateway::Gateway;
use crate::meta::MetaError;
use crate::upkeep::reconcile;

/// What became of the last census.
#[derive(Clone, Debug, Default)]
enum Last {
    #[default]
    Never,
    Running,
    Done(Box<Value>),
    Failed(String),
}

/// Where the census that runs, or ran last, is kept.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<Mutex<Last>>);

impl Desk {
    fn set(&self, last: Last) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    /// Takes the desk, unless somebody is at it.
    fn begin(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*last, Last::Running) {
            return false;
        }
        *last = Last::Running;
        true
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Read every shard instead of believing lists.
    #[serde(default)]
    read: bool,
}

pub(super) async fn begin(
    State(admin): State<Admin>,
    body: Result<Json<Asked>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let Json(asked) = body?;
    let depth = if asked.read { Depth::Read } else { Depth::List };
    if !admin.censuses.begin() {
        return Err(Problem::new(StatusCode::CONFLICT, "a census is being taken already"));
    }
    let (gateway, desk) = (admin.gateway.clone(), admin.censuses.clone());
    tokio::spawn(async move {
        let last = match count(&gateway, depth).await {
            Ok(result) => Last::Done(Box::new(result)),
            Err(error) => Last::Failed(error.to_string()),
        };
        desk.set(last);
    });
    Ok((StatusCode::ACCEPTED, Json(json!({ "state": "running" }))))
}

async fn count(gateway: &Arc<Gateway>, depth: Depth) -> Result<Value, MetaError> {
    let began = Instant::now();
    let census = census::take(gateway, depth).await?.census;
    Ok(result(&census, depth, began.elapsed().as_millis()))
}

/// A census as the API and the command line show it.
pub fn result(census: &Census, depth: Depth, took_ms: u128) -> Value {
    let mut result = serde_json::to_value(census).unwrap_or_default();
    result["read"] = json!(depth == Depth::Read);
    result["took_ms"] = json!(u64::try_from(took_ms).unwrap_or(u64::MAX));
    result
}

pub(super) async fn last(State(admin): State<Admin>) -> Json<Value> {
    let last = admin.censuses.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Json(match last {
        Last::Never => json!({ "state": "none" }),
        Last::Running => json!({ "state": "running" }),
        Last::Done(result) => json!({ "state": "done", "census": result }),
        Last::Failed(error) => json!({ "state": "failed", "error": error }),
    })
}

/// Strays that are shown.
const SHOWN: u32 = 10_000;

pub(super) async fn quarantine(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
    let strays = admin.gateway.meta.strays(SHOWN).await?;
    let line = |(stray, first_ms): &(crate::meta::Stray, i64)| {
        json!({
            "node": stray.node.to_string(),
            "shard": stray.shard.to_string(),
            "bytes": stray.len,
            "found": rfc3339(*first_ms),
        })
    };
    Ok(Json(json!({ "shards": strays.iter().map(line).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Emptying {
    /// However many there are.
    #[serde(default)]
    all: bool,
}

/// A hundredth of our shards: more strays than that are the sign of metadata that
/// are too old. So are as many as a census tells, since there may be more.
const STRAYS_PER_SHARDS: u64 = 100;

pub(super) async fn empty_quarantine(
    State(admin): State<Admin>,
    query: Result<Query<Emptying>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(Emptying { all }) = query?;
    let (strays, shards) = admin.gateway.meta.count_strays().await?;
    let are_many = strays > STRAYS_PER_SHARDS && strays > shards / STRAYS_PER_SHARDS;
    if !all && (are_many || strays >= FINDINGS_MAX as u64) {
        let sentence = format!(
            "{strays} shards are unknown beside {shards} that are known, too many to be \
             leftovers: if these metadata are not an old copy, ask for all to be deleted"
        );
        return Err(Problem::new(StatusCode::CONFLICT, sentence));
    }
    let (deleted, bytes) = reconcile::delete_strays(&admin.gateway).await?;
    Ok(Json(json!({ "deleted": deleted, "bytes": bytes })))
}
