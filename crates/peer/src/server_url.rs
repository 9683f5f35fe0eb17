//! A server's address as people write it.

use std::net::IpAddr;
use std::str::FromStr as _;

use percent_encoding::percent_decode_str;
use url::{Host, ParseError, Url};
use voicemesh_device::Cause;
use voicemesh_wire::invitation::percent_decoded;
use voicemesh_wire::signaling::PATH;

use crate::pasted::unquoted;

/// A link with a room's name of the greatest length, all of it encoded, has a quarter of that.
const MOST_BYTES: usize = 4096;

/// Where a signaling server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    pub tls: bool,
    /// In its canonical form: a name in ASCII and lower case (IDNA), or an address.
    host: Host<String>,
    /// The interface of a link-local address (RFC 4007 §11), which is no part of the server's
    /// identity.
    zone: Option<String>,
    pub port: u16,
    /// Path below which the server's page and socket are: empty for the root, else `/` and at least
    /// one segment, without a slash at its end.
    base: String,
    has_scheme: bool,
}

impl ServerUrl {
    /// Accepts `wss://host`, `ws://host:port`, `https://…` and `http://…` (what a browser's address
    /// bar shows), and a bare `host[:port]`, which means `wss` unless it is this machine. A path
    /// names the folder the server is in; `/r/ROOM` or `/ws` at its end are dropped.
    pub(crate) fn parse(text: &str) -> Result<Self, Cause> {
        Self::parse_link(text).map(|(url, _)| url)
    }

    /// The same, and the room named by a room's link.
    pub(crate) fn parse_link(text: &str) -> Result<(Self, Option<String>), Cause> {
        let text = unquoted(text.trim());
        if text.len() > MOST_BYTES {
            return Err("it is longer than 4,096 bytes".into());
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let (authority, path) =
            rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        // An address parser would take it for an IPv4 address in one number.
        if scheme.is_none()
            && !authority.is_empty()
            && authority.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(
                "it is a port without a host; write ws://127.0.0.1:PORT for this machine".into()
            );
        }
        if authority.contains('@') {
            return Err("it must not contain a user name".into());
        }
        let (authority, zone) = split_zone(&bracketed(authority))?;
        let tls = match scheme.as_deref() {
            Some("wss" | "https") => true,
            Some("ws" | "http") => false,
            Some(_) => return Err("it must begin with wss:// or ws://".into()),
            None => true,
        };
        let prefix = if tls { "wss" } else { "ws" };
        let url = Url::parse(&format!("{prefix}://{authority}{path}")).map_err(explain)?;
        let host = url.host().ok_or("it names no host")?.to_owned();
        if zone.is_some() && !matches!(host, Host::Ipv6(address) if address.is_unicast_link_local())
        {
            return Err("only a link-local address (fe80::…) has a % and an interface".into());
        }
        let tls = tls && (scheme.is_some() || !is_this_machine(&host));
        // `Url` knows the default of the scheme it was parsed with.
        let port = match (port_of(&authority)?, tls) {
            (Some(port), _) => port,
            (None, true) => 443,
            (None, false) => 80,
        };
        let (base, room) = split_path(url.path());
        Ok((Self { tls, host, zone, port, base, has_scheme: scheme.is_some() }, room))
    }

    /// The same server without TLS.
    pub(crate) fn without_tls(&self) -> Self {
        Self { tls: false, ..self.clone() }
    }

    /// Whether the scheme was guessed.
    pub(crate) fn is_bare(&self) -> bool {
        !self.has_scheme
    }

