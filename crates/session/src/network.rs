//! The seam between the session and whatever carries its packets (the custom network of Dissonance's public networking documentation).

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_wire::limits::{RELIABLE_PACKET_BYTES, UNRELIABLE_PACKET_BYTES};
use voicemesh_wire::{ClientId, Permissions, SessionId};

/// How a packet must travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// All of it, in order; if that cannot be kept, the connection must end.
    Reliable,
    /// As soon as possible or not at all; in any order.
    Unreliable,
}

/// What a server's packet is, so that a queue knows what it may drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Must arrive, in order.
    Reliable,
    /// Late is worthless: the oldest may be dropped.
    Voice,
    /// A game's own bytes: what of them must arrive is sent again by the peers, so that the newest may be dropped when a
    /// receiver is slow.
    Data,
}

/// The largest packets that a network carries whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketLimits {
    /// Bytes in an unreliable packet.
    pub unreliable_bytes: usize,
    /// Bytes in a reliable packet.
    pub reliable_bytes: usize,
}

impl Default for PacketLimits {
    fn default() -> Self {
        Self { unreliable_bytes: UNRELIABLE_PACKET_BYTES, reliable_bytes: RELIABLE_PACKET_BYTES }
    }
}

/// One direct link to a peer. A link that replaces another has a higher generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId<P> {
    /// The peer at its other end: this, never an id inside a packet, is who speaks on it.
    pub peer: P,
    /// Which of the links there have been to this peer.
    pub generation: u32,
}

/// Where a packet should go directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination<P> {
    /// The client it is for; the relay's address should the link fail.
    pub client: ClientId,
    /// The link to it.
    pub link: LinkId<P>,
}

/// What a network knows of a peer's client id in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// This network has no roster: what a HandshakeP2P says is believed.
    NoRoster,
    /// The roster does not name that peer (yet).
    NotYet,
    /// The roster says so.
    Client(ClientId),
}

/// Why a client is no longer connected to its server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The caller asked for it.
    Requested,
    /// The connection is gone; the network may be trying again by itself.
    Lost,
    /// The server ended it and said why.
    Refused(String),
    /// A packet on the reliable path was lost: the session ends at once.
    ReliabilityBroken,
}

/// What a network reports, once each, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkEvent<P> {
    /// The client side has its connection to the server. Until then no handshake is sent.
    Connected,
    /// The client side has lost it.
    Disconnected(DisconnectReason),
    /// Another connection to the same server has taken over; session and client id are the same, and what the server sent
    /// in between may be missing.
    Resumed,
    /// The machine's addresses or routes changed, or it slept: links cannot be relied on until they answer.
    PathChanged,
    /// A packet from the server to this client.
    FromServer(Bytes),
    /// The server side serves.
    Hosting,
    /// The server side has stopped by itself.
    HostingFailed(String),
    /// A packet to this server.
    FromClient {
        /// The connection it came by.
        peer: P,
        /// The packet.
        packet: Bytes,
    },
    /// A connection to this server is gone.
    ClientGone {
        /// Which.
        peer: P,
    },
    /// A link is open and can carry packets.
    LinkUp(LinkId<P>),
    /// A link is gone.
    LinkDown(LinkId<P>),
    /// A packet on a link.
    FromLink {
        /// Which link: this says who sent it.
        link: LinkId<P>,
        /// The packet.
        packet: Bytes,
    },
    /// [`Network::client_of`], [`Network::permissions`], [`Network::held_in`] and the same for oneself may answer differently now.
    RosterChanged,
    /// The server answered a [`Network::ping_server`] of this number.
    ServerPong(u16),
    /// A peer's program started anew: its frames count from somewhere else.
    PeerRestarted(P),
}

/// A call could not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// This network cannot do that, ever.
    #[error("this network cannot {0}")]
    Unsupported(&'static str),
    /// There is no connection to send on. For a reliable packet that ends the session.
    #[error("not connected")]
    NotConnected,
    /// A reliable packet cannot be kept. Ends the session.
    #[error("a reliable packet was lost")]
    ReliabilityBroken,
    /// Anything else, in words for a person.
    #[error("{0}")]
    Failed(String),
}

/// Whatever carries packets between peers and the session server.
///
/// `connect` and `host` only begin; an event reports success, however long it takes. Nothing blocks. All calls come
/// from one thread, `poll` until it gives `None` once per update.
pub trait Network {
    /// Any small value by which this network knows a peer.
    type Peer: Copy + Ord + Debug;
    /// What it takes to join as a client.
    type ClientParameters;
    /// What it takes to serve.
    type ServerParameters;

    /// Called once, before anything else.
    fn initialise(&mut self) {}

    /// The largest packets carried.
    fn limits(&self) -> PacketLimits {
        PacketLimits::default()
    }

