//! POST Object: an upload by a form of a browser.
//!
//! The form comes in as a stream. Its fields say who signed a policy and what
//! the object shall be; they become the headers of a PUT, and the file its
//! body, so that all that is decided about a PUT is decided in one place.
//!
//! - `parser`, `disposition`: `multipart/form-data`, taken apart
//! - `fields`: what stands before the file
//! - `signature`, `policy`: who allowed it, and what
//! - `body`: the file, counted
//! - `input`, `answer`: to PutObject and back
//! - `service`: forms to here, all else to S3

mod answer;
mod body;
mod disposition;
mod fields;
mod input;
mod parser;
mod policy;
mod service;
mod signature;

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, Method};
use s3s::dto::StreamingBlob;
use s3s::{HttpResponse, S3ErrorCode, S3Request, S3Result};
use time::OffsetDateTime;

use answer::Stored;
use body::{FileBody, read_head};
use fields::Fields;
use parser::Parser;
use policy::{Policy, Sizes};
use signature::{Rules, Signed};

use crate::access_log::Noted;
use crate::auth::identity::{AuthKind, Caller, Facts, Identity};
use crate::error::refuse;
use crate::gateway::Gateway;
use crate::http::text::percent_encode_path;
use crate::ops::put_object::{self, BODY_MAX, OpenEnded};

pub use body::Incoming;
pub use service::Forms;

/// A form on its way in.
pub struct Form<'a> {
    /// The head of the request.
    pub parts: &'a Parts,
    /// The bucket that the URL names.
    pub bucket: &'a str,
    /// The URL that the key is appended to, ending in a slash.
    pub base: &'a str,
    /// Who sends it, as far as the head says: nobody.
    pub caller: &'a Caller,
    /// The body.
    pub body: Incoming,
}

/// Whether a request with this head is a form.
pub fn is_form(parts: &Parts) -> bool {
    let kind = parts.headers.get(CONTENT_TYPE);
    parts.method == Method::POST && kind.is_some_and(|kind| disposition::is_form(kind.as_bytes()))
}

/// Stores the file of a form.
pub async fn run(gateway: &Arc<Gateway>, form: Form<'_>) -> S3Result<HttpResponse> {
    let Form { parts, bucket, base, caller, mut body } = form;
    check_head(caller)?;
    let len = declared_len(&parts.headers)?;
    let mut parser = parser(&parts.headers)?;
    let mut fields = Fields::default();
    let filename = read_head(&mut parser, &mut body, |name, value| fields.add(name, value)).await?;
    fields.insert_filename(&filename);

    let (identity, sizes) = allowed(gateway, &fields, bucket)?;
    let key = fields.key()?;
    let headers = fields.headers()?;
    let (file, record) = FileBody::new(parser, body, sizes);
    let blob = StreamingBlob::wrap(sync_wrapper::SyncStream::new(file));
    let input = input::put_object(bucket, key, &headers, blob)?;

    let auth = if identity.is_anonymous() { AuthKind::Anonymous } else { AuthKind::Form };
    let facts = Facts { headers: headers.clone(), query: Vec::new() };
    let caller = Arc::new(Caller { identity, auth, facts, ..caller.clone() });
    Noted::caller(&parts.extensions, &caller);
    let mut request = put_request(parts, input, headers);
    request.extensions.insert(caller.clone());
    request.extensions.insert(OpenEnded { at_most: len.min(sizes.max).min(BODY_MAX) });
    let stored = put_object::run(gateway, &caller, request).await;
    // The operation saw its body break off; why is known here.
    let output = match (stored, record.fault()) {
        (Err(_), Some(fault)) => return Err(fault.into()),
        (Err(error), None) => return Err(error),
        (Ok(stored), _) => stored.output,
    };
    let etag = output.e_tag.as_ref().map(|etag| format!("\"{}\"", etag.value()));
    let location = format!("{base}{}", percent_encode_path(key));
    let etag = etag.unwrap_or_default();
    let stored = Stored { bucket, key, location: &location, etag: &etag };
    Ok(answer::answer(&fields, stored, &output))
}

/// Who signs a form does so inside of it.
fn check_head(caller: &Caller) -> S3Result<()> {
    if caller.auth == AuthKind::Anonymous {
        return Ok(());
    }
    Err(refuse(
        S3ErrorCode::InvalidArgument,
        "Only one auth mechanism allowed: a form is signed by its fields.",
    ))
}

fn declared_len(headers: &HeaderMap) -> S3Result<u64> {
    let len = headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    len.ok_or_else(|| {
        refuse(
            S3ErrorCode::MissingContentLength,
            "You must provide the Content-Length HTTP header.",
        )
    })
}

fn parser(headers: &HeaderMap) -> S3Result<Parser> {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let boundary = disposition::boundary(kind).ok_or_else(|| {
        refuse(
            S3ErrorCode::MalformedPOSTRequest,
            "The Content-Type of a form must name a boundary of 1 to 70 letters.",
        )
    })?;
    Ok(Parser::new(&boundary))
}

/// Who the form is from, and how large its file may be. What that account may do
/// with the bucket is decided later, as for every PUT.
fn allowed(gateway: &Gateway, fields: &Fields, bucket: &str) -> S3Result<(Identity, Sizes)> {
    let now = OffsetDateTime::now_utc();
    let rules = Rules {
        region: &gateway.settings.region,
        allow_v2: gateway.settings.allow_form_signature_v2,
        now,
    };
    let Some(signed) = Signed::find(fields, &rules)? else {
        return Ok((Identity::anonymous(), Sizes::default()));
    };
    let identity = signed.verify(|id, token| gateway.credentials.resolve(id, token))?;
    let sizes = Policy::parse(signed.policy)?.check(fields, bucket, now)?;
    Ok((identity, sizes))
}

/// The PUT that the form stands for.
fn put_request<T>(parts: &Parts, input: T, headers: HeaderMap) -> S3Request<T> {
    S3Request {
        input,
        method: Method::PUT,
        uri: parts.uri.clone(),
        headers,
        extensions: parts.extensions.clone(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}
