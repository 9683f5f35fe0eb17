//! The seam between the session and whatever carries its packets (the custom network of Dissonance's public networking documentation).

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;

use crate::client::Client;
use crate::output::{LinkPacket, Output};
use crate::roster::{Roster, ServerHealth};

pub use crate::transport::{ClientLookup, Delivery, Destination, DisconnectReason, LinkId, PacketLimits, Reliability};

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
    /// This is known of the others from now on.
    RosterChanged(Box<Roster<P>>),
    /// The server answered a [`Network::ping_server`] of this number.
    ServerPong(u16),
    /// A peer's program started anew: its frames count from somewhere else.
    PeerRestarted(P),
}

/// Which part of a peer an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client, and what it knows of its server.
    Client,
    /// The server.
    Server,
    /// The client's links, which do not depend on its server.
    Links,
}

impl<P> NetworkEvent<P> {
    /// Which part of a peer it is for. What is known of the others ([`RosterChanged`](Self::RosterChanged)) counts among the
    /// client's.
    pub fn side(&self) -> Side {
        match self {
            Self::Hosting | Self::HostingFailed(_) | Self::FromClient { .. } | Self::ClientGone { .. } => Side::Server,
            Self::LinkUp(_) | Self::LinkDown(_) | Self::FromLink { .. } => Side::Links,
            Self::Connected
            | Self::Disconnected(_)
            | Self::Resumed
            | Self::PathChanged
            | Self::FromServer(_)
            | Self::RosterChanged(_)
            | Self::ServerPong(_)
            | Self::PeerRestarted(_) => Side::Client,
        }
    }
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
///
/// A peer that is server and client at once (a host) needs nothing for it: what its server and its client send each other stays in
/// the process, and the network is asked to `host`, never to `connect`.
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

    /// What was sent since the last flush should leave now: one comes after all that a call wants sent. For networks that collect
    /// packets; what they collect must leave by the next round of `poll` at the latest.
    fn flush(&mut self, _now: Duration) {}

    /// Whether the server passes on what it is sent.
    fn server_health(&self) -> ServerHealth {
        ServerHealth::UNKNOWN
    }

    /// Nothing comes back on this link, and its traffic moves to the relay: a good moment to ask whether the server answers.
    fn link_stalled(&mut self, _now: Duration, _link: LinkId<Self::Peer>) {}

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

/// What a client must be handed back of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal<P> {
    /// Links did not take the packet: [`Client::refused`].
    Links(LinkPacket<P>),
    /// A reliable packet to the server cannot be kept, and the network is disconnected:
    /// [`NetworkEvent::Disconnected`] with [`DisconnectReason::ReliabilityBroken`].
    Server,
}

/// Does one thing that a client wants of its network. Gives what that refuses.
pub fn perform<N: Network>(now: Duration, output: Output<N::Peer>, network: &mut N) -> Option<Refusal<N::Peer>> {
    match output {
        Output::ToServer { reliability, packet } => {
            let sent = network.send_to_server(now, reliability, packet);
            // Late voice is worthless: what the network cannot take is lost. Without a reliable packet the session ends.
            if sent.is_err() && reliability == Reliability::Reliable {
                network.disconnect(now);
                return Some(Refusal::Server);
            }
        }
        Output::ToLinks(mut packet) => {
            network.send_to_links(now, &mut packet.to, packet.reliability, &packet.packet);
            if !packet.to.is_empty() {
                return Some(Refusal::Links(packet));
            }
        }
        Output::PingServer(number) => network.ping_server(now, number),
        Output::ReleaseLink(link) => network.release_link(now, link),
        Output::ReplaceLink(link) => network.replace_link(now, link),
        Output::LinkStalled(link) => network.link_stalled(now, link),
    }
    None
}

/// Does all that a client wants of its network, and hands it back what that refuses. Call it after every call to the client.
pub fn carry_out<N: Network>(now: Duration, client: &mut Client<N::Peer>, network: &mut N) {
    while let Some(output) = client.poll_output() {
        match perform(now, output, network) {
            None => {}
            Some(Refusal::Links(packet)) => client.refused(now, packet),
            Some(Refusal::Server) => {
                client.network_event(now, NetworkEvent::Disconnected(DisconnectReason::ReliabilityBroken));
            }
        }
    }
}
