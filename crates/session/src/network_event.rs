//! What a network reports.

use std::time::Duration;

use bytes::Bytes;

use crate::roster::Roster;
use crate::transport::{DisconnectReason, LinkId};

/// What a network reports, once each, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkEvent<P> {
    /// The client side has its connection to the server. Until then no handshake is sent.
    Connected,
    /// The client side has lost it.
    Disconnected(DisconnectReason),
    /// Another connection to the same server has taken over; session and client id are the same,
    /// and what the server sent in between may be missing.
    Resumed,
    /// The machine's addresses or routes changed, or it slept: links cannot be relied on until they
    /// answer.
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
    /// The other end of a link has answered something of the network's own, so that the client need
    /// not ask; a network that asks at all does so before the link comes up as well. A network that
    /// asks nothing reports it never.
    LinkAnswered {
        /// Which link.
        link: LinkId<P>,
        /// From the question to the answer.
        round_trip: Duration,
        /// What the headers of a packet take on this link beyond those of UDP on IPv4, in bytes.
        further_header_bytes: u32,
    },
    /// A packet on a link.
    FromLink {
        /// Which link: this says who sent it.
        link: LinkId<P>,
        /// The packet.
        packet: Bytes,
    },
    /// This is known of the others from now on.
    RosterChanged(Box<Roster<P>>),
    /// The server answered a [`Network::ping_server`](crate::Network::ping_server) of this number.
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
    /// Which part of a peer it is for. What is known of the others
    /// ([`RosterChanged`](Self::RosterChanged)) counts among the client's.
    pub fn side(&self) -> Side {
        match self {
            Self::Hosting
            | Self::HostingFailed(_)
            | Self::FromClient { .. }
            | Self::ClientGone { .. } => Side::Server,
            Self::LinkUp(_)
            | Self::LinkDown(_)
            | Self::LinkAnswered { .. }
            | Self::FromLink { .. } => Side::Links,
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