    /// Begins to connect to a server.
    fn connect(&mut self, now: Duration, parameters: Self::ClientParameters) -> Result<(), NetworkError>;

    /// Ends the client side, links included. Harmless when there is none.
    fn disconnect(&mut self, now: Duration);

    /// Begins to serve.
    fn host(&mut self, now: Duration, parameters: Self::ServerParameters) -> Result<(), NetworkError>;

    /// Ends the server side. Harmless when there is none.
    fn stop_hosting(&mut self, now: Duration);

    /// The next thing that happened.
    fn poll(&mut self, now: Duration) -> Option<NetworkEvent<Self::Peer>>;

    /// Client side: a packet to the server.
    fn send_to_server(&mut self, now: Duration, reliability: Reliability, packet: Bytes) -> Result<(), NetworkError>;

    /// Server side: a packet to one connection.
    fn send_to_client(
        &mut self,
        now: Duration,
        to: Self::Peer,
        delivery: Delivery,
        packet: Bytes,
    ) -> Result<(), NetworkError>;

    /// Sends to as many destinations as can be reached directly and removes those from the list; the caller relays to
    /// the rest.
    fn send_to_links(
        &mut self,
        _now: Duration,
        _destinations: &mut Vec<Destination<Self::Peer>>,
        _reliability: Reliability,
        _packet: &Bytes,
    ) {
    }

    /// Whether the server answers. While it does not, nothing is known to arrive through the relay.
    fn reaches_server(&self) -> bool {
        true
    }

    /// Whether the server has answered something that was sent to it at `since` or later.
    fn server_answered_since(&self, _since: Duration) -> bool {
        true
    }

    /// Nothing comes back on this link, and its traffic moves to the relay: a good moment to ask whether the server answers.
    fn link_stalled(&mut self, _now: Duration, _link: LinkId<Self::Peer>) {}

    /// Which client a peer is in a session.
    fn client_of(&self, _session: SessionId, _peer: Self::Peer) -> Naming {
        Naming::NoRoster
    }

    /// Which peer a client of a session is, where there is a roster.
    fn peer_of(&self, _session: SessionId, _client: ClientId) -> Option<Self::Peer> {
        None
    }

    /// Whether a peer acknowledges voice on links (its capabilities).
    fn acknowledges_voice(&self, _peer: Self::Peer) -> bool {
        true
    }

    /// Whether a peer reads frames that carry earlier frames again (its capabilities). `None` is a member that this
    /// network knows only as a client.
    fn reads_copies(&self, _peer: Option<Self::Peer>) -> bool {
        true
    }

    /// Whether a peer takes reception reports and answers clock probes (its capabilities); `None` as above.
    fn takes_reports(&self, _peer: Option<Self::Peer>) -> bool {
        true
    }

    /// Whether the server takes texts to groups by name (GroupText).
    fn server_takes_group_text(&self) -> bool {
        false
    }

    /// Whether a peer takes a game's own bytes (its capabilities).
    fn takes_data(&self, _peer: Self::Peer) -> bool {
        true
    }

    /// Whether a peer says in acknowledgements when packets arrived, and answers trains of probes (its capabilities).
    fn takes_path_feedback(&self, _peer: Self::Peer) -> bool {
        true
    }

    /// Whether a peer reads packets that carry several new frames (its capabilities); `None` is a member that this
    /// network knows only as a client.
    fn reads_bundles(&self, _peer: Option<Self::Peer>) -> bool {
        true
    }

    /// What a member may do, as the server has told; `None` is a member that this network knows only as a client.
    fn permissions(&self, _peer: Option<Self::Peer>) -> Permissions {
        Permissions::default()
    }

    /// What this client itself may do.
    fn own_permissions(&self) -> Permissions {
        Permissions::default()
    }

    /// The talk groups in which a moderator holds a member, as the server has told; none if it is held nowhere.
    fn held_in(&self, _peer: Option<Self::Peer>) -> &[String] {
        &[]
    }

    /// The same for this client itself.
    fn own_held_in(&self) -> &[String] {
        &[]
    }

    /// Client side: sends a ping to the server behind all voice that was sent to it before, so that its answer tells how
    /// long that took. A network that cannot do so gives no answer.
    fn ping_server(&mut self, _now: Duration, _number: u16) {}

    /// What this side put on the wire so far for other things than packets, in bytes: setting links up, above all. The estimate
    /// of the uplink takes it into account. Zero where that is not counted.
    fn background_bytes(&self) -> u64 {
        0
    }

    /// The session uses another link to this peer now; this one may be closed.
    fn release_link(&mut self, _now: Duration, _link: LinkId<Self::Peer>) {}

    /// Nothing has come through this link for a while though something should have: replace it.
    fn replace_link(&mut self, _now: Duration, _link: LinkId<Self::Peer>) {}
}
