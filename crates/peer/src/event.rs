//! The events that a program receives.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::Reliability;
use voicemesh_wire::signaling::{MemberStatus, Metadata, OwnerRightState};
use voicemesh_wire::{PeerId, Permissions};

use voicemesh_mesh::{
    ConnectFailure, MemberEncryption, PasswordChange, PeerLeftReason, ServerConnection,
    TransactionError, TransactionId,
};

pub use voicemesh_session::route::Route;
pub use voicemesh_wire::signaling::ErrorCode;

/// What happened, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedEvent {
    /// Since the call that joined.
    pub at: Duration,
    /// What.
    pub event: Event,
}

/// What happened. Each is emitted once. [`EventKind`] names them for other languages.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The room, its members and the server.
    Room(RoomEvent),
    /// Speech, talk groups and recording.
    Voice(VoiceEvent),
    /// Messages and data channels.
    Data(DataEvent),
    /// Microphone and speaker.
    Device(DeviceEvent),
}

/// The room, its members and the server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The server has let this peer into the room. Comes again after every rejoin, with the same
    /// id.
    Joined {
        /// The own id.
        you: PeerId,
        /// The own name as the others see it. An access token or a ticket may name another than the
        /// one that was asked for.
        name: String,
        /// The room.
        room: String,
        /// The session's number.
        session: u32,
        /// How many others are there.
        others: usize,
        /// The server carries everything itself; no peer opens links.
        relay_only: bool,
    },
    /// The session is complete: speech flows from here on.
    Connected,
    /// A peer is in the room.
    PeerJoined {
        /// Who.
        peer: PeerId,
        /// The name to show.
        name: String,
        /// What it publishes.
        metadata: Metadata,
    },
    /// A peer is no longer in the room, and not reachable in any way.
    PeerLeft {
        /// Who.
        peer: PeerId,
        /// The name that was shown.
        name: String,
        /// Why.
        reason: PeerLeftReason,
    },
    /// What a peer publishes has changed.
    MetadataChanged {
        /// Who.
        peer: PeerId,
        /// All of it.
        metadata: Metadata,
    },
    /// A member, or this peer itself, may do this from now on. Told at first only where it is not
    /// the default: everything but moderate.
    PermissionsChanged {
        /// Which.
        peer: PeerId,
        /// All that it may.
        permissions: Permissions,
    },
    /// A moderator holds a member, or this peer itself, in these talk groups from now on: it
    /// listens to no other, and only those who listen to one of them hear it. Without groups it is
    /// held no longer. Told at first only of those who are held.
    Held {
        /// Which.
        peer: PeerId,
        /// The groups.
        groups: Vec<String>,
    },
    /// A member takes part like this from now on, as its own program says: muted, deafened, without
    /// a microphone, recording. Told at first only where any of it is so. It is in the snapshot, in
    /// [`PeerState::status`](crate::PeerState::status), as well.
    StatusChanged {
        /// Which.
        peer: PeerId,
        /// All of it.
        status: MemberStatus,
    },
    /// The server asks for another access token. Told only to programs that said
    /// [`JoinOptions::renews_token`]; the answer is [`Lobby::set_token`], at any time later. Links
    /// go on meanwhile.
    ///
    /// [`JoinOptions::renews_token`]: crate::JoinOptions::renews_token
    /// [`Lobby::set_token`]: crate::Lobby::set_token
    TokenNeeded {
        /// `token-required`, `token-invalid` or `token-expired`.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// Another way to a peer is in use.
    RouteChanged {
        /// Which peer.
        peer: PeerId,
        /// The new route.
        route: Route,
    },
    /// A peer wrote.
    Text {
        /// Who.
        from: PeerId,
        /// The name to show.
        name: String,
        /// Only to this peer, not to a group.
        private: bool,
        /// The talk group that it was written to; everyone in the room begins in `Global`. `None`
        /// if it is private.
        group: Option<String>,
        /// What.
        text: String,
    },
    /// The server cannot be reached. Direct speech goes on; this peer tries again by itself.
    ServerAway {
        /// What was seen of it, for a person.
        why: String,
        /// The same for programs, if it could not even be connected to or does not let this peer in
        /// for now.
        failure: Option<ConnectFailure>,
        /// How long nothing had come on the connection that is lost while this machine was awake.
        /// Zero if its end was seen, or if there was none.
        silent_for: Duration,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The server is connected to. [`RoomEvent::Joined`] follows if it lets this peer into the
    /// room; comes again with every connection.
    ServerConnected(ServerConnection),
    /// The server does not let this peer in, now or ever; it does not try again.
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
        /// When trying again may work, if the server said so: with a back-off, or another password.
        retry_after: Option<Duration>,
    },
    /// The room's owner is the peer that has been in it longest. Emitted after every
    /// [`RoomEvent::Joined`], and when it changes.
    OwnerChanged {
        /// Perhaps oneself.
        owner: PeerId,
    },
    /// A change of metadata is made, or has failed. Emitted once for each change.
    TransactionDone {
        /// As [`Lobby::set_metadata`](crate::Lobby::set_metadata) or its like returned it.
        transaction: TransactionId,
        /// How it went.
        result: Result<(), TransactionError>,
    },
    /// Whether what passes between this peer and another is encrypted, from now on. Only where one
    /// of them encrypts ([`JoinOptions::encrypted`](crate::JoinOptions::encrypted)).
    EncryptionChanged {
        /// Who.
        peer: PeerId,
        /// How it stands.
        encryption: MemberEncryption,
        /// It encrypted in this room in an earlier run of this program: if it is unable now, a
        /// server may pretend so. Only where the identity is kept
        /// ([`JoinOptions::state_dir`](crate::JoinOptions::state_dir)), of the last 500.
        encrypted_before: bool,
    },
    /// The room publishes something else now.
    RoomMetadataChanged {
        /// All of it.
        metadata: Metadata,
    },
    /// The way to this peer has changed: a new session, or another network. The token is in its
    /// metadata already, or on its way there.
    ReachabilityChanged {
        /// The own token.
        token: String,
    },
    /// A peer requests a direct link and has none, because this program has not connected to it.
    ConnectionRequested {
        /// Who.
        peer: PeerId,
    },
    /// This identity joined from somewhere else, and this connection ended. It does not come back
    /// by itself.
    Replaced,
    /// The server refused something, and goes on.
    Warned {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
        /// The written message that it refused, where that is what it refused and the server says
        /// which.
        text: Option<String>,
    },
    /// A moderator has moved this peer: it listens and speaks to these talk groups only.
    Moved {
        /// The groups.
        groups: Vec<String>,
    },
    /// A moderator has closed the room to newcomers, or opened it again. Also told at the join if
    /// it is closed.
    RoomLocked {
        /// It is closed.
        locked: bool,
    },
    /// A moderator has given the room a password, has changed it or has taken it away; the password
    /// itself is not told. Also told at the first join if the room has one.
    RoomPassword {
        /// What became of it.
        change: PasswordChange,
    },
    /// After a join, if no member has the owner's right to moderate the room.
    OwnerRight {
        /// Why not.
        state: OwnerRightState,
    },
    /// This peer has left; nothing follows.
    Left,
}

