//! Stands in front of the S3 protocol layer and lets in only requests that
//! can mean one thing.
//!
//! Every decision on a request is pure: it looks at the head, the settings and
//! the clock it was given, and never at the body. So a refusal goes out before
//! a client that sent `Expect: 100-continue` is told to send anything. The
//! head is never changed: what is verified later is what was sent.
//!
//! - `limits`: sizes, headers that come twice, control characters
//! - `target`: host, bucket, key and query, decoded strictly
//! - `credentials`: one place for them, and no Signature Version 2
//! - `claim`: region, service, day, lifetime and signed headers
//! - `routes`: sub-resources that the S3 layer would take for the plain thing
//! - `finish`: ids and complete error documents on the way out
//!
//! Not here: whether a signature is right (the S3 layer), who may do what
//! (`auth`), and headers of method override, which nothing in the gateway
//! reads.

mod claim;
mod credentials;
mod domains;
mod finish;
mod limits;
mod refusal;
mod routes;
mod target;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::request::Parts;
use http::{Method, Request};
use s3s::HttpResponse;
use time::OffsetDateTime;
use tower::{Service, ServiceExt};
use tracing::Instrument;

use credentials::Credentials;
use target::Target;

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

    /// Whether a request with this head may go on.
    pub fn check(&self, parts: &Parts) -> Result<(), S3Refusal> {
        limits::check_size(parts)?;
        limits::check_unique(&parts.headers)?;
        let target = Target::parse(parts, &self.settings.domains)?;
        let credentials = Credentials::find(parts, &target.query)?;
        if let Credentials::Signed(claim) = &credentials {
            claim.check(&parts.headers, &self.settings.region, (self.settings.now)())?;
        }
        limits::check_overrides(&target.query, credentials == Credentials::Anonymous)?;
        limits::check_stored_headers(&parts.headers)?;
        routes::check(&parts.method, target.level, &target.query)
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
/// The inner service finds [`RequestIds`] in the request's extensions.
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
    S: Service<Request<B>, Response = HttpResponse> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<s3s::StdError>,
    B: Send + 'static,
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
        if let Err(refusal) = self.guard.check(&parts) {
            span.in_scope(|| tracing::debug!(%refusal, "refused"));
            return Box::pin(std::future::ready(Ok(exchange.refuse(refusal))));
        }
        parts.extensions.insert(exchange.ids);
        let answer = self.inner.clone().oneshot(Request::from_parts(parts, body));
        let answer = async move {
            Ok(match answer.await {
                Ok(response) => exchange.finish(response),
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
