//! Which web pages may connect: those of the host that the browser used, and those that the
//! operator named.
//!
//! Only browsers send `Origin`, and a page cannot choose it or any header that is read here. The
//! host that the browser used stands in `Host`, unless a reverse proxy wrote another one there; a
//! proxy that is named as trusted says it in `Forwarded` (RFC 7239) or `X-Forwarded-Host`. Of a
//! list the last element counts, which that proxy itself added.

use axum::http::header::{FORWARDED, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// By any of these a request shows that a proxy passed it on.
const PROXY_HEADERS: [HeaderName; 6] = [
    FORWARDED,
    FORWARDED_HOST,
    FORWARDED_PROTO,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("via"),
];

/// The server's address as the browser used it, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UsedAddress {
    /// Host, with the port unless it is the scheme's own.
    pub(super) host: String,
    /// `https` or `http`, if a trusted proxy says it.
    scheme: Option<String>,
}

impl UsedAddress {
    /// Reads it from a request; `trusted` if the connection comes from a proxy that may say it.
    pub(super) fn of(headers: &HeaderMap, trusted: bool) -> Self {
        let host = || {
            headers
                .get(HOST)
                .and_then(|host| host.to_str().ok())
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        if !trusted {
            return Self { host: host(), scheme: None };
        }
        let (forwarded_host, forwarded_scheme) = forwarded(headers);
        let scheme = forwarded_scheme
            .or_else(|| last_element(headers, FORWARDED_PROTO))
            .map(|s| s.to_ascii_lowercase());
        Self {
            host: forwarded_host
                .or_else(|| last_element(headers, FORWARDED_HOST))
                .unwrap_or_else(host),
            scheme: scheme.filter(|scheme| matches!(scheme.as_str(), "http" | "https")),
        }
    }

    /// Whether a page of `origin` is a page of this address.
    fn is_of(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let default_port = |scheme: &str| match scheme {
            "https" => Some(":443"),
            "http" => Some(":80"),
            _ => None,
        };
        let Some(port) = default_port(scheme) else { return false };
        // A page that was loaded without TLS is another origin than one with it. The reverse can
        // be: TLS may have ended at a proxy further out.
        if scheme == "http" && self.scheme.as_deref() == Some("https") {
            return false;
        }
        let own_port = self
            .scheme
            .as_deref()
            .and_then(default_port)
            .filter(|_| scheme == "https")
            .unwrap_or(port);
        let host = without(&without(&self.host, own_port), port);
        !host.is_empty() && without(authority, port) == host
    }
}

fn without(authority: &str, port: &str) -> String {
    authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase()
}

/// The page's origin, if a browser sent the request.
pub(super) fn origin_of(headers: &HeaderMap) -> Option<&str> {
    // What is not text is no origin that anybody named.
    headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or("null"))
}

/// Whether a page of `origin` may connect; `None` for a client that is no browser.
pub(super) fn is_allowed(origin: Option<&str>, address: &UsedAddress, allowed: &[String]) -> bool {
    let Some(origin) = origin else { return true };
    let named = |one: &String| {
        let one = one.trim();
        one == "*" || one.trim_end_matches('/').eq_ignore_ascii_case(origin)
    };
    allowed.iter().any(named) || address.is_of(origin)
}

/// Whether a proxy passed this request on.
pub(super) fn came_through_proxy(headers: &HeaderMap) -> bool {
    PROXY_HEADERS.iter().any(|name| headers.contains_key(name))
}

/// `host` and `proto` of the last element of `Forwarded` (RFC 7239 §4).
fn forwarded(headers: &HeaderMap) -> (Option<String>, Option<String>) {
    let last =
        headers.get_all(FORWARDED).iter().filter_map(|value| value.to_str().ok()).next_back();
    let Some(element) = last.and_then(|value| split_quoted(value, ',').pop()) else {
        return (None, None);
    };
    let pairs: Vec<(String, String)> =
        split_quoted(element, ';').into_iter().filter_map(pair).collect();
    let find =
        |name: &str| pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    (find("host"), find("proto"))
}

/// The parts between separators that stand outside of quotes.
fn split_quoted(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            letter if letter == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// `name=token` or `name="quoted"`, the name in lower case.
fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.trim().split_once('=')?;
    let value = match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace('\\', ""),
        None => value.to_owned(),
    };
    (!value.is_empty()).then(|| (name.trim().to_ascii_lowercase(), value))
}

