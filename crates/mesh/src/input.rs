//! Inputs of a mesh: events of its sockets and links, and changes of the machine's network.

use bytes::Bytes;
use voicemesh_session::network::LinkId;
use voicemesh_wire::PeerId;

use crate::connect_failure::ConnectFailure;
use crate::link::LinkEvent;
use crate::server_connection::ServerConnection;

/// A link to a peer, counted by attempts.
pub type MeshLink = LinkId<PeerId>;

/// What a carrier saw.
#[derive(Clone, Debug, PartialEq)]
pub enum CarrierEvent {
    /// The WebSocket of that number did something.
    Socket {
        /// The number it was opened with.
        generation: u32,
        /// What.
        event: SocketEvent,
    },
    /// A link did something.
    Link {
        /// Which.
        link: MeshLink,
        /// What.
        event: LinkEvent,
    },
    /// The machine's network did something.
    Path(PathChange),
}

/// What happens to the network under all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// No address of this machine leads to the server any more.
    Lost,
    /// Another address or another way leads to the server than before, or one does again.
    Changed,
    /// The machine slept: what is connected may be dead, and what arrives first may be old.
    Woke,
}

/// What a WebSocket does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketEvent {
    /// The server is connected to, in this way; [`SocketEvent::Open`] follows.
    Connected(ServerConnection),
    /// It is open.
    Open,
    /// Bytes have come since the last one of these, of a message that may not be whole.
    Receiving,
    /// A text frame came.
    Text(String),
    /// A binary frame came.
    Packet(Bytes),
    /// The server answered a ping of this number.
    Pong(u16),
    /// It could not be opened.
    Failed(ConnectFailure),
    /// It is gone, or could not be opened; in words for a person.
    Closed(String),
    /// The server closed it because another connection of this peer and run took over (close code
    /// 4001).
    TakenOver,
}
