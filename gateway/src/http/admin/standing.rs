//! How one node stands, and what an operator decides about it: drain, suspend,
//! remove, and back.
//!
//! A node is named by its id or by any unique beginning of it.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use http::StatusCode;
use protocol::NodeId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Problem, rfc3339};
use crate::gateway::{Gateway, now_ms};
use crate::meta::{KnownNode, NodeEvent, NodeState};
use crate::upkeep::standing;

/// Events in an answer.
const EVENTS: u32 = 20;

/// Digits of a node's id that must be given at least.
const PREFIX_MIN: usize = 4;

type Name = Result<Path<String>, PathRejection>;
type Answer = Result<Json<Value>, Problem>;

/// The node that `name` is the beginning of.
pub(super) async fn find(gateway: &Gateway, name: &str) -> Result<KnownNode, Problem> {
    let is_hex = name.chars().all(|c| c.is_ascii_hexdigit());
    if name.len() < PREFIX_MIN || !is_hex {
        let sentence = format!("name a node by {PREFIX_MIN} hexadecimal digits of its id or more");
        return Err(Problem::new(StatusCode::BAD_REQUEST, sentence));
    }
    let name = name.to_ascii_lowercase();
    let mut found = gateway.meta.nodes().await?;
    found.retain(|known| known.node.to_string().starts_with(&name));
    match found.len() {
        0 => Err(Problem::new(StatusCode::NOT_FOUND, format!("no node begins with {name}"))),
        1 => Ok(found.remove(0)),
        count => {
            let sentence = format!("{count} nodes begin with {name}: write more of its id");
            Err(Problem::new(StatusCode::CONFLICT, sentence))
        }
    }
}

pub(super) async fn show(State(admin): State<Admin>, name: Name) -> Answer {
    let Path(name) = name?;
    let known = find(&admin.gateway, &name).await?;
    Ok(Json(line(&admin.gateway, &known).await?))
}

async fn line(gateway: &Gateway, known: &KnownNode) -> Result<Value, Problem> {
    let (meta, node) = (&gateway.meta, known.node);
    let view = gateway.registry.view(node);
    let record = view.as_ref().map(|view| &view.record);
    let (shards, bytes) = meta.shards_on(node).await?;
    let counts = meta.audit_counts(node).await?;
    let absent = view.as_ref().and_then(|view| view.absent_for(now_ms()));
    let event = |event: &NodeEvent| {
        let NodeEvent { at_ms, kind, text, score } = event;
        json!({ "at": rfc3339(*at_ms), "kind": kind, "text": text, "score": share(*score) })
    };
    let events = meta.node_events(node, EVENTS).await?;
    Ok(json!({
        "node": node.to_string(),
        "addr": record.map(|record| record.addr.to_string()).unwrap_or_default(),
        "zone": record.map(|record| record.zone.clone()).unwrap_or_default(),
        "operator": record.map(|record| record.operator.clone()).unwrap_or_default(),
        "up": view.as_ref().is_some_and(crate::nodes::registry::NodeView::is_up),
        "absent_seconds": absent.map(|absent| absent.as_secs()),
        "state": known.state.name(),
        "reason": known.reason,
        "since": rfc3339(known.since_ms),
        "score": share(known.score().into()),
        "online": counts.online().map(share),
        "audits": {
            "passed": known.passed,
            "recent": {
                "ok": counts.ok,
                "offline": counts.offline,
                "contained": counts.contained,
                "failed": counts.failed,
            },
        },
        // What metadata say is on it: what a drain has left to move.
        "shards": shards,
        "bytes": bytes,
        "free": view.as_ref().map(|view| view.free),
        "events": events.iter().map(event).collect::<Vec<_>>(),
    }))
}

/// Millionths as a number between 0 and 1.
fn share(millionths: u64) -> f64 {
    millionths as f64 / 1e6
}

pub(super) async fn drain(State(admin): State<Admin>, name: Name) -> Answer {
    let from = [NodeState::Vetting, NodeState::Active, NodeState::Suspended];
    decide(&admin, name, &from, Some(NodeState::Draining), "the operator drains it").await
}

pub(super) async fn undrain(State(admin): State<Admin>, name: Name) -> Answer {
    let from = [NodeState::Draining, NodeState::Left];
    decide(&admin, name, &from, None, "the operator takes it back").await
}

