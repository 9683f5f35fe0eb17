//! How a packet travels, and where to.

use voicemesh_wire::ClientId;
use voicemesh_wire::limits::{RELIABLE_PACKET_BYTES, UNRELIABLE_PACKET_BYTES};

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
    /// A game's own bytes: what of them must arrive is sent again by the peers, so that the newest
    /// may be dropped when a receiver is slow.
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
pub enum ClientLookup {
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
