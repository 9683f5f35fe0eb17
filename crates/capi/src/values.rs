//! Results, ids, and the numbers that stand for choices.

use std::ffi::c_char;

use voicemesh::PeerId;

/// What a call came to. Errors are negative.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_result {
    /// It worked.
    VMESH_OK = 0,
    /// It worked, and there is nothing (more) to give.
    VMESH_EMPTY = 1,
    /// A pointer is null that must not be.
    VMESH_ERROR_NULL = -1,
    /// The handle was never given out, or is of another kind.
    VMESH_ERROR_BAD_HANDLE = -2,
    /// The handle was closed.
    VMESH_ERROR_CLOSED = -3,
    /// A structure's size is one that no version of this library knows.
    VMESH_ERROR_BAD_SIZE = -4,
    /// A text is not UTF-8.
    VMESH_ERROR_BAD_TEXT = -5,
    /// A number stands for no choice, or is out of bounds.
    VMESH_ERROR_BAD_VALUE = -6,
    /// The address is not one of a server.
    VMESH_ERROR_BAD_SERVER = -7,
    /// The name, or the room's name, is too long or blank, or the name has control characters.
    VMESH_ERROR_BAD_NAME = -8,
    /// A microphone or speaker cannot be opened.
    VMESH_ERROR_DEVICE = -9,
    /// A recording cannot be begun.
    VMESH_ERROR_RECORDING = -10,
    /// A certificate cannot be read.
    VMESH_ERROR_CERTIFICATE = -11,
    /// The operating system refuses a thread, a socket or randomness.
    VMESH_ERROR_SYSTEM = -12,
    /// Too many handles are open.
    VMESH_ERROR_TOO_MANY = -13,
    /// There is no such peer in the room.
    VMESH_ERROR_UNKNOWN_PEER = -14,
    /// A buffer is too small; the size it needs was told.
    VMESH_ERROR_BUFFER = -15,
    /// So much waits to be sent to that peer that no more is taken; try again in a later frame.
    VMESH_ERROR_WOULD_BLOCK = -16,
    /// A message of this kind cannot be that large.
    VMESH_ERROR_TOO_LARGE = -17,
    /// That peer takes no messages: a browser, or an older version.
    VMESH_ERROR_UNSUPPORTED = -18,
    /// The channel is not open on this side.
    VMESH_ERROR_CHANNEL_CLOSED = -19,
    /// The other side opened the channel as another kind.
    VMESH_ERROR_CHANNEL_MISMATCH = -20,
    /// This peer has left the room.
    VMESH_ERROR_LEFT = -21,
    /// The reachability token is none of that peer's.
    VMESH_ERROR_BAD_TOKEN = -22,
    /// The password is too long.
    VMESH_ERROR_BAD_PASSWORD = -23,
    /// A recording is kept already.
    VMESH_ERROR_ALREADY_RECORDING = -24,
    /// The server is out of reach, and the others would not learn of it.
    VMESH_ERROR_SERVER_AWAY = -25,
    /// The handle is a voice over the game's own network, which has no room.
    VMESH_ERROR_NO_ROOM = -26,
    /// The handle is a place in a room, and not a voice over the game's own network.
    VMESH_ERROR_NO_NETWORK = -27,
    /// A fault of this library. The handle should be closed.
    VMESH_ERROR_INTERNAL = -100,
}

/// A machine in a room: the same across reconnects. All zeros stands for no peer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct vmesh_peer_id {
    /// Its bytes, in the order in which it is written.
    pub bytes: [u8; 16],
}

impl From<PeerId> for vmesh_peer_id {
    fn from(peer: PeerId) -> Self {
        Self { bytes: *peer.0.as_bytes() }
    }
}

impl From<vmesh_peer_id> for PeerId {
    fn from(id: vmesh_peer_id) -> Self {
        Self(uuid::Uuid::from_bytes(id.bytes))
    }
}

/// A text that is handed in or out.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmesh_string {
    /// UTF-8; null stands for the empty text.
    pub data: *const c_char,
    /// In bytes; handed in, it may be VMESH_NUL_TERMINATED.
    pub length: usize,
}

