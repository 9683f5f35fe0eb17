//! What an operator can set, by flag or environment.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use voicemesh_wire::signaling::{IceServer, ServerLimits};

use crate::budget::Budgets;
use crate::room::RoomRules;

/// Asked for a peer's own public address when nobody says otherwise.
const DEFAULT_STUN: [&str; 2] = ["stun:stun.l.google.com:19302", "stun:stun.cloudflare.com:3478"];
const DEFAULT_PORT: u16 = 8080;

/// The settings of a signaling server.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Address to listen on, with port (default: 0.0.0.0 and --port).
    #[arg(long, env = "VOICEMESH_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// Port to listen on when --listen does not say; hosts set it as PORT.
    #[arg(long, env = "PORT", default_value_t = DEFAULT_PORT)]
    pub port: u16,

    /// STUN servers that peers are told to ask for their public address; "none" contacts nobody.
    #[arg(
        long, env = "VOICEMESH_STUN", value_name = "URL", value_delimiter = ',',
        default_values_t = DEFAULT_STUN.map(str::to_owned)
    )]
    pub stun: Vec<String>,

    /// TURN servers that peers are told to use.
    #[arg(long, env = "VOICEMESH_TURN", value_name = "URL", value_delimiter = ',')]
    pub turn: Vec<String>,

    /// User name for the TURN servers.
    #[arg(long, env = "VOICEMESH_TURN_USERNAME", value_name = "NAME")]
    pub turn_username: Option<String>,

    /// Password for the TURN servers; every peer gets to see it.
    #[arg(long, env = "VOICEMESH_TURN_CREDENTIAL", value_name = "PASSWORD", hide_env_values = true)]
    pub turn_credential: Option<String>,

    /// Nobody may open direct links, so that no peer learns another's address.
    #[arg(long, env = "VOICEMESH_RELAY_ONLY")]
    pub relay_only: bool,

    /// Peers that fit into one room.
    #[arg(long, env = "VOICEMESH_MAX_PEERS_PER_ROOM", value_name = "N", default_value_t = 64)]
    pub max_peers_per_room: u32,

    /// Rooms at a time.
    #[arg(long, env = "VOICEMESH_MAX_ROOMS", value_name = "N", default_value_t = 4096)]
    pub max_rooms: usize,

    /// Connections at a time.
    #[arg(long, env = "VOICEMESH_MAX_CONNECTIONS", value_name = "N", default_value_t = 4096)]
    pub max_connections: usize,

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
    #[arg(long = "allow-origin", env = "VOICEMESH_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,

    /// Proxies whose X-Forwarded-For is believed: addresses, networks (10.0.0.0/8), or "private" for every address that
    /// is not public.
    #[arg(long = "trusted-proxy", env = "VOICEMESH_TRUSTED_PROXY", value_name = "NETWORK", value_delimiter = ',')]
    pub trusted_proxies: Vec<TrustedProxy>,

    /// Folder to serve the web page from, read anew for every request; without it, the page is the one in this program.
    #[arg(long, env = "VOICEMESH_WEB_DIR", value_name = "FOLDER")]
    pub web_dir: Option<PathBuf>,

    /// Serve no web page, only what programs need.
    #[arg(long, env = "VOICEMESH_NO_WEB")]
    pub no_web: bool,

    /// How much one connection or address may ask of the server.
    #[arg(skip)]
    pub budgets: Budgets,
}

impl Default for Config {
    /// What flags and environment leave when they say nothing, but contacting nobody: no STUN servers.
    fn default() -> Self {
        Self {
            listen: None,
            port: DEFAULT_PORT,
            stun: Vec::new(),
            turn: Vec::new(),
            turn_username: None,
            turn_credential: None,
            relay_only: false,
            max_peers_per_room: 64,
            max_rooms: 4096,
            max_connections: 4096,
            ping_interval: Duration::from_secs(15),
            roster_interval: Duration::from_secs(5),
            join_timeout: Duration::from_secs(10),
            tls_cert: None,
            tls_key: None,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            web_dir: None,
            no_web: false,
            budgets: Budgets::default(),
        }
    }
}

