//! What a form is answered: nothing, a document, or the way to another page, as
//! its fields ask. Pure.

use http::header::{CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use s3s::dto::PutObjectOutput;
use s3s::{Body, HttpResponse};

use super::fields::Fields;
use crate::http::text::{escape, percent_encode};

/// What was stored where.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The key.
    pub key: &'a str,
    /// The URL of the object.
    pub location: &'a str,
    /// In quotes.
    pub etag: &'a str,
}

/// The answer to a form whose file was stored.
pub fn answer(fields: &Fields, stored: Stored<'_>, output: &PutObjectOutput) -> HttpResponse {
    let mut response = HttpResponse::new(Body::empty());
    *response.headers_mut() = headers(stored, output);
    let asked = fields.get("success_action_redirect").or_else(|| fields.get("redirect"));
    if let Some(to) = asked.and_then(|url| redirect(url, stored)) {
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(LOCATION, to);
        return response;
    }
    *response.status_mut() = match fields.get("success_action_status") {
        Some("200") => StatusCode::OK,
        Some("201") => {
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            *response.body_mut() = Body::from(document(stored));
            StatusCode::CREATED
        }
        // As S3 does with every other value.
        _ => StatusCode::NO_CONTENT,
    };
    response
}

fn document(stored: Stored<'_>) -> String {
    let Stored { bucket, key, location, etag } = stored;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location>\
         <Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag></PostResponse>",
        escape(location),
        escape(bucket),
        escape(key),
        escape(etag)
    )
}

/// The page that a browser goes on to, told of what was stored. `None` if it is
/// no page on the web, which is as if it had not been asked for.
fn redirect(url: &str, stored: Stored<'_>) -> Option<HeaderValue> {
    let (page, fragment) = match url.split_once('#') {
        Some((page, fragment)) => (page, format!("#{fragment}")),
        None => (url, String::new()),
    };
    let parsed: Uri = page.parse().ok()?;
    let is_web = matches!(parsed.scheme_str(), Some("http" | "https"));
    if !is_web || parsed.host().is_none_or(str::is_empty) {
        return None;
    }
    let sign = if page.contains('?') { '&' } else { '?' };
    let [bucket, key, etag] = [stored.bucket, stored.key, stored.etag].map(percent_encode);
    let to = format!("{page}{sign}bucket={bucket}&key={key}&etag={etag}{fragment}");
    // Refuses control characters, in the fragment too.
    HeaderValue::from_str(&to).ok()
}

/// What a PUT would have been answered with.
fn headers(stored: Stored<'_>, output: &PutObjectOutput) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: &'static str, value: Option<&str>| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    add("etag", Some(stored.etag));
    add("location", Some(stored.location));
    add("x-amz-version-id", output.version_id.as_deref());
    add("x-amz-expiration", output.expiration.as_deref());
    add("x-amz-checksum-crc32", output.checksum_crc32.as_deref());
    add("x-amz-checksum-crc32c", output.checksum_crc32c.as_deref());
    add("x-amz-checksum-crc64nvme", output.checksum_crc64nvme.as_deref());
    add("x-amz-checksum-sha1", output.checksum_sha1.as_deref());
    add("x-amz-checksum-sha256", output.checksum_sha256.as_deref());
    add("x-amz-checksum-type", output.checksum_type.as_ref().map(|kind| kind.as_str()));
    let encryption = output.server_side_encryption.as_ref().map(|kind| kind.as_str());
    add("x-amz-server-side-encryption", encryption);
    add("x-amz-server-side-encryption-aws-kms-key-id", output.ssekms_key_id.as_deref());
    let customer = output.sse_customer_algorithm.as_deref();
    add("x-amz-server-side-encryption-customer-algorithm", customer);
    let customer = output.sse_customer_key_md5.as_deref();
    add("x-amz-server-side-encryption-customer-key-md5", customer);
    headers
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const STORED: Stored<'_> = Stored {
        bucket: "photos",
        key: "a b/<c>",
        location: "http://h/photos/a%20b/%3Cc%3E",
        etag: "\"e1\"",
    };

    /// Status, `Location` and body.
    fn ask(pairs: &[(&str, &str)]) -> (u16, String, String) {
        let mut fields = Fields::default();
        for (name, value) in pairs {
            fields.add(name, &Bytes::from(value.to_string())).unwrap();
        }
        let response = answer(&fields, STORED, &PutObjectOutput::default());
        assert_eq!(response.headers()["etag"], "\"e1\"");
        let body = response.body().bytes().unwrap_or_default();
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        (response.status().as_u16(), location, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn the_status_that_was_asked_for() {
        let none = |status| (status, STORED.location.to_owned(), String::new());
        assert_eq!(ask(&[]), none(204));
        assert_eq!(ask(&[("success_action_status", "204")]), none(204));
        assert_eq!(ask(&[("success_action_status", "404")]), none(204));
        assert_eq!(ask(&[("success_action_status", "200")]), none(200));
        let (status, location, xml) = ask(&[("success_action_status", "201")]);
        assert_eq!((status, location.as_str()), (201, STORED.location));
        let want = "<PostResponse><Location>http://h/photos/a%20b/%3Cc%3E</Location>\
            <Bucket>photos</Bucket><Key>a b/&lt;c&gt;</Key><ETag>&quot;e1&quot;</ETag></PostResponse>";
        assert!(xml.ends_with(want), "{xml}");
    }

    #[test]
    fn another_page() {
        let to = |url: &str| {
            let (status, location, _) = ask(&[("success_action_redirect", url)]);
            (status == 303).then_some(location)
        };
        let told = "bucket=photos&key=a%20b%2F%3Cc%3E&etag=%22e1%22";
        assert_eq!(to("http://x/done"), Some(format!("http://x/done?{told}")));
        assert_eq!(to("https://x:8/d?a=1"), Some(format!("https://x:8/d?a=1&{told}")));
        assert_eq!(to("https://x/d#there"), Some(format!("https://x/d?{told}#there")));
        assert_eq!(ask(&[("redirect", "http://x/")]).0, 303);
        let both = [("redirect", "http://x/"), ("success_action_redirect", "http://y/")];
        assert!(ask(&both).1.starts_with("http://y/?"));
    }

    #[test]
    fn h07_no_page_that_is_none_and_nothing_smuggled() {
        for bad in [
            "",
            "x",
            "/there",
            "//x/y",
            "javascript:alert(1)",
            "data:text/html,x",
            "ftp://x/",
            "http://",
            "http://x/\r\nset-cookie: a=b",
            "http://x/#\r\nset-cookie: a=b",
            "http://x/a b",
            "\u{1}http://x/",
            "http://x/\u{7f}",
        ] {
            assert_eq!(ask(&[("success_action_redirect", bad)]).0, 204, "{bad:?}");
        }
    }
}
