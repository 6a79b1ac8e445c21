//! Which pages of other origins may ask, by the rules of a bucket. Pure.
//!
//! A browser decides; the gateway only says. So nothing here protects an object:
//! whoever asks without a browser is never asked for an origin. What is written
//! into headers comes out of a configuration that somebody stored, so each piece
//! is checked to be what it should be.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use s3s::S3Error;
use s3s::dto::CORSRule;
use thiserror::Error;

use crate::error::custom;

/// The methods that a rule can allow.
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];
/// Headers of answers that pages need, where no bucket says which.
const EXPOSED: [&str; 20] = [
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "ETag",
    "Last-Modified",
    "Location",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-type",
    "x-amz-delete-marker",
    "x-amz-id-2",
    "x-amz-mp-parts-count",
    "x-amz-request-id",
    "x-amz-server-side-encryption",
    "x-amz-version-id",
];
/// What a preflight or an answer depends on.
const VARIES: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
);

/// Why a preflight is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// It is no preflight.
    #[error("Insufficient information. Origin request header needed.")]
    NoOrigin,
    /// It names no method that a rule could allow.
    #[error("Invalid Access-Control-Request-Method: {0}")]
    Method(String),
    /// There is no such bucket.
    #[error("CORSResponse: Bucket not found")]
    NoBucket,
    /// There are no rules.
    #[error("CORSResponse: CORS is not enabled for this bucket.")]
    NotEnabled,
    /// None of the rules allows it.
    #[error(
        "CORSResponse: This CORS request is not allowed. This is usually because the evalution of \
         Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers \
         are not whitelisted by the resource's CORS spec."
    )]
    NoRule,
}

impl From<Refused> for S3Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoOrigin | Refused::Method(_) => {
                custom("BadRequest", StatusCode::BAD_REQUEST, refused.to_string())
            }
            Refused::NoBucket | Refused::NotEnabled | Refused::NoRule => {
                custom("AccessForbidden", StatusCode::FORBIDDEN, refused.to_string())
            }
        }
    }
}

/// The rule for buckets that have none, from the origins in the settings: none
/// is no rule.
pub fn default_rule(origins: &[String]) -> Option<CORSRule> {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    (!origins.is_empty()).then(|| CORSRule {
        allowed_headers: Some(texts(&["*"])),
        allowed_methods: texts(&METHODS),
        allowed_origins: origins.to_vec(),
        expose_headers: Some(texts(&EXPOSED)),
        id: None,
        max_age_seconds: Some(3600),
    })
}

/// What a page of another origin asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    origin: HeaderValue,
    method: String,
}

impl Asked {
    /// What an actual request asks for; `None` if it is from no page, or from
    /// one of the gateway's own origin that does not say so.
    ///
    /// S3 takes the method from `Access-Control-Request-Method` where a request
    /// has one, though only a preflight should.
    pub fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let origin = headers.get(ORIGIN)?.clone();
        let named = headers.get(ACCESS_CONTROL_REQUEST_METHOD).and_then(|name| name.to_str().ok());
        Some(Self { origin, method: named.unwrap_or(method.as_str()).to_owned() })
    }

    /// The headers that the answer gets by these rules, whatever it is: the page
    /// may read errors, too.
    pub fn answer(&self, rules: &[CORSRule]) -> HeaderMap {
        let found = rules.iter().find_map(|rule| self.pattern(rule).map(|pattern| (rule, pattern)));
        match found {
            Some((rule, pattern)) => self.allow(rule, pattern),
            None => HeaderMap::new(),
        }
    }

    /// The pattern by which a rule allows this origin this method.
    fn pattern<'a>(&self, rule: &'a CORSRule) -> Option<&'a str> {
        let origin = self.origin.to_str().ok()?;
        let allows_method = rule.allowed_methods.contains(&self.method);
        let mut patterns = rule.allowed_origins.iter().filter(|_| allows_method);
        patterns.find(|pattern| fits(pattern, origin)).map(String::as_str)
    }

    fn allow(&self, rule: &CORSRule, pattern: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if pattern == "*" {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
            // A pattern that does not say how a host ends, as `https://*`, is
            // everybody's: their pages get nothing that needs credentials.
            if !pattern.ends_with('*') {
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
        let methods = rule.allowed_methods.iter().filter(|name| METHODS.contains(&name.as_str()));
        insert_list(&mut headers, ACCESS_CONTROL_ALLOW_METHODS, methods);
        let exposed = rule.expose_headers.iter().flatten().filter(|name| is_token(name));
        insert_list(&mut headers, ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        if let Some(seconds) = rule.max_age_seconds {
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(seconds));
        }
        headers.insert(VARY, VARIES);
        headers
    }
}

/// The headers of the answer to a preflight. `rules` are `None` where there is
/// no bucket.
pub fn preflight(headers: &HeaderMap, rules: Option<&[CORSRule]>) -> Result<HeaderMap, Refused> {
    let origin = headers.get(ORIGIN).ok_or(Refused::NoOrigin)?.clone();
    let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD);
    let method = method.map_or("null", |method| method.to_str().unwrap_or("null"));
    if !METHODS.contains(&method) {
        return Err(Refused::Method(method.to_owned()));
    }
    let rules = rules.ok_or(Refused::NoBucket)?;
    if rules.is_empty() {
        return Err(Refused::NotEnabled);
    }
    let asked = Asked { origin, method: method.to_owned() };
    let wanted = wanted_headers(headers).ok_or(Refused::NoRule)?;
    let found = rules.iter().find_map(|rule| {
        let pattern = asked.pattern(rule)?;
        wanted.iter().all(|name| allows_header(rule, name)).then_some((rule, pattern))
    });
    let (rule, pattern) = found.ok_or(Refused::NoRule)?;
    let mut answer = asked.allow(rule, pattern);
    insert_list(&mut answer, ACCESS_CONTROL_ALLOW_HEADERS, wanted.iter());
    Ok(answer)
}

