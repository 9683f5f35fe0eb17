//! Whether a request names its host as HTTP wants it.

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Version};

/// What is answered, with status 400, to a request without it.
pub(super) const MISSING: &str = "A request of HTTP/1.1 names its host once, in Host.\n";

/// RFC 9112 §3.2: a request of HTTP/1.1 has exactly one `Host`, which is empty or a host with a
/// port at most; one of HTTP/1.0 may have none.
pub(super) fn is_named(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => is_host(host),
        (Some(_), Some(_)) => false,
    }
}

fn is_host(value: &HeaderValue) -> bool {
    let is_authority = |text: &str| !text.contains('@') && text.parse::<Authority>().is_ok();
    value.to_str().is_ok_and(|text| text.is_empty() || is_authority(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(version: Version, hosts: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        is_named(version, &headers)
    }

    #[test]
    fn a_request_names_one_host_or_is_older() {
        for host in
            ["voice.example", "voice.example:8080", "127.0.0.1:1", "[::1]:8080", "my_host", ""]
        {
            assert!(named(Version::HTTP_11, &[host]), "{host:?}");
        }
        for host in ["a b", "someone@voice.example", "voice.example/", "a,b c"] {
            assert!(!named(Version::HTTP_11, &[host]), "{host:?}");
        }
        assert!(!named(Version::HTTP_11, &[]) && !named(Version::HTTP_11, &["a", "a"]));
        assert!(named(Version::HTTP_10, &[]) && !named(Version::HTTP_10, &["a", "b"]));
    }
}