impl Config {
    /// The address to bind.
    pub fn address(&self) -> SocketAddr {
        self.listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], self.port)))
    }

    /// The STUN servers that peers are told: none if one of them is "none".
    pub fn stun_servers(&self) -> &[String] {
        let nobody = self.stun.iter().any(|url| url.eq_ignore_ascii_case("none"));
        if nobody || self.relay_only { &[] } else { &self.stun }
    }

    /// What holds for every room.
    pub fn room_rules(&self) -> RoomRules {
        let limits = ServerLimits {
            peers_per_room: self.max_peers_per_room,
            ping_interval_ms: millis(self.ping_interval),
            roster_interval_ms: millis(self.roster_interval),
            ..ServerLimits::default()
        };
        RoomRules { limits, relay_only: self.relay_only, ice_servers: self.ice_servers(), ..RoomRules::default() }
    }

    fn ice_servers(&self) -> Vec<IceServer> {
        let stun = self.stun_servers().to_vec();
        let stun = IceServer { urls: stun, username: None, credential: None };
        let turn = IceServer {
            urls: if self.relay_only { Vec::new() } else { self.turn.clone() },
            username: self.turn_username.clone(),
            credential: self.turn_credential.clone(),
        };
        [stun, turn].into_iter().filter(|server| !server.urls.is_empty()).collect()
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if duration < Duration::from_millis(100) || duration > Duration::from_secs(3600) {
        return Err("between 0.1 and 3600 seconds".to_owned());
    }
    Ok(duration)
}

/// A proxy, or a network of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustedProxy {
    /// Every address that the public internet does not route.
    Private,
    /// Addresses that share their first bits with this one.
    Network {
        /// Any address of the network.
        address: IpAddr,
        /// How many bits are shared.
        bits: u8,
    },
}

impl TrustedProxy {
    /// Whether `address` is such a proxy.
    pub fn covers(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::Private, IpAddr::V4(v4)) => {
                // RFC 6598: shared address space, where some hosts put their own proxies.
                let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xC0 == 64;
                v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared
            }
            (Self::Private, IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
            (Self::Network { address: IpAddr::V4(network), bits }, IpAddr::V4(v4)) => {
                let shift = 32 - u32::from(*bits);
                (u64::from(network.to_bits()) >> shift) == (u64::from(v4.to_bits()) >> shift)
            }
            (Self::Network { address: IpAddr::V6(network), bits }, IpAddr::V6(v6)) => {
                let differing = network.to_bits() ^ v6.to_bits();
                differing.leading_zeros() >= u32::from(*bits)
            }
            (Self::Network { .. }, _) => false,
        }
    }
}

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "private" {
            return Ok(Self::Private);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is not an address"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or("a network has at most 32 or 128 bits")?
            }
        };
        Ok(Self::Network { address, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trusted_network_covers_its_own_addresses_only() {
        let covers = |network: &str, address: &str| {
            let network: TrustedProxy = network.parse().expect("a network");
            network.covers(address.parse().expect("an address"))
        };
        assert!(covers("10.1.0.0/16", "10.1.200.3") && !covers("10.1.0.0/16", "10.2.0.1"));
        assert!(covers("192.0.2.7", "192.0.2.7") && !covers("192.0.2.7", "192.0.2.8"));
        assert!(covers("0.0.0.0/0", "8.8.8.8") && !covers("0.0.0.0/0", "2001:db8::1"));
        assert!(covers("2001:db8::/32", "2001:db8:9::1") && !covers("2001:db8::/32", "2001:db9::1"));
        assert!(covers("10.0.0.0/8", "::ffff:10.0.0.1"), "an IPv4 address in IPv6 clothes");
        assert!(covers("private", "172.16.0.1") && covers("private", "fd00::1") && !covers("private", "8.8.8.8"));
        assert!("10.0.0.0/33".parse::<TrustedProxy>().is_err() && "proxy".parse::<TrustedProxy>().is_err());
    }

    #[test]
    fn stun_none_names_nobody_and_neither_does_relay_only() {
        let stun = vec!["stun:stun.example:3478".to_owned()];
        let named = Config { stun: stun.clone(), ..Config::default() };
        assert_eq!(named.room_rules().ice_servers.len(), 1);
        let none = Config { stun: vec!["none".to_owned()], ..Config::default() };
        assert!(none.room_rules().ice_servers.is_empty());
        let turn = vec!["turn:turn.example".to_owned()];
        let relay_only = Config { stun, turn, relay_only: true, ..Config::default() };
        assert!(relay_only.room_rules().ice_servers.is_empty());
    }
}