pub(super) async fn suspend(State(admin): State<Admin>, name: Name) -> Answer {
    let from = [NodeState::Vetting, NodeState::Active, NodeState::Draining];
    decide(&admin, name, &from, Some(NodeState::Suspended), "the operator paused it").await
}

pub(super) async fn resume(State(admin): State<Admin>, name: Name) -> Answer {
    let from = [NodeState::Suspended];
    decide(&admin, name, &from, None, "the operator takes it back").await
}

pub(super) async fn trust(State(admin): State<Admin>, name: Name) -> Answer {
    let from = [NodeState::Vetting];
    decide(&admin, name, &from, Some(NodeState::Active), "the operator trusts it").await
}

/// Moves a node to a state; `None` is the one that it had before it was paused.
async fn decide(
    admin: &Admin,
    name: Name,
    from: &[NodeState],
    to: Option<NodeState>,
    reason: &str,
) -> Answer {
    let Path(name) = name?;
    let gateway = &admin.gateway;
    let known = find(gateway, &name).await?;
    let to = match to {
        Some(to) => to,
        None => used_before(gateway, known.node).await?,
    };
    // Said twice it is no error.
    if known.state != to {
        let moved = standing::set(gateway, known.node, from.to_vec(), to, reason.to_owned());
        if !moved.await? {
            return Err(not_from(&known, from));
        }
    }
    let known = find(gateway, &known.node.to_string()).await?;
    Ok(Json(line(gateway, &known).await?))
}

fn not_from(known: &KnownNode, from: &[NodeState]) -> Problem {
    let names: Vec<_> = from.iter().map(|state| state.name()).collect();
    let (state, names) = (known.state.name(), names.join(", "));
    let sentence = format!("the node is {state}; this can be done to one that is: {names}");
    Problem::new(StatusCode::CONFLICT, sentence)
}

/// Whether it was in full use, or a newcomer.
async fn used_before(gateway: &Gateway, node: NodeId) -> Result<NodeState, Problem> {
    let events = gateway.meta.node_events(node, u32::MAX).await?;
    let of = |state: NodeState| events.iter().position(|event| event.kind == state.name());
    let (active, vetting) = (of(NodeState::Active), of(NodeState::Vetting));
    let was_active = active.is_some_and(|at| vetting.is_none_or(|newcomer| at < newcomer));
    Ok(if was_active { NodeState::Active } else { NodeState::Vetting })
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    #[serde(default)]
    force: bool,
}

/// Ends the use of a node for good: what is on it counts as lost and is rebuilt
/// elsewhere. Never done where something could not be read afterwards.
pub(super) async fn remove(
    State(admin): State<Admin>,
    name: Name,
    body: Result<Json<Removal>, JsonRejection>,
) -> Answer {
    let (Path(name), Json(Removal { force })) = (name?, body?);
    let gateway = &admin.gateway;
    let known = find(gateway, &name).await?;
    let gone = [NodeState::Left, NodeState::Lost, NodeState::Disqualified];
    if !force && !gone.contains(&known.state) {
        let (shards, bytes) = gateway.meta.shards_on(known.node).await?;
        let sentence = format!(
            "the node is {} and holds {shards} shards ({bytes} bytes), which would have to be \
             rebuilt: drain it first, or remove it with force",
            known.state.name()
        );
        return Err(Problem::new(StatusCode::CONFLICT, sentence));
    }
    let (nearly_lost, example) = gateway.meta.depending_on(known.node).await?;
    if let Some(segment) = example {
        let sentence = format!(
            "{nearly_lost} segments could not be read without this node (one is {segment}): bring \
             back other nodes or wait for repair first"
        );
        return Err(Problem::new(StatusCode::CONFLICT, sentence));
    }
    let reason = "the operator removed it".to_owned();
    if known.state != NodeState::Left {
        standing::set(gateway, known.node, NodeState::ALL.to_vec(), NodeState::Left, reason)
            .await?;
    }
    // It takes nothing new from here on. What it holds stays a source until it
    // is rebuilt elsewhere.
    let lost = gateway.meta.queue_node(known.node, false, now_ms()).await?;
    let known = find(gateway, &known.node.to_string()).await?;
    let mut answer = line(gateway, &known).await?;
    answer["lost_shards"] = lost.into();
    Ok(Json(answer))
}
