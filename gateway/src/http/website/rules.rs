//! What the configuration of a website says about a path. Pure.

use http::{HeaderValue, StatusCode};
use s3s::dto::{Redirect, RoutingRule, WebsiteConfiguration};

use crate::http::text::{percent_encode_path, percent_encode_url};

/// Where a request came to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host, as the client named it.
    pub host: &'a str,
    /// The path without its first slash, decoded.
    pub key: &'a str,
}

/// The way to another page.
#[derive(Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// 3xx.
    pub status: StatusCode,
    /// Where.
    pub location: HeaderValue,
}

/// The object that a path means: a directory is its index.
pub fn object(config: &WebsiteConfiguration, key: &str) -> String {
    match &config.index_document {
        Some(index) if key.is_empty() || key.ends_with('/') => format!("{key}{}", index.suffix),
        _ => key.to_owned(),
    }
}

/// The index of the directory that a path without a slash at its end may mean.
pub fn index_below(config: &WebsiteConfiguration, key: &str) -> Option<String> {
    let index = config.index_document.as_ref().filter(|_| !key.is_empty() && !key.ends_with('/'));
    index.map(|index| format!("{key}/{}", index.suffix))
}

/// The page of a directory, with its slash.
pub fn directory(place: Place<'_>) -> Option<Elsewhere> {
    let Place { scheme, host, key } = place;
    // A whole URL: of a key that begins with a slash the path alone would name
    // another host.
    let location = format!("{scheme}://{host}/{}/", percent_encode_path(key));
    elsewhere(StatusCode::FOUND, &location)
}

/// Where all requests go, if they do.
pub fn redirect_all(
    config: &WebsiteConfiguration,
    place: Place<'_>,
    query: Option<&str>,
) -> Option<Elsewhere> {
    let to = config.redirect_all_requests_to.as_ref()?;
    let scheme = to.protocol.as_ref().map_or(place.scheme, |protocol| protocol.as_str());
    let path = percent_encode_path(place.key);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{scheme}://{}/{path}{query}", to.host_name);
    elsewhere(StatusCode::MOVED_PERMANENTLY, &location)
}

/// Where the first rule sends a request that fits it: before anything is looked
/// up (`failed` is `None`), or after that failed with a status.
pub fn route(
    config: &WebsiteConfiguration,
    place: Place<'_>,
    failed: Option<StatusCode>,
) -> Option<Elsewhere> {
    let mut rules = config.routing_rules.iter().flatten();
    let rule = rules.find(|rule| applies(rule, place.key, failed))?;
    let prefix = rule.condition.as_ref().and_then(|c| c.key_prefix_equals.as_deref());
    follow(&rule.redirect, prefix.unwrap_or_default(), place)
}

fn applies(rule: &RoutingRule, key: &str, failed: Option<StatusCode>) -> bool {
    let Some(condition) = &rule.condition else { return failed.is_none() };
    let code = condition.http_error_code_returned_equals.as_deref();
    let fits_code = match (code, failed) {
        (None, failed) => failed.is_none(),
        (Some(code), Some(status)) => code == status.as_str(),
        (Some(_), None) => false,
    };
    fits_code && condition.key_prefix_equals.as_ref().is_none_or(|prefix| key.starts_with(prefix))
}

fn follow(redirect: &Redirect, prefix: &str, place: Place<'_>) -> Option<Elsewhere> {
    let scheme = redirect.protocol.as_ref().map_or(place.scheme, |protocol| protocol.as_str());
    let host = redirect.host_name.as_deref().unwrap_or(place.host);
    // What the owner wrote may hold a query or a fragment; a key may not.
    let path = match (&redirect.replace_key_with, &redirect.replace_key_prefix_with) {
        (Some(key), _) => percent_encode_url(key),
        (None, Some(start)) => {
            let rest = place.key.strip_prefix(prefix).unwrap_or(place.key);
            format!("{}{}", percent_encode_url(start), percent_encode_path(rest))
        }
        (None, None) => percent_encode_path(place.key),
    };
    let code = redirect.http_redirect_code.as_deref().and_then(|code| code.parse().ok());
    let status = code.filter(StatusCode::is_redirection).unwrap_or(StatusCode::MOVED_PERMANENTLY);
    elsewhere(status, &format!("{scheme}://{host}/{path}"))
}

/// Where an object itself sends who asks for it (`x-amz-website-redirect-location`).
pub fn redirect_of_object(location: &str) -> Option<Elsewhere> {
    let is_url = ["/", "http://", "https://"].iter().any(|start| location.starts_with(start));
    elsewhere(StatusCode::MOVED_PERMANENTLY, location).filter(|_| is_url)
}

/// `None` when the location cannot be a header: no configuration writes another
/// one into the answer.
fn elsewhere(status: StatusCode, location: &str) -> Option<Elsewhere> {
    let location = HeaderValue::from_str(location).ok()?;
    Some(Elsewhere { status, location })
}

#[cfg(test)]
mod tests {
    use s3s::dto::{Condition, IndexDocument, Protocol, RedirectAllRequestsTo};

    use super::*;

    fn site() -> WebsiteConfiguration {
        WebsiteConfiguration {
            index_document: Some(IndexDocument { suffix: "index.html".into() }),
            ..WebsiteConfiguration::default()
        }
    }