/// One entry of what a peer publishes about itself.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct vmesh_pair {
    /// Its name.
    pub key: vmesh_string,
    /// Its value.
    pub value: vmesh_string,
}

/// A place, a direction or a velocity: in metres, or metres a second.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct vmesh_vector {
    /// To the right.
    pub x: f32,
    /// Up.
    pub y: f32,
    /// Backward or forward; see vmesh_handedness.
    pub z: f32,
}

/// As a length: the text ends before its first NUL.
///
/// cbindgen:ignore (it stands in cbindgen.toml, in terms of C)
pub const VMESH_NUL_TERMINATED: usize = usize::MAX;
/// Counts changes that break programs which were built before; see vmesh_abi_version.
pub const VMESH_ABI_VERSION: u32 = 0;

/// What an event tells. A number that the program does not know is to be passed over.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_event_type {
    /// Nothing: left by a vmesh_events_poll that gave VMESH_EMPTY.
    VMESH_EVENT_NONE = 0,
    /// The server has let this peer in: peer (the own id), name (the room), text (the own name as
    /// the others see it: an access token may name another than vmesh_options), count (how many
    /// others), session. Comes again after every rejoin.
    VMESH_EVENT_JOINED = 1,
    /// The session is complete: speech flows from here on.
    VMESH_EVENT_CONNECTED = 2,
    /// A peer is in the room: peer, name, metadata.
    VMESH_EVENT_PEER_JOINED = 3,
    /// A peer is no longer in the room: peer, name, reason (vmesh_leave_reason; VMESH_LEAVE_KICKED:
    /// the server put it out, by a moderator's decision or by its own).
    VMESH_EVENT_PEER_LEFT = 4,
    /// What a peer publishes has changed: peer, metadata (all of it).
    VMESH_EVENT_METADATA_CHANGED = 5,
    /// Another way to a peer is in use: peer, route (vmesh_route).
    VMESH_EVENT_ROUTE_CHANGED = 6,
    /// A peer is heard for the first time: peer.
    VMESH_EVENT_FIRST_HEARD = 7,
    /// A peer begins or stops speaking: peer, on.
    VMESH_EVENT_SPEAKING = 8,
    /// A peer wrote: peer, name, text, on (only to this peer), else groups (the one that it was
    /// written to).
    VMESH_EVENT_TEXT = 9,
    /// The server cannot be reached, and is tried again: text (why), code (what failed, if it could
    /// not be connected to), wait_us (when).
    VMESH_EVENT_SERVER_AWAY = 10,
    /// The server does not let this peer in, or has put it out, and it does not try again: code
    /// ("kicked" and "banned" are a moderator's), text, on (the server said when trying again may
    /// work), wait_us (when).
    VMESH_EVENT_REFUSED = 11,
    /// This identity joined from somewhere else. It does not come back by itself.
    VMESH_EVENT_REPLACED = 12,
    /// Something was refused, and the room goes on: code, text.
    VMESH_EVENT_WARNED = 13,
    /// The server refused a talk group: name.
    VMESH_EVENT_GROUP_REFUSED = 14,
    /// A device is gone, and looked for: device (vmesh_device_role), text (why).
    VMESH_EVENT_DEVICE_LOST = 15,
    /// A device works again: device.
    VMESH_EVENT_DEVICE_RECOVERED = 16,
    /// A recording could not be begun, or has ended: text (why).
    VMESH_EVENT_RECORDING_FAILED = 17,
    /// This peer has left; nothing follows.
    VMESH_EVENT_LEFT = 18,
    /// A message: peer (from), data, reliability (vmesh_reliability).
    VMESH_EVENT_MESSAGE = 19,
    /// A message on a data channel: peer (from), channel, data, reliability.
    VMESH_EVENT_CHANNEL_MESSAGE = 20,
    /// Both sides have opened a data channel alike: peer, channel, reliability.
    VMESH_EVENT_CHANNEL_OPENED = 21,
    /// Both sides have opened a data channel, each as another kind: peer, channel, reliability
    /// (this side's), theirs.
    VMESH_EVENT_CHANNEL_MISMATCH = 22,
    /// The other side has closed a data channel: peer, channel.
    VMESH_EVENT_CHANNEL_CLOSED = 23,
    /// The other side has closed every data channel: peer, undelivered_bytes.
    VMESH_EVENT_DISCONNECTED = 24,
    /// The room's owner, the peer that has been in it longest: peer, possibly this one. Comes after
    /// every VMESH_EVENT_JOINED, and when it changes.
    VMESH_EVENT_OWNER_CHANGED = 25,
    /// A change of metadata or a decision of vmesh_lobby_moderate is made, or has failed:
    /// transaction, on (it is made), else code, text.
    VMESH_EVENT_TRANSACTION_DONE = 26,
    /// The room publishes something else now: metadata (all of it).
    VMESH_EVENT_ROOM_METADATA_CHANGED = 27,
    /// The way to this peer has changed: text (the own token, which its metadata has too, as
    /// VMESH_REACHABILITY_KEY).
    VMESH_EVENT_REACHABILITY_CHANGED = 28,
    /// A peer requests a direct link, and this program has not called vmesh_participant_connect:
    /// peer.
    VMESH_EVENT_CONNECTION_REQUESTED = 29,
    /// The server is connected to: on (others on the network can read what goes there, because it
    /// is not encrypted and the server not on this machine), name (the proxy it goes through, as
    /// host:port; empty without one). VMESH_EVENT_JOINED follows if the server lets this peer in.
    VMESH_EVENT_SERVER_CONNECTED = 30,
    /// A member, or this peer itself, may do this from now on: peer, text (of "speak", "listen",
    /// "data" and "moderate" those that are allowed, with a space between). Without "speak" a
    /// moderator has muted it for all, or its token forbids it. Not told at first of members that
    /// may do all but "moderate".
    VMESH_EVENT_PERMISSIONS_CHANGED = 31,
    /// The server asks for another access token, and the program joined with renews_token: code
    /// ("token-required", "token-invalid" or "token-expired"), text. The answer is
    /// vmesh_lobby_set_token, at any time later; links go on meanwhile.
    VMESH_EVENT_TOKEN_NEEDED = 32,
    /// A moderator has moved this peer: it listens and speaks to these talk groups only: groups. It
    /// does so already.
    VMESH_EVENT_MOVED = 33,
    /// A moderator has closed the room to newcomers, or opened it again: on (it is closed). Comes
    /// at the join too, if it is closed.
    VMESH_EVENT_ROOM_LOCKED = 34,
    /// After a join, if no member has the owner's right to moderate: code ("later": the first
    /// member gets it soon after the server's start; "none": no member gets it until the room has
    /// been empty).
    VMESH_EVENT_OWNER_RIGHT = 35,
    /// How a member takes part from now on, as its own program says: peer, status. Not told at
    /// first where nothing of it is so.
    VMESH_EVENT_STATUS_CHANGED = 36,
    /// The device that was chosen (vmesh_microphone_set_input, vmesh_speaker_set_output) is in use:
    /// device.
    VMESH_EVENT_DEVICE_CHANGED = 37,
    /// A moderator holds a member, or this peer itself, in these talk groups from now on, and it
    /// listens and speaks to no other: peer, groups. Without groups it is held no longer.
    VMESH_EVENT_HELD = 38,
    /// The recording that this peer keeps has begun, and everyone in the room can see that (on), or
    /// has ended, for whatever reason.
    VMESH_EVENT_RECORDING = 39,
    /// A moderator has decided about the room's password, which itself is not told: on (the room
    /// has one), code ("set", "changed" or "removed"; "present" at the first join, if the room has
    /// one).
    VMESH_EVENT_ROOM_PASSWORD = 40,
    /// The device that was chosen (vmesh_microphone_set_input, vmesh_speaker_set_output) cannot be
    /// used, and the one in use stays: device, text.
    VMESH_EVENT_DEVICE_REFUSED = 41,
    /// How what passes between this peer and a member is encrypted from now on: peer, code
    /// ("waiting" for its keys, "verified": encrypted, with the room's key, "encrypted": without
    /// one, "unable": its program does not encrypt, "stopped": it did before, "refused": what it
    /// announces is not genuine; these three are sent nothing, or what only earlier genuine keys
    /// open; "unencrypted": it is sent speech as it is, vmesh_participant_allow_unencrypted;
    /// "only-theirs": it encrypts and this peer does not, and is heard here only if it allows that),
    /// on (it encrypted here in an earlier run, as far as the identity's folder tells).
    VMESH_EVENT_ENCRYPTION_CHANGED = 42,
    /// Something that this library knows and this header does not.
    VMESH_EVENT_OTHER = 1000,
}