impl From<RoomEvent> for Event {
    fn from(event: RoomEvent) -> Self {
        Self::Room(event)
    }
}

/// Speech, talk groups and recording.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum VoiceEvent {
    /// A peer is heard for the first time since it joined.
    FirstHeard {
        /// Who.
        peer: PeerId,
    },
    /// A peer begins or stops speaking.
    Speaking {
        /// Who.
        peer: PeerId,
        /// Which.
        speaking: bool,
    },
    /// The server refused a talk group: another group's name has the same id, or there are too
    /// many.
    GroupRefused {
        /// Which.
        group: String,
    },
    /// The recording that this peer keeps has begun, and everyone in the room can see that; or it
    /// has ended, for whatever reason.
    Recording {
        /// It has begun.
        recording: bool,
    },
    /// A recording could not be begun, because the others could not be shown that it is on; or has
    /// ended, because the disk takes no more. The room goes on.
    RecordingFailed {
        /// In words for a person.
        why: String,
    },
}

impl From<VoiceEvent> for Event {
    fn from(event: VoiceEvent) -> Self {
        Self::Voice(event)
    }
}

/// Messages and data channels.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DataEvent {
    /// A peer sent a message outside of channels.
    Message {
        /// Who.
        from: PeerId,
        /// The message. It is not copied on its way to the program, unless it came in parts.
        data: Bytes,
        /// How it was sent.
        reliability: Reliability,
    },
    /// A peer sent a message on a data channel.
    ChannelMessage {
        /// Who.
        from: PeerId,
        /// On which.
        channel: u8,
        /// The message.
        data: Bytes,
        /// Of which kind the channel is.
        reliability: Reliability,
    },
    /// Both sides have opened a data channel alike: data flows.
    ChannelOpened {
        /// With whom.
        peer: PeerId,
        /// Which.
        channel: u8,
        /// Of which kind.
        reliability: Reliability,
    },
    /// Both sides have opened a data channel, each as another kind. Both receive this event.
    /// Nothing flows, and what waited on it is gone, until one side closes the channel and opens it
    /// like the other.
    ChannelMismatch {
        /// With whom.
        peer: PeerId,
        /// Which.
        channel: u8,
        /// As what this side opened it.
        ours: Reliability,
        /// As what the other side did.
        theirs: Reliability,
    },
    /// The other side has closed a data channel.
    ChannelClosed {
        /// Who.
        peer: PeerId,
        /// Which.
        channel: u8,
    },
    /// The other side has disconnected: every data channel with it is closed. It is still in the
    /// room, and heard.
    Disconnected {
        /// Who.
        peer: PeerId,
        /// Reliable bytes of this side's of which it is not known that they arrived, each message
        /// with a few more.
        undelivered_bytes: usize,
    },
}

