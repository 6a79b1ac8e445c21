//! Epochs, prices, statements and earnings, and the ledger as a file that
//! anyone can verify.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use futures::stream;
use ledger::client::ClientError;
use protocol::ids::PublicKey;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Problem, rfc3339, standing};

/// Epochs that are shown when nothing else is said.
const LAST: u64 = 20;

#[derive(Deserialize)]
pub(super) struct EpochsQuery {
    last: Option<u64>,
}

pub(super) async fn epochs(
    State(admin): State<Admin>,
    query: Result<Query<EpochsQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query?;
    let last = query.last.unwrap_or(LAST);
    let mut answer = admin.client.query(json!({ "query": "epochs", "last": last })).await?;
    for epoch in answer.get_mut("epochs").and_then(Value::as_array_mut).into_iter().flatten() {
        let opened = epoch.get("opened").and_then(Value::as_i64).unwrap_or_default();
        epoch["opened"] = json!(rfc3339(opened));
        epoch["short"] = json!(short(&epoch["covered"]).to_string());
    }
    Ok(Json(answer))
}

/// What nodes were owed and gateways could not pay.
fn short(covered: &Value) -> u128 {
    let covers = covered.as_array().into_iter().flatten();
    let amounts = covers.filter_map(|cover| cover["short"].as_str()?.parse().ok());
    amounts.fold(0, u128::saturating_add)
}

/// Where an export goes on.
enum Next {
    Genesis,
    Block(Value),
    End,
}

pub(super) async fn export(State(admin): State<Admin>) -> Response {
    let lines = stream::try_unfold((admin, Next::Genesis), |(admin, next)| async move {
        let (text, next) = match next {
            Next::End => return Ok(None),
            Next::Genesis => {
                let answer = admin.client.query(json!({ "query": "genesis" })).await?;
                let line = answer.get("line").and_then(Value::as_str).unwrap_or_default();
                (format!("{line}\n"), Next::Block(json!(0)))
            }
            Next::Block(from) => {
                let query = json!({ "query": "export", "from_height": from });
                let answer = admin.client.query(query).await?;
                let lines = answer.get("lines").and_then(Value::as_array);
                let mut text = String::new();
                for line in lines.into_iter().flatten().filter_map(Value::as_str) {
                    text.push_str(line);
                    text.push('\n');
                }
                let next = answer.get("next").cloned().unwrap_or_default();
                (text, if next.is_null() { Next::End } else { Next::Block(next) })
            }
        };
        // An error here breaks the transfer: half an export is never a whole one.
        Ok::<_, ClientError>(Some((Bytes::from(text), (admin, next))))
    });
    let kind = [(http::header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(lines)).into_response()
}

#[derive(Deserialize)]
pub(super) struct StatementQuery {
    epoch: u64,
}

/// What an account used and paid in an epoch, with proofs.
pub(super) async fn statement(
    State(admin): State<Admin>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<StatementQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let (Path(name), Query(StatementQuery { epoch })) = (name?, query?);
    let account = admin.gateway.meta.account_named(&name).await?.id;
    let asked = json!({ "query": "statement", "account": account, "epoch": epoch });
    Ok(Json(admin.client.query(asked).await?))
}

#[derive(Deserialize)]
pub(super) struct EarningsQuery {
    from: Option<u64>,
    until: Option<u64>,
    after: Option<u64>,
}

/// What a node or a gateway earned, with every deduction.
pub(super) async fn earnings(
    State(admin): State<Admin>,
    party: Result<Path<String>, PathRejection>,
    query: Result<Query<EarningsQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let (Path(party), Query(EarningsQuery { from, until, after })) = (party?, query?);
    // A whole key may be a gateway's, or a node's that this gateway never met.
    let party = match party.parse::<PublicKey>() {
        Ok(party) => party.to_string(),
        Err(_) => standing::find(&admin.gateway, &party).await?.node.to_string(),
    };
    let asked = json!({
        "query": "earnings", "party": party, "from": from, "until": until, "after": after,
    });
    Ok(Json(admin.client.query(asked).await?))
}

/// The price sheets that hold or are to come.
pub(super) async fn prices(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
    Ok(Json(admin.client.query(json!({ "query": "prices" })).await?))
}

/// What traffic would cost: the body is its counters.
pub(super) async fn quote(
    State(admin): State<Admin>,
    counters: Result<Json<Value>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let Json(counters) = counters?;
    Ok(Json(admin.client.query(json!({ "query": "quote", "counters": counters })).await?))
}
