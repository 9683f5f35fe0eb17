//! Checks settings against each other and against what they are for, before anything is served.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use super::{Config, key_file};
use crate::ticket_cipher::SECRET_BYTES;
use crate::token::AUDIENCE_BYTES;

/// A setting that cannot be meant: names the option, its variable, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{option} ({variable}): {problem}")]
pub struct ConfigError {
    /// As on the command line.
    pub option: &'static str,
    /// The environment variable for the same setting.
    pub variable: &'static str,
    /// What is wrong and what to write instead.
    pub problem: String,
}

/// A kind of ICE server by what its URL may begin with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stun,
    Turn,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stun => "stun",
            Self::Turn => "turn",
        })
    }
}

impl Config {
    /// Checks everything that would otherwise fail later, at a user's.
    ///
    /// # Errors
    ///
    /// The first setting that cannot be meant.
    pub fn check(&self) -> Result<(), ConfigError> {
        let error = |option, variable, problem| Err(ConfigError { option, variable, problem });
        for url in self.stun.iter().map(|url| url.trim()).filter(|url| !url.is_empty()) {
            if !url.eq_ignore_ascii_case("none")
                && let Err(problem) = check_url(url, Kind::Stun)
            {
                return error("--stun", "VOICEMESH_STUN", problem);
            }
        }
        for url in self.turn.iter().map(|url| url.trim()).filter(|url| !url.is_empty()) {
            if let Err(problem) = check_url(url, Kind::Turn) {
                return error("--turn", "VOICEMESH_TURN", problem);
            }
        }
        self.check_credentials()?;
        self.token_rules()?;
        if self.auth_audience.as_ref().is_some_and(|audience| audience.len() > AUDIENCE_BYTES) {
            let problem = format!("is too long: at most {AUDIENCE_BYTES} bytes");
            return error("--auth-audience", "VOICEMESH_AUTH_AUDIENCE", problem);
        }
        if let Some(admin) = self.admin_listen
            && self.takes(admin)
        {
            let problem = format!("{admin} is where the server itself listens; take another port");
            return error("--admin-listen", "VOICEMESH_ADMIN_LISTEN", problem);
        }
        self.admin_token()?;
        if self.secret.as_ref().is_some_and(|secret| secret.len() < SECRET_BYTES) {
            let problem =
                "has fewer than 16 bytes; take the output of: openssl rand -hex 32".to_owned();
            return error("--secret", "VOICEMESH_SECRET", problem);
        }
        for (is_zero, option, variable) in [
            (self.max_peers_per_room == 0, "--max-peers-per-room", "VOICEMESH_MAX_PEERS_PER_ROOM"),
            (self.max_rooms == 0, "--max-rooms", "VOICEMESH_MAX_ROOMS"),
            (self.max_connections == 0, "--max-connections", "VOICEMESH_MAX_CONNECTIONS"),
        ] {
            if is_zero {
                return error(option, variable, "0 lets no peer join; write at least 1".to_owned());
            }
        }
        for origin in self
            .allowed_origins
            .iter()
            .map(|origin| origin.trim())
            .filter(|origin| !origin.is_empty())
        {
            if let Err(problem) = check_origin(origin) {
                return error("--allow-origin", "VOICEMESH_ALLOW_ORIGIN", problem);
            }
        }
        for origin in self.embedding_origins() {
            if let Err(problem) = check_embed_origin(origin) {
                return error("--embed-origin", "VOICEMESH_EMBED_ORIGIN", problem);
            }
        }
        match self.base_path.as_deref().map(base_path) {
            Some(Err(problem)) => error("--base-path", "VOICEMESH_BASE_PATH", problem),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Whether the server itself listens there.
    fn takes(&self, address: SocketAddr) -> bool {
        let (ip, port) =
            self.listen.map_or((None, self.port), |listen| (Some(listen.ip()), listen.port()));
        // `[::]` takes IPv4 as well.
        let covers =
            |every: IpAddr, ip: IpAddr| every.is_unspecified() && (every.is_ipv6() || ip.is_ipv4());
        let meets = |ip| ip == address.ip() || covers(ip, address.ip()) || covers(address.ip(), ip);
        port != 0 && port == address.port() && ip.is_none_or(meets)
    }

    /// The origins that may frame the page, without a slash at the end.
    pub(crate) fn embedding_origins(&self) -> impl Iterator<Item = &str> {
        self.embed_origins
            .iter()
            .map(|origin| origin.trim().trim_end_matches('/'))
            .filter(|origin| !origin.is_empty())
    }

    /// The base path without a slash at its end; empty for the root.
    pub(crate) fn base(&self) -> String {
        self.base_path.as_deref().and_then(|path| base_path(path).ok()).unwrap_or_default()
    }

    /// What works but not for everyone, or has no effect: one sentence each, for the log at start.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for url in self.turn_servers().iter().map(|url| url.trim()) {
            let lower = url.to_ascii_lowercase();
            if lower.starts_with("turns:") || lower.contains("transport=tcp") {
                remarks.push(format!(
                    "{url} is used by web pages only: the native peers speak TURN over UDP"
                ));
            }
        }
        for url in self
            .stun_servers()
            .iter()
            .filter(|url| url.to_ascii_lowercase().trim().starts_with("stuns:"))
        {
            remarks.push(format!(
                "{url} is used by web pages only: the native peers speak STUN over UDP"
            ));
        }
        let has_turn = self.turn.iter().any(|url| !url.trim().is_empty());
        let credentials = [
            ("--turn-username", &self.turn_username),
            ("--turn-credential", &self.turn_credential),
            ("--turn-secret", &self.turn_secret),
        ];
        for (option, _) in credentials.iter().filter(|(_, value)| value.is_some() && !has_turn) {
            remarks.push(format!("{option} has no effect without --turn"));
        }
        if self.auth_audience.is_some() && self.auth_secret.is_none() && self.auth_jwks.is_none() {
            remarks.push(
                "--auth-audience has no effect without --auth-secret or --auth-jwks".to_owned(),
            );
        }
        if self.relay_only && has_turn {
            remarks.push("--turn has no effect with --relay-only".to_owned());
        }
        if let Some(path) = &self.auth_secret
            && let Some(mode) = key_file::open_to_others(path)
        {
            let path = path.display();
            remarks.push(format!(
                "--auth-secret: others than its owner may use {path} (mode {mode:o}); run chmod 600 {path}"
            ));
        }
        remarks
    }

