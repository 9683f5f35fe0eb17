//! Which room to host and to join.

use std::fmt;
use std::time::Duration;

use matchbox_socket::RtcIceServerConfig;

/// The room to host. No more than one peer of a room does.
#[derive(Clone)]
pub struct ServerParameters {
    /// The signaling server and the room, for example `wss://match.example.com/my-game-17`.
    pub room: String,
    /// STUN or TURN; matchbox_socket's default are two public STUN servers.
    pub ice: RtcIceServerConfig,
    /// Clients at one time, at most 1,024.
    pub clients: usize,
    /// For how long a peer that wants to host looks whether others are in the room: a signaling
    /// server does not say so, but those who are there begin to connect. Once these have, and none
    /// of them hosts, it hosts.
    pub look_around: Duration,
}

impl ServerParameters {
    /// 64 clients, and a second to meet others.
    pub fn new(room: impl Into<String>) -> Self {
        Self {
            room: room.into(),
            ice: RtcIceServerConfig::default(),
            clients: 64,
            look_around: Duration::from_secs(1),
        }
    }
}

/// The room to join.
#[derive(Clone)]
pub struct ClientParameters {
    /// The signaling server and the room, as its host has it.
    pub room: String,
    /// STUN or TURN; matchbox_socket's default are two public STUN servers.
    pub ice: RtcIceServerConfig,
    /// For how long a host is waited for.
    pub timeout: Duration,
    /// Whether links to the other clients open by themselves. Without, all goes through the host
    /// but what is sent on links that [`open_link`](crate::MatchboxNetwork::open_link) has opened.
    pub opens_links: bool,
}

impl ClientParameters {
    /// Waits 20 seconds for a host, and opens links.
    pub fn new(room: impl Into<String>) -> Self {
        Self {
            room: room.into(),
            ice: RtcIceServerConfig::default(),
            timeout: Duration::from_secs(20),
            opens_links: true,
        }
    }
}

impl fmt::Debug for ServerParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { room, ice, clients, look_around } = self;
        let mut shown = f.debug_struct("ServerParameters");
        shown.field("room", room).field("ice", &ice.urls).field("clients", clients);
        shown.field("look_around", look_around).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { room, ice, timeout, opens_links } = self;
        let mut shown = f.debug_struct("ClientParameters");
        shown.field("room", room).field("ice", &ice.urls).field("timeout", timeout);
        shown.field("opens_links", opens_links).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_log_has_the_password_of_a_turn_server() {
        let ice = RtcIceServerConfig {
            urls: vec!["turn:turn.example.com".to_owned()],
            username: Some("ada".to_owned()),
            credential: Some("swordfish".to_owned()),
        };
        let server = ServerParameters { ice: ice.clone(), ..ServerParameters::new("ws://a/b") };
        let client = ClientParameters { ice, ..ClientParameters::new("ws://a/b") };
        for shown in [format!("{server:?}"), format!("{client:?}")] {
            assert!(shown.contains("turn.example.com") && !shown.contains("swordfish"), "{shown}");
        }
    }
}