/// How a member takes part, as its own program says; the bits of a status.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_status {
    /// Its microphone is muted.
    VMESH_STATUS_MUTED = 1,
    /// It hears no one: its user chose so, or its speaker is gone.
    VMESH_STATUS_DEAFENED = 2,
    /// It has no microphone.
    VMESH_STATUS_LISTENING_ONLY = 4,
    /// It keeps a recording of the room.
    VMESH_STATUS_RECORDING = 8,
}

/// What a member may do; the bits of its permissions. Without VMESH_MAY_SPEAK a moderator has muted
/// it for all, or its token forbids it.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_permission {
    /// It is heard.
    VMESH_MAY_SPEAK = 1,
    /// It hears others.
    VMESH_MAY_LISTEN = 2,
    /// It may write and send messages.
    VMESH_MAY_SEND_DATA = 4,
    /// It may decide about others.
    VMESH_MAY_MODERATE = 8,
}

/// How a peer is reached.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_route {
    /// Not now.
    VMESH_ROUTE_NONE = 0,
    /// Through the server.
    VMESH_ROUTE_RELAYED = 1,
    /// Over a direct link.
    VMESH_ROUTE_DIRECT = 2,
}

/// How a message travels.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_reliability {
    /// It may be lost, doubled or overtaken, but comes whole if it comes.
    VMESH_UNRELIABLE = 0,
    /// It comes exact, complete and in order.
    VMESH_RELIABLE = 1,
}

