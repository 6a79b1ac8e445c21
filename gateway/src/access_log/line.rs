//! One line of an access log. Pure.

use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, Version};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::address;
use crate::auth::identity::AuthKind;
use crate::http::guard::Domains;
use crate::meta::Millis;

/// Longest value of a header in a line.
const VALUE_MAX: usize = 1024;

/// What was asked, as far as a line tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The bucket.
    pub bucket: String,
    /// The key, as it was sent: encoded.
    pub key: String,
    address: String,
    operation: String,
    /// Method, path and query without what lets others in.
    request: String,
    version_id: String,
    host: String,
    referer: String,
    agent: String,
}

impl Asked {
    /// Takes a request apart; `None` if it is about no bucket.
    pub fn of<B>(request: &Request<B>, domains: &Domains) -> Option<Self> {
        let header = |name: HeaderName| {
            let value = request.headers().get(name).map(|value| value.as_bytes());
            let value = String::from_utf8_lossy(value.unwrap_or_default());
            value.chars().take(VALUE_MAX).collect::<String>()
        };
        let uri = request.uri();
        let host = uri.authority().map_or_else(|| header(HOST), |host| host.to_string());
        let path = uri.path().strip_prefix('/').unwrap_or(uri.path());
        let (bucket, key) = match domains.bucket(&host).ok()? {
            Some(bucket) => (bucket, path),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (bucket.to_owned(), key)
            }
        };
        let pairs: Vec<(&str, &str)> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .collect();
        if bucket.is_empty() {
            return None;
        }
        let version_id = pairs.iter().find(|(name, _)| *name == "versionId");
        Some(Self {
            operation: operation(request.method(), !key.is_empty(), &pairs, request.headers()),
            request: format!(
                "{} {}{} {}",
                request.method(),
                uri.path(),
                shown(&pairs),
                version(request.version())
            ),
            key: key.to_owned(),
            address: address(request),
            version_id: version_id.map(|(_, id)| (*id).to_owned()).unwrap_or_default(),
            host,
            referer: header(REFERER),
            agent: header(USER_AGENT),
            bucket,
        })
    }
}

/// A query without signatures and tokens: who can read a log could use them.
fn shown(pairs: &[(&str, &str)]) -> String {
    let secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["signature", "x-amz-signature", "x-amz-security-token"].contains(&name.as_str())
    };
    let mut shown = String::new();
    for (name, value) in pairs {
        shown.push(if shown.is_empty() { '?' } else { '&' });
        shown.push_str(name);
        if secret(name) {
            shown.push_str("=REDACTED");
        } else if !value.is_empty() {
            shown.push('=');
            shown.push_str(value);
        }
    }
    shown
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// Sub-resources, and what logs call them.
const RESOURCES: &[(&str, &str)] = &[
    ("uploadId", "PART"),
    ("uploads", "UPLOADS"),
    ("acl", "ACL"),
    ("tagging", "TAGGING"),
    ("retention", "RETENTION"),
    ("legal-hold", "LEGAL_HOLD"),
    ("attributes", "ATTRIBUTES"),
    ("delete", "MULTI_OBJECT_DELETE"),
    ("versions", "BUCKETVERSIONS"),
    ("versioning", "VERSIONING"),
    ("location", "LOCATION"),
    ("policy", "BUCKETPOLICY"),
    ("policyStatus", "POLICY_STATUS"),
    ("cors", "CORS"),
    ("lifecycle", "LIFECYCLE"),
    ("website", "WEBSITE"),
    ("logging", "LOGGING_STATUS"),
    ("notification", "NOTIFICATION"),
    ("encryption", "ENCRYPTION"),
    ("object-lock", "OBJECT_LOCK_CONFIGURATION"),
    ("publicAccessBlock", "PUBLIC_ACCESS_BLOCK"),
    ("ownershipControls", "OWNERSHIP_CONTROLS"),
    ("requestPayment", "REQUEST_PAYMENT"),
    ("replication", "REPLICATION"),
];

