//! The JSON messages between a peer and the signaling server (PROTOCOL.md, section 4).
//!
//! Every message is one WebSocket text frame: an object whose `type` names it. Unknown fields are
//! ignored and missing optional ones have defaults, so that older and newer ends understand each
//! other. A server answers an unknown type with an error; a client ignores it (see
//! [`decode_server`]).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::identity::IdentityProof;
use crate::{ClientId, PeerId, Permissions};

mod access_token;
mod decode;
mod error_code;
mod message_error;
mod moderation;
mod password;
mod roster;
mod roster_hash;
mod status;
mod ticket;

pub use access_token::AccessToken;
pub use decode::{apply_metadata, decode_client, decode_server, request_of};
pub use error_code::ErrorCode;
pub use message_error::MessageError;
pub use moderation::Moderation;
pub use password::Password;
pub use roster::{RosterHash, RosterMark};
pub use roster_hash::roster_hash;
pub use status::MemberStatus;
pub use ticket::Ticket;

/// What `protocol` in a join says.
pub const PROTOCOL_VERSION: u32 = 1;
/// The close code of a connection from which another of the same peer and run has taken over (RFC
/// 6455 §7.4.2, private use). The peer itself opened the other one, so that nothing is to be done.
pub const CLOSE_TAKEN_OVER: u16 = 4001;
/// The WebSocket subprotocol that both ends name (RFC 6455 §1.9).
pub const SUBPROTOCOL: &str = "voicemesh.v1";
/// The WebSocket's path; users give only scheme and host.
pub const PATH: &str = "/ws";

/// Keys and values that a peer publishes about itself, or an owner about its room.
pub type Metadata = BTreeMap<String, String>;
/// Changes of metadata, all or none: `None` removes a key; keys not named stay.
pub type MetadataChanges = BTreeMap<String, Option<String>>;

/// What a peer says to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ClientMessage {
    /// The first message of every connection.
    Join(Join),
    /// Something for one other peer of the room.
    Signal {
        /// The receiver.
        to: PeerId,
        /// The attempt at a link that this belongs to; lower ones than the newest are dropped.
        attempt: u32,
        /// What is said.
        signal: Signal,
    },
    /// Changes the sender's own metadata as one transaction; answered by `metadata` to everyone, or
    /// by an error.
    SetMetadata {
        /// Comes back in `metadata-set` or in the error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<u32>,
        /// `null` removes a key; keys not named stay.
        set: MetadataChanges,
    },
    /// Changes the room's metadata as one transaction; answered by `room-metadata` to everyone.
    /// Only the owner may.
    SetRoomMetadata {
        /// Comes back in `metadata-set` or in the error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<u32>,
        /// `null` removes a key; keys not named stay.
        set: MetadataChanges,
    },
    /// Decides about other members, or about the room; only those with the permission to moderate
    /// may. Answered by `moderated`, or by an error.
    Moderate {
        /// Comes back in `moderated` or in the error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<u32>,
        /// What is decided.
        #[serde(flatten)]
        action: Moderation,
    },
    /// How the sender takes part from now on. It is passed on at most four times a second, the
    /// newest each time.
    Status(MemberStatus),
    /// Asks for the whole roster.
    Roster,
    /// Asks whether the connection carries anything; answered by `pong`.
    Ping {
        /// Comes back in the answer.
        token: u32,
    },
    /// The peer goes; the server closes the connection.
    Leave,
}

/// How a peer enters a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// [`PROTOCOL_VERSION`].
    pub protocol: u32,
    /// A [`crate::RoomName`].
    pub room: String,
    /// A [`crate::DisplayName`].
    pub name: String,
    /// Decides the peer id.
    pub proof: IdentityProof,
    /// Drawn once per process: a peer that reconnects keeps it, a restarted process changes it.
    pub run: u32,
    /// What this peer can do.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// What it publishes from the start.
    #[serde(default)]
    pub metadata: Metadata,
    /// How it takes part from the start.
    #[serde(default, skip_serializing_if = "MemberStatus::is_default")]
    pub status: MemberStatus,
    /// What must be true of the room before.
    #[serde(default)]
    pub presence: Presence,
    /// The room's password. The peer that joins an empty room decides with it whether the room has
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Password>,
    /// What the room published when this peer was last in it; taken if the room is empty, as after
    /// a restart.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub room_metadata: Metadata,
    /// An access token, for servers that ask for one (PROTOCOL.md, "Access tokens").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AccessToken>,
    /// The newest ticket that the server gave this peer for this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// Whether a room must have peers in it when one joins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// It does not matter.
    #[default]
    Either,
    /// Another peer is in the room already, else `room-missing`.
    MustExist,
    /// No other peer is in the room yet, else `room-exists`.
    MustNotExist,
}

