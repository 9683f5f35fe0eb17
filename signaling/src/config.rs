//! What an operator can set, by flag or environment.

mod admin_token;
mod check;
mod environment;
pub(crate) mod key_file;
mod proxy;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgAction, Args};
use voicemesh_wire::signaling::{IceServer, ServerLimits};

use crate::token::TokenRules;
use voicemesh_rooms::{Budgets, IceRules, RoomRules, SharedSecret};

pub(crate) use admin_token::AdminToken;
pub use check::ConfigError;
pub use environment::{on_off, without_empty_variables};
pub use proxy::TrustedProxy;

/// The STUN servers that peers ask for their public address unless others are configured.
const DEFAULT_STUN: [&str; 2] = ["stun:stun.l.google.com:19302", "stun:stun.cloudflare.com:3478"];
const DEFAULT_PORT: u16 = 8080;
const SPARE_CONNECTIONS: usize = 64;
const ADMIN_TOKEN: &str = "VOICEMESH_ADMIN_TOKEN";

/// The settings of a signaling server.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Address to listen on, with port (default: IPv6 and IPv4, on --port).
    #[arg(long, env = "VOICEMESH_LISTEN", value_name = "ADDRESS", value_parser = socket_address)]
    pub listen: Option<SocketAddr>,

    /// Port to listen on when --listen does not say; hosts set it as PORT.
    #[arg(long, env = "PORT", default_value_t = DEFAULT_PORT, value_parser = port)]
    pub port: u16,

    /// STUN servers that peers ask for their public address; "none" contacts no server.
    #[arg(
        long, env = "VOICEMESH_STUN", value_name = "URL", value_delimiter = ',',
        default_values_t = DEFAULT_STUN.map(str::to_owned)
    )]
    pub stun: Vec<String>,

    /// TURN servers for the peers to use; they need --turn-secret, or a user name and a password.
    #[arg(long, env = "VOICEMESH_TURN", value_name = "URL", value_delimiter = ',')]
    pub turn: Vec<String>,

    /// Secret shared with the TURN servers (coturn: static-auth-secret); each peer gets credentials
    /// that expire.
    #[arg(long, env = "VOICEMESH_TURN_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub turn_secret: Option<String>,

    /// Seconds until credentials made from --turn-secret expire; peers get new ones after half of
    /// that.
    #[arg(long, env = "VOICEMESH_TURN_LIFETIME", value_name = "SECONDS", default_value = "14400", value_parser = lifetime)]
    pub turn_lifetime: Duration,

    /// User name for the TURN servers.
    #[arg(long, env = "VOICEMESH_TURN_USERNAME", value_name = "NAME")]
    pub turn_username: Option<String>,

    /// Password for the TURN servers; every peer gets to see it.
    #[arg(
        long,
        env = "VOICEMESH_TURN_CREDENTIAL",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub turn_credential: Option<String>,

    /// Secret of at least 16 bytes from which the keys of members' tickets are made; with it,
    /// passwords of rooms survive a restart of the server.
    #[arg(long, env = "VOICEMESH_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub secret: Option<String>,

    /// Seconds after the server's start in which a room gives no right to moderate it to the member
    /// who makes it.
    #[arg(long, env = "VOICEMESH_OWNER_AFTER", value_name = "SECONDS", default_value = "120", value_parser = whole_seconds)]
    pub owner_after: Duration,

    /// Seconds after which the host in front of the server ends every WebSocket (Cloud Run: 300, or
    /// what its request timeout is set to); 0 if it does not. Peers open their next connection
    /// before, so that nothing is lost.
    #[arg(long, env = "VOICEMESH_CONNECTION_LIFETIME", value_name = "SECONDS", default_value = "0", value_parser = connection_lifetime)]
    pub connection_lifetime: Duration,

    /// NATS server with JetStream over which several of these servers have their rooms in common
    /// ("nats://host:4222"); several with commas between. Without it this server is alone.
    #[cfg(feature = "nats")]
    #[arg(long, env = "VOICEMESH_BUS", value_name = "URL")]
    pub bus: Option<String>,

    /// No peer may open direct links, so that none learns another's address.
    #[arg(long, env = "VOICEMESH_RELAY_ONLY", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = on_off, value_name = "on|off", hide_default_value = true, hide_possible_values = true)]
    pub relay_only: bool,

    /// Peers that fit into one room.
    #[arg(long, env = "VOICEMESH_MAX_PEERS_PER_ROOM", value_name = "N", default_value_t = 64, value_parser = count::<u32>)]
    pub max_peers_per_room: u32,

    /// Rooms at a time.
    #[arg(long, env = "VOICEMESH_MAX_ROOMS", value_name = "N", default_value_t = 4096, value_parser = count::<usize>)]
    pub max_rooms: usize,

    /// Connections at a time.
    #[arg(long, env = "VOICEMESH_MAX_CONNECTIONS", value_name = "N", default_value_t = 4096, value_parser = count::<usize>)]
    pub max_connections: usize,

    /// Connections beyond [`max_connections`](Self::max_connections) that are still accepted, to be
    /// answered that the server is full, or for health checks.
    #[arg(skip = SPARE_CONNECTIONS)]
    pub spare_connections: usize,

    /// Let in only those who have an access token (JWT, HS256) signed with the secret in this file.
    #[arg(long, env = "VOICEMESH_AUTH_SECRET", value_name = "FILE", conflicts_with = "auth_jwks")]
    pub auth_secret: Option<PathBuf>,

    /// The same, for tokens signed (EdDSA or ES256) with a key whose public half is in this JWK
    /// set.
    #[arg(long, env = "VOICEMESH_AUTH_JWKS", value_name = "FILE")]
    pub auth_jwks: Option<PathBuf>,

    /// The audience that access tokens must name.
    #[arg(long, env = "VOICEMESH_AUTH_AUDIENCE", value_name = "TEXT")]
    pub auth_audience: Option<String>,

    /// Seconds between two pings; who is silent for two of them is gone.
    #[arg(long, env = "VOICEMESH_PING_INTERVAL", value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub ping_interval: Duration,

    /// Seconds between two notices of the roster's version.
    #[arg(long, env = "VOICEMESH_ROSTER_INTERVAL", value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub roster_interval: Duration,

    /// Seconds that a new connection may take to join.
    #[arg(long, env = "VOICEMESH_JOIN_TIMEOUT", value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub join_timeout: Duration,

    /// Certificate chain (PEM); with --tls-key, the server speaks TLS itself.
    #[arg(long, env = "VOICEMESH_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM).
    #[arg(long, env = "VOICEMESH_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Origins of web pages that may connect besides this server's own, with scheme; "*" for all.
    #[arg(
        long = "allow-origin",
        env = "VOICEMESH_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub allowed_origins: Vec<String>,

    /// Origins of web pages that may show this server's page in a frame, with scheme; none by
    /// default.
    #[arg(
        long = "embed-origin",
        env = "VOICEMESH_EMBED_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub embed_origins: Vec<String>,

    /// Reverse proxies whose Forwarded and X-Forwarded-For, -Host and -Proto headers are used:
    /// addresses, networks (10.0.0.0/8), or "private" for every address that is not public.
    #[arg(
        long = "trusted-proxy",
        env = "VOICEMESH_TRUSTED_PROXY",
        value_name = "NETWORK",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<TrustedProxy>,

    /// Path under which a reverse proxy passes requests on without removing it ("/voice"); the root
    /// is served as well.
    #[arg(long, env = "VOICEMESH_BASE_PATH", value_name = "PATH")]
    pub base_path: Option<String>,

    /// Folder to serve the web page from, read anew for every request; without it, the page is the
    /// one in this program.
    #[arg(long, env = "VOICEMESH_WEB_DIR", value_name = "FOLDER")]
    pub web_dir: Option<PathBuf>,

    /// Serve no web page, only what programs need.
    #[arg(long, env = "VOICEMESH_NO_WEB", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = on_off, value_name = "on|off", hide_default_value = true, hide_possible_values = true)]
    pub no_web: bool,

    /// Do not serve clients of UnityP2P below /unityp2p. With access tokens or --relay-only they are
    /// not served either: they have no tokens, and open direct links.
    #[arg(long, env = "VOICEMESH_NO_UNITYP2P", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_parser = on_off, value_name = "on|off", hide_default_value = true, hide_possible_values = true)]
    pub no_unityp2p: bool,

    /// Address with port for the operator's own requests (rooms, members, kick, drain); without it
    /// there are none.
    #[arg(long, env = "VOICEMESH_ADMIN_LISTEN", value_name = "ADDRESS", value_parser = socket_address)]
    pub admin_listen: Option<SocketAddr>,

    /// File with the token that those requests must bring; only its owner may read it. Instead,
    /// VOICEMESH_ADMIN_TOKEN may hold the token itself.
    #[arg(long, env = "VOICEMESH_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// How much one connection or address may ask of the server.
    #[arg(skip)]
    pub budgets: Budgets,

    /// The same, of clients of UnityP2P.
    #[arg(skip)]
    pub unityp2p: voicemesh_unityp2p::Limits,

    /// Answer only requests that name this machine itself as their host (`localhost`, or an address
    /// such as 127.0.0.1): a web page of another name that DNS leads here is refused. Not behind a
    /// reverse proxy.
    #[arg(skip)]
    pub only_as_this_machine: bool,
}