/// The last element of a list header.
fn last_element(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let last = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).next_back()?;
    let element = last.rsplit(',').next().unwrap_or(last).trim();
    (!element.is_empty()).then(|| element.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(HeaderName::from_static(name), value.parse().expect("a header"));
        }
        headers
    }

    fn allowed(
        origin: Option<&str>,
        list: &[(&'static str, &str)],
        trusted: bool,
        named: &[&str],
    ) -> bool {
        let named: Vec<String> = named.iter().map(|one| (*one).to_owned()).collect();
        is_allowed(origin, &UsedAddress::of(&headers(list), trusted), &named)
    }

    #[test]
    fn a_page_may_connect_to_its_own_host_only() {
        let direct =
            |origin: Option<&str>, host: &str| allowed(origin, &[("host", host)], false, &[]);
        assert!(direct(None, "voice.example"), "not a browser");
        assert!(direct(Some("https://voice.example"), "voice.example"));
        assert!(direct(Some("https://Voice.example"), "voice.example:443"));
        assert!(direct(Some("http://localhost:8080"), "localhost:8080"));
        assert!(direct(Some("http://[::1]:8080"), "[::1]:8080"));
        for (origin, host) in [
            ("http://localhost:8081", "localhost:8080"),
            ("https://evil.example", "voice.example"),
            ("null", "voice.example"),
            ("https://", ""),
            ("ftp://voice.example", "voice.example"),
        ] {
            assert!(!direct(Some(origin), host), "{origin} at {host}");
        }
    }

    #[test]
    fn a_page_of_a_named_origin_may_connect() {
        let at = |origin: &str, named: &str| {
            allowed(Some(origin), &[("host", "voice.example")], false, &[named])
        };
        assert!(at("https://game.example", "https://game.example/"));
        assert!(at("https://game.example", " https://game.example"));
        assert!(!at("https://game.example.evil.example", "https://game.example/"));
        assert!(at("https://evil.example", "*"));
    }

    #[test]
    fn a_trusted_proxy_says_which_host_the_browser_used() {
        let page = Some("https://voice.example");
        for said in [
            ("x-forwarded-host", "voice.example"),
            ("x-forwarded-host", "evil.example, voice.example"),
            ("x-forwarded-host", "voice.example:443"),
            ("forwarded", "host=voice.example;proto=https"),
            (
                "forwarded",
                "for=192.0.2.1;host=evil.example, for=\"[2001:db8::1]:1\";Host=\"voice.example:443\";proto=https",
            ),
            ("forwarded", "by=\"a,b;host=evil.example\";host=voice.example"),
        ] {
            let list = [("host", "127.0.0.1:8080"), said];
            assert!(allowed(page, &list, true, &[]), "{said:?}");
            assert!(!allowed(page, &list, false, &[]), "{said:?} without trust");
        }
        let evil = [("host", "voice.example"), ("x-forwarded-host", "voice.example, evil.example")];
        assert!(!allowed(page, &evil, true, &[]), "the last element counts");
        assert!(
            allowed(page, &[("host", "voice.example")], true, &[]),
            "a proxy that says nothing passes Host on"
        );
    }

    #[test]
    fn two_lines_of_a_header_are_one_list() {
        let list = [
            ("host", "x"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-host", "voice.example"),
        ];
        assert!(allowed(Some("https://voice.example"), &list, true, &[]));
    }

    #[test]
    fn a_page_without_tls_is_another_origin_than_the_same_host_with_it() {
        let list =
            [("host", "x"), ("x-forwarded-host", "voice.example"), ("x-forwarded-proto", "https")];
        assert!(!allowed(Some("http://voice.example"), &list, true, &[]));
        // nginx behind another proxy that ends TLS.
        let plain =
            [("host", "x"), ("x-forwarded-host", "voice.example"), ("x-forwarded-proto", "http")];
        assert!(allowed(Some("https://voice.example"), &plain, true, &[]));
        let port = [
            ("host", "x"),
            ("x-forwarded-host", "voice.example:80"),
            ("x-forwarded-proto", "http"),
        ];
        assert!(allowed(Some("https://voice.example"), &port, true, &[]));
        assert!(allowed(Some("http://voice.example"), &port, true, &[]));
    }

    #[test]
    fn any_header_is_survived() {
        for value in [
            "",
            ",",
            "host",
            "host=",
            "host=\"",
            "=;=,",
            "host=\"\\",
            "\"",
            ";;;,,,",
            "host=\"a\\\"",
        ] {
            let list =
                [("host", "voice.example"), ("forwarded", value), ("x-forwarded-host", value)];
            let _ = allowed(Some("https://voice.example"), &list, true, &[]);
        }
        assert!(
            came_through_proxy(&headers(&[("via", "1.1 x")]))
                && !came_through_proxy(&headers(&[("host", "x")]))
        );
    }
}