/// What a peer can do. A field that is missing has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// It takes and makes no direct links, so that no other peer sees its address.
    pub relay_only: bool,
    /// It understands frames that carry earlier frames again.
    pub redundancy: bool,
    /// It acknowledges voice on links.
    pub voice_ack: bool,
    /// It takes reception reports and answers clock probes.
    pub reports: bool,
    /// It takes a game's own bytes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub data: bool,
    /// It takes texts to groups by their names (GroupText), and may listen to a name whose id
    /// another name has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub group_text: bool,
    /// It says in a VoiceAck when the newest packet arrived, and answers trains of BandwidthProbes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub path_feedback: bool,
    /// It reads packets that carry several new frames (the bundle mark of VoiceCopies).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bundles: bool,
    /// It seals what it sends and opens what is sealed (PROTOCOL.md, section 18).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub e2ee: bool,
    /// The frame lengths it can decode; empty means 20 ms only.
    pub frame_ms: Vec<u8>,
}

/// What the server says to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ServerMessage {
    /// The answer to a join.
    Joined(Joined),
    /// A peer joined. Raises the roster's version by one.
    PeerJoined {
        /// Who.
        peer: PeerInfo,
    },
    /// A peer is no longer in the room. Raises the roster's version by one.
    PeerLeft {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: LeaveReason,
    },
    /// A peer's metadata is now this; that peer receives it too. Raises the roster's version by
    /// `changes`.
    Metadata {
        /// Whose.
        peer: PeerId,
        /// All of it.
        metadata: Metadata,
        /// How many changes this is: more than one for a receiver that was too slow to take each.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        changes: u32,
    },
    /// A member may do this from now on; also told to the member itself. Raises the roster's
    /// version by one.
    Permissions {
        /// Which member.
        peer: PeerId,
        /// All that it may.
        permissions: Permissions,
    },
    /// A member takes part like this from now on; also sent to the member itself. Raises the
    /// roster's version by one.
    Status {
        /// Which member.
        peer: PeerId,
        /// All of it.
        status: MemberStatus,
    },
    /// A change of metadata is made; `metadata` or `room-metadata` came before.
    MetadataSet {
        /// The asker's number.
        request: u32,
    },
    /// A decision is made; what it changes came before.
    Moderated {
        /// The asker's number.
        request: u32,
    },
    /// A moderator asks the receiver's program to listen and speak to these talk groups only.
    Move {
        /// The groups.
        groups: Vec<String>,
        /// Differs from that of every other move of this session. One that has been carried out is
        /// sent again after `joined` to a member that takes over or comes back, because it may have
        /// been lost with the former connection. `None` from a server that does not send it again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u32>,
    },
    /// A moderator holds a member in these talk groups from now on: it listens to no other, and
    /// only those who listen to one of them hear it. Without groups it is held no longer.
    Held {
        /// Which member.
        peer: PeerId,
        /// The groups.
        #[serde(default)]
        groups: Vec<String>,
    },
    /// Whether newcomers are let in is now this.
    Locked {
        /// They are not.
        locked: bool,
    },
    /// The room's password is now this one, or there is none.
    Password(RoomPassword),
    /// The room's metadata is now this.
    RoomMetadata {
        /// All of it.
        metadata: Metadata,
    },
    /// Another peer says something about a link.
    Signal {
        /// The sender, as the server knows it.
        from: PeerId,
        /// The sender's attempt number.
        attempt: u32,
        /// What it said.
        signal: Signal,
    },
    /// The roster as it is now, every few seconds: a receiver that computes something else asks for
    /// `roster`.
    RosterMark(RosterMark),
    /// The whole roster, the receiver included, in order of arrival.
    Roster {
        /// Its version and hash.
        #[serde(flatten)]
        mark: RosterMark,
        /// Everyone.
        peers: Vec<PeerInfo>,
    },
    /// Something was refused.
    Error {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
        /// The connection ends with this message.
        fatal: bool,
        /// When trying again may work.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
        /// Which change of metadata, if that is what was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<u32>,
        /// Which receiver, if something for one peer was refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<PeerId>,
        /// Which written message, if that is what was refused: its number among the TextData and
        /// GroupText packets that were sent on this connection. The first is 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<u32>,
    },
    /// The ICE servers for links that are opened from now on, in place of those of `joined`: their
    /// credentials expire.
    IceServers {
        /// All of them.
        ice_servers: Vec<IceServer>,
    },
    /// A newer ticket in place of that of `joined`: what it says has changed, or it would expire.
    Ticket {
        /// For the next join of this peer in this room.
        ticket: Ticket,
    },
    /// The server is about to stop or restart.
    GoingAway {
        /// When to come back at the earliest.
        retry_after_ms: u64,
    },
    /// Another connection joined as this peer; this one ends and should not come back by itself.
    Replaced,
    /// The answer to `ping`. Everything the peer sent before that ping has arrived.
    Pong {
        /// The token of the ping.
        token: u32,
    },
}