impl From<DataEvent> for Event {
    fn from(event: DataEvent) -> Self {
        Self::Data(event)
    }
}

/// Microphone and speaker.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DeviceEvent {
    /// A device is gone; the room goes on without it, and it is looked for.
    Lost {
        /// Which: the microphone, or the speaker.
        which: DeviceRole,
        /// What was seen of it.
        why: String,
    },
    /// A device works again.
    Recovered {
        /// Which.
        which: DeviceRole,
    },
    /// Another device is in use, as was asked for with
    /// [`Microphone::set_input`](crate::Microphone::set_input) or
    /// [`Speaker::set_output`](crate::Speaker::set_output).
    Changed {
        /// Which.
        which: DeviceRole,
    },
    /// The device that was asked for cannot be used; the one in use stays.
    Refused {
        /// Which.
        which: DeviceRole,
        /// Why, in a sentence with the next step.
        why: String,
    },
}

impl From<DeviceEvent> for Event {
    fn from(event: DeviceEvent) -> Self {
        Self::Device(event)
    }
}

/// Makes [`EventKind`] and [`Event::kind`] from one table: the kind, its number and name for other
/// languages, and the events that are of it.
macro_rules! event_kinds {
    (pub enum $kinds:ident { $($kind:ident = $number:literal, $name:literal, $event:pat,)* }) => {
        /// Which event, without its data: by a number and a name that stay the same from version to
        /// version.
        ///
        /// The numbers are those of `vmesh_event_type` in C; the kinds are called `EventType` in C#
        /// and, by their [`name`](Self::name), `event` in the JSON lines of `voicemesh --json`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "they are explained where the events are")]
        pub enum $kinds {
            $($kind = $number,)*
        }

        impl $kinds {
            /// All kinds, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The name, as in JSON: `peer-joined`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// The number, as in C.
            pub const fn number(self) -> i32 {
                self as i32
            }
        }

        impl Event {
            /// Which event this is.
            pub const fn kind(&self) -> $kinds {
                match self {
                    $($event => $kinds::$kind,)*
                }
            }
        }
    };
}