    fn check_credentials(&self) -> Result<(), ConfigError> {
        let has_turn = self.turn.iter().any(|url| !url.trim().is_empty());
        let is_set = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        let (user, password, secret) =
            (is_set(&self.turn_username), is_set(&self.turn_credential), is_set(&self.turn_secret));
        let (option, variable, problem) = match (user, password, secret) {
            (true, _, true) | (_, true, true) => (
                "--turn-secret",
                "VOICEMESH_TURN_SECRET",
                "it makes user names and passwords itself; leave --turn-username and --turn-credential out",
            ),
            (true, false, false) if has_turn => (
                "--turn-credential",
                "VOICEMESH_TURN_CREDENTIAL",
                "a user name is given, but no password",
            ),
            (false, true, false) if has_turn => (
                "--turn-username",
                "VOICEMESH_TURN_USERNAME",
                "a password is given, but no user name",
            ),
            (false, false, false) if has_turn => (
                "--turn",
                "VOICEMESH_TURN",
                "no browser takes a TURN server without credentials: add --turn-secret, or --turn-username and \
                 --turn-credential",
            ),
            _ => return Ok(()),
        };
        Err(ConfigError { option, variable, problem: problem.to_owned() })
    }
}

/// A base path in its one form: a slash before each part, none at the end; "" for the root.
fn base_path(text: &str) -> Result<String, String> {
    let trimmed = text.trim().trim_matches('/');
    if trimmed.is_empty() {
        return Ok(String::new());
    }
    let is_plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c))
    };
    if !trimmed.split('/').all(is_plain) {
        return Err(format!(
            "{text:?} is no path: write letters, digits and -._~ between slashes, as in /voice"
        ));
    }
    Ok(format!("/{trimmed}"))
}