/// Everything a peer needs to take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The joiner's own peer id.
    pub you: PeerId,
    /// Its client id in this session.
    pub client: ClientId,
    /// The session's number; never 0.
    pub session: u32,
    /// The room, as asked for, in the form that is shown.
    pub room: String,
    /// The display name under which the joiner entered: that of its access token or ticket, else
    /// the join's. `None` from a server that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The others, in order of arrival. The owner is the member with the lowest order, the joiner
    /// included.
    pub peers: Vec<PeerInfo>,
    /// The joiner's own place in the order of arrival.
    pub order: u64,
    /// For links; empty if the server names none.
    #[serde(default)]
    pub ice_servers: Vec<IceServer>,
    /// What the server holds everyone to.
    #[serde(default)]
    pub limits: ServerLimits,
    /// No peer on this server may open links.
    #[serde(default)]
    pub relay_only: bool,
    /// The server takes texts to groups by their names (GroupText).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub group_text: bool,
    /// The server takes [`ClientMessage::Status`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub status: bool,
    /// The roster with the joiner in it.
    pub roster: RosterMark,
    /// What the joiner may do.
    #[serde(default, skip_serializing_if = "Permissions::is_default")]
    pub permissions: Permissions,
    /// The talk groups in which a moderator holds the joiner; see [`ServerMessage::Held`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_in: Vec<String>,
    /// What the room publishes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub room_metadata: Metadata,
    /// Only members with tickets are let in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locked: bool,
    /// Whether the room has a password.
    #[serde(default, skip_serializing_if = "RoomPassword::is_default")]
    pub password: RoomPassword,
    /// Whether a member has the owner's right to moderate. Whether that is the joiner, its
    /// permissions say.
    #[serde(default, skip_serializing_if = "OwnerRightState::is_held")]
    pub owner_right: OwnerRightState,
    /// Present if this connection takes over from an earlier one of the same peer and run: client
    /// id, order, groups and metadata stay, and the others are sent nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_over: Option<TakenOver>,
    /// Shows the server at the next join what the joiner was here; see [`ServerMessage::Ticket`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}

/// What everyone in a room is sent of its password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPassword {
    /// The room has one.
    #[serde(default)]
    pub set: bool,
    /// How often moderators have decided about it in this session: a higher number with a password
    /// is another password.
    #[serde(default)]
    pub number: u32,
}

impl RoomPassword {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether a member of a room has the owner's right to moderate it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnerRightState {
    /// A member has it, present or not.
    #[default]
    Held,
    /// The member who came first gets it a while after the server's start, unless one comes who had
    /// it before.
    Later,
    /// No member gets it until the room has been empty: it was entered too soon after the server's
    /// start.
    None,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

impl OwnerRightState {
    /// Whether a member has it.
    pub fn is_held(&self) -> bool {
        *self == Self::Held
    }
}

/// What the server keeps for a peer whose second connection takes over from its first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// What the peer publishes; the metadata of the join is not used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Metadata,
    /// How many written messages (TextData, GroupText) the server has read from the earlier
    /// connection. It drops any that follow there, so that what is sent again arrives once. `None`
    /// from a server that does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<u32>,
}