/// The operation as logs name it: `REST.GET.OBJECT`.
fn operation(
    method: &Method,
    is_object: bool,
    query: &[(&str, &str)],
    headers: &HeaderMap,
) -> String {
    let asked = |name: &str| query.iter().any(|(given, _)| *given == name);
    let is_copy = *method == Method::PUT && headers.contains_key("x-amz-copy-source");
    let resource = RESOURCES.iter().find(|(name, _)| asked(name)).map(|(_, resource)| *resource);
    match (method.as_str(), resource) {
        ("PUT", Some("PART")) if is_copy => "REST.COPY.PART".to_owned(),
        ("PUT", None) if is_copy => "REST.COPY.OBJECT".to_owned(),
        ("GET", Some("PART")) => "REST.GET.UPLOAD".to_owned(),
        ("POST" | "DELETE", Some("PART")) => format!("REST.{method}.UPLOAD"),
        (_, Some(resource)) => format!("REST.{method}.{resource}"),
        ("OPTIONS", None) => "REST.OPTIONS.PREFLIGHT".to_owned(),
        (_, None) if is_object => format!("REST.{method}.OBJECT"),
        ("POST", None) => "REST.POST.OBJECT".to_owned(),
        (_, None) => format!("REST.{method}.BUCKET"),
    }
}

/// A request and its answer.
pub struct Line<'a> {
    /// Canonical user id of the bucket's owner.
    pub owner: &'a str,
    /// When the answer began.
    pub at: Millis,
    /// How long that took.
    pub took: Duration,
    /// Canonical user id of who asked; "" is anybody.
    pub requester: &'a str,
    /// How that was said.
    pub auth: Option<AuthKind>,
    /// Whether it came over TLS.
    pub secure: bool,
    /// The S3 code of a refusal, or "".
    pub error: &'a str,
    /// The request.
    pub asked: &'a Asked,
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's headers.
    pub headers: &'a HeaderMap,
}

impl Line<'_> {
    /// The line, with its end.
    pub fn text(&self) -> String {
        let asked = self.asked;
        let header = |name: &str| {
            let value = self.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default()
        };
        let bytes = match asked.request.starts_with("HEAD ") {
            true => "",
            false => header(CONTENT_LENGTH.as_str()).trim_start_matches('0'),
        };
        let is_get = asked.operation == "REST.GET.OBJECT" && self.error.is_empty();
        let whole = header("content-range").rsplit('/').next().filter(|size| !size.is_empty());
        let object_size = if is_get { whole.unwrap_or(bytes) } else { "" };
        let took = self.took.as_millis().to_string();
        let version_id = match header("x-amz-version-id") {
            "" => asked.version_id.as_str(),
            told => told,
        };
        let (signature, auth) = match self.auth {
            None | Some(AuthKind::Anonymous) => ("", ""),
            Some(AuthKind::Header) => ("SigV4", "AuthHeader"),
            Some(AuthKind::Query) => ("SigV4", "QueryString"),
            Some(AuthKind::Form) => ("SigV4", "POST"),
        };
        let fields = [
            self.owner.to_owned(),
            plain(&asked.bucket),
            format!("[{}]", stamp(self.at)),
            plain(&asked.address),
            plain(self.requester),
            plain(header("x-amz-request-id")),
            plain(&asked.operation),
            plain(&asked.key),
            quoted(&asked.request),
            self.status.as_u16().to_string(),
            plain(self.error),
            plain(bytes),
            plain(object_size),
            took.clone(),
            took,
            quoted(&asked.referer),
            quoted(&asked.agent),
            plain(version_id),
            plain(header("x-amz-id-2")),
            plain(signature),
            // The cipher suite is not known behind the listener.
            plain(""),
            plain(auth),
            plain(&asked.host),
            plain(if self.secure { "TLS" } else { "" }),
            // No access points here; whether an ACL was needed is not told.
            plain(""),
            plain(""),
        ];
        let mut line = fields.join(" ");
        line.push('\n');
        line
    }
}

