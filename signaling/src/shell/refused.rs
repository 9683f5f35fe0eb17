//! Upgrades that do not become WebSockets: why, for the operator in the log and for the page in
//! `/connect-check`.
//!
//! A browser tells a page nothing about why its WebSocket did not open. So the page names each
//! attempt (`/ws?attempt=NAME`) and asks afterwards over plain HTTP what became of it.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::{HeaderMap, Uri};
use serde_json::{Value, json};

use super::origin::{UsedAddress, came_through_proxy, is_allowed, origin_of};
use crate::config::{Config, TrustedProxy};
use voicemesh_rooms::lock;

/// Attempts that are remembered, and for how long. A page asks within seconds.
const ATTEMPTS: usize = 256;
const ATTEMPT_LIFETIME: Duration = Duration::from_secs(120);
/// Longest name of an attempt.
const ATTEMPT_BYTES: usize = 40;
/// Different refusals that are logged above DEBUG within [`LOG_PERIOD`].
const LOGGED: usize = 32;
const LOG_PERIOD: Duration = Duration::from_secs(3600);
/// What of a header goes into a log line or an answer.
const SHOWN_BYTES: usize = 128;

/// What became of a request for a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// It became one, as far as this server can see.
    Upgraded,
    /// It arrived without what asks for an upgrade.
    NoUpgrade,
    /// The page's origin may not connect.
    Origin,
    /// It offers only other subprotocols.
    Protocol,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Upgraded => "upgraded",
            Self::NoUpgrade => "no-upgrade",
            Self::Origin => "origin",
            Self::Protocol => "protocol",
        }
    }
}

/// What is remembered of upgrades and their refusals.
#[derive(Debug, Default)]
pub(super) struct Upgrades {
    attempts: Mutex<VecDeque<(Duration, String, Outcome)>>,
    logged: Mutex<Logged>,
}

#[derive(Debug, Default)]
struct Logged {
    since: Duration,
    lines: HashSet<String>,
}

impl Upgrades {
    /// Notes what became of the attempt that `uri` names, if it names one.
    pub(super) fn note(&self, now: Duration, uri: &Uri, outcome: Outcome) {
        let Some(name) = attempt(uri) else { return };
        let mut attempts = lock(&self.attempts);
        while attempts.len() >= ATTEMPTS
            || attempts.front().is_some_and(|(at, _, _)| now > *at + ATTEMPT_LIFETIME)
        {
            attempts.pop_front();
        }
        attempts.push_back((now, name.to_owned(), outcome));
    }

    /// The newest outcome of the attempt that `uri` names.
    fn find(&self, now: Duration, uri: &Uri) -> Option<Outcome> {
        let name = attempt(uri)?;
        let attempts = lock(&self.attempts);
        let newest = attempts.iter().rev().find(|(_, known, _)| known == name);
        newest.filter(|(at, _, _)| now <= *at + ATTEMPT_LIFETIME).map(|(_, _, outcome)| *outcome)
    }

    /// Whether a line is new within the last hour and few enough others were; says it at WARN then,
    /// else at DEBUG.
    pub(super) fn log(&self, now: Duration, line: &str) {
        let mut logged = lock(&self.logged);
        if now > logged.since + LOG_PERIOD {
            *logged = Logged { since: now, lines: HashSet::new() };
        }
        if logged.lines.contains(line) || logged.lines.len() >= LOGGED {
            tracing::debug!("{line}");
        } else {
            tracing::warn!("{line}");
            logged.lines.insert(line.to_owned());
        }
    }
}

/// The name that a page gave its attempt.
fn attempt(uri: &Uri) -> Option<&str> {
    let value = uri.query()?.split('&').find_map(|pair| pair.strip_prefix("attempt="))?;
    let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_plain && (1..=ATTEMPT_BYTES).contains(&value.len())).then_some(value)
}

/// Where a request comes from, and what it says of host and page.
pub(super) struct Asker<'a> {
    socket: IpAddr,
    trusted: bool,
    pub(super) through_proxy: bool,
    address: UsedAddress,
    origin: Option<&'a str>,
}

impl<'a> Asker<'a> {
    pub(super) fn of(socket: IpAddr, headers: &'a HeaderMap, config: &Config) -> Self {
        let trusted = config.trusted_proxies.iter().any(|proxy| proxy.covers(socket));
        let (address, origin) = (UsedAddress::of(headers, trusted), origin_of(headers));
        Self { socket, trusted, through_proxy: came_through_proxy(headers), address, origin }
    }

    pub(super) fn is_allowed(&self, config: &Config) -> bool {
        is_allowed(self.origin, &self.address, &config.allowed_origins)
    }

    /// The option that names the proxy this request came through, if it is not named yet. Only for
    /// proxies of this machine or of a private network, which cannot be anyone's.
    pub(super) fn proxy_option(&self) -> Option<String> {
        if self.trusted || !self.through_proxy {
            return None;
        }
        let socket = self.socket.to_canonical();
        if socket.is_loopback() {
            return Some(format!("--trusted-proxy {socket}"));
        }
        TrustedProxy::Private.covers(socket).then(|| "--trusted-proxy private".to_owned())
    }

    /// What an operator has to know of a proxy that is not named.
    pub(super) fn proxy_line(&self) -> Option<String> {
        let option = self.proxy_option()?;
        Some(format!(
            "a reverse proxy passes connections on but is not named: the addresses and the host that it reports are \
             not used. Add {option} if it overwrites the X-Forwarded headers of its clients"
        ))
    }