/// Why a peer is gone.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_leave_reason {
    /// It left.
    VMESH_LEAVE_LEFT = 0,
    /// The server put it out.
    VMESH_LEAVE_KICKED = 1,
    /// Nothing reaches it.
    VMESH_LEAVE_LOST = 2,
    /// Its program was started again, and is back as a new arrival.
    VMESH_LEAVE_RESTARTED = 3,
}

/// What vmesh_lobby_moderate decides.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_decision {
    /// The others do not hear this member any more.
    VMESH_DECISION_MUTE = 0,
    /// They hear it again.
    VMESH_DECISION_UNMUTE = 1,
    /// It leaves the room, and may come back.
    VMESH_DECISION_KICK = 2,
    /// It leaves, and neither its peer id nor its address is let in for so many seconds, at most
    /// 86,400.
    VMESH_DECISION_BAN = 3,
    /// Ends a ban.
    VMESH_DECISION_UNBAN = 4,
    /// Its program listens and speaks to one talk group only.
    VMESH_DECISION_MOVE = 5,
    /// Newcomers are not let in.
    VMESH_DECISION_LOCK = 6,
    /// They are again.
    VMESH_DECISION_UNLOCK = 7,
    /// The room's password from now on.
    VMESH_DECISION_SET_PASSWORD = 8,
    /// The owner's right to moderate is that member's from now on.
    VMESH_DECISION_MAKE_OWNER = 9,
}

/// Which end of the sound.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_device_role {
    /// The microphone.
    VMESH_DEVICE_INPUT = 0,
    /// The speaker.
    VMESH_DEVICE_OUTPUT = 1,
}

/// What a join requires of the room.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_presence {
    /// It does not matter.
    VMESH_PRESENCE_EITHER = 0,
    /// Another peer is in it; else VMESH_EVENT_REFUSED with the code "room-missing".
    VMESH_PRESENCE_MUST_EXIST = 1,
    /// No other peer is in it; else VMESH_EVENT_REFUSED with the code "room-exists".
    VMESH_PRESENCE_MUST_NOT_EXIST = 2,
}

/// To whom direct links are made.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_connections {
    /// To everyone in the room.
    VMESH_CONNECTIONS_AUTOMATIC = 0,
    /// To those whom the program connects to with vmesh_participant_connect, if they connect as
    /// well.
    VMESH_CONNECTIONS_EXPLICIT = 1,
}