/// A field that must not look like two; `-` for none.
fn plain(value: &str) -> String {
    if value.is_empty() {
        return "-".to_owned();
    }
    let safe = |c: char| if c.is_whitespace() || c.is_control() || c == '"' { '_' } else { c };
    value.chars().map(safe).collect()
}

fn quoted(value: &str) -> String {
    if value.is_empty() {
        return "\"-\"".to_owned();
    }
    let safe = |c: char| if c.is_control() || c == '"' { '_' } else { c };
    format!("\"{}\"", value.chars().map(safe).collect::<String>())
}

fn stamp(millis: Millis) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    let at = OffsetDateTime::from_unix_timestamp(millis / 1000);
    at.ok().and_then(|at| at.format(FORMAT).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<Asked> {
        let mut request = Request::builder().method(method).uri(uri).header("host", "127.0.0.1:9");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let domains = Domains::parse(["s3.example.org"]).unwrap();
        Asked::of(&request.body(()).unwrap(), &domains)
    }

    #[test]
    fn operations_have_the_names_of_the_log_format() {
        let name = |method, uri, headers: &[(&str, &str)]| {
            asked(method, uri, headers).map(|asked| asked.operation).unwrap_or_default()
        };
        let copy = [("x-amz-copy-source", "/b/k")];
        for (method, uri, want) in [
            ("GET", "/b/k", "REST.GET.OBJECT"),
            ("HEAD", "/b/k", "REST.HEAD.OBJECT"),
            ("GET", "/b?list-type=2", "REST.GET.BUCKET"),
            ("GET", "/b/?versions", "REST.GET.BUCKETVERSIONS"),
            ("PUT", "/b?versioning", "REST.PUT.VERSIONING"),
            ("POST", "/b?delete", "REST.POST.MULTI_OBJECT_DELETE"),
            ("POST", "/b/k?uploads", "REST.POST.UPLOADS"),
            ("PUT", "/b/k?partNumber=1&uploadId=u", "REST.PUT.PART"),
            ("POST", "/b/k?uploadId=u", "REST.POST.UPLOAD"),
            ("DELETE", "/b/k?uploadId=u", "REST.DELETE.UPLOAD"),
            ("POST", "/b", "REST.POST.OBJECT"),
            ("OPTIONS", "/b/k", "REST.OPTIONS.PREFLIGHT"),
        ] {
            assert_eq!(name(method, uri, &[]), want, "{method} {uri}");
        }
        assert_eq!(name("PUT", "/b/k", &copy), "REST.COPY.OBJECT");
        assert_eq!(name("PUT", "/b/k?uploadId=u&partNumber=1", &copy), "REST.COPY.PART");
        assert_eq!(asked("GET", "/", &[]), None, "the list of buckets belongs to none");
    }

    #[test]
    fn a_line_has_the_fields_in_their_order() {
        let headers = [("user-agent", "a \"b\"\tc")];
        let mut asked = asked("GET", "/b/a%20b?X-Amz-Signature=5ec&x=1", &headers).unwrap();
        asked.address = "192.0.2.3".to_owned();
        let mut answer = HeaderMap::new();
        answer.insert("content-length", "5".parse().unwrap());
        answer.insert("x-amz-request-id", "R".parse().unwrap());
        answer.insert("content-range", "bytes 0-4/70".parse().unwrap());
        let line = Line {
            owner: "owner",
            at: 1_549_411_238_000,
            took: Duration::from_millis(7),
            requester: "",
            auth: Some(AuthKind::Query),
            secure: false,
            error: "",
            asked: &asked,
            status: StatusCode::PARTIAL_CONTENT,
            headers: &answer,
        };
        assert_eq!(
            line.text(),
            "owner b [06/Feb/2019:00:00:38 +0000] 192.0.2.3 - R REST.GET.OBJECT a%20b \
             \"GET /b/a%20b?X-Amz-Signature=REDACTED&x=1 HTTP/1.1\" 206 - 5 70 7 7 \"-\" \
             \"a _b__c\" - - SigV4 - QueryString 127.0.0.1:9 - - -\n"
        );
    }
}
