//! Stands in front of the S3 protocol layer and lets in only requests that
//! can mean one thing.
//!
//! A decision on a request is pure: it looks at the head, the settings and the
//! clock it was given, and not at the body. So a refusal goes out before a
//! client that sent `Expect: 100-continue` is told to send anything. (Of an STS
//! request the body is a part of what is signed, and it is small.)
//!
//! - `limits`: sizes, headers that come twice, control characters
//! - `target`: host, bucket, key and query, decoded strictly
//! - `credentials`: one place for them, and no Signature Version 2
//! - `claim`: region, service, day, lifetime and signed headers
//! - `canonical`, `authenticate`: whether the signature is right, and whose it is
//! - `hoist`: headers that a presigned URL brings in its query
//! - `routes`: sub-resources that the S3 layer would take for the plain thing
//! - `payload`, `body`, `chunks`: how the body comes, and whether it is what was
//!   signed, found out while it passes
//! - `rewrite`: what the S3 layer gets to see
//! - `finish`: ids and complete error documents on the way out
//!
//! Not here: who may do what (`auth`), and headers of method override, which
//! nothing in the gateway reads.

mod authenticate;
mod body;
mod canonical;
mod chunks;
mod claim;
mod credentials;
mod domains;
mod finish;
mod hoist;
mod limits;
mod payload;
mod refusal;
mod rewrite;
mod routes;
mod target;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, Method, Request};
use s3s::HttpResponse;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tower::{Service, ServiceExt};
use tracing::Instrument;

use authenticate::{Authenticated, Evidence, authenticate};
use chunks::Seal;
use claim::Door;
use credentials::Credentials;
use payload::Payload;
use target::{Level, Target};

use crate::auth::credentials::{CredentialError, Resolved};
use crate::auth::identity::Caller;

pub use body::{BodyFault, BodyRecord, GuardedBody};
pub use chunks::ChunkError;
pub use domains::{BadHost, DomainError, Domains};
pub use refusal::{Code, RequestIds, S3Refusal};
pub use rewrite::RAW_EXPIRES;

/// Finds the secret and the identity of an access key and its session token.
pub type Resolve =
    Arc<dyn Fn(&str, Option<&str>) -> Result<Resolved, CredentialError> + Send + Sync>;

/// What the guard has to know.
#[derive(Clone)]
pub struct GuardSettings {
    /// The region of this gateway.
    pub region: String,
    /// The domains under which buckets are sub-domains.
    pub domains: Domains,
    /// The access keys.
    pub resolve: Resolve,
    /// The clock.
    pub now: fn() -> OffsetDateTime,
}

/// What a request that was let in is about. In its extensions, once.
#[derive(Clone, PartialEq, Eq)]
pub enum Errand {
    /// An operation of S3.
    S3,
    /// A browser form, whose fields say who sends it.
    Form,
    /// A question about a request to come (CORS).
    Preflight,
    /// A call of STS or IAM: the fields of its body.
    Sts(Vec<(String, String)>),
}

/// Largest body of a call of STS.
const STS_MAX: usize = 8 * 1024;

/// Decides which requests may go on to the S3 layer.
#[derive(Clone)]
pub struct Guard {
    settings: GuardSettings,
}

impl Guard {
    /// A guard with these settings.
    pub fn new(settings: GuardSettings) -> Self {
        Self { settings }
    }