event_kinds! {
    pub enum EventKind {
        Joined = 1, "joined", Event::Room(RoomEvent::Joined { .. }),
        Connected = 2, "connected", Event::Room(RoomEvent::Connected),
        PeerJoined = 3, "peer-joined", Event::Room(RoomEvent::PeerJoined { .. }),
        PeerLeft = 4, "peer-left", Event::Room(RoomEvent::PeerLeft { .. }),
        MetadataChanged = 5, "metadata-changed", Event::Room(RoomEvent::MetadataChanged { .. }),
        RouteChanged = 6, "route-changed", Event::Room(RoomEvent::RouteChanged { .. }),
        FirstHeard = 7, "first-heard", Event::Voice(VoiceEvent::FirstHeard { .. }),
        Speaking = 8, "speaking", Event::Voice(VoiceEvent::Speaking { .. }),
        Text = 9, "text", Event::Room(RoomEvent::Text { .. }),
        ServerAway = 10, "server-away", Event::Room(RoomEvent::ServerAway { .. }),
        Refused = 11, "refused", Event::Room(RoomEvent::Refused { .. }),
        Replaced = 12, "replaced", Event::Room(RoomEvent::Replaced),
        Warned = 13, "warned", Event::Room(RoomEvent::Warned { .. }),
        GroupRefused = 14, "group-refused", Event::Voice(VoiceEvent::GroupRefused { .. }),
        DeviceLost = 15, "device-lost", Event::Device(DeviceEvent::Lost { .. }),
        DeviceRecovered = 16, "device-recovered", Event::Device(DeviceEvent::Recovered { .. }),
        RecordingFailed = 17, "recording-failed", Event::Voice(VoiceEvent::RecordingFailed { .. }),
        Left = 18, "left", Event::Room(RoomEvent::Left),
        Message = 19, "message", Event::Data(DataEvent::Message { .. }),
        ChannelMessage = 20, "channel-message", Event::Data(DataEvent::ChannelMessage { .. }),
        ChannelOpened = 21, "channel-opened", Event::Data(DataEvent::ChannelOpened { .. }),
        ChannelMismatch = 22, "channel-mismatch", Event::Data(DataEvent::ChannelMismatch { .. }),
        ChannelClosed = 23, "channel-closed", Event::Data(DataEvent::ChannelClosed { .. }),
        Disconnected = 24, "disconnected", Event::Data(DataEvent::Disconnected { .. }),
        OwnerChanged = 25, "owner-changed", Event::Room(RoomEvent::OwnerChanged { .. }),
        TransactionDone = 26, "transaction-done", Event::Room(RoomEvent::TransactionDone { .. }),
        RoomMetadataChanged = 27, "room-metadata-changed", Event::Room(RoomEvent::RoomMetadataChanged { .. }),
        ReachabilityChanged = 28, "reachability-changed", Event::Room(RoomEvent::ReachabilityChanged { .. }),
        ConnectionRequested = 29, "connection-requested", Event::Room(RoomEvent::ConnectionRequested { .. }),
        ServerConnected = 30, "server-connected", Event::Room(RoomEvent::ServerConnected(..)),
        PermissionsChanged = 31, "permissions-changed", Event::Room(RoomEvent::PermissionsChanged { .. }),
        TokenNeeded = 32, "token-needed", Event::Room(RoomEvent::TokenNeeded { .. }),
        Moved = 33, "moved", Event::Room(RoomEvent::Moved { .. }),
        RoomLocked = 34, "room-locked", Event::Room(RoomEvent::RoomLocked { .. }),
        OwnerRight = 35, "owner-right", Event::Room(RoomEvent::OwnerRight { .. }),
        StatusChanged = 36, "status-changed", Event::Room(RoomEvent::StatusChanged { .. }),
        DeviceChanged = 37, "device-changed", Event::Device(DeviceEvent::Changed { .. }),
        Held = 38, "held", Event::Room(RoomEvent::Held { .. }),
        Recording = 39, "recording", Event::Voice(VoiceEvent::Recording { .. }),
        RoomPassword = 40, "room-password", Event::Room(RoomEvent::RoomPassword { .. }),
        DeviceRefused = 41, "device-refused", Event::Device(DeviceEvent::Refused { .. }),
        EncryptionChanged = 42, "encryption-changed", Event::Room(RoomEvent::EncryptionChanged { .. }),
    }
}

/// Which end of the sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceRole {
    /// The microphone.
    Input,
    /// The speaker.
    Output,
}
