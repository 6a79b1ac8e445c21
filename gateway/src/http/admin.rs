//! The admin API: JSON over HTTP, on a listener of its own, for operators and
//! the command line.
//!
//! Every route needs the token as `Authorization: Bearer TOKEN`. Amounts are
//! atto-credits as decimal strings, times are RFC 3339, errors are
//! `{"error": "one sentence"}`.

mod accounts;
pub mod census;
mod money;
mod nodes;
mod standing;

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::StatusCode;
use ledger::client::{ClientError, LedgerClient};
use subtle::ConstantTimeEq;

pub use census::Desk;

use super::listener::HttpStats;
use crate::gateway::Gateway;
use crate::meta::{MetaError, Millis};

/// What the handlers share.
#[derive(Clone)]
pub struct Admin {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The ledger.
    pub client: Arc<LedgerClient>,
    /// Connections of the S3 listener.
    pub stats: Arc<HttpStats>,
    /// The census that runs, or ran last.
    pub censuses: Desk,
    /// What callers must show.
    pub token: Arc<str>,
}

/// The routes. Those without a token tell nothing about accounts.
pub fn router(admin: Admin) -> Router {
    let health = super::health::router(admin.gateway.clone(), admin.stats.clone())
        .method_not_allowed_fallback(wrong_method);
    Router::new()
        .route("/v1/status", get(nodes::status))
        .route("/v1/accounts", get(accounts::list).post(accounts::create))
        .route("/v1/accounts/{name}", get(accounts::show))
        .route("/v1/keys", get(accounts::keys).post(accounts::create_key))
        .route("/v1/keys/{id}", delete(accounts::delete_key))
        .route("/v1/buckets", get(accounts::buckets))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/invite", post(nodes::invite))
        .route("/v1/census", get(census::last).post(census::begin))
        .route("/v1/quarantine", get(census::quarantine).delete(census::empty_quarantine))
        .route("/v1/nodes/{id}", get(standing::show))
        .route("/v1/nodes/{id}/drain", post(standing::drain))
        .route("/v1/nodes/{id}/undrain", post(standing::undrain))
        .route("/v1/nodes/{id}/suspend", post(standing::suspend))
        .route("/v1/nodes/{id}/resume", post(standing::resume))
        .route("/v1/nodes/{id}/trust", post(standing::trust))
        .route("/v1/nodes/{id}/remove", post(standing::remove))
        .route("/v1/epochs", get(money::epochs))
        .route("/v1/accounts/{name}/statement", get(money::statement))
        .route("/v1/nodes/{id}/earnings", get(money::earnings))
        .route("/v1/prices", get(money::prices))
        .route("/v1/quote", post(money::quote))
        .route("/v1/ledger/export", get(money::export))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is no such route") })
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(admin.clone(), check_token))
        .with_state(admin)
        .merge(health)
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this route does not have this method")
}

async fn check_token(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let shown = request
        .headers()
        .get(http::header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    let is_right = shown.is_some_and(|shown| bool::from(shown.ct_eq(admin.token.as_bytes())));
    if is_right {
        next.run(request).await
    } else {
        Problem::new(StatusCode::UNAUTHORIZED, "the admin token is missing or wrong")
            .into_response()
    }
}

/// Why a request was not done.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    sentence: String,
}

impl Problem {
    fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(serde_json::json!({ "error": self.sentence }))).into_response()
    }
}

impl From<MetaError> for Problem {
    fn from(error: MetaError) -> Self {
        let status = match error {
            MetaError::Exists(_) | MetaError::BucketNotEmpty => StatusCode::CONFLICT,
            MetaError::Missing(_) | MetaError::NoSuchBucket => StatusCode::NOT_FOUND,
            _ => {
                tracing::error!(%error, "admin request failed");
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, FAILED);
            }
        };
        Self::new(status, error.to_string())
    }
}

/// What is said of a failure inside.
const FAILED: &str = "the gateway failed; its log says why";

macro_rules! rejections {
    ($($rejection:ty),*) => {
        $(impl From<$rejection> for Problem {
            fn from(rejection: $rejection) -> Self {
                Self::new(StatusCode::BAD_REQUEST, rejection.body_text())
            }
        })*
    };
}

// What is wrong with a path, a query or a body.
rejections!(PathRejection, QueryRejection, JsonRejection);

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

/// A time as the API shows it.
fn rfc3339(millis: Millis) -> String {
    let nanos = i128::from(millis) * 1_000_000;
    time::OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default()
}

/// The routes as the listener wants them.
#[derive(Clone)]
pub struct AdminService(pub Router);

impl tower::Service<http::Request<super::listener::RequestBody>> for AdminService {
    type Response = s3s::HttpResponse;
    type Error = std::convert::Infallible;
    type Future =
        futures::future::BoxFuture<'static, Result<s3s::HttpResponse, std::convert::Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<super::listener::RequestBody>) -> Self::Future {
        use tower::ServiceExt;
        let router = self.0.clone();
        Box::pin(async move {
            let request = request.map(axum::body::Body::new);
            let Ok(response) = router.oneshot(request).await;
            let (parts, body) = response.into_parts();
            let body = s3s::Body::http_body_unsync(body);
            Ok(s3s::HttpResponse::from_parts(parts, body))
        })
    }
}