/// Which way the game's axes lie, with x to the right and y up.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_handedness {
    /// Forward is -z: OpenGL, OpenAL, Godot, Bevy.
    VMESH_HANDEDNESS_RIGHT = 0,
    /// Forward is +z: Unity, Direct3D.
    VMESH_HANDEDNESS_LEFT = 1,
}

/// How a voice gets softer with its distance d; see vmesh_speaker_set_attenuation.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_attenuation {
    /// Not at all.
    VMESH_ATTENUATION_NONE = 0,
    /// reference / (reference + rolloff * (d - reference)).
    VMESH_ATTENUATION_INVERSE = 1,
    /// 1 - rolloff * (d - reference) / (max - reference).
    VMESH_ATTENUATION_LINEAR = 2,
    /// (d / reference) ^ -rolloff.
    VMESH_ATTENUATION_EXPONENTIAL = 3,
}

/// How urgent speech is: what is less urgent is lowered by 12 dB meanwhile.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_priority {
    /// Below ordinary speech.
    VMESH_PRIORITY_LOW = -1,
    /// Ordinary speech.
    VMESH_PRIORITY_DEFAULT = 0,
    /// Above ordinary speech.
    VMESH_PRIORITY_MEDIUM = 1,
    /// Above all.
    VMESH_PRIORITY_HIGH = 2,
}

/// Which axes of a position a proximity grid counts.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_axes {
    /// x and z: people on the ground of a world whose y points up.
    VMESH_AXES_GROUND = 0,
    /// x and y: a flat world.
    VMESH_AXES_FLAT = 1,
    /// All three, at three times as many groups.
    VMESH_AXES_SPACE = 2,
}

/// When the microphone's sound is sent.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_activation {
    /// By the kind of microphone: during speech for a real one, always for a file or a tone.
    VMESH_ACTIVATION_DEFAULT = 0,
    /// Whenever there is any sound.
    VMESH_ACTIVATION_ALWAYS = 1,
    /// During speech.
    VMESH_ACTIVATION_VOICE = 2,
    /// While vmesh_microphone_set_talking says so.
    VMESH_ACTIVATION_PUSH_TO_TALK = 3,
}

/// How much steady noise is removed from the microphone's sound.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_noise {
    /// None.
    VMESH_NOISE_OFF = 0,
    /// About 6 dB.
    VMESH_NOISE_LOW = 1,
    /// About 12 dB.
    VMESH_NOISE_MODERATE = 2,
    /// About 18 dB.
    VMESH_NOISE_HIGH = 3,
}

/// What a voice over a game's own network is.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_mode {
    /// Nothing runs.
    VMESH_MODE_NONE = 0,
    /// A member of a session.
    VMESH_MODE_CLIENT = 1,
    /// A session's server, without microphone and speaker.
    VMESH_MODE_SERVER = 2,
    /// A session's server and a member of it in one program.
    VMESH_MODE_HOST = 3,
}

/// What a game's network reports; see vmesh_network_event.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum vmesh_network_event_type {
    /// Nothing.
    VMESH_NETWORK_NONE = 0,
    /// The client has its connection to the server.
    VMESH_NETWORK_CONNECTED = 1,
    /// The client has lost it: text (why, if the server said so).
    VMESH_NETWORK_DISCONNECTED = 2,
    /// A packet on the reliable way was lost: the session ends.
    VMESH_NETWORK_BROKEN = 3,
    /// A packet from the server to this client: data.
    VMESH_NETWORK_FROM_SERVER = 4,
    /// The server serves.
    VMESH_NETWORK_HOSTING = 5,
    /// It does not, or has stopped by itself: text (why).
    VMESH_NETWORK_HOSTING_FAILED = 6,
    /// A packet to this server: peer (the connection it came by), data.
    VMESH_NETWORK_FROM_CLIENT = 7,
    /// A connection to this server is gone: peer.
    VMESH_NETWORK_CLIENT_GONE = 8,
    /// A direct link to another client is open: peer, link.
    VMESH_NETWORK_LINK_UP = 9,
    /// It is gone: peer, link.
    VMESH_NETWORK_LINK_DOWN = 10,
    /// A packet on a link: peer, link, data.
    VMESH_NETWORK_FROM_LINK = 11,
}
