//! Gives every answer its ids, every document only characters that XML has, and
//! every error document the shape that S3 clients expect.
//!
//! The S3 layer writes `Code` and sometimes `Message`. Added here: a message
//! where there is none, `Resource`, `RequestId` and `HostId`. Whatever a 500
//! says of its cause is replaced: the cause is for the log.

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING};
use http::{Method, StatusCode};
use s3s::{Body, HttpResponse};

use super::Exchange;
use super::refusal::{
    INTERNAL_MESSAGE, RETRY_AFTER_SECONDS, XML, legal_xml, push_element, push_tail,
};

impl Exchange {
    /// The answer as it goes out.
    pub fn finish(&self, mut response: HttpResponse) -> HttpResponse {
        self.ids.stamp(response.headers_mut());
        let has_range = response.headers().contains_key(CONTENT_RANGE);
        // The S3 layer knows of a part of an object only when it sends one.
        if self.method == Method::HEAD && response.status() == StatusCode::OK && has_range {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        let status = response.status();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().entry(RETRY_AFTER).or_insert(RETRY_AFTER_SECONDS);
        }
        if matches!(status, StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT) {
            return without_body(response);
        }
        if !status.is_client_error() && !status.is_server_error() {
            return with_legal_xml(response);
        }
        if self.method == Method::HEAD {
            return without_body(response);
        }
        // Errors come as one buffer. A stream is a page that somebody meant.
        let Some(body) = response.body().bytes() else { return response };
        let Some(xml) = self.complete(status, &body) else { return response };
        let xml = legal_xml(&xml).into_owned();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, XML);
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        *response.body_mut() = Body::from(xml);
        response
    }

    /// The whole error document, or `None` when the body is something else.
    fn complete(&self, status: StatusCode, body: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(body).ok()?;
        let inner = match between(text, "<Error>", "</Error>") {
            Some(inner) => inner.to_owned(),
            None if text.trim().is_empty() => bare(status),
            None => return None,
        };
        // The call service wrote the whole of it.
        if text.contains("<ErrorResponse ") {
            return None;
        }
        let code = between(&inner, "<Code>", "</Code>").unwrap_or("InternalError").to_owned();
        let mut inner = without(&inner, &["Resource", "RequestId", "HostId"]);
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            // Our own failures come with these words, and were logged with their
            // cause. Of others nothing is known but this.
            let said = between(&inner, "<Message>", "</Message>").unwrap_or("");
            if said != INTERNAL_MESSAGE {
                tracing::error!(
                    code, said, method = %self.method, resource = self.resource, ids = ?self.ids,
                    "the S3 layer answered with an internal error"
                );
            }
            inner = without(&inner, &["Message"]);
        }

        let mut xml = String::with_capacity(inner.len() + 512);
        xml.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
        xml.push_str(&inner);
        if between(&inner, "<Message>", "</Message>").is_none_or(str::is_empty) {
            xml = without(&xml, &["Message"]);
            push_element(&mut xml, "Message", message(&code, status));
        }
        push_tail(&mut xml, &self.resource, &self.ids);
        xml.push_str("</Error>");
        if self.is_sts {
            // Its clients look for the error one level below.
            xml = xml.replacen("<Error>", "<ErrorResponse><Error><Type>Sender</Type>", 1);
            xml.push_str("</ErrorResponse>");
        }
        Some(xml)
    }
}

/// The answer, its document without what XML cannot hold. Objects are streams
/// and pass as they are.
fn with_legal_xml(mut response: HttpResponse) -> HttpResponse {
    let is_xml = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == XML);
    let body = response.body().bytes().filter(|_| is_xml);
    let Some(body) = body else { return response };
    if let Ok(text) = std::str::from_utf8(&body)
        && let Cow::Owned(legal) = bare_tags(legal_xml(text))
    {
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = Body::from(legal);
    }
    response
}

/// In this document alone S3 writes entity tags without quotes.
fn bare_tags(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains("<GetObjectAttributesResponse") {
        return text;
    }
    let bare = text.replace("<ETag>\"", "<ETag>").replace("\"</ETag>", "</ETag>");
    Cow::Owned(bare.replace("<ETag>&quot;", "<ETag>").replace("&quot;</ETag>", "</ETag>"))
}

fn without_body(mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    *response.body_mut() = Body::empty();
    response
}

/// The text between the first `open` and the last `close` after it.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    rest.rsplit_once(close).map(|(inner, _)| inner)
}

