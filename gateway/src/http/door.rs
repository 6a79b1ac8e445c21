//! The S3 port: health requests to axum, all others through the guard to S3,
//! with what browsers need around it. A tracing span covers each request.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::Router;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode};
use s3s::HttpResponse;
use tower::{Service, ServiceExt};
use tracing::Instrument;

use super::guard::Guarded;
use super::health::is_health;
use super::listener::{Peer, RequestBody};
use super::web::Web;
use crate::access_log::Logger;

/// What answers on the S3 port.
#[derive(Clone)]
pub struct Door<S> {
    web: Web,
    s3: Guarded<S>,
    health: Router,
    logger: Logger,
}

impl<S> Door<S> {
    /// Puts the three behind one door.
    pub fn new(web: Web, s3: Guarded<S>, health: Router, logger: Logger) -> Self {
        Self { web, s3, health, logger }
    }
}

impl<S> Service<Request<RequestBody>> for Door<S>
where
    Guarded<S>: Service<Request<RequestBody>, Response = HttpResponse, Error = Infallible>
        + Clone
        + Send
        + 'static,
    <Guarded<S> as Service<Request<RequestBody>>>::Future: Send,
{
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<HttpResponse, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        // The query may hold a signature, so it is not logged.
        let span = tracing::info_span!(
            "request",
            method = %parts.method,
            path = parts.uri.path(),
            status = tracing::field::Empty,
        );
        let is_health = is_health(&parts);
        let mut request = Request::from_parts(parts, body);
        let logger = self.logger.clone();
        let entry = if is_health { None } else { logger.begin(&mut request) };
        let (web, s3, health) = (self.web.clone(), self.s3.clone(), self.health.clone());
        let inside = span.clone();
        let answer = async move {
            let answer = if is_health {
                ask(health, request).await
            } else {
                web.answer(request, |request| s3.oneshot(request)).await
            };
            if let Ok(response) = &answer {
                inside.record("status", response.status().as_u16());
                if let Some(entry) = entry {
                    logger.end(entry, response);
                }
            }
            tracing::debug!("answered");
            answer
        };
        Box::pin(answer.instrument(span))
    }
}

/// Whether the request comes from this machine, and for nobody else: a proxy on
/// it asks for the whole world.
fn is_local(peer: Option<&Peer>, headers: &HeaderMap) -> bool {
    let is_passed_on =
        ["forwarded", "via", "x-forwarded-for"].map(|name| headers.contains_key(name));
    peer.is_some_and(|peer| peer.0.ip().is_loopback()) && !is_passed_on.contains(&true)
}

/// Counters are for this machine alone; the admin port has them for others.
async fn ask(health: Router, request: Request<RequestBody>) -> Result<HttpResponse, Infallible> {
    let is_local = is_local(request.extensions().get::<Peer>(), request.headers());
    if request.uri().path() == "/metrics" && !is_local {
        let mut refused = HttpResponse::new(s3s::Body::empty());
        *refused.status_mut() = StatusCode::FORBIDDEN;
        return Ok(refused);
    }
    let request = request.map(|_| axum::body::Body::empty());
    let Ok(response) = health.oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = s3s::Body::http_body_unsync(body);
    Ok(HttpResponse::from_parts(parts, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_not_for_who_comes_through_a_proxy() {
        let peer = |text: &str| Some(Peer(text.parse().unwrap()));
        let is_local = |peer: Option<Peer>, header: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header, "203.0.113.7".parse().unwrap());
            is_local(peer.as_ref(), &headers)
        };
        assert!(is_local(peer("127.0.0.1:5"), "accept"));
        assert!(is_local(peer("[::1]:5"), "accept"));
        assert!(!is_local(peer("203.0.113.7:5"), "accept"));
        assert!(!is_local(None, "accept"));
        for header in ["forwarded", "via", "x-forwarded-for"] {
            assert!(!is_local(peer("127.0.0.1:5"), header), "{header}");
        }
    }
}
