//! Buckets as websites, under domains of their own.
//!
//! Anybody may ask, and gets what the bucket's policy and ACLs let anybody read:
//! the objects come from GetObject, asked by nobody in particular. A path that
//! ends in a slash is a directory, whose index is shown; errors are pages for
//! people, the bucket's own if it has one; rules send elsewhere.
//!
//! - `rules`: what the configuration says
//! - `page`: answers
//!
//! Not here: signatures, which a website ignores, and CORS (`cors`).

mod page;
mod rules;

use std::sync::Arc;

use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE,
};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use s3s::dto::{
    ETagCondition, GetObjectInput, GetObjectOutput, Range, Timestamp, TimestampFormat,
    WebsiteConfiguration,
};
use s3s::{HttpResponse, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::auth::identity::Caller;
use crate::error::{custom, refuse};
use crate::gateway::Gateway;
use crate::http::guard::RequestIds;
use crate::http::text::percent_decode;
use crate::ops::get_object;
use rules::Place;

/// A request to a website.
pub struct Visit<'a> {
    /// Its head.
    pub parts: &'a Parts,
    /// The bucket that the host names.
    pub bucket: &'a str,
    /// The host.
    pub host: &'a str,
    /// Nobody in particular, and where from.
    pub caller: Caller,
    /// The ids of the request, for the pages that show them.
    pub ids: RequestIds,
}

/// Answers a request.
pub async fn answer(gateway: &Arc<Gateway>, visit: Visit<'_>) -> HttpResponse {
    match show(gateway, &visit).await {
        Ok(response) => response,
        Err(error) => page::error(&error, &visit.ids),
    }
}

async fn show(gateway: &Arc<Gateway>, visit: &Visit<'_>) -> S3Result<HttpResponse> {
    let Visit { parts, bucket, host, caller, .. } = visit;
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(refuse(
            S3ErrorCode::MethodNotAllowed,
            "The specified method is not allowed against this resource.",
        ));
    }
    let bucket = gateway.meta.bucket(bucket).await?;
    let config = bucket.config.website.as_ref().ok_or_else(no_website)?;
    let key = parts
        .uri
        .path()
        .strip_prefix('/')
        .and_then(percent_decode)
        .ok_or_else(|| refuse(S3ErrorCode::InvalidURI, "Couldn't parse the specified URI."))?;
    let scheme = if caller.secure { "https" } else { "http" };
    let place = Place { scheme, host, key: &key };
    let elsewhere = rules::redirect_all(config, place, parts.uri.query())
        .or_else(|| rules::route(config, place, None));
    if let Some(elsewhere) = elsewhere {
        return Ok(page::redirect(elsewhere));
    }

    let object = rules::object(config, &key);
    let error = match read(gateway, visit, &object, Some(&parts.headers)).await {
        Ok(found) => return Ok(found_page(found)),
        Err(error) => error,
    };
    let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !matches!(status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN) {
        return failed(gateway, visit, config, place, error).await;
    }
    if let Some(index) = rules::index_below(config, &key)
        && read(gateway, visit, &index, None).await.is_ok()
        && let Some(directory) = rules::directory(place)
    {
        return Ok(page::redirect(directory));
    }
    failed(gateway, visit, config, place, error).await
}

fn no_website() -> S3Error {
    custom(
        "NoSuchWebsiteConfiguration",
        StatusCode::NOT_FOUND,
        "The specified bucket does not have a website configuration",
    )
}

/// The object, or where it sends who asks for it.
fn found_page(found: S3Response<GetObjectOutput>) -> HttpResponse {
    let redirect = found.output.website_redirect_location.as_deref();
    if let Some(elsewhere) = redirect.and_then(rules::redirect_of_object) {
        return page::redirect(elsewhere);
    }
    let status = match found.output.content_range {
        Some(_) => StatusCode::PARTIAL_CONTENT,
        None => StatusCode::OK,
    };
    page::object(status, found.output, found.headers)
}

/// What is shown in place of an object: a rule's page, or the bucket's own, or
/// ours.
async fn failed(
    gateway: &Arc<Gateway>,
    visit: &Visit<'_>,
    config: &WebsiteConfiguration,
    place: Place<'_>,
    error: S3Error,
) -> S3Result<HttpResponse> {
    let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(elsewhere) = rules::route(config, place, Some(status)) {
        return Ok(page::redirect(elsewhere));
    }
    let Some(document) = config.error_document.as_ref().filter(|_| status.is_client_error()) else {
        return Err(error);
    };
    match read(gateway, visit, &document.key, None).await {
        Ok(found) => {
            let mut response = page::object(status, found.output, found.headers);
            page::add_error(response.headers_mut(), &error);
            Ok(response)
        }
        Err(_) => Err(error),
    }
}

/// Reads an object as anybody, under the conditions of `headers`.
async fn read(
    gateway: &Arc<Gateway>,
    visit: &Visit<'_>,
    key: &str,
    headers: Option<&HeaderMap>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let none = HeaderMap::new();
    let headers = Conditions(headers.unwrap_or(&none));
    let input = GetObjectInput {
        bucket: visit.bucket.to_owned(),
        key: key.to_owned(),
        range: headers.parse(&RANGE, |text| Range::parse(text).ok()),
        if_match: headers.parse(&IF_MATCH, etag),
        if_none_match: headers.parse(&IF_NONE_MATCH, etag),
        if_modified_since: headers.parse(&IF_MODIFIED_SINCE, time),
        if_unmodified_since: headers.parse(&IF_UNMODIFIED_SINCE, time),
        ..GetObjectInput::default()
    };
    let request = S3Request {
        input,
        method: Method::GET,
        uri: visit.parts.uri.clone(),
        headers: HeaderMap::new(),
        extensions: visit.parts.extensions.clone(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    };
    get_object::run(gateway, &visit.caller, request).await
}

/// Headers of a browser; what cannot be read is ignored, as HTTP asks.
struct Conditions<'a>(&'a HeaderMap);

impl Conditions<'_> {
    fn parse<T>(&self, name: &HeaderName, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        parse(self.0.get(name)?.to_str().ok()?)
    }
}

fn etag(text: &str) -> Option<ETagCondition> {
    ETagCondition::parse_http_header(text.as_bytes()).ok()
}

fn time(text: &str) -> Option<Timestamp> {
    Timestamp::parse(TimestampFormat::HttpDate, text).ok()
}
