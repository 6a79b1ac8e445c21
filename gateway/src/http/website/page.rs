//! Answers of a website: the headers of an object, and pages for people where
//! there is none. Pure.

use http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::dto::{GetObjectOutput, TimestampFormat};
use s3s::{Body, HttpResponse, S3Error};

use super::rules::Elsewhere;
use crate::http::guard::RequestIds;
use crate::http::text::escape;

/// An error, as people see it. Not a word of it comes unescaped from outside.
pub fn error(error: &S3Error, ids: &RequestIds) -> HttpResponse {
    let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (code, message) = (error.code().as_str(), error.message().unwrap_or_default());
    let title = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default());
    let page = format!(
        "<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n\
         <li>Code: {}</li>\n<li>Message: {}</li>\n<li>RequestId: {}</li>\n<li>HostId: {}</li>\n\
         </ul>\n<hr/>\n</body>\n</html>\n",
        escape(code),
        escape(message),
        ids.request(),
        ids.host()
    );
    let mut response = html(status, page);
    add_error(response.headers_mut(), error);
    response
}

/// What went wrong, for programs.
pub fn add_error(headers: &mut HeaderMap, error: &S3Error) {
    for (name, text) in [
        ("x-amz-error-code", Some(error.code().as_str())),
        ("x-amz-error-message", error.message()),
    ] {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// The way to another page.
pub fn redirect(elsewhere: Elsewhere) -> HttpResponse {
    let status = elsewhere.status;
    let title = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or_default());
    let page = format!(
        "<html>\n<head><title>{title}</title></head>\n<body><h1>{title}</h1></body>\n</html>\n"
    );
    let mut response = html(status, page);
    response.headers_mut().insert(LOCATION, elsewhere.location);
    response
}

fn html(status: StatusCode, page: String) -> HttpResponse {
    let mut response = HttpResponse::new(Body::from(page));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// An object with its headers.
pub fn object(status: StatusCode, mut output: GetObjectOutput, further: HeaderMap) -> HttpResponse {
    let body = output.body.take().map_or_else(Body::empty, Body::from);
    let mut response = HttpResponse::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut add = |name: HeaderName, value: Option<String>| {
        let value = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
        if let Some(value) = value {
            headers.insert(name, value);
        }
    };
    let etag = output.e_tag.as_ref().map(|etag| format!("\"{}\"", etag.value()));
    let modified = output.last_modified.as_ref().and_then(|time| {
        let mut text = Vec::new();
        time.format(TimestampFormat::HttpDate, &mut text).ok()?;
        String::from_utf8(text).ok()
    });
    for (name, value) in [
        ("accept-ranges", output.accept_ranges),
        ("cache-control", output.cache_control),
        ("content-disposition", output.content_disposition),
        ("content-encoding", output.content_encoding),
        ("content-language", output.content_language),
        ("content-length", output.content_length.map(|len| len.to_string())),
        ("content-range", output.content_range),
        ("content-type", output.content_type),
        ("etag", etag),
        ("last-modified", modified),
        ("x-amz-version-id", output.version_id),
    ] {
        add(HeaderName::from_static(name), value);
    }
    for (name, value) in output.metadata.into_iter().flatten() {
        if let Ok(name) = HeaderName::from_bytes(format!("x-amz-meta-{name}").as_bytes()) {
            add(name, Some(value));
        }
    }
    headers.extend(further);
    response
}

#[cfg(test)]
mod tests {
    use s3s::S3ErrorCode;

    use super::*;
    use crate::error::refuse;

    #[test]
    fn an_error_page_shows_what_it_was_told_and_runs_none_of_it() {
        let wrong = refuse(S3ErrorCode::NoSuchKey, "no <script>alert('1')</script> & more");
        let response = error(&wrong, &RequestIds::random());
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["x-amz-error-code"], "NoSuchKey");
        let body = response.body().bytes().unwrap();
        let body = std::str::from_utf8(&body).unwrap();
        assert!(body.contains("<li>Code: NoSuchKey</li>"), "{body}");
        assert!(body.contains("no &lt;script&gt;alert(&apos;1&apos;)&lt;/script&gt; &amp; more"));
    }

    #[test]
    fn an_object_comes_with_its_headers_and_no_others() {
        let output = GetObjectOutput {
            content_type: Some("text/html".into()),
            content_length: Some(3),
            cache_control: Some("no\r\nx-evil: 1".into()),
            e_tag: Some(s3s::dto::ETag::Strong("e".into())),
            last_modified: Some(time::OffsetDateTime::UNIX_EPOCH.into()),
            metadata: Some(
                [("a".to_owned(), "b".to_owned()), ("c d".to_owned(), "e".to_owned())].into(),
            ),
            ..GetObjectOutput::default()
        };
        let response = object(StatusCode::NOT_FOUND, output, HeaderMap::new());
        let headers = response.headers();
        assert_eq!(response.status(), 404);
        assert_eq!(
            (&headers["etag"], &headers["content-length"]),
            (&"\"e\"".parse().unwrap(), &"3".parse().unwrap())
        );
        assert_eq!(headers["last-modified"], "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(headers["x-amz-meta-a"], "b");
        assert!(!headers.contains_key("cache-control") && !headers.contains_key("x-evil"));
        assert_eq!(headers.len(), 5);
    }
}