impl Default for Config {
    /// The defaults of flags and environment, but without STUN servers, so that no other host is
    /// contacted.
    fn default() -> Self {
        Self {
            listen: None,
            port: DEFAULT_PORT,
            stun: Vec::new(),
            turn: Vec::new(),
            turn_secret: None,
            turn_lifetime: Duration::from_secs(14_400),
            turn_username: None,
            turn_credential: None,
            secret: None,
            owner_after: Duration::from_secs(120),
            connection_lifetime: Duration::ZERO,
            #[cfg(feature = "nats")]
            bus: None,
            relay_only: false,
            max_peers_per_room: 64,
            max_rooms: 4096,
            max_connections: 4096,
            spare_connections: SPARE_CONNECTIONS,
            auth_secret: None,
            auth_jwks: None,
            auth_audience: None,
            ping_interval: Duration::from_secs(15),
            roster_interval: Duration::from_secs(5),
            join_timeout: Duration::from_secs(10),
            tls_cert: None,
            tls_key: None,
            allowed_origins: Vec::new(),
            embed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            base_path: None,
            web_dir: None,
            no_web: false,
            no_unityp2p: false,
            admin_listen: None,
            admin_token_file: None,
            budgets: Budgets::default(),
            unityp2p: voicemesh_unityp2p::Limits::default(),
            only_as_this_machine: false,
        }
    }
}

