//! Requests for the tests of the guard.

use http::HeaderValue;
use http::Request;
use http::request::Parts;

/// A claim over `host` and `x-amz-date` at 2026-01-02 03:04:05.
pub(in crate::http) const HEADER_AUTH: &str = "AWS4-HMAC-SHA256 \
    Credential=AKID/20260102/us-east-1/s3/aws4_request, \
    SignedHeaders=host;x-amz-date, Signature=00ff";

/// The same as query parameters, for an hour.
pub(in crate::http) const PRESIGNED: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKID%2F20260102%2Fus-east-1%2Fs3%2Faws4_request\
    &X-Amz-Date=20260102T030405Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host\
    &X-Amz-Signature=00ff";

/// The head of a request; header values may be any bytes of UTF-8.
pub(in crate::http) fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        request = request.header(*name, value);
    }
    request.body(()).expect("a request").into_parts().0
}
