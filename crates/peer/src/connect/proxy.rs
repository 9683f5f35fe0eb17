//! Which proxy, if any, the connection to the server goes through.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use url::{Host, Url};
use voicemesh_device::Cause;

use super::addresses::is_local;
use crate::server_url::ServerUrl;

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(super) kind: ProxyKind,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<User>,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyKind {
    /// `CONNECT` (RFC 9110 §9.3.6) over TCP.
    Http,
    /// The same over TLS.
    Https,
    /// SOCKS 5 (RFC 1928); this machine looks the server's name up.
    Socks5,
    /// The same; the proxy looks the server's name up.
    Socks5h,
}

/// Who one is for a proxy.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
}

/// A proxy setting that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadProxy {
    /// The environment variable, if it comes from one.
    pub(crate) variable: Option<&'static str>,
    pub(crate) why: Cause,
}

impl Proxy {
    /// The proxy for `url`. What the program asks for (`setting`, or "none") holds for every
    /// server. Otherwise the environment says, as for curl: `https_proxy` for TLS, `http_proxy`
    /// without, then `all_proxy`, in either case of letters but for `http_proxy`, which a web
    /// server may have set from a request; `no_proxy` names exceptions. By itself, no connection to
    /// this machine or a private network goes through a proxy.
    pub(crate) fn choose(
        setting: Option<&str>,
        url: &ServerUrl,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, BadProxy> {
        match setting.map(str::trim) {
            Some("none") => return Ok(None),
            Some(text) => {
                return Self::parse(text).map(Some).map_err(|why| BadProxy { variable: None, why });
            }
            None => {}
        }
        let variable = |name: &str| {
            environment(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let first =
            |names: &[&'static str]| names.iter().find_map(|name| Some((*name, variable(name)?)));
        let names: &[&'static str] = match url.tls {
            true => &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
            false => &["http_proxy", "all_proxy", "ALL_PROXY"],
        };
        let Some((name, text)) = first(names) else { return Ok(None) };
        let exceptions = first(&["no_proxy", "NO_PROXY"]).map(|(_, text)| text).unwrap_or_default();
        if is_near(url) || is_excepted(&exceptions, &url.host(), url.port) {
            return Ok(None);
        }
        Self::parse(&text).map(Some).map_err(|why| BadProxy { variable: Some(name), why })
    }

    /// `[http|https|socks5|socks5h://][user[:password]@]host[:port]`.
    pub(crate) fn parse(text: &str) -> Result<Self, Cause> {
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let (scheme, rest) = text.split_once("://").unwrap_or_default();
        let (kind, port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Https, 443),
            "socks5" => (ProxyKind::Socks5, 1080),
            "socks5h" => (ProxyKind::Socks5h, 1080),
            "socks4" | "socks4a" => {
                return Err("SOCKS 4 is not supported; is it socks5h:// as well?".into());
            }
            _ => return Err("it must begin with http://, https://, socks5:// or socks5h://".into()),
        };
        // With a scheme that has a default port and IDNA, whatever it is.
        let url = Url::parse(&format!("http://{rest}"))
            .map_err(|error| Cause::new("it is not a proxy's address", error))?;
        let host = match url.host().ok_or("it names no host")? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        if url.port() == Some(0) {
            return Err("its port is 0".into());
        }
        // `Url` hides port 80, which it takes for the default.
        let says_80 = || {
            rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.ends_with(":80"))
        };
        let port = url.port().unwrap_or(if says_80() { 80 } else { port });
        let text =
            |part: &str| percent_decode_str(part).decode_utf8().map(std::borrow::Cow::into_owned);
        let user = match (url.username(), url.password()) {
            ("", None) => None,
            (name, password) => Some(User {
                name: text(name).map_err(|error| Cause::new("its user name is not text", error))?,
                password: text(password.unwrap_or_default())
                    .map_err(|error| Cause::new("its password is not text", error))?,
            }),
        };
        let is_short = |text: &str| text.len() < 256;
        if user.as_ref().is_some_and(|user| !is_short(&user.name) || !is_short(&user.password)) {
            return Err("its user name or password is longer than 255 bytes".into());
        }
        Ok(Self { kind, host, port, user })
    }

    /// Host and port, without user and password.
    pub(super) fn written(&self) -> String {
        with_port(&self.host, self.port)
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(super) fn with_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// This machine, its networks, names without a dot, and names that only the local network knows
/// (RFC 6762).
fn is_near(url: &ServerUrl) -> bool {
    match url.ip() {
        Some(address) => is_local(address),
        None => {
            let host = url.host();
            let name = host.trim_end_matches('.');
            url.is_this_machine() || !name.contains('.') || name.ends_with(".local")
        }
    }
}

/// Whether `no_proxy` names the host: `*`, names (with everything below them), addresses and
/// networks, each with a port or without, between commas or spaces.
fn is_excepted(exceptions: &str, host: &str, port: u16) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    exceptions.split([',', ' ', '\t']).map(str::trim).filter(|entry| !entry.is_empty()).any(
        |entry| {
            if entry == "*" {
                return true;
            }
            let (entry, wanted_port) = split_port(entry);
            if wanted_port.is_some_and(|wanted| wanted != port) {
                return false;
            }
            let bare = entry.trim_start_matches('[').trim_end_matches(']');
            match address {
                Some(address) => match bare.parse::<IpNet>() {
                    Ok(network) => network.contains(&address),
                    Err(_) => bare.parse::<IpAddr>() == Ok(address),
                },
                None => is_same_or_below(host, entry),
            }
        },
    )
}

fn is_same_or_below(host: &str, entry: &str) -> bool {
    let entry = entry.trim_start_matches("*.").trim_matches('.');
    let Ok(Host::Domain(entry)) = Host::parse(entry) else { return false };
    let host = host.trim_end_matches('.');
    host.strip_suffix(entry.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// An entry with one colon, or with brackets and a colon after them, has a port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("kind", &self.kind)
            .field("at", &self.written())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(server: &str, setting: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        let url = ServerUrl::parse(server).expect(server);
        let environment = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Proxy::choose(setting, &url, environment)
            .expect("a proxy or none")
            .map(|proxy| proxy.written())
    }

    #[test]
    fn the_environment_names_a_proxy_for_each_scheme() {
        let all =
            [("HTTPS_PROXY", "http://a:1"), ("http_proxy", "b:2"), ("ALL_PROXY", "socks5h://c:3")];
        assert_eq!(chosen("wss://host.example", None, &all), Some("a:1".into()));
        assert_eq!(chosen("ws://host.example", None, &all), Some("b:2".into()));
        assert_eq!(chosen("ws://host.example", None, &all[2..]), Some("c:3".into()));
        assert_eq!(
            chosen("wss://host.example", None, &[("https_proxy", "l:1"), ("HTTPS_PROXY", "u:1")]),
            Some("l:1".into())
        );
        assert_eq!(
            chosen("wss://host.example", None, &[("https_proxy", ""), ("HTTPS_PROXY", "u:1")]),
            Some("u:1".into())
        );
        assert_eq!(chosen("ws://host.example", None, &[("HTTP_PROXY", "http://evil:1")]), None);
        assert_eq!(chosen("wss://host.example", None, &[]), None);
    }

    #[test]
    fn near_servers_are_reached_directly_unless_a_proxy_is_asked_for() {
        let all = [("https_proxy", "p:1"), ("http_proxy", "p:1")];
        for near in [
            "ws://127.0.0.1",
            "localhost",
            "wss://192.168.1.5",
            "wss://[fd00::1]",
            "ws://[fe80::1%eth0]",
            "wss://nas",
            "wss://nas.local",
            "ws://a.localhost:80",
        ] {
            assert_eq!(chosen(near, None, &all), None, "{near}");
            assert_eq!(chosen(near, Some("socks5://q:2"), &all), Some("q:2".into()), "{near}");
        }
        assert_eq!(chosen("wss://host.example", Some("none"), &all), None);
    }

    #[test]
    fn no_proxy_names_exceptions() {
        let with = |host: &str, no_proxy: &str| {
            chosen(host, None, &[("https_proxy", "p:1"), ("NO_PROXY", no_proxy)])
        };
        for (host, no_proxy) in [
            ("wss://a.example", "*"),
            ("wss://a.example", "b.example, A.Example"),
            ("wss://x.a.example", "a.example"),
            ("wss://x.a.example", ".a.example"),
            ("wss://x.a.example", "*.a.example other"),
            ("wss://a.example:8443", "a.example:8443"),
            ("wss://bücher.example", "Bücher.example"),
            ("wss://203.0.113.7", "203.0.113.0/24"),
            ("wss://203.0.113.7:8443", "203.0.113.7:8443"),
            ("wss://[2001:db8::1]", "2001:db8::/32"),
            ("wss://[2001:db8::1]", "[2001:db8::1]:443"),
            ("wss://[2001:db8::1]", "2001:DB8::1"),
        ] {
            assert_eq!(with(host, no_proxy), None, "{host} {no_proxy}");
        }
        for (host, no_proxy) in [
            ("wss://a.example", ""),
            ("wss://a.example", "b.example"),
            ("wss://ba.example", "a.example"),
            ("wss://a.example", "a.example:8443"),
            ("wss://203.0.113.7", "203.0.114.0/24"),
            ("wss://a.example", "203.0.113.0/24,,:,/,[]"),
        ] {
            assert_eq!(with(host, no_proxy), Some("p:1".into()), "{host} {no_proxy}");
        }
    }

    #[test]
    fn user_password_kind_and_port_are_read() {
        let proxy = |text| Proxy::parse(text).expect(text);
        let full = proxy("socks5h://ann%40corp:p%3Aw@proxy.example");
        let user = User { name: "ann@corp".into(), password: "p:w".into() };
        assert_eq!(
            full,
            Proxy {
                kind: ProxyKind::Socks5h,
                host: "proxy.example".into(),
                port: 1080,
                user: Some(user)
            }
        );
        assert!(!format!("{full:?}").contains("p:w"), "no password in a log");
        assert_eq!(
            (proxy("proxy:80").port, proxy("proxy").port, proxy("https://proxy/").port),
            (80, 80, 443)
        );
        assert_eq!(proxy("socks5://proxy:80").port, 80);
        assert_eq!(proxy("HTTP://[::1]:3128").written(), "[::1]:3128");
        for bad in [
            "",
            "ftp://proxy",
            "socks4://proxy",
            "http://",
            "http://proxy:0",
            "http://proxy:x",
            "http://a b",
        ] {
            assert!(Proxy::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_variable_that_makes_no_sense_is_named() {
        let url = ServerUrl::parse("wss://host.example").expect("an address");
        let environment = |name: &str| (name == "ALL_PROXY").then(|| "socks4://x".to_owned());
        let refused = Proxy::choose(None, &url, environment).expect_err("no SOCKS 4");
        assert_eq!(refused.variable, Some("ALL_PROXY"));
    }
}
