//! What a mesh tells its owner.

use std::time::Duration;

use voicemesh_sealing::MemberEncryption;
use voicemesh_wire::signaling::{ErrorCode, MemberStatus, Metadata, OwnerRightState, Ticket};
use voicemesh_wire::{PeerId, Permissions};

use crate::connect_failure::ConnectFailure;
use crate::member::Member;
use crate::server_connection::ServerConnection;
use crate::transaction::{TransactionError, TransactionId};

/// What the session does not know of: the room, its people and its server.
#[derive(Clone, Debug, PartialEq)]
pub enum MeshEvent {
    /// The server let this peer in.
    Joined {
        /// The own id.
        you: PeerId,
        /// The own name in the room. It differs from the one that was asked for where an access
        /// token or a ticket names another.
        name: String,
        /// The session.
        session: u32,
        /// How many others are there.
        others: usize,
        /// The server allows no links.
        relay_only: bool,
    },
    /// A member has come.
    PeerJoined(Member),
    /// A member is gone from server and links.
    PeerLeft {
        /// Who.
        member: Member,
        /// Why.
        reason: PeerLeftReason,
    },
    /// A member publishes other metadata.
    MetadataChanged {
        /// Who.
        peer: PeerId,
        /// All of it.
        metadata: Metadata,
    },
    /// Whether what passes between this peer and a member is encrypted, from now on. Only where one
    /// of them encrypts.
    EncryptionChanged {
        /// Who.
        peer: PeerId,
        /// How it stands.
        encryption: MemberEncryption,
    },
    /// A member, or this peer itself, may do this from now on.
    PermissionsChanged {
        /// Which.
        peer: PeerId,
        /// All that it may.
        permissions: Permissions,
    },
    /// A moderator holds a member, or this peer itself, in these talk groups from now on; without
    /// groups it is held no longer.
    HeldIn {
        /// Which.
        peer: PeerId,
        /// The groups.
        groups: Vec<String>,
    },
    /// A member takes part like this from now on, as its own program says.
    StatusChanged {
        /// Which.
        peer: PeerId,
        /// All of it.
        status: MemberStatus,
    },
    /// The server cannot be reached for now.
    ServerAway {
        /// What was seen.
        why: String,
        /// The same for programs, if it could not be connected to or does not let this peer in for
        /// now.
        failure: Option<ConnectFailure>,
        /// How long nothing had come on the connection that is lost while this machine was awake.
        /// Zero if its end was seen, or if there was none.
        silent_for: Duration,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The server is connected to.
    ServerConnected(ServerConnection),
    /// The server asks for another access token; it is joined again when there is one.
    TokenNeeded {
        /// Why.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// The server does not let this peer in; nothing is tried again.
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
        /// When trying again may work.
        retry_after: Option<Duration>,
    },
    /// Another peer is the room's owner now; also told after every [`MeshEvent::Joined`].
    OwnerChanged {
        /// Who has been there longest.
        owner: PeerId,
    },
    /// A change of metadata is made, or has failed.
    TransactionDone {
        /// Which.
        transaction: TransactionId,
        /// How it went.
        result: Result<(), TransactionError>,
    },
    /// The room publishes something else.
    RoomMetadataChanged {
        /// All of it.
        metadata: Metadata,
    },
    /// The way to this peer has changed.
    ReachabilityChanged {
        /// The own token, as it is published.
        token: String,
    },
    /// A peer wants a link that this peer's program has not asked for.
    ConnectionRequested {
        /// Who.
        peer: PeerId,
    },
    /// A moderator asks this peer to listen and speak to these groups only.
    Moved {
        /// The groups.
        groups: Vec<String>,
    },
    /// Only members with tickets are let in, or newcomers again.
    RoomLocked {
        /// The former.
        locked: bool,
    },
    /// The room's password, of which nothing else is known.
    RoomPassword {
        /// What became of it.
        change: PasswordChange,
    },
    /// Whether a member has the owner's right to moderate; after every [`MeshEvent::Joined`] where
    /// it is not the usual.
    OwnerRight {
        /// What the server said.
        state: OwnerRightState,
    },
    /// The server gave this peer another ticket for its next join.
    TicketRenewed {
        /// In place of any before.
        ticket: Ticket,
    },
    /// Another connection joined with this identity; nothing is tried again.
    Replaced,
    /// The server refused something.
    Warned {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
        /// The written message that it refused, where that is what it refused and it says which.
        text: Option<String>,
    },
}

/// What a member learns of its room's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PasswordChange {
    /// The room that was joined has one.
    Present,
    /// The room has got one.
    Set,
    /// The room has another one.
    Changed,
    /// The room has none any more.
    Removed,
}

impl PasswordChange {
    /// `present`, `set`, `changed` or `removed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Set => "set",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// Why a peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerLeftReason {
    /// It left.
    Left,
    /// The server put it out.
    Kicked,
    /// Neither the server nor a link reaches it.
    Lost,
    /// Its program was started again, and is back as a new arrival.
    Restarted,
}