impl Config {
    /// The bus of a cluster, if this server is part of one.
    pub(crate) fn bus(&self) -> Option<&str> {
        #[cfg(feature = "nats")]
        return self.bus.as_deref();
        #[cfg(not(feature = "nats"))]
        None
    }

    /// The STUN servers named to peers: none if one of them is "none", or if peers may not open
    /// links.
    pub fn stun_servers(&self) -> &[String] {
        let none = self.stun.iter().any(|url| url.trim().eq_ignore_ascii_case("none"));
        if none || self.relay_only { &[] } else { &self.stun }
    }

    /// The TURN servers named to peers: none if peers may not open links.
    pub fn turn_servers(&self) -> &[String] {
        if self.relay_only { &[] } else { &self.turn }
    }

    /// Whether clients of UnityP2P are served: not where everyone needs a token, which they do not
    /// have, and not where no peer may learn another's address.
    pub fn serves_unityp2p(&self) -> bool {
        let needs_token = self.auth_secret.is_some() || self.auth_jwks.is_some();
        !(self.no_unityp2p || needs_token || self.relay_only)
    }

    /// What holds for every room.
    pub fn room_rules(&self) -> RoomRules {
        let limits = ServerLimits {
            peers_per_room: self.max_peers_per_room,
            ping_interval_ms: millis(self.ping_interval),
            roster_interval_ms: millis(self.roster_interval),
            connection_lifetime_ms: millis(self.connection_lifetime),
            ..ServerLimits::default()
        };
        RoomRules {
            limits,
            relay_only: self.relay_only,
            owner_after: self.owner_after,
            tickets_outlast_restarts: self.secret.is_some(),
            ice: self.ice_rules(),
            ..RoomRules::default()
        }
    }

    /// Who may join, read from the files named; `None` is everyone.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or holds no key of its kind.
    pub fn token_rules(&self) -> Result<Option<TokenRules>, ConfigError> {
        let wrong =
            |option, variable| move |problem: String| ConfigError { option, variable, problem };
        let audience = self.auth_audience.clone().filter(|audience| !audience.is_empty());
        if let Some(path) = &self.auth_secret {
            let rules = key_file::read(path).and_then(|file| {
                TokenRules::from_secret(&file, audience)
                    .map_err(|error| key_file::named(path, &error))
            });
            return rules.map(Some).map_err(wrong("--auth-secret", "VOICEMESH_AUTH_SECRET"));
        }
        let Some(path) = &self.auth_jwks else { return Ok(None) };
        let rules = key_file::read(path).and_then(|file| {
            let text = String::from_utf8_lossy(&file);
            TokenRules::from_jwks(&text, audience).map_err(|error| key_file::named(path, &error))
        });
        rules.map(Some).map_err(wrong("--auth-jwks", "VOICEMESH_AUTH_JWKS"))
    }

