//! What browsers need around S3: websites on hosts of their own, preflights, and
//! the headers that let pages of other origins read answers, errors too.
//!
//! This stands outside of the guard: a preflight carries no signature, and a
//! page must be able to read why it was refused.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::{Method, Request};
use s3s::dto::CORSRule;
use s3s::{HttpResponse, S3Result};

use super::cors::{self, Asked};
use super::guard::{Domains, Exchange};
use super::listener::{Peer, Secure};
use super::text::percent_decode;
use super::website::{self, Visit};
use crate::auth::identity::{AuthKind, Caller, Facts, Identity};
use crate::gateway::Gateway;
use crate::meta::{BucketConfig, MetaError};

/// What is asked before and after S3.
#[derive(Clone)]
pub struct Web {
    gateway: Arc<Gateway>,
    /// Where buckets are host names.
    domains: Domains,
    /// Where buckets are websites.
    sites: Domains,
    /// The rule of buckets that have none.
    default_rules: Arc<[CORSRule]>,
}

impl Web {
    /// What the settings of a gateway ask for.
    pub fn new(gateway: Arc<Gateway>, domains: Domains, sites: Domains) -> Self {
        let default_rules =
            cors::default_rule(&gateway.settings.cors_origins).into_iter().collect();
        Self { gateway, domains, sites, default_rules }
    }

    /// Answers a request, by `s3` unless it is none for S3.
    pub async fn answer<B, F>(
        &self,
        request: Request<B>,
        s3: impl FnOnce(Request<B>) -> F,
    ) -> Result<HttpResponse, Infallible>
    where
        F: Future<Output = Result<HttpResponse, Infallible>>,
    {
        let (parts, body) = request.into_parts();
        let site = self.site(&parts);
        let bucket = site.clone().or_else(|| bucket_of(&parts, &self.domains));
        if parts.method == Method::OPTIONS {
            return Ok(self.preflight(&parts, bucket.as_deref()).await);
        }
        let asked = Asked::of(&parts.method, &parts.headers);
        let mut response = match &site {
            Some(bucket) => self.visit(&parts, bucket).await,
            None => s3(Request::from_parts(parts, body)).await?,
        };
        if let Some(asked) = asked
            && let Ok(config) = self.config(bucket.as_deref()).await
        {
            let rules = self.rules(config.as_deref()).unwrap_or_default();
            response.headers_mut().extend(asked.answer(rules));
        }
        Ok(response)
    }

    /// The bucket whose website the host is.
    fn site(&self, parts: &Parts) -> Option<String> {
        self.sites.bucket(host(parts)?).ok()?
    }

    async fn visit(&self, parts: &Parts, bucket: &str) -> HttpResponse {
        let exchange = Exchange::new(parts);
        let visit = Visit {
            parts,
            bucket,
            host: host(parts).unwrap_or_default(),
            caller: anybody(parts),
            ids: exchange.ids,
        };
        exchange.finish(website::answer(&self.gateway, visit).await)
    }

    async fn preflight(&self, parts: &Parts, bucket: Option<&str>) -> HttpResponse {
        let exchange = Exchange::new(parts);
        let decided: S3Result<_> = async {
            let config = self.config(bucket).await?;
            Ok(cors::preflight(&parts.headers, self.rules(config.as_deref()))?)
        }
        .await;
        let response = match decided {
            Ok(headers) => {
                let mut response = HttpResponse::new(s3s::Body::empty());
                *response.headers_mut() = headers;
                response
            }
            Err(error) => into_response(error),
        };
        exchange.finish(response)
    }

    /// What is configured for a bucket; `None` if there is no such bucket.
    async fn config(&self, bucket: Option<&str>) -> S3Result<Option<Arc<BucketConfig>>> {
        let Some(name) = bucket else { return Ok(None) };
        match self.gateway.meta.bucket(name).await {
            Ok(bucket) => Ok(Some(bucket.config)),
            Err(MetaError::NoSuchBucket) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The rules of a bucket; those of the settings where it has none, or is not.
    fn rules<'a>(&'a self, config: Option<&'a BucketConfig>) -> Option<&'a [CORSRule]> {
        let own = config.and_then(|config| config.cors.as_ref()).map(|cors| &cors.cors_rules[..]);
        own.or_else(|| {
            let is_known = config.is_some() || !self.default_rules.is_empty();
            is_known.then_some(&self.default_rules[..])
        })
    }
}

/// An error as S3 writes it; the guard's `Exchange` completes it.
pub(super) fn into_response(error: s3s::S3Error) -> HttpResponse {
    error.to_http_response().unwrap_or_else(|error| {
        tracing::error!(%error, "an error cannot be written down");
        let mut response = HttpResponse::new(s3s::Body::empty());
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// Somebody whom nobody vouches for, and where they come from.
pub(super) fn anybody(parts: &Parts) -> Caller {
    Caller {
        identity: Identity::anonymous(),
        auth: AuthKind::Anonymous,
        peer: parts.extensions.get::<Peer>().map(|peer| peer.0.ip()),
        secure: parts.extensions.get::<Secure>().is_some(),
        signature_age_ms: None,
        facts: Facts { headers: parts.headers.clone(), query: Vec::new() },
    }
}

/// The host that a request names.
pub(super) fn host(parts: &Parts) -> Option<&str> {
    let header = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
}

/// The bucket that a request is about, by its host or its path.
pub(super) fn bucket_of(parts: &Parts, domains: &Domains) -> Option<String> {
    if let Ok(Some(bucket)) = domains.bucket(host(parts)?) {
        return Some(bucket);
    }
    let path = parts.uri.path().strip_prefix('/')?;
    let name = path.split('/').next().filter(|name| !name.is_empty())?;
    percent_decode(name)
}

/// The bucket and the key that a request is about.
pub(super) fn bucket_and_key(parts: &Parts, domains: &Domains) -> Option<(String, String)> {
    let path = parts.uri.path().strip_prefix('/')?;
    if let Ok(Some(bucket)) = domains.bucket(host(parts)?) {
        return Some((bucket, percent_decode(path)?));
    }
    let (bucket, key) = path.split_once('/')?;
    Some((percent_decode(bucket)?, percent_decode(key)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_by_the_host_or_the_path() {
        let domains = Domains::parse(["s3.test"]).unwrap();
        let of = |host: &str, uri: &str| {
            let request = Request::builder().uri(uri).header("host", host).body(()).unwrap();
            bucket_of(&request.into_parts().0, &domains)
        };
        assert_eq!(of("localhost:9000", "/photos/a/b?x").as_deref(), Some("photos"));
        assert_eq!(of("localhost", "/pho%74os").as_deref(), Some("photos"));
        assert_eq!(of("photos.s3.test", "/other/a").as_deref(), Some("photos"));
        assert_eq!(of("photos.evil.test", "/other/a").as_deref(), Some("other"));
        assert_eq!(of("s3.test", "/"), None);
        assert_eq!(of("localhost", "/%ff/x"), None);
    }
}