/// The text without the named elements.
fn without(text: &str, names: &[&str]) -> String {
    let mut text = text.to_owned();
    for name in names {
        text = text.replace(&format!("<{name}/>"), "");
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        if let (Some(start), Some(end)) = (text.find(&open), text.find(&close))
            && start < end
        {
            text.replace_range(start..end + close.len(), "");
        }
    }
    text
}

/// The elements of an error that came without any.
fn bare(status: StatusCode) -> String {
    let code = match status {
        StatusCode::BAD_REQUEST => "InvalidRequest",
        StatusCode::FORBIDDEN => "AccessDenied",
        StatusCode::METHOD_NOT_ALLOWED => "MethodNotAllowed",
        StatusCode::PRECONDITION_FAILED => "PreconditionFailed",
        StatusCode::RANGE_NOT_SATISFIABLE => "InvalidRange",
        StatusCode::NOT_IMPLEMENTED => "NotImplemented",
        StatusCode::SERVICE_UNAVAILABLE => "SlowDown",
        status if status.is_server_error() => "InternalError",
        _ => "InvalidRequest",
    };
    let mut inner = String::new();
    push_element(&mut inner, "Code", code);
    inner
}

/// What AWS says with a code, for the errors that come without words.
fn message(code: &str, status: StatusCode) -> &'static str {
    match code {
        "AccessDenied" => "Access Denied",
        "BadDigest" => {
            "The Content-MD5 or checksum value that you specified did not match what the server received."
        }
        "BucketAlreadyExists" => "The requested bucket name is not available.",
        "BucketAlreadyOwnedByYou" => {
            "Your previous request to create the named bucket succeeded and you already own it."
        }
        "BucketNotEmpty" => "The bucket you tried to delete is not empty.",
        "EntityTooLarge" => "Your proposed upload exceeds the maximum allowed size.",
        "EntityTooSmall" => "Your proposed upload is smaller than the minimum allowed size.",
        "IncompleteBody" => {
            "You did not provide the number of bytes specified by the Content-Length HTTP header."
        }
        "InternalError" => INTERNAL_MESSAGE,
        "InvalidAccessKeyId" => "The AWS Access Key Id you provided does not exist in our records.",
        "InvalidArgument" => "Invalid Argument",
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidDigest" => "The Content-MD5 or checksum value that you specified is not valid.",
        "InvalidPart" => "One or more of the specified parts could not be found.",
        "InvalidPartOrder" => "The list of parts was not in ascending order.",
        "InvalidPolicyDocument" => {
            "The content of the form does not meet the conditions specified in the policy document."
        }
        "InvalidRange" => "The requested range is not satisfiable",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long",
        "MalformedPOSTRequest" => {
            "The body of your POST request is not well-formed multipart/form-data."
        }
        "MalformedXML" => {
            "The XML you provided was not well-formed or did not validate against our published schema."
        }
        "MaxMessageLengthExceeded" => "Your request was too large.",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "NoSuchBucket" => "The specified bucket does not exist",
        "NoSuchKey" => "The specified key does not exist.",
        "NoSuchUpload" => {
            "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
        }
        "NoSuchVersion" => "The specified version does not exist.",
        "NotImplemented" => {
            "A header or operation you provided implies functionality that is not implemented."
        }
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold",
        "RequestTimeTooSkewed" => {
            "The difference between the request time and the current time is too large."
        }
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing method."
        }
        "SlowDown" => "Please reduce your request rate.",
        _ => status.canonical_reason().unwrap_or("The request failed."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::guard::RequestIds;
    use crate::http::guard::testing::parts;
    use http::HeaderValue;

    fn exchange(method: &str) -> Exchange {
        Exchange::new(&parts(method, "/photos/a%20cat?x=1", &[("host", "h")]))
    }

    fn answer(status: u16, body: &str) -> HttpResponse {
        let mut response = HttpResponse::new(Body::from(body.to_owned()));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        response
    }

    #[track_caller]
    fn text(response: &HttpResponse) -> String {
        let bytes = response.body().bytes().expect("one buffer");
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    fn tail(ids: &RequestIds) -> String {
        format!(
            "<Resource>/photos/a%20cat</Resource><RequestId>{}</RequestId><HostId>{}</HostId></Error>",
            ids.request(),
            ids.host()
        )
    }

    #[test]
    fn every_answer_has_its_ids() {
        let exchange = exchange("GET");
        let response = exchange.finish(answer(200, "<Error>data</Error>"));
        assert_eq!(text(&response), "<Error>data</Error>");
        let id = response.headers()["x-amz-request-id"].to_str().expect("ASCII");
        assert_eq!(id, exchange.ids.request().to_string());
        assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()));
        assert_eq!(response.headers()["x-amz-id-2"].len(), 32);
        assert_eq!(response.headers()["server"], "Stratos");
    }

    #[test]
    fn errors_are_completed() {
        let exchange = exchange("GET");
        let mut raw = answer(
            404,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchKey</Code>\
             <Message>gone</Message><Key>a cat</Key><RequestId>old</RequestId></Error>",
        );
        raw.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
        let response = exchange.finish(raw);
        let golden = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
             <Message>gone</Message><Key>a cat</Key>{}",
            tail(&exchange.ids)
        );
        assert_eq!(text(&response), golden);
        assert_eq!(response.headers()["content-type"], "application/xml");
        assert!(!response.headers().contains_key("content-length"));
    }

    #[test]
    fn a_missing_message_is_added() {
        for body in [
            "<Error><Code>AccessDenied</Code></Error>",
            "<Error><Code>AccessDenied</Code><Message></Message></Error>",
            "",
        ] {
            let exchange = exchange("PUT");
            let response = exchange.finish(answer(403, body));
            let want = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message><Resource>";
            assert!(text(&response).contains(want), "{body:?}: {}", text(&response));
        }
    }

    #[test]
    fn errors_of_the_token_service_have_its_form() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let exchange = Exchange::new(&parts("POST", "/", &[("host", "h"), form]));
        let refused = answer(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>");
        let refused = text(&exchange.finish(refused));
        let want = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>";
        assert!(refused.contains(want), "{refused}");
        assert!(refused.ends_with("</Error></ErrorResponse>"), "{refused}");
        let whole = "<ErrorResponse xmlns=\"x\"><Error><Code>C</Code></Error></ErrorResponse>";
        assert_eq!(text(&exchange.finish(answer(400, whole))), whole);
    }

    #[test]
    fn nothing_internal_is_shown() {
        let body = "<Error><Code>InternalError</Code><Message>no such table: x</Message></Error>";
        let shown = text(&exchange("GET").finish(answer(500, body)));
        assert!(!shown.contains("table"));
        assert!(shown.contains(INTERNAL_MESSAGE));
    }

    #[test]
    fn some_answers_have_no_body() {
        let body = "<Error><Code>NoSuchKey</Code></Error>";
        for (method, status) in [("HEAD", 404), ("HEAD", 500), ("GET", 304), ("DELETE", 204)] {
            let mut raw = answer(status, body);
            raw.headers_mut().insert("etag", HeaderValue::from_static("\"e\""));
            raw.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
            let response = exchange(method).finish(raw);
            assert_eq!(text(&response), "", "{method} {status}");
            assert!(!response.headers().contains_key("content-length"));
            assert_eq!(response.headers()["etag"], "\"e\"");
        }
        // The answer to a HEAD that succeeds speaks of the body that GET has.
        let mut found = answer(200, "");
        found.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
        assert_eq!(exchange("HEAD").finish(found).headers()["content-length"], "7");
        let mut part = answer(200, "");
        part.headers_mut().insert(CONTENT_RANGE, HeaderValue::from_static("bytes 0-6/9"));
        assert_eq!(exchange("HEAD").finish(part).status(), 206);
    }

    #[test]
    fn a_503_says_when_to_come_back() {
        let busy = || answer(503, "<Error><Code>SlowDown</Code></Error>");
        assert_eq!(exchange("GET").finish(busy()).headers()["retry-after"], "1");
        let mut later = busy();
        later.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("9"));
        assert_eq!(exchange("GET").finish(later).headers()["retry-after"], "9");
    }

    #[test]
    fn documents_hold_only_what_xml_can() {
        let mut listing = answer(200, "<Key>a\u{1}b</Key>");
        listing.headers_mut().insert(CONTENT_TYPE, XML);
        listing.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("15"));
        let response = exchange("GET").finish(listing);
        assert_eq!(text(&response), "<Key>a\u{fffd}b</Key>");
        assert!(!response.headers().contains_key("content-length"));
        // What is no document of ours stays.
        let other = exchange("GET").finish(answer(200, "a\u{1}b"));
        assert_eq!(text(&other), "a\u{1}b");
        let error = "<Error><Code>InvalidArgument</Code><Message>\u{1}</Message></Error>";
        let shown = text(&exchange("GET").finish(answer(400, error)));
        assert!(shown.contains("<Message>\u{fffd}</Message>"), "{shown}");
    }

    #[test]
    fn pages_that_are_no_error_document_stay() {
        let response = exchange("GET").finish(answer(404, "<html>not here</html>"));
        assert_eq!(text(&response), "<html>not here</html>");
    }
}