    /// Whether a request with this head may go on, and how. `form` is the body
    /// of a call of STS.
    fn check(&self, parts: &Parts, form: Option<&[u8]>) -> Result<Admission, S3Refusal> {
        limits::check_size(parts)?;
        limits::check_unique(&parts.headers)?;
        limits::check_internal(&parts.headers)?;
        let target = Target::parse(parts, &self.settings.domains)?;
        let (query, level) = (&target.query, target.level);
        let credentials = Credentials::find(parts, query)?;
        let body_hash = form.map(|form| hex::encode(Sha256::digest(form)));
        let Authenticated { caller, seal } = authenticate(
            &self.settings,
            &Evidence {
                parts,
                query,
                credentials: &credentials,
                door: if form.is_some() { Door::Sts } else { Door::S3 },
                body_hash: body_hash.as_deref(),
            },
        )?;
        let mut headers = parts.headers.clone();
        if let Credentials::Signed(claim) = &credentials {
            headers.extend(hoist::headers_in_query(claim, query, &parts.headers)?);
        }
        limits::check_overrides(query, caller.identity.is_anonymous())?;
        limits::check_stored_headers(&headers)?;
        let payload = Payload::find(&headers, &credentials)?;
        rewrite::headers(&mut headers, &payload);
        let errand = match form {
            Some(form) => Errand::Sts(routes::fields(form, &payload)?),
            None => routes::errand(parts, level)?,
        };
        routes::check(&parts.method, level, query)?;
        // A form is read by who knows what it is.
        let is_form = errand == Errand::Form;
        let is_document = !is_form && routes::is_document(&parts.method, level, query);
        Ok(Admission { caller, errand, headers, payload, seal, is_document })
    }

    /// The request as it goes on, if it may.
    async fn admit<B>(&self, parts: Parts, body: B) -> Result<Request<GuardedBody<B>>, S3Refusal>
    where
        B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Unpin + 'static,
    {
        let is_sts = Target::parse(&parts, &self.settings.domains)
            .is_ok_and(|target| routes::is_sts(&parts, target.level));
        if !is_sts {
            return Ok(self
                .check(&parts, None)?
                .apply(parts, |payload, seal| GuardedBody::new(body, payload, seal)));
        }
        limits::check_size(&parts)?;
        let form = body::read_small(body, STS_MAX).await.map_err(BodyFault::refusal)?;
        let form = form.ok_or_else(|| {
            S3Refusal::new(Code::InvalidRequest, "The body of this request is too large.")
        })?;
        Ok(self.check(&parts, Some(&form))?.apply(parts, |_, _| GuardedBody::empty()))
    }
}

/// How a request goes on.
struct Admission {
    caller: Caller,
    errand: Errand,
    /// As the S3 layer should see them.
    headers: HeaderMap,
    payload: Payload,
    /// What signatures of chunks go on from.
    seal: Option<Seal>,
    /// Whether the S3 layer reads the body as a document.
    is_document: bool,
}

impl Admission {
    fn apply<B>(
        self,
        mut parts: Parts,
        body: impl FnOnce(Payload, Option<Seal>) -> GuardedBody<B>,
    ) -> Request<GuardedBody<B>> {
        let mut body = body(self.payload, self.seal);
        if self.is_document {
            body = body.digested(&self.headers);
        }
        parts.headers = self.headers;
        parts.uri = rewrite::uri(&parts.uri);
        parts.extensions.insert(body.record());
        parts.extensions.insert(Arc::new(self.caller));
        parts.extensions.insert(self.errand);
        Request::from_parts(parts, body)
    }
}

/// What has to be remembered of a request to answer it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The ids of the request.
    pub ids: RequestIds,
    method: Method,
    resource: String,
    /// Whether the client speaks to the token service, whose errors have
    /// another form.
    is_sts: bool,
}

impl Exchange {
    /// Gives the request its ids.
    pub fn new(parts: &Parts) -> Self {
        Self {
            ids: RequestIds::random(),
            is_sts: parts.uri.path() == "/" && routes::is_sts(parts, Level::Root),
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
/// The inner service finds [`RequestIds`], [`Errand`], an [`Arc`] of a [`Caller`]
/// and [`BodyRecord`] in the request's extensions.
#[derive(Clone)]
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
        parts.extensions.insert(exchange.ids);
        let (guard, inner) = (self.guard.clone(), self.inner.clone());
        let answer = async move {
            let request = match guard.admit(parts, body).await {
                Ok(request) => request,
                Err(refusal) => {
                    tracing::debug!(%refusal, "refused");
                    return Ok(exchange.refuse(refusal));
                }
            };
            let record = request.extensions().get::<BodyRecord>().cloned().unwrap_or_default();
            Ok(match inner.oneshot(request).await {
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