    /// Why a page is refused, and by which option it would not be.
    pub(super) fn origin_line(&self) -> String {
        let (origin, host) = (shown(self.origin.unwrap_or_default()), shown(&self.address.host));
        let proxy = match self.proxy_option() {
            Some(option) => {
                format!(", or {option} if the proxy reports the host that the browser used")
            }
            None => String::new(),
        };
        format!(
            "refused a page: its Origin is {origin:?}, and the Host that arrived is {host:?}. If people are meant to \
             use that page, add --allow-origin {origin}{proxy}"
        )
    }

    /// Why a request that is no upgrade is answered with 426.
    pub(super) fn upgrade_line(&self) -> String {
        let host = shown(&self.address.host);
        format!(
            "a request for a WebSocket arrived without \"Upgrade: websocket\", \"Connection: Upgrade\", a key or version 13 \
             (Host {host:?}). If it came through a reverse proxy, have that pass Upgrade and Connection on \
             (docs/reverse-proxy.md)"
        )
    }
}

/// What the server says to a page whose WebSocket did not open: what became of the attempt that the
/// request names, and what would become of another one from this origin.
pub(super) fn connect_check(
    upgrades: &Upgrades,
    now: Duration,
    uri: &Uri,
    asker: &Asker<'_>,
    config: &Config,
) -> Value {
    let attempt = upgrades.find(now, uri).map_or("unknown", Outcome::name);
    let allowed = asker.is_allowed(config);
    let mut answer = json!({
        "server": "voicemesh",
        "attempt": attempt,
        "origin": if allowed { "allowed" } else { "refused" },
        "host": shown(&asker.address.host),
    });
    if !allowed {
        answer["option"] =
            json!(format!("--allow-origin {}", shown(asker.origin.unwrap_or_default())));
    }
    answer
}

/// A header as it can be shown: not too long, nothing but what headers hold.
fn shown(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(SHOWN_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect("a URI")
    }

    #[test]
    fn an_attempt_is_remembered_for_a_while_and_only_so_many_are() {
        let upgrades = Upgrades::default();
        let at = Duration::from_secs;
        upgrades.note(at(1), &uri("/ws?attempt=one"), Outcome::NoUpgrade);
        assert_eq!(
            upgrades.find(at(2), &uri("/connect-check?attempt=one")),
            Some(Outcome::NoUpgrade)
        );
        assert_eq!(upgrades.find(at(2), &uri("/connect-check?attempt=two")), None);
        assert_eq!(upgrades.find(at(200), &uri("/connect-check?attempt=one")), None);
        for number in 0..2 * ATTEMPTS {
            upgrades.note(at(3), &uri(&format!("/ws?attempt=n{number}")), Outcome::Upgraded);
        }
        assert_eq!(lock(&upgrades.attempts).len(), ATTEMPTS);
        for named in
            ["/ws", "/ws?attempt=", "/ws?attempt=a%20b", &format!("/ws?attempt={}", "x".repeat(41))]
        {
            assert_eq!(attempt(&uri(named)), None, "{named}");
        }
    }

    #[test]
    fn a_line_is_logged_once_an_hour() {
        let upgrades = Upgrades::default();
        for number in 0..2 * LOGGED {
            upgrades.log(Duration::ZERO, &format!("line {number}"));
        }
        assert_eq!(lock(&upgrades.logged).lines.len(), LOGGED);
        upgrades.log(Duration::from_secs(7200), "line 1");
        assert_eq!(lock(&upgrades.logged).lines.len(), 1);
    }

    #[test]
    fn a_proxy_that_is_not_named_is_named_with_its_option() {
        let mut headers = HeaderMap::new();
        headers.insert("host", "127.0.0.1:8080".parse().expect("a header"));
        headers.insert("origin", "https://voice.example".parse().expect("a header"));
        let config = Config::default();
        let option = |socket: &str, headers: &HeaderMap, config: &Config| {
            Asker::of(socket.parse().expect("an address"), headers, config).proxy_option()
        };
        assert_eq!(option("127.0.0.1", &headers, &config), None, "no proxy is seen");
        headers.insert("x-forwarded-for", "192.0.2.1".parse().expect("a header"));
        assert_eq!(
            option("127.0.0.1", &headers, &config).as_deref(),
            Some("--trusted-proxy 127.0.0.1")
        );
        assert_eq!(
            option("::ffff:127.0.0.1", &headers, &config).as_deref(),
            Some("--trusted-proxy 127.0.0.1")
        );
        assert_eq!(option("::1", &headers, &config).as_deref(), Some("--trusted-proxy ::1"));
        assert_eq!(
            option("172.17.0.1", &headers, &config).as_deref(),
            Some("--trusted-proxy private")
        );
        assert_eq!(
            option("203.0.113.9", &headers, &config),
            None,
            "a stranger can send such headers"
        );
        let named = Config { trusted_proxies: vec![TrustedProxy::Private], ..Config::default() };
        assert_eq!(option("127.0.0.1", &headers, &named), None);
        let line = Asker::of(IpAddr::from([127, 0, 0, 1]), &headers, &config).origin_line();
        assert!(
            line.contains("--allow-origin https://voice.example")
                && line.contains("127.0.0.1:8080"),
            "{line}"
        );
        assert!(line.contains("--trusted-proxy 127.0.0.1"), "{line}");
    }
}
