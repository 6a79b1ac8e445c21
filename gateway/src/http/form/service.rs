//! Forms to PutObject, all else to S3. Behind the guard, which knows what a form
//! is and has counted its head.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use http::Request;
use http::request::Parts;
use http_body_util::BodyDataStream;
use s3s::{HttpError, HttpResponse, StdError};
use tower::Service;

use super::{Form, Incoming, is_form, run};
use crate::access_log::Noted;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::http::guard::Domains;
use crate::http::web::{anybody, bucket_of, host, into_response};

/// S3 with forms.
#[derive(Clone)]
pub struct Forms<S> {
    gateway: Arc<Gateway>,
    domains: Domains,
    s3: S,
}

impl<S> Forms<S> {
    /// Puts forms in front of `s3`.
    pub fn new(gateway: Arc<Gateway>, domains: Domains, s3: S) -> Self {
        Self { gateway, domains, s3 }
    }
}

impl<S, B> Service<Request<B>> for Forms<S>
where
    S: Service<Request<B>, Response = HttpResponse, Error = HttpError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<StdError>> + Send + 'static,
{
    type Response = HttpResponse;
    type Error = HttpError;
    type Future = BoxFuture<'static, Result<HttpResponse, HttpError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        self.s3.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let bucket = bucket_of(&parts, &self.domains).filter(|_| is_form(&parts));
        let Some(bucket) = bucket else {
            return self.s3.call(Request::from_parts(parts, body)).boxed();
        };
        let gateway = self.gateway.clone();
        let body: Incoming = Box::pin(BodyDataStream::new(body).map_err(Into::into));
        let answer = async move {
            let caller = match parts.extensions.get::<Arc<Caller>>() {
                Some(caller) => Caller::clone(caller),
                None => anybody(&parts),
            };
            let base = base(&parts, caller.secure);
            let form = Form { parts: &parts, bucket: &bucket, base: &base, caller: &caller, body };
            let _timer = gateway.metrics.operation("post_object");
            let done = run(&gateway, form).await;
            Noted::end(parts.extensions.get::<Noted>().cloned(), done.as_ref().err());
            Ok(done.unwrap_or_else(into_response))
        };
        answer.boxed()
    }
}

/// The URL that the form was sent to, with a slash at its end.
fn base(parts: &Parts, secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    let path = parts.uri.path().trim_end_matches('/');
    format!("{scheme}://{}{path}/", host(parts).unwrap_or_default())
}
