//! What stands behind the guard: one service for each kind of errand.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Request;
use s3s::service::S3Service;
use s3s::{HttpError, HttpResponse};
use tower::{Service, ServiceExt};

use super::form::Forms;
use super::guard::Domains;
use super::guard::{Errand, GuardedBody, RequestIds, S3Refusal};
use super::{sts, web};
use crate::auth::identity::{Caller, Facts};
use crate::gateway::Gateway;
use crate::ops::rename_object;

/// Answers requests that the guard let in.
#[derive(Clone)]
pub struct Inside {
    gateway: Arc<Gateway>,
    s3: Forms<S3Service>,
    /// Where buckets are host names.
    domains: Domains,
}

impl Inside {
    /// The services of a gateway.
    pub fn new(gateway: Arc<Gateway>, s3: Forms<S3Service>, domains: Domains) -> Self {
        Self { gateway, s3, domains }
    }
}

/// The S3 layer does not know RenameObject and would put an object.
fn is_rename(uri: &http::Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "renameObject")
}

impl Inside {
    fn rename<B>(
        &self,
        request: Request<B>,
        caller: &Arc<Caller>,
    ) -> BoxFuture<'static, Result<HttpResponse, HttpError>> {
        let (parts, _) = request.into_parts();
        let (gateway, domains) = (self.gateway.clone(), self.domains.clone());
        let facts = Facts { headers: parts.headers.clone(), query: Vec::new() };
        let caller = Caller { facts, ..Caller::clone(caller) };
        async move {
            let target = web::bucket_and_key(&parts, &domains);
            let renamed = match &target {
                Some((bucket, key)) => {
                    let target = (bucket.as_str(), key.clone());
                    rename_object::run(&gateway, &caller, target, &parts.headers).await
                }
                None => Err(s3s::S3ErrorCode::InvalidURI.into()),
            };
            Ok(renamed.map_or_else(web::into_response, |()| HttpResponse::new(s3s::Body::empty())))
        }
        .boxed()
    }
}

impl<B> Service<Request<GuardedBody<B>>> for Inside
where
    B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync>
        + Send
        + Unpin
        + 'static,
{
    type Response = HttpResponse;
    type Error = HttpError;
    type Future = BoxFuture<'static, Result<HttpResponse, HttpError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<GuardedBody<B>>) -> Self::Future {
        let extensions = request.extensions_mut();
        let (Some(errand), Some(caller)) =
            (extensions.remove::<Errand>(), extensions.get::<Arc<Caller>>().cloned())
        else {
            return refuse(&request, S3Refusal::internal());
        };
        match errand {
            Errand::S3 if is_rename(request.uri()) => self.rename(request, &caller),
            // Preflights were answered before the guard.
            Errand::S3 | Errand::Preflight | Errand::Form => {
                self.s3.clone().oneshot(request).boxed()
            }
            Errand::Sts(form) => {
                let gateway = self.gateway.clone();
                async move { Ok(sts::handle(&gateway, &caller, form).await) }.boxed()
            }
        }
    }
}

fn refuse<B>(
    request: &Request<B>,
    refusal: S3Refusal,
) -> BoxFuture<'static, Result<HttpResponse, HttpError>> {
    let ids = request.extensions().get::<RequestIds>().copied().unwrap_or_else(RequestIds::random);
    let response = refusal.into_response(request.uri().path(), &ids);
    std::future::ready(Ok(response)).boxed()
}
