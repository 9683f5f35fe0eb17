//! Whether a request names its host as HTTP wants it, and whether that is this machine.

use std::net::IpAddr;

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

/// What is answered, with status 421, to a request for another host.
pub(super) const ELSEWHERE: &str = "This server is reached as localhost or 127.0.0.1 only.\n";

/// Whether a request names this machine itself. A name of somewhere else can lead here by DNS, and
/// its page would count as the server's own.
pub(super) fn is_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
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
    fn this_machine_is_localhost_or_a_loopback_address_with_any_port() {
        let is_here = |host: &'static str| {
            is_this_machine(&HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]))
        };
        for host in ["localhost", "LocalHost:80", "127.0.0.1:7", "127.9.9.9", "[::1]:7", "[::1]"] {
            assert!(is_here(host), "{host}");
        }
        for host in [
            "",
            "evil.example:7",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1:7",
            "[2001:db8::1]",
            "::1",
            "0.0.0.0:7",
        ] {
            assert!(!is_here(host), "{host}");
        }
        assert!(!is_this_machine(&HeaderMap::new()));
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
