//! What a client reports, and what it counts.

use std::collections::BTreeMap;

use bytes::Bytes;
use voicemesh_wire::packet::{
    BandwidthReport, ClockEcho, Kind, Priority, ReceptionReport, Recipient,
};
use voicemesh_wire::{ClientId, DecodeError, SessionId};

use crate::route::Route;
use crate::transport::DisconnectReason;

/// Another participant: the peer if the network has a roster, which lives across sessions, else the
/// client of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Participant<P> {
    /// A peer.
    Peer(P),
    /// A client of a session.
    Client(SessionId, ClientId),
}

impl<P> Participant<P> {
    /// The peer, where there is a roster.
    pub fn peer(self) -> Option<P> {
        match self {
            Self::Peer(peer) => Some(peer),
            Self::Client(..) => None,
        }
    }
}

/// A frame to be heard.
#[derive(Clone, Debug, PartialEq)]
pub struct Voice<P> {
    /// Who speaks.
    pub from: Participant<P>,
    /// The extended sequence number: one more for each frame, over wraps, sessions and routes.
    pub sequence: u64,
    /// Grows with each talkspurt.
    pub talkspurt: u64,
    /// Whether the speaker closes all that reaches this listener.
    pub last_of_talkspurt: bool,
    /// The loudest of the targets by which it reaches this listener, 0.0 to 2.0.
    pub volume: f32,
    /// The highest of them.
    pub priority: Priority,
    /// Whether one of them is positional.
    pub positional: bool,
    /// The way it came.
    pub route: Route,
    /// 0 for a frame as it was sent first; else it came again, in a packet whose own frame is this
    /// many later.
    pub behind: u8,
    /// After this frame the speaker pauses; what would come next is not lost.
    pub pause_follows: bool,
    /// One encoded frame; empty when the speaker only closes.
    pub frame: Bytes,
}

/// Why no one gets a text. Where it is for several, the last of these that holds for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum UnreadReason {
    /// No one else is in the room.
    Alone,
    /// No one listens to the group.
    NoListeners,
    /// The others are not in the session yet, or not again.
    OthersAway,
    /// No one of those who would get it can read it.
    Unreadable,
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ClientEvent<P> {
    /// This client is in a session. Comes again, with other numbers, after every rejoin.
    Joined {
        /// Which.
        session: SessionId,
        /// The own id.
        you: ClientId,
    },
    /// The server is in another session; this client joins that one by itself.
    Rejoining {
        /// The server's session, where it said so.
        session: Option<SessionId>,
    },
    /// The connection to the server is gone. Links go on.
    SessionEnded(DisconnectReason),
    /// A client is in the session that was not.
    MemberJoined {
        /// Who.
        who: Participant<P>,
        /// Its id.
        client: ClientId,
        /// Its display name.
        name: String,
    },
    /// A client is no longer in the session.
    MemberLeft {
        /// Who.
        who: Participant<P>,
        /// Its former id.
        client: ClientId,
        /// A link to it stands, and it goes on being heard.
        kept: bool,
    },
    /// A client's groups are others now; the table has them.
    GroupsChanged {
        /// Whose.
        client: ClientId,
    },
    /// The server refused a group that this client wanted to listen to: another group's name has
    /// the same id, or it listens to too many.
    GroupRefused {
        /// Which.
        group: String,
    },
    /// A text arrived.
    Text {
        /// Who.
        from: Participant<P>,
        /// Its id.
        client: ClientId,
        /// To whom.
        recipient: Recipient,
        /// The group's name, if it is for one.
        group: Option<String>,
        /// What.
        text: String,
    },
    /// A text of this client was not sent, or had to wait and is not sent any more: no one gets it.
    TextUnread {
        /// What.
        text: String,
        /// Why.
        why: UnreadReason,
    },
    /// A speech frame arrived.
    Voice(Voice<P>),
    /// A listener tells how well it receives this client's speech.
    Report {
        /// Who.
        from: Participant<P>,
        /// What.
        report: ReceptionReport,
    },
    /// A peer asks for this client's clock; [`ClockEcho`] is the answer.
    ClockAsked {
        /// Who.
        from: Participant<P>,
        /// By the asker's clock.
        asked_us: u64,
    },
    /// The answer to a question after a clock.
    ClockTold {
        /// Whose.
        from: Participant<P>,
        /// The answer.
        echo: ClockEcho,
    },
    /// What arrived of a train of probes that
    /// [`Client::probe_bandwidth`](super::Client::probe_bandwidth) sent.
    Bandwidth {
        /// From whom.
        from: Participant<P>,
        /// The answer.
        report: BandwidthReport,
    },
    /// Another way to a peer is in use.
    RouteChanged {
        /// Which peer.
        who: Participant<P>,
        /// The new route.
        route: Route,
    },
    /// A packet of our types that the session itself does not use.
    Extension {
        /// From whom.
        from: Participant<P>,
        /// Its type.
        kind: Kind,
        /// The whole packet.
        packet: Bytes,
    },
}

/// Why something received had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dropped {
    /// It is not a packet.
    Malformed(DecodeError),
    /// It belongs to another session.
    WrongSession,
    /// Its type does not belong on the way that it came.
    Misplaced(Kind),
    /// It came outside of a session, or at the wrong moment.
    Unexpected,
    /// Its sender is not known, or is another than the link's peer.
    WrongSender,
    /// A HandshakeP2P names another client than the roster does.
    WrongHandshake,
    /// It is addressed to others.
    NotAddressed,
    /// Its sender lacks the permission to send it.
    NotPermitted,
    /// The frame came before.
    Duplicate,
    /// The frame belongs to a talkspurt that is over.
    OldTalkspurt,
    /// The frame is too old to be told from a double.
    TooOld,
    /// Too many events were waiting to be polled.
    EventOverflow,
}

/// How often each reason occurred.
pub type DropCounts = BTreeMap<Dropped, u64>;

/// What a received packet was, for an integration that keeps its own notes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// It was a HandshakeP2P, in which the sender gives itself this id. Whether that was believed
    /// is the pair's matter.
    pub handshake_p2p: Option<ClientId>,
}