/// RFC 6454 §6.1: scheme, host and port, nothing else.
fn check_origin(origin: &str) -> Result<(), String> {
    if origin == "*" {
        return Ok(());
    }
    let example = "write it as in https://game.example";
    let Some((scheme, authority)) = origin.split_once("://") else {
        return Err(format!("{origin:?} has no scheme; {example}"));
    };
    let authority = authority.trim_end_matches('/');
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !is_scheme
        || authority.is_empty()
        || authority.contains(['/', '?', '#', '@'])
        || authority.contains(char::is_whitespace)
    {
        return Err(format!("{origin:?} is no origin: scheme, host and perhaps port; {example}"));
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    match authority.rsplit_once(':') {
        Some((_, port)) if !authority.ends_with(']') && !is_port(port) => {
            Err(format!("{origin:?}: the port is a number from 1 to 65535; {example}"))
        }
        _ => Ok(()),
    }
}

/// It becomes a part of the Content-Security-Policy, whose own signs must not be in it.
fn check_embed_origin(origin: &str) -> Result<(), String> {
    if origin == "*" {
        return Err(
            "\"*\" would let every page show this one in a frame; name the origins".to_owned()
        );
    }
    check_origin(origin)?;
    let (scheme, authority) = origin.split_once("://").unwrap_or_default();
    let is_plain = authority.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
    let example = "write it as in https://club.example";
    if !matches!(scheme, "http" | "https") || !is_plain {
        return Err(format!("{origin:?} is no web page's origin; {example}"));
    }
    check_address(authority).map_err(|problem| format!("{origin:?}: {problem}; {example}"))
}

/// RFC 7064 §3.1 and RFC 7065 §3.1: `stun:host[:port]`, `turn:host[:port][?transport=udp]`.
fn check_url(url: &str, kind: Kind) -> Result<(), String> {
    let example = format!("write {kind}:HOST or {kind}:HOST:PORT");
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(format!("{url:?} has no scheme; {example}"));
    };
    let scheme = scheme.to_ascii_lowercase();
    match (kind, scheme.as_str()) {
        (Kind::Stun, "stun" | "stuns") | (Kind::Turn, "turn" | "turns") => {}
        (_, "stun" | "stuns") => {
            return Err(format!("{url:?} is a STUN server; it belongs to --stun"));
        }
        (_, "turn" | "turns") => {
            return Err(format!("{url:?} is a TURN server; it belongs to --turn"));
        }
        _ => return Err(format!("{url:?} has no scheme of an ICE server; {example}")),
    }
    if rest.starts_with("//") {
        return Err(format!(
            "{url:?} has slashes after its scheme, which such addresses do not; {example}"
        ));
    }
    let (address, query) = match rest.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (rest, None),
    };
    match (kind, query) {
        (_, None) | (Kind::Turn, Some("transport=udp" | "transport=tcp")) => {}
        (Kind::Turn, Some(_)) => {
            return Err(format!("{url:?}: only ?transport=udp or ?transport=tcp can follow"));
        }
        (Kind::Stun, Some(_)) => {
            return Err(format!("{url:?}: nothing can follow the address of a STUN server"));
        }
    }
    check_address(address).map_err(|problem| format!("{url:?}: {problem}; {example}"))
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn check_address(address: &str) -> Result<(), &'static str> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (v6, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
            v6.parse::<std::net::Ipv6Addr>()
                .map_err(|_| "no IPv6 address is between the brackets")?;
            match after.strip_prefix(':') {
                Some(port) => (v6, Some(port)),
                None if after.is_empty() => (v6, None),
                None => return Err("only a port can follow the bracket"),
            }
        }
        None => match address.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err("an IPv6 address needs brackets"),
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    if host.is_empty() {
        return Err("no host is named");
    }
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._~:".contains(c);
    if host.starts_with(['-', '.']) || !host.chars().all(is_host) {
        return Err("this host has characters that no host name has");
    }
    match port.map(str::parse::<u16>) {
        None => Ok(()),
        Some(Ok(port)) if port > 0 => Ok(()),
        Some(_) => Err("the port is a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(url: &str) -> Config {
        Config {
            turn: vec![url.to_owned()],
            turn_username: Some("user".to_owned()),
            turn_credential: Some("password".to_owned()),
            ..Config::default()
        }
    }

    #[test]
    fn the_operators_port_is_not_the_servers_own() {
        let at = |text: &str| Some(text.parse().expect("an address"));
        for (listen, admin, is_own) in [
            (None, "127.0.0.1:8080", true),
            (None, "127.0.0.1:8081", false),
            (at("127.0.0.1:8080"), "127.0.0.1:8080", true),
            (at("[::]:8080"), "127.0.0.1:8080", true),
            (at("192.0.2.1:8080"), "0.0.0.0:8080", true),
            (at("192.0.2.1:8080"), "127.0.0.1:8080", false),
            (at("0.0.0.0:8080"), "127.0.0.1:8080", true),
            (at("0.0.0.0:8080"), "[::1]:8080", false),
            (at("[::1]:8080"), "0.0.0.0:8080", false),
            (at("127.0.0.1:8080"), "[::]:8080", true),
            (at("127.0.0.1:0"), "127.0.0.1:0", false),
        ] {
            let config =
                Config { listen, port: 8080, admin_listen: at(admin), ..Config::default() };
            let problem = config.check().expect_err("there is no token at least").to_string();
            assert_eq!(
                problem.contains("the server itself"),
                is_own,
                "{listen:?} {admin}: {problem}"
            );
        }
    }

    #[test]
    fn an_audience_is_no_longer_than_tokens_are_made_for() {
        let of = |bytes| Config { auth_audience: Some("a".repeat(bytes)), ..Config::default() };
        assert_eq!(of(AUDIENCE_BYTES).check(), Ok(()));
        let error = of(AUDIENCE_BYTES + 1).check().expect_err("too long");
        assert!(error.option == "--auth-audience" && error.problem.contains("128"), "{error}");
    }

    #[test]
    fn an_address_of_an_ice_server_is_read_as_what_it_is_for() {
        for url in [
            "turn:turn.example",
            "turn:turn.example:3478",
            "TURN:192.0.2.1?transport=udp",
            "turns:[2001:db8::1]:5349?transport=tcp",
            " turn:turn.example ",
            "",
        ] {
            assert_eq!(turn(url).check(), Ok(()), "{url}");
        }
        for url in [
            "turn.example",
            "turn.example:3478",
            "turn://turn.example",
            "turn:",
            "turn:turn.example:0",
            "turn:turn.example:99999",
            "turn:turn.example:port",
            "turn:2001:db8::1",
            "turn:[2001:db8::1",
            "turn:a b",
            "turn:turn.example?transport=sctp",
            "stun:stun.example",
            "https://turn.example",
        ] {
            let error = turn(url).check().expect_err(url);
            assert_eq!((error.option, error.variable), ("--turn", "VOICEMESH_TURN"), "{url}");
            assert!(error.problem.contains(url), "{error}");
        }
        let stun = |url: &str| Config { stun: vec![url.to_owned()], ..Config::default() }.check();
        assert_eq!(stun("stun:stun.example:19302"), Ok(()));
        assert_eq!(stun("none"), Ok(()));
        for url in
            ["stun.example:19302", "turn:turn.example", "stun:stun.example?transport=udp", "stun:"]
        {
            assert_eq!(stun(url).expect_err(url).option, "--stun");
        }
    }

    #[test]
    fn a_turn_server_needs_both_credentials_or_a_secret() {
        let with = |user: Option<&str>, password: Option<&str>, secret: Option<&str>| {
            let config = Config {
                turn: vec!["turn:turn.example".to_owned()],
                turn_username: user.map(str::to_owned),
                turn_credential: password.map(str::to_owned),
                turn_secret: secret.map(str::to_owned),
                ..Config::default()
            };
            config.check().map_err(|error| error.option)
        };
        assert_eq!(with(Some("u"), Some("p"), None), Ok(()));
        assert_eq!(with(None, None, Some("s")), Ok(()));
        assert_eq!(with(None, None, None), Err("--turn"));
        assert_eq!(with(Some("u"), None, None), Err("--turn-credential"));
        assert_eq!(with(Some("u"), Some(""), None), Err("--turn-credential"));
        assert_eq!(with(None, Some("p"), None), Err("--turn-username"));
        assert_eq!(with(Some("u"), Some("p"), Some("s")), Err("--turn-secret"));
    }

    #[test]
    fn what_native_peers_pass_over_is_remarked() {
        assert!(turn("turn:turn.example").remarks().is_empty());
        assert!(turn("turn:turn.example?transport=tcp").remarks()[0].contains("web pages only"));
        assert!(turn("turns:turn.example").remarks()[0].contains("web pages only"));
        let unused = Config { turn_secret: Some("s".to_owned()), ..Config::default() };
        assert!(unused.remarks()[0].contains("--turn-secret has no effect"));
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_that_others_may_use_is_remarked_and_taken() {
        use std::os::unix::fs::PermissionsExt as _;
        let path =
            std::env::temp_dir().join(format!("voicemesh-auth-secret-{}", std::process::id()));
        std::fs::write(&path, "0123456789abcdef0123456789abcdef").unwrap();
        let config = Config { auth_secret: Some(path.clone()), ..Config::default() };
        for (mode, remarks) in [(0o444, 1), (0o640, 1), (0o600, 0), (0o400, 0)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!((config.check(), config.remarks().len()), (Ok(()), remarks), "{mode:o}");
            let advice = format!("chmod 600 {}", path.display());
            assert!(
                config
                    .remarks()
                    .iter()
                    .all(|remark| remark.contains(&advice) && !remark.contains("012345"))
            );
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(config.check().unwrap_err().option, "--auth-secret");
    }

    #[test]
    fn a_token_without_an_address_is_named() {
        let config = Config { admin_token_file: Some("token".into()), ..Config::default() };
        let error = config.check().expect_err("it would have no effect");
        assert!(
            error.option == "--admin-token-file" && error.problem.contains("--admin-listen"),
            "{error}"
        );
    }

    #[test]
    fn an_origin_has_a_scheme_and_a_base_path_is_plain() {
        let origin = |text: &str| {
            Config { allowed_origins: vec![text.to_owned()], ..Config::default() }.check()
        };
        for text in
            ["*", "https://game.example", "https://game.example:8443/", "capacitor://localhost"]
        {
            assert_eq!(origin(text), Ok(()), "{text}");
        }
        for text in [
            "game.example",
            "https://",
            "https://game.example/path",
            "https://a b",
            "https://a:99999",
        ] {
            assert_eq!(origin(text).expect_err(text).option, "--allow-origin");
        }
        let embed = |text: &str| {
            Config { embed_origins: vec![text.to_owned()], ..Config::default() }.check()
        };
        for text in ["https://club.example", "http://127.0.0.1:8000/", "https://[::1]:8443", ""] {
            assert_eq!(embed(text), Ok(()), "{text}");
        }
        for text in [
            "*",
            "club.example",
            "https://a; script-src *",
            "capacitor://a",
            "https://*.example",
            "https://club.example:99999",
            "https://club.example:",
            "https://[::1",
        ] {
            assert_eq!(embed(text).expect_err(text).option, "--embed-origin");
        }
        let base = |text: &str| Config { base_path: Some(text.to_owned()), ..Config::default() };
        for (text, path) in
            [("/voice", "/voice"), ("voice/", "/voice"), ("/a/b/", "/a/b"), ("/", ""), ("", "")]
        {
            assert_eq!((base(text).check(), base(text).base().as_str()), (Ok(()), path), "{text}");
        }
        for text in ["/a b", "/../x", "/a//b", "/ä", "https://host/voice"] {
            assert_eq!(base(text).check().expect_err(text).option, "--base-path");
        }
    }

    #[test]
    fn a_room_for_no_peer_is_refused() {
        let none = Config { max_peers_per_room: 0, ..Config::default() };
        assert_eq!(none.check().expect_err("no peer could join").option, "--max-peers-per-room");
    }
}
