//! Is it alive, is it ready, what does it count?
//!
//! *Alive* means that the process answers. *Ready* means that the database
//! answers and that enough nodes are up to take a write.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{Method, StatusCode};

use super::listener::HttpStats;
use crate::chain::REVOKED;
use crate::gateway::Gateway;

#[derive(Clone)]
struct Health {
    gateway: Arc<Gateway>,
    stats: Arc<HttpStats>,
}

/// The routes.
pub fn router(gateway: Arc<Gateway>, stats: Arc<HttpStats>) -> Router {
    Router::new()
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Health { gateway, stats })
}

/// Whether a request on the S3 port is one of these. A bucket may be called
/// `health`; requests for it are signed.
pub fn is_health(request: &http::request::Parts) -> bool {
    let is_read = request.method == Method::GET || request.method == Method::HEAD;
    let path = request.uri.path();
    is_read
        && ["/health/live", "/health/ready", "/metrics"].contains(&path)
        && request.uri.query().is_none()
        && !request.headers.contains_key(http::header::AUTHORIZATION)
}

/// Why it is not ready, or nothing.
async fn missing(gateway: &Gateway) -> Option<String> {
    if let Err(error) = gateway.meta.ping().await {
        tracing::warn!(%error, "metadata does not answer");
        return Some("metadata does not answer".to_owned());
    }
    if gateway.chain.is_revoked(gateway.id()) {
        return Some(REVOKED.to_owned());
    }
    let views = gateway.registry.views();
    let up = views.iter().filter(|view| view.is_up() && view.state.takes_shards()).count();
    let needed = usize::from(gateway.settings.write_quorum);
    (up < needed).then(|| format!("{up} nodes are up and in use, {needed} are needed for writes"))
}

async fn ready(State(Health { gateway, .. }): State<Health>) -> Response {
    match missing(&gateway).await {
        None => "ready\n".into_response(),
        Some(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response()
        }
    }
}

async fn metrics(State(Health { gateway, stats }): State<Health>) -> Response {
    let text = gateway.metrics.render(&gateway, &stats).await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(http::header::CONTENT_TYPE, kind)], text).into_response()
}
