//! A server's address as people write it (FEATURES U-01).

use voicemesh_wire::signaling::PATH;

/// Where a signaling server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// `/ws` unless the address names another.
    pub path: String,
}

impl ServerUrl {
    /// Takes `wss://host`, `ws://host:port`, `https://…` and `http://…` (what a browser's address bar shows), and a bare
    /// `host[:port]`, which is taken for `wss` unless it is this machine.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err("it must not contain a user name");
        }
        let (host, port) = split_port(authority)?;
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err("it names no host");
        }
        let tls = match scheme.as_deref() {
            Some("wss" | "https") => true,
            Some("ws" | "http") => false,
            Some(_) => return Err("it must begin with wss:// or ws://"),
            None => !is_this_machine(host),
        };
        let path = match path.trim_end_matches('/') {
            // A room's page is what people copy from a browser.
            path if path.is_empty() || path.starts_with("/r/") => PATH.to_owned(),
            path => path.to_owned(),
        };
        Ok(Self { tls, host: host.to_owned(), port: port.unwrap_or(if tls { 443 } else { 80 }), path })
    }

    /// What identities are bound to: the same server is the same origin, however it was written.
    pub(crate) fn origin(&self) -> String {
        let (scheme, default_port) = if self.tls { ("wss", 443) } else { ("ws", 80) };
        let host = self.host.to_ascii_lowercase();
        if self.port == default_port {
            format!("{scheme}://{host}")
        } else {
            format!("{scheme}://{host}:{}", self.port)
        }
    }

    /// The WebSocket's address.
    pub(crate) fn websocket(&self) -> String {
        let scheme = if self.tls { "wss" } else { "ws" };
        format!("{scheme}://{}:{}{}", self.host, self.port, self.path)
    }

    /// The host without the brackets of an IPv6 address.
    pub(crate) fn dial_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let after_bracket = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[after_bracket..].rfind(':') {
        None => Ok((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(after_bracket + colon);
            let port =
                port[1..].parse().ok().filter(|port| *port != 0).ok_or("its port is not a number up to 65535")?;
            Ok((host, Some(port)))
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.starts_with("127.") || host == "[::1]"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// proves: U-01
    #[test]
    fn a_scheme_and_a_host_are_enough() {
        let address = |text| ServerUrl::parse(text).map(|url| url.websocket());
        assert_eq!(address("wss://voice.example.org"), Ok("wss://voice.example.org:443/ws".into()));
        assert_eq!(address("voice.example.org"), Ok("wss://voice.example.org:443/ws".into()));
        assert_eq!(address("https://voice.example.org/r/lobby"), Ok("wss://voice.example.org:443/ws".into()));
        assert_eq!(address(" ws://127.0.0.1:8080/ "), Ok("ws://127.0.0.1:8080/ws".into()));
        assert_eq!(address("localhost:9000"), Ok("ws://localhost:9000/ws".into()));
        assert_eq!(address("ws://[::1]:9000/voice/ws"), Ok("ws://[::1]:9000/voice/ws".into()));
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        for text in ["", "wss://", "ftp://host", "ws://host:port", "ws://host:0", "ws://me@host", "two words"] {
            assert!(ServerUrl::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn one_server_is_one_origin_however_it_is_written() {
        let origin = |text| ServerUrl::parse(text).map(|url| url.origin());
        assert_eq!(origin("WSS://Voice.example.org"), Ok("wss://voice.example.org".into()));
        assert_eq!(origin("https://voice.example.org:443/r/x"), Ok("wss://voice.example.org".into()));
        assert_eq!(origin("localhost:8080"), Ok("ws://localhost:8080".into()));
    }
}
