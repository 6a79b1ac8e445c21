//! Stands in front of the S3 protocol layer and lets in only requests that
//! can mean one thing.
//!
//! Every decision on a request is pure: it looks at the head, the settings and
//! the clock it was given, and never at the body. So a refusal goes out before
//! a client that sent `Expect: 100-continue` is told to send anything. What the
//! signature covers is never changed: what is verified later is what was sent.
//!
//! - `limits`: sizes, headers that come twice, control characters
//! - `target`: host, bucket, key and query, decoded strictly
//! - `credentials`: one place for them, and no Signature Version 2
//! - `claim`: region, service, day, lifetime and signed headers
//! - `hoist`: headers that a presigned URL brings in its query
//! - `routes`: sub-resources that the S3 layer would take for the plain thing
//! - `body`, `chunks`: what is wrong with a body, seen while it passes
//! - `finish`: ids and complete error documents on the way out
//!
//! Not here: whether a signature is right (the S3 layer), who may do what
//! (`auth`), and headers of method override, which nothing in the gateway
//! reads.

mod body;
mod chunks;
mod claim;
mod credentials;
mod domains;
mod finish;
mod hoist;
mod limits;
mod refusal;
mod routes;
mod target;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::RANGE;
use http::request::Parts;
use http::{HeaderMap, Method, Request};
use s3s::HttpResponse;
use time::OffsetDateTime;
use tower::{Service, ServiceExt};
use tracing::Instrument;

use credentials::Credentials;
use target::Target;

pub use body::{BodyFault, BodyRecord, GuardedBody};
pub use chunks::ChunkError;
pub use domains::{BadHost, DomainError, Domains};
pub use refusal::{Code, RequestIds, S3Refusal};

/// What the guard has to know.
#[derive(Debug, Clone)]
pub struct GuardSettings {
    /// The region of this gateway.
    pub region: String,
    /// The domains under which buckets are sub-domains.
    pub domains: Domains,
    /// The clock.
    pub now: fn() -> OffsetDateTime,
}

/// Decides which requests may go on to the S3 layer.
#[derive(Debug, Clone)]
pub struct Guard {
    settings: GuardSettings,
}

impl Guard {
    /// A guard with these settings.
    pub fn new(settings: GuardSettings) -> Self {
        Self { settings }
    }

    /// Whether a request with this head may go on, and how.
    pub fn check(&self, parts: &Parts) -> Result<Admission, S3Refusal> {
        limits::check_size(parts)?;
        limits::check_unique(&parts.headers)?;
        let target = Target::parse(parts, &self.settings.domains)?;
        let credentials = Credentials::find(parts, &target.query)?;
        let claim = match &credentials {
            Credentials::Anonymous => None,
            Credentials::Signed(claim) => Some(claim),
        };
        let mut hoisted = HeaderMap::new();
        if let Some(claim) = claim {
            claim.check(&parts.headers, &self.settings.region, (self.settings.now)())?;
            hoisted = hoist::headers_in_query(claim, &target.query, &parts.headers)?;
        }
        limits::check_overrides(&target.query, claim.is_none())?;
        limits::check_stored_headers(parts.headers.iter().chain(&hoisted))?;
        let is_form = routes::check_form(parts, target.level, &target.query)?;
        routes::check(&parts.method, target.level, &target.query)?;
        let is_document =
            !is_form && routes::is_document(&parts.method, target.level, &target.query);
        routes::refuse_chunked_document(&parts.headers, is_document)?;
        let ignores_range = limits::has_ignored_range(&parts.headers, claim);
        Ok(Admission { hoisted, ignores_range, is_document })
    }
}

/// How a request goes on to the S3 layer.
#[derive(Debug)]
pub struct Admission {
    /// Headers from the query.
    hoisted: HeaderMap,
    /// Whether its `Range` means nothing and is not signed.
    ignores_range: bool,
    /// Whether the S3 layer reads the body as a document.
    is_document: bool,
}

impl Admission {
    /// The request as the S3 layer should see it, and what will be known of its
    /// body.
    fn apply<B>(self, mut parts: Parts, body: B) -> (Request<GuardedBody<B>>, BodyRecord) {
        if self.ignores_range {
            parts.headers.remove(RANGE);
        }
        parts.headers.extend(self.hoisted);
        let (body, record) = GuardedBody::new(body, &parts.headers, self.is_document);
        parts.extensions.insert(record.clone());
        (Request::from_parts(parts, body), record)
    }
}

/// What has to be remembered of a request to answer it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The ids of the request.
    pub ids: RequestIds,
    method: Method,
    resource: String,
}

impl Exchange {
    /// Gives the request its ids.
    pub fn new(parts: &Parts) -> Self {
        Self {
            ids: RequestIds::random(),
            method: parts.method.clone(),
            resource: parts.uri.path().to_owned(),
        }
    }

    /// The answer to a request that is not let in.
    pub fn refuse(&self, refusal: S3Refusal) -> HttpResponse {
        self.finish(refusal.into_response(&self.resource, &self.ids))
    }
}

/// A service behind the guard.
///
/// The inner service finds [`RequestIds`] and [`BodyRecord`] in the request's
/// extensions.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    guard: Arc<Guard>,
    inner: S,
}

impl<S> Guarded<S> {
    /// Puts `guard` in front of `inner`.
    pub fn new(guard: Arc<Guard>, inner: S) -> Self {
        Self { guard, inner }
    }
}

impl<S, B> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<GuardedBody<B>>, Response = HttpResponse> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<s3s::StdError>,
    B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync>
        + Send
        + Unpin
        + 'static,
{
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<HttpResponse, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // `call` waits for a clone of the inner service.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let exchange = Exchange::new(&parts);
        // The query stays out of the log: it may hold a signature.
        let span = tracing::debug_span!(
            "request", id = %exchange.ids.request(), method = %parts.method, path = parts.uri.path()
        );
        let admission = match self.guard.check(&parts) {
            Ok(admission) => admission,
            Err(refusal) => {
                span.in_scope(|| tracing::debug!(%refusal, "refused"));
                return Box::pin(std::future::ready(Ok(exchange.refuse(refusal))));
            }
        };
        parts.extensions.insert(exchange.ids);
        let (request, record) = admission.apply(parts, body);
        let answer = self.inner.clone().oneshot(request);
        let answer = async move {
            Ok(match answer.await {
                Ok(response) => match record.refusal(response.status()) {
                    Some(refusal) => exchange.refuse(refusal),
                    None => exchange.finish(response),
                },
                Err(error) => {
                    let error: s3s::StdError = error.into();
                    tracing::error!(error, ids = ?exchange.ids, "the S3 layer failed");
                    exchange.refuse(S3Refusal::internal())
                }
            })
        };
        Box::pin(answer.instrument(span))
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