    /// What identities are bound to (PROTOCOL.md §2): the same server is the same origin, however
    /// it was written.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.host_and_port(), self.base)
    }

    /// The address as a person would write it.
    pub(crate) fn written(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.authority(), self.base)
    }

    /// The same, without a scheme if none was given: that decides whether plain connections may be
    /// tried.
    pub(crate) fn given(&self) -> String {
        if self.has_scheme { self.written() } else { format!("{}{}", self.authority(), self.base) }
    }

    /// The address of the server's page. Of a server in the same network that was given without a
    /// scheme, it is not known whether it has TLS.
    pub(crate) fn page(&self) -> String {
        let is_near = self.ip().is_some() || !self.host().contains('.');
        let scheme = match self.tls {
            true if self.is_bare() && is_near && self.port != 443 => "",
            true => "https://",
            false => "http://",
        };
        format!("{scheme}{}{}", self.authority(), self.base)
    }

    fn authority(&self) -> String {
        match &self.zone {
            Some(zone) => self.host_and_port().replace(']', &format!("%{zone}]")),
            None => self.host_and_port(),
        }
    }

    /// The WebSocket's address, without the zone, which means nothing to the server.
    pub(crate) fn websocket(&self) -> String {
        format!("{}://{}{}{PATH}", self.scheme(), self.host_and_port(), self.base)
    }

    /// The host as the resolver and certificates know it: a name, or an address without brackets.
    pub(crate) fn host(&self) -> String {
        match &self.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }

    /// The host to look up: [`host`](Self::host), with the zone.
    pub(crate) fn dial_host(&self) -> String {
        match &self.zone {
            Some(zone) => format!("{}%{zone}", self.host()),
            None => self.host(),
        }
    }

    /// The host's address, if it is not a name.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match &self.host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some((*address).into()),
            Host::Ipv6(address) => Some((*address).into()),
        }
    }

    /// Whether the host is a link-local address without its interface, which no system can connect
    /// to.
    pub(crate) fn lacks_zone(&self) -> bool {
        self.zone.is_none()
            && matches!(self.host, Host::Ipv6(address) if address.is_unicast_link_local())
    }

    /// Whether the server is on this machine.
    pub(crate) fn is_this_machine(&self) -> bool {
        is_this_machine(&self.host)
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "wss" } else { "ws" }
    }

    fn host_and_port(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.to_string(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

/// An IPv6 address that was written without brackets gets them.
fn bracketed(authority: &str) -> String {
    let address = authority.split('%').next().unwrap_or_default();
    match std::net::Ipv6Addr::from_str(address) {
        Ok(_) => format!("[{authority}]"),
        Err(_) => authority.to_owned(),
    }
}

/// Takes the zone out of `[fe80::1%eth0]` (RFC 9844) or `[fe80::1%25eth0]` (RFC 6874), which URL
/// parsers refuse.
fn split_zone(authority: &str) -> Result<(String, Option<String>), Cause> {
    let bracket = authority.starts_with('[').then(|| authority.find(']')).flatten();
    let Some((percent, bracket)) =
        authority.find('%').zip(bracket).filter(|(percent, bracket)| percent < bracket)
    else {
        return Ok((authority.to_owned(), None));
    };
    let zone = &authority[percent + 1..bracket];
    let zone = match zone.strip_prefix("25").filter(|rest| !rest.is_empty()) {
        Some(escaped) => percent_decode_str(escaped)
            .decode_utf8()
            .map_err(|error| Cause::new("its interface is not text", error))?
            .into_owned(),
        None => zone.to_owned(),
    };
    let is_name =
        |letter: char| !letter.is_whitespace() && !letter.is_control() && !"[]/%".contains(letter);
    if zone.is_empty() || zone.len() > 64 || !zone.chars().all(is_name) {
        return Err("its interface after % makes no sense".into());
    }
    Ok((format!("{}{}", &authority[..percent], &authority[bracket..]), Some(zone)))
}

fn port_of(authority: &str) -> Result<Option<u16>, &'static str> {
    let after_bracket = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[after_bracket..].rfind(':') {
        None => Ok(None),
        Some(colon) => match &authority[after_bracket + colon + 1..] {
            "" => Ok(None),
            digits => digits.parse().ok().filter(|port| *port != 0).map(Some).ok_or(BAD_PORT),
        },
    }
}

const BAD_PORT: &str = "its port is not a number up to 65535";

fn explain(error: ParseError) -> Cause {
    let words = match error {
        ParseError::InvalidPort => BAD_PORT,
        ParseError::InvalidIpv4Address | ParseError::InvalidIpv6Address => {
            "its IP address makes no sense"
        }
        ParseError::IdnaError | ParseError::InvalidDomainCharacter => {
            "its host's name makes no sense"
        }
        _ => "it names no host",
    };
    Cause::new(words, error)
}

/// The base path, and the room of a room's link.
fn split_path(path: &str) -> (String, Option<String>) {
    let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let mut room = None;
    match segments[..] {
        [.., "r", name] => {
            room = percent_decoded(name);
            segments.truncate(segments.len() - 2);
        }
        [.., last] if last == &PATH[1..] => {
            segments.pop();
        }
        _ => {}
    }
    (segments.iter().map(|segment| format!("/{segment}")).collect(), room)
}

pub(crate) const NOT_ENCODED: &str =
    "what it has after /r/ is not text in UTF-8 with % as links have it (a % itself is %25)";

/// Why what a link has after `/r/` is no room's name, if it has anything there.
pub(crate) fn room_problem(link: &str) -> Option<Cause> {
    let path = link.split(['?', '#']).next().unwrap_or_default();
    let (_, room) = path.split_once("/r/")?;
    let room = room.trim_end_matches('/');
    match percent_decoded(room) {
        None => Some(NOT_ENCODED.into()),
        Some(room) if room == "." || room == ".." => Some("a room cannot be called . or ..".into()),
        Some(_) if room.contains('/') => {
            Some("a room's name has no / in a link; it is written %2F there".into())
        }
        Some(_) => None,
    }
}

fn is_this_machine(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<String, Cause> {
        ServerUrl::parse(text).map(|url| url.websocket())
    }

    fn origin(text: &str) -> String {
        ServerUrl::parse(text).expect(text).origin()
    }

    /// proves: U-01
    #[test]
    fn a_scheme_and_a_host_are_enough() {
        assert_eq!(address("wss://voice.example.org"), Ok("wss://voice.example.org/ws".into()));
        assert_eq!(address("voice.example.org"), Ok("wss://voice.example.org/ws".into()));
        assert_eq!(
            address("https://voice.example.org/r/lobby"),
            Ok("wss://voice.example.org/ws".into())
        );
        assert_eq!(address(" ws://127.0.0.1:8080/ "), Ok("ws://127.0.0.1:8080/ws".into()));
        assert_eq!(address("localhost:9000"), Ok("ws://localhost:9000/ws".into()));
        assert_eq!(address("localhost"), Ok("ws://localhost/ws".into()));
        assert_eq!(address("ws://[::1]:9000/voice/ws"), Ok("ws://[::1]:9000/voice/ws".into()));
        assert_eq!(address("192.168.1.5:8080"), Ok("wss://192.168.1.5:8080/ws".into()));
        assert_eq!(address("fd00::5"), Ok("wss://[fd00::5]/ws".into()));
        assert_eq!(address("[fd00::5]"), Ok("wss://[fd00::5]/ws".into()));
        assert!(address("8080").is_err_and(|why| why.words().contains("a port without a host")));
        for quoted in ["<wss://host>", "\"wss://host\"", " 'host' ", "“https://host”"] {
            assert_eq!(address(quoted), Ok("wss://host/ws".into()), "{quoted}");
        }
    }

    #[test]
    fn a_server_below_a_path_is_reached_from_every_address_of_it() {
        for text in [
            "https://host/voice/",
            "wss://host/voice",
            "https://host/voice/r/lobby",
            "wss://host/voice/ws",
            "host/voice/?x=1#y",
        ] {
            let (url, room) = ServerUrl::parse_link(text).expect(text);
            assert_eq!(url.websocket(), "wss://host/voice/ws", "{text}");
            assert_eq!(url.origin(), "wss://host/voice", "{text}");
            assert_eq!(room.as_deref(), text.contains("/r/").then_some("lobby"), "{text}");
        }
        assert_eq!(address("https://host/a/b/r/r/r/x"), Ok("wss://host/a/b/r/r/ws".into()));
    }

    #[test]
    fn a_link_names_its_room() {
        let room = |text| ServerUrl::parse_link(text).map(|(_, room)| room);
        assert_eq!(room("https://host/r/caf%C3%A9%20%2F1"), Ok(Some("café /1".into())));
        assert_eq!(room("https://host/"), Ok(None));
        assert_eq!(room("https://host/r"), Ok(None));
    }

    #[test]
    fn what_a_link_has_in_place_of_a_room_is_named() {
        for (path, part) in [
            ("r/..", "called . or .."),
            ("r/%2e/", "called"),
            ("r/a/b", "%2F"),
            ("r/%FF%FE", "UTF-8"),
            ("r/%", "%25"),
            ("r/100%", "%25"),
            ("r/%E0%A4%A", "UTF-8"),
            ("r/%zz", "UTF-8"),
        ] {
            let link = format!("https://host/{path}");
            assert_eq!(ServerUrl::parse_link(&link).expect("an address").1, None, "{link}");
            assert!(room_problem(&link).is_some_and(|why| why.words().contains(part)), "{link}");
        }
        assert_eq!([room_problem("https://host/"), room_problem("https://host/r/")], [None, None]);
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        for text in [
            "",
            "wss://",
            "ftp://host",
            "ws://host:port",
            "ws://host:0",
            "ws://host:65536",
            "ws://me@host",
            "two words",
            "ws://[fe80::1%]",
            "ws://[fe80::1%25]x",
            "ws://[fe80::1%a b]",
            "ws://[2001:db8::1%eth0]",
            "ws://[::1",
            "ws://1.2.3.4.5",
            "ws://xn--\u{0}",
            &format!("ws://host/{}", "x".repeat(MOST_BYTES)),
        ] {
            assert!(ServerUrl::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn one_server_is_one_origin_however_it_is_written() {
        assert_eq!(origin("WSS://Voice.example.org"), "wss://voice.example.org");
        assert_eq!(origin("https://voice.example.org:443/r/x"), "wss://voice.example.org");
        assert_eq!(origin("localhost:8080"), "ws://localhost:8080");
        assert_eq!(origin("ws://[0:0::1]:80"), "ws://[::1]");
        assert_eq!(origin("wss://host/voice/"), origin("https://HOST:443/voice/r/a"));
        assert_ne!(origin("wss://host/voice"), origin("wss://host/other"));
    }

    /// The vectors that the web client's tests read as well.
    #[test]
    fn origins_match_the_vectors() {
        #[derive(serde::Deserialize)]
        struct Vectors {
            origins: Vec<Origin>,
        }
        #[derive(serde::Deserialize)]
        struct Origin {
            socket: String,
            origin: String,
        }
        let vectors: Vectors = serde_json::from_str(voicemesh_vectors::SIGNALING)
            .expect("the vectors are what this test expects");
        assert!(!vectors.origins.is_empty());
        for vector in vectors.origins {
            assert_eq!(origin(&vector.socket), vector.origin);
        }
    }

    #[test]
    fn names_in_other_scripts_are_written_in_ascii() {
        assert_eq!(address("wss://Bücher.example"), Ok("wss://xn--bcher-kva.example/ws".into()));
        assert_eq!(origin("例え.テスト:8443"), "wss://xn--r8jz45g.xn--zckzah:8443");
    }

    #[test]
    fn a_zone_is_dialed_but_no_part_of_the_servers_name() {
        for text in ["ws://[fe80::1%eth0]:8080", "ws://[fe80::1%25eth0]:8080/ws"] {
            let url = ServerUrl::parse(text).expect(text);
            assert_eq!(url.dial_host(), "fe80::1%eth0");
            assert_eq!(
                (url.host(), url.origin()),
                ("fe80::1".into(), "ws://[fe80::1]:8080".into())
            );
            assert_eq!(url.written(), "ws://[fe80::1%eth0]:8080");
            assert!(!url.lacks_zone());
        }
        assert_eq!(
            ServerUrl::parse("fe80::1%2").expect("a zone by number").dial_host(),
            "fe80::1%2"
        );
        assert_eq!(
            ServerUrl::parse("ws://[fe80::1%25]").expect("a zone by number").dial_host(),
            "fe80::1%25"
        );
        assert!(ServerUrl::parse("ws://[fe80::1]:8080").expect("an address").lacks_zone());
    }
}