/// What the server holds everyone to. A field that is missing has its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerLimits {
    /// Largest text frame taken.
    pub json_message_bytes: u32,
    /// Largest binary frame taken.
    pub binary_message_bytes: u32,
    /// Peers that fit into one room.
    pub peers_per_room: u32,
    /// The server pings this often; a peer silent for two of them is gone.
    pub ping_interval_ms: u32,
    /// A roster mark comes this often; a client that misses three reconnects.
    pub roster_interval_ms: u32,
    /// The host in front of the server ends every connection after this; 0 if it does not. A client
    /// opens the next one before.
    pub connection_lifetime_ms: u32,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            json_message_bytes: crate::limits::JSON_MESSAGE_BYTES as u32,
            binary_message_bytes: crate::limits::BINARY_MESSAGE_BYTES as u32,
            peers_per_room: 64,
            ping_interval_ms: 15_000,
            roster_interval_ms: 5_000,
            connection_lifetime_ms: 0,
        }
    }
}

/// One peer as the others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInfo {
    /// Its id across sessions.
    pub peer: PeerId,
    /// Its id in this session.
    pub client: ClientId,
    /// Which run of its process this is.
    pub run: u32,
    /// Its display name. Receivers make a [`crate::DisplayName`] of it.
    pub name: String,
    /// What it publishes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Metadata,
    /// What it can do.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Its place in the order of arrival, unique in its room; below 2^53.
    pub order: u64,
    /// How it takes part, as its own program says.
    #[serde(default, skip_serializing_if = "MemberStatus::is_default")]
    pub status: MemberStatus,
    /// What it may do.
    #[serde(default, skip_serializing_if = "Permissions::is_default")]
    pub permissions: Permissions,
    /// The talk groups in which a moderator holds it; see [`ServerMessage::Held`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_in: Vec<String>,
}

/// Why a peer is no longer in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaveReason {
    /// It said so.
    Left,
    /// The server put it out.
    Kicked,
    /// Its connection ended or fell silent; it may come back.
    Lost,
    /// It joined again on another connection; `peer-joined` follows.
    Replaced,
    /// A reason that this version does not know.
    #[serde(other)]
    Unknown,
}

/// A STUN or TURN server, in the shape that WebRTC stacks take.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` addresses.
    pub urls: Vec<String>,
    /// Only for TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Only for TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.credential.as_ref().map(|_| "hidden");
        let mut debug = f.debug_struct("IceServer");
        debug
            .field("urls", &self.urls)
            .field("username", &self.username)
            .field("credential", &hidden)
            .finish()
    }
}

/// What two peers say to each other, through the server, to open a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Signal {
    /// The offerer's session description.
    Offer {
        /// RFC 8866 text.
        sdp: String,
    },
    /// The answerer's session description.
    Answer {
        /// RFC 8866 text.
        sdp: String,
    },
    /// One trickled ICE candidate (RFC 8838).
    Candidate {
        /// `candidate:…` as in RFC 8839 §5.1.
        candidate: String,
        /// The media section by name; always "0" here.
        #[serde(default, rename = "sdpMid")]
        sdp_mid: Option<String>,
        /// The media section by position.
        #[serde(default, rename = "sdpMLineIndex")]
        sdp_m_line_index: Option<u16>,
    },
    /// No more candidates will come.
    EndOfCandidates,
    /// The answerer asks the offerer for a new attempt.
    RequestOffer,
}

impl ClientMessage {
    /// As one text frame.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

impl ServerMessage {
    /// As one text frame.
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

fn one() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_one(changes: &u32) -> bool {
    *changes == one()
}

fn to_json<T: Serialize>(message: &T) -> String {
    match serde_json::to_string(message) {
        Ok(text) => text,
        // Serialising fails only for maps whose keys are not text and for writers that fail; there
        // are none here.
        Err(_) => unreachable!("a signaling message did not serialise"),
    }
}