/// The headers that a page wants to send, in lower case; `None` if one of them
/// cannot be a header.
fn wanted_headers(headers: &HeaderMap) -> Option<Vec<String>> {
    let mut wanted = Vec::new();
    for line in headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
        let names = line.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty());
        wanted.extend(names.map(str::to_ascii_lowercase));
    }
    wanted.iter().all(|name| is_token(name)).then_some(wanted)
}

fn allows_header(rule: &CORSRule, name: &str) -> bool {
    let mut patterns = rule.allowed_headers.iter().flatten();
    patterns.any(|pattern| fits(&pattern.to_ascii_lowercase(), name))
}

/// Whether a text fits a pattern with at most one `*`, which is any text.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            start.len() + end.len() <= text.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

/// Whether a text can be the name of a header.
fn is_token(text: &str) -> bool {
    HeaderName::from_bytes(text.as_bytes()).is_ok()
}

/// Adds a list of names that were checked, if there are any.
fn insert_list<'a>(
    headers: &mut HeaderMap,
    name: HeaderName,
    list: impl Iterator<Item = &'a String>,
) {
    let list: Vec<&str> = list.map(String::as_str).collect();
    if let Ok(value) = HeaderValue::from_str(&list.join(", "))
        && !list.is_empty()
    {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(methods: &[&str], origins: &[&str]) -> CORSRule {
        let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        CORSRule {
            allowed_headers: None,
            allowed_methods: texts(methods),
            allowed_origins: texts(origins),
            expose_headers: None,
            id: None,
            max_age_seconds: None,
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn show(headers: &HeaderMap, name: &str) -> String {
        headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// Origin and methods that are allowed, "" for none.
    fn ask(rules: &[CORSRule], method: Method, pairs: &[(&'static str, &str)]) -> (String, String) {
        let answer = Asked::of(&method, &headers(pairs)).map(|asked| asked.answer(rules));
        let answer = answer.unwrap_or_default();
        let show = |name| show(&answer, name);
        (show("access-control-allow-origin"), show("access-control-allow-methods"))
    }

    #[test]
    fn origins_fit_patterns_with_one_star() {
        let rules = [
            rule(&["GET"], &["*suffix"]),
            rule(&["GET"], &["start*end"]),
            rule(&["GET"], &["prefix*"]),
            rule(&["PUT", "POST"], &["*.put"]),
        ];
        let get = |origin: &str| ask(&rules, Method::GET, &[("origin", origin)]).0;
        for origin in ["foo.suffix", "suffix", "startend", "start12end", "prefix", "prefix.suffix"]
        {
            assert_eq!(get(origin), origin);
        }
        for origin in
            ["foo.bar", "foo.suffix.get", "0start12end", "bla.prefix", "starend", "foo.put"]
        {
            assert_eq!(get(origin), "", "{origin}");
        }
        assert_eq!(ask(&rules, Method::GET, &[]), (String::new(), String::new()));
        let put = ask(&rules, Method::PUT, &[("origin", "foo.put")]);
        assert_eq!(put, ("foo.put".into(), "PUT, POST".into()));
        // S3 believes a header that only a preflight should have.
        let named = [("origin", "foo.suffix"), ("access-control-request-method", "GET")];
        assert_eq!(ask(&rules, Method::PUT, &named).0, "foo.suffix");
    }

    fn pre(
        rules: Option<&[CORSRule]>,
        pairs: &[(&'static str, &str)],
    ) -> Result<HeaderMap, Refused> {
        preflight(&headers(pairs), rules)
    }

    const METHOD: &str = "access-control-request-method";
    const WANTED: &str = "access-control-request-headers";

    #[test]
    fn preflights() {
        let mut first = rule(&["PUT"], &["https://a"]);
        first.allowed_headers = Some(vec!["X-Amz-*".into(), "content-TYPE".into()]);
        first.max_age_seconds = Some(60);
        let mut second = rule(&["PUT", "GET"], &["https://a", "https://b"]);
        second.expose_headers = Some(vec!["ETag".into(), "x-amz-meta-a".into()]);
        let rules = [first, second];
        let put = [("origin", "https://a"), (METHOD, "PUT")];
        let wanting = |names| pre(Some(&rules), &[put[0], put[1], (WANTED, names)]);

        let answer = wanting("Content-Type, x-amz-DATE").unwrap();
        assert_eq!(show(&answer, "access-control-allow-origin"), "https://a");
        assert_eq!(show(&answer, "access-control-allow-methods"), "PUT");
        assert_eq!(show(&answer, "access-control-allow-headers"), "content-type, x-amz-date");
        assert_eq!(show(&answer, "access-control-max-age"), "60");
        assert_eq!(show(&answer, "access-control-allow-credentials"), "true");
        assert!(show(&answer, "vary").starts_with("Origin, "));
        // The first rule that allows all of it.
        let other = pre(Some(&rules), &[("origin", "https://b"), (METHOD, "PUT")]).unwrap();
        assert_eq!(show(&other, "access-control-expose-headers"), "ETag, x-amz-meta-a");
        assert!(!other.contains_key("access-control-max-age"));

        assert_eq!(wanting("authorization"), Err(Refused::NoRule));
        assert_eq!(wanting("x-amz-date, a b"), Err(Refused::NoRule));
        let unknown = [("origin", "https://c"), (METHOD, "PUT")];
        assert_eq!(pre(Some(&rules), &unknown), Err(Refused::NoRule));
        assert_eq!(pre(Some(&rules), &[put[0], (METHOD, "DELETE")]), Err(Refused::NoRule));
        assert_eq!(pre(Some(&[]), &put), Err(Refused::NotEnabled));
        assert_eq!(pre(None, &put), Err(Refused::NoBucket));
    }

    #[test]
    fn what_is_no_preflight_is_a_bad_request_whatever_the_rules() {
        for rules in [None, Some(&[][..]), Some(&[rule(&["GET"], &["*"])][..])] {
            assert_eq!(pre(rules, &[(METHOD, "GET")]), Err(Refused::NoOrigin));
            let origin = ("origin", "https://a");
            assert_eq!(pre(rules, &[origin]), Err(Refused::Method("null".into())));
            assert_eq!(
                pre(rules, &[origin, (METHOD, "TRACE")]),
                Err(Refused::Method("TRACE".into()))
            );
        }
        let status = |refused: Refused| S3Error::from(refused).status_code().unwrap().as_u16();
        assert_eq!(status(Refused::NoOrigin), 400);
        assert_eq!(status(Refused::Method("x".into())), 400);
        assert_eq!(status(Refused::NotEnabled), 403);
        assert_eq!(status(Refused::NoRule), 403);
        assert_eq!(status(Refused::NoBucket), 403);
    }

    #[test]
    fn nobodys_page_gets_credentials_because_everybody_is_allowed() {
        for (pattern, origin, allowed, credentials) in [
            ("*", "https://evil", "*", ""),
            ("https://*", "https://evil", "https://evil", ""),
            ("https://*.good", "https://a.good", "https://a.good", "true"),
            ("https://a.good", "https://a.good", "https://a.good", "true"),
        ] {
            let asked = Asked::of(&Method::GET, &headers(&[("origin", origin)])).unwrap();
            let answer = asked.answer(&[rule(&["GET"], &[pattern])]);
            assert_eq!(show(&answer, "access-control-allow-origin"), allowed);
            assert_eq!(show(&answer, "access-control-allow-credentials"), credentials, "{pattern}");
        }
    }

    #[test]
    fn without_rules_the_settings_decide() {
        assert!(default_rule(&[]).is_none());
        let rules = [default_rule(&["https://console".to_owned()]).unwrap()];
        let put = [("origin", "https://console"), (METHOD, "PUT"), (WANTED, "authorization,x-a")];
        let answer = pre(Some(&rules), &put).unwrap();
        let exposed = show(&answer, "access-control-expose-headers");
        for name in ["ETag", "x-amz-version-id", "x-amz-request-id", "Content-Range"] {
            assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}");
        }
        assert_eq!(show(&answer, "access-control-allow-headers"), "authorization, x-a");
        assert!(pre(Some(&rules), &[("origin", "https://evil"), (METHOD, "PUT")]).is_err());
    }

    #[test]
    fn h07_what_is_no_name_is_not_written() {
        let mut evil = rule(&["GET", "PUT\r\nx-evil: 1", "put"], &["*"]);
        evil.expose_headers = Some(vec![
            "a\r\nx-evil: 1".into(),
            "good".into(),
            "b c".into(),
            "\u{e9}".into(),
            "".into(),
        ]);
        let asked = Asked::of(&Method::GET, &headers(&[("origin", "o")])).unwrap();
        let answer = asked.answer(&[evil]);
        assert_eq!(show(&answer, "access-control-allow-methods"), "GET");
        assert_eq!(show(&answer, "access-control-expose-headers"), "good");
    }
}