    fn at(key: &str) -> Place<'_> {
        Place { scheme: "http", host: "b.web.test:80", key }
    }

    fn shown(elsewhere: Option<Elsewhere>) -> String {
        let show = |e: Elsewhere| format!("{} {}", e.status.as_u16(), e.location.to_str().unwrap());
        elsewhere.map(show).unwrap_or_default()
    }

    #[test]
    fn directories_have_an_index() {
        let site = site();
        for (key, is) in
            [("", "index.html"), ("a/", "a/index.html"), ("a", "a"), ("a//", "a//index.html")]
        {
            assert_eq!(object(&site, key), is);
        }
        assert_eq!(index_below(&site, "a").as_deref(), Some("a/index.html"));
        assert_eq!(index_below(&site, "a/"), None);
        assert_eq!(index_below(&site, ""), None);
        assert_eq!(shown(directory(at("a b"))), "302 http://b.web.test:80/a%20b/");
        // No other host.
        assert_eq!(shown(directory(at("/evil.com"))), "302 http://b.web.test:80//evil.com/");
    }

    #[test]
    fn all_requests_go_elsewhere() {
        let to = |protocol: Option<&'static str>| WebsiteConfiguration {
            redirect_all_requests_to: Some(RedirectAllRequestsTo {
                host_name: "other.test".into(),
                protocol: protocol.map(Protocol::from_static),
            }),
            ..WebsiteConfiguration::default()
        };
        let ask = |config, query| shown(redirect_all(&config, at("a/é"), query));
        assert_eq!(ask(to(Some("https")), Some("x=1")), "301 https://other.test/a/%C3%A9?x=1");
        assert_eq!(ask(to(None), None), "301 http://other.test/a/%C3%A9");
        assert_eq!(ask(site(), None), "");
    }

    fn rule(prefix: Option<&str>, code: Option<&str>, redirect: Redirect) -> RoutingRule {
        let condition = Condition {
            http_error_code_returned_equals: code.map(str::to_owned),
            key_prefix_equals: prefix.map(str::to_owned),
        };
        let has_condition = prefix.is_some() || code.is_some();
        RoutingRule { condition: has_condition.then_some(condition), redirect }
    }

    fn with(rules: Vec<RoutingRule>) -> WebsiteConfiguration {
        WebsiteConfiguration { routing_rules: Some(rules), ..site() }
    }

    #[test]
    fn rules_are_asked_in_order_before_and_after() {
        let key =
            |key: &str| Redirect { replace_key_with: Some(key.into()), ..Redirect::default() };
        let site = with(vec![
            rule(Some("docs/"), Some("404"), key("missing.html")),
            rule(
                Some("docs/"),
                None,
                Redirect {
                    replace_key_prefix_with: Some("documents/".into()),
                    ..Redirect::default()
                },
            ),
            rule(
                None,
                Some("403"),
                Redirect {
                    replace_key_prefix_with: Some("#!/".into()),
                    http_redirect_code: Some("302".into()),
                    ..Redirect::default()
                },
            ),
        ]);
        let ask = |key, failed: Option<u16>| {
            shown(route(&site, at(key), failed.map(|code| StatusCode::from_u16(code).unwrap())))
        };
        assert_eq!(ask("docs/a b", None), "301 http://b.web.test:80/documents/a%20b");
        assert_eq!(ask("docs/a", Some(404)), "301 http://b.web.test:80/missing.html");
        assert_eq!(ask("other/x?y", Some(403)), "302 http://b.web.test:80/#!/other/x%3Fy");
        assert_eq!(ask("other", None), "");
        assert_eq!(ask("other", Some(404)), "");
        let all = with(vec![rule(
            None,
            None,
            Redirect {
                host_name: Some("new.test".into()),
                protocol: Some(Protocol::from_static("https")),
                http_redirect_code: Some("307".into()),
                ..Redirect::default()
            },
        )]);
        assert_eq!(shown(route(&all, at("k"), None)), "307 https://new.test/k");
        assert_eq!(shown(route(&all, at("k"), Some(StatusCode::NOT_FOUND))), "");
    }

    #[test]
    fn an_object_sends_elsewhere() {
        assert_eq!(shown(redirect_of_object("/there")), "301 /there");
        assert_eq!(shown(redirect_of_object("https://x/y?z")), "301 https://x/y?z");
        for bad in ["", "there", "javascript:alert(1)", "/a\r\nset-cookie: b", "ftp://x"] {
            assert_eq!(redirect_of_object(bad), None, "{bad}");
        }
    }

    #[test]
    fn h07_a_location_is_one_header() {
        let evil = |redirect: Redirect| {
            shown(route(&with(vec![rule(None, None, redirect)]), at("k"), None))
        };
        let host = Redirect { host_name: Some("x\r\nset-cookie: a".into()), ..Redirect::default() };
        assert_eq!(evil(host), "");
        let key = Redirect { replace_key_with: Some("a\r\nb".into()), ..Redirect::default() };
        assert_eq!(evil(key), "301 http://b.web.test:80/a%0D%0Ab");
        let code = Redirect { http_redirect_code: Some("200".into()), ..Redirect::default() };
        assert_eq!(evil(code), "301 http://b.web.test:80/k");
        assert_eq!(shown(directory(at("a\r\nb"))), "302 http://b.web.test:80/a%0D%0Ab/");
    }
}