    /// The token of the operator's own requests, if there is an address for them.
    ///
    /// # Errors
    ///
    /// When there is an address and no token, a token's file and no address, or a token that is not
    /// safe.
    pub(crate) fn admin_token(&self) -> Result<Option<AdminToken>, ConfigError> {
        let wrong = |problem| ConfigError {
            option: "--admin-token-file",
            variable: "VOICEMESH_ADMIN_TOKEN_FILE",
            problem,
        };
        if self.admin_listen.is_none() {
            return match &self.admin_token_file {
                Some(_) => Err(wrong(
                    "it has no effect without --admin-listen, which is missing".to_owned(),
                )),
                None => Ok(None),
            };
        }
        match (&self.admin_token_file, std::env::var(ADMIN_TOKEN)) {
            (Some(path), _) => AdminToken::read(path).map(Some).map_err(|problem| {
                wrong(format!("{problem}; instead, {ADMIN_TOKEN} may hold the token itself"))
            }),
            (None, Ok(token)) if !token.is_empty() => AdminToken::parse(token.as_bytes())
                .map(Some)
                .map_err(|problem| wrong(format!("{ADMIN_TOKEN}: {problem}"))),
            (None, _) => Err(wrong(format!(
                "--admin-listen needs a token: name its file, or set {ADMIN_TOKEN}"
            ))),
        }
    }

    fn ice_rules(&self) -> IceRules {
        let stun = IceServer { urls: urls(self.stun_servers()), username: None, credential: None };
        let turn = IceServer {
            urls: urls(self.turn_servers()),
            username: self.turn_username.clone(),
            credential: self.turn_credential.clone(),
        };
        let secret = self.turn_secret.as_ref().filter(|_| !turn.urls.is_empty());
        let shared =
            secret.map(|secret| SharedSecret::new(turn.urls.clone(), secret, self.turn_lifetime));
        let fixed_turn = Some(turn).filter(|_| shared.is_none());
        let fixed = std::iter::once(stun)
            .chain(fixed_turn)
            .filter(|server| !server.urls.is_empty())
            .collect();
        IceRules { fixed, shared }
    }
}

/// Entries of a list of URLs without what separates them.
fn urls(list: &[String]) -> Vec<String> {
    list.iter().map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()).collect()
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| {
        "write an address with its port: 192.0.2.1:8080, 0.0.0.0:8080 or [::1]:8080".to_owned()
    })
}

fn port(text: &str) -> Result<u16, String> {
    text.trim().parse().map_err(|_| "write a port from 0 to 65535; 0 takes any free one".to_owned())
}

fn count<N: FromStr>(text: &str) -> Result<N, String> {
    text.trim().parse().map_err(|_| "write a whole number, such as 64".to_owned())
}

/// How long credentials of TURN may last: long enough that a new one arrives in time.
fn lifetime(text: &str) -> Result<Duration, String> {
    let seconds: u64 = text.parse().map_err(|_| "not a whole number of seconds".to_owned())?;
    if !(4..=604_800).contains(&seconds) {
        return Err("between 4 seconds and 7 days".to_owned());
    }
    Ok(Duration::from_secs(seconds))
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    let seconds: u64 = text.parse().map_err(|_| "not a whole number of seconds".to_owned())?;
    if seconds > 3600 {
        return Err("at most 3600 seconds".to_owned());
    }
    Ok(Duration::from_secs(seconds))
}

fn connection_lifetime(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0) => Ok(Duration::ZERO),
        Ok(seconds @ 20..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("0, or between 20 and 86400 seconds".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds)
        .map_err(|_| "between 0.1 and 3600 seconds".to_owned())?;
    if duration < Duration::from_millis(100) || duration > Duration::from_secs(3600) {
        return Err("between 0.1 and 3600 seconds".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stun_none_names_no_server_and_neither_does_relay_only() {
        let stun = vec!["stun:stun.example:3478".to_owned()];
        let named = Config { stun: stun.clone(), ..Config::default() };
        assert_eq!(named.room_rules().ice.fixed.len(), 1);
        let none = Config { stun: vec!["none".to_owned()], ..Config::default() };
        assert!(none.room_rules().ice.fixed.is_empty());
        let turn = vec!["turn:turn.example".to_owned()];
        let relay_only = Config { stun, turn, relay_only: true, ..Config::default() };
        assert!(relay_only.room_rules().ice.fixed.is_empty());
    }

    #[test]
    fn clients_of_unityp2p_are_served_unless_the_operator_wants_none_or_tokens_or_no_direct_links()
    {
        assert!(Config::default().serves_unityp2p());
        let file = Some(PathBuf::from("key"));
        for config in [
            Config { no_unityp2p: true, ..Config::default() },
            Config { relay_only: true, ..Config::default() },
            Config { auth_secret: file.clone(), ..Config::default() },
            Config { auth_jwks: file, ..Config::default() },
        ] {
            assert!(!config.serves_unityp2p());
        }
    }
}
