//! Nodes, invites, and the state of the whole.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use http::StatusCode;
use protocol::registration::Invite;
use protocol::statement::UNSIGNED;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Problem, rfc3339};
use crate::gateway::now_ms;
use crate::nodes::registry::NodeView;

/// How long an invite is good when nothing else is said: a day.
const INVITE_TTL: u64 = 24 * 3600;

/// The longest that an invite may be good: thirty days.
const INVITE_TTL_MAX: u64 = 30 * INVITE_TTL;

pub(super) async fn status(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
    let gateway = &admin.gateway;
    let views = gateway.registry.views();
    Ok(Json(json!({
        "region": gateway.settings.region,
        "scheme": gateway.settings.scheme.to_string(),
        "write_quorum": gateway.settings.write_quorum,
        "nodes_up": views.iter().filter(|view| view.is_up()).count(),
        "nodes_total": views.len(),
        "epoch": gateway.meter.snapshot().epoch,
        "repairs_waiting": gateway.meta.repairs_waiting().await?,
    })))
}

pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
    let mut money: HashMap<String, Value> = HashMap::new();
    let mut after = Value::Null;
    loop {
        let page = admin.client.query(json!({ "query": "nodes", "after": after })).await?;
        for node in page.get("nodes").and_then(Value::as_array).into_iter().flatten() {
            if let Some(id) = node.get("node").and_then(Value::as_str) {
                money.insert(id.to_owned(), node.clone());
            }
        }
        after = page.get("next").cloned().unwrap_or_default();
        if after.is_null() {
            break;
        }
    }
    let line = |view: &NodeView| {
        let id = view.record.node.to_string();
        let amount = |field: &str| {
            let known = money.get(&id).and_then(|node| node.get(field)).cloned();
            known.unwrap_or_else(|| json!("0"))
        };
        json!({
            "node": id,
            "addr": view.record.addr.to_string(),
            "zone": view.record.zone,
            "operator": view.record.operator,
            "state": if view.is_up() { "up" } else { "down" },
            "standing": view.state.name(),
            "earned": amount("earned"),
            "immature": amount("immature"),
            "mature": amount("mature"),
            "stored": view.stored,
            "free": view.is_up().then_some(view.free),
            "shards": view.shards,
            "score": view.score(),
        })
    };
    let views = admin.gateway.registry.views();
    Ok(Json(json!({ "nodes": views.iter().map(line).collect::<Vec<_>>() })))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct NewInvite {
    ttl_seconds: Option<u64>,
}

pub(super) async fn invite(
    State(admin): State<Admin>,
    body: Result<Json<NewInvite>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let bad = |sentence: String| Problem::new(StatusCode::BAD_REQUEST, sentence);
    let Json(asked) = body?;
    let ttl = asked.ttl_seconds.unwrap_or(INVITE_TTL);
    if !(1..=INVITE_TTL_MAX).contains(&ttl) {
        return Err(bad(format!("ttl_seconds must be 1 to {INVITE_TTL_MAX}")));
    }
    let gateway = &admin.gateway;
    let info = admin.client.chain_info().await?;
    let expires_ms = u64::try_from(now_ms()).unwrap_or_default() + ttl * 1000;
    let invite = Invite {
        chain: info.chain,
        ledger: info.ledger,
        ledger_addr: gateway.settings.ledger.addr,
        gateway: gateway.id(),
        nonce: protocol::keys::random(),
        expires_ms,
        signature: UNSIGNED,
    }
    .signed(&gateway.key);
    let expires = rfc3339(i64::try_from(expires_ms).unwrap_or(i64::MAX));
    Ok(Json(json!({ "invite": invite.to_string(), "expires": expires })))
}
