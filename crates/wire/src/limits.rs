//! Every bound that both ends must agree on (PROTOCOL.md, section 11).

/// A peer's display name, in bytes of UTF-8.
pub const NAME_BYTES: usize = 64;
/// A room's name, in bytes of UTF-8.
pub const ROOM_NAME_BYTES: usize = 256;
/// The form of a room's name that is compared and computed with: normal forms are at most three
/// times as long (UAX 15, Table 3).
pub const FOLDED_ROOM_NAME_BYTES: usize = 3 * ROOM_NAME_BYTES;
/// A talk group's name, in bytes of UTF-8.
pub const GROUP_NAME_BYTES: usize = 256;
/// Talk groups one client may listen to at a time.
pub const GROUPS_PER_CLIENT: usize = 64;
/// A text message, in bytes of UTF-8.
pub const TEXT_BYTES: usize = 4096;
/// An access token in a join, in bytes.
pub const TOKEN_BYTES: usize = 4096;
/// The fragment of an invitation, in bytes.
pub const INVITATION_BYTES: usize = 8192;
/// A room's key in an invitation, in bytes.
pub const ROOM_KEY_BYTES: usize = 128;
/// The subject of an access token, in bytes of UTF-8.
pub const TOKEN_SUBJECT_BYTES: usize = 128;
/// A room's password, in bytes of UTF-8.
pub const PASSWORD_BYTES: usize = 128;
/// The longest ban, in seconds: a day.
pub const BAN_SECONDS: u32 = 86_400;
/// A member's ticket, as text.
pub const TICKET_BYTES: usize = 2048;
/// Metadata keys of one peer, or of a room.
pub const METADATA_KEYS: usize = 32;
/// Metadata of one peer or of a room, keys and values together, in bytes; of sealed values, what is
/// sealed counts ([`value_bytes`](crate::sealed_state::value_bytes)).
pub const METADATA_BYTES: usize = 8192;
/// The same as JSON texts, escapes included: twice as much suffices for anything that people write,
/// for JSON inside, and for sealed values.
pub const METADATA_JSON_BYTES: usize = 2 * METADATA_BYTES;
/// One encoded voice frame, in bytes: what libopus calls the largest useful packet.
pub const VOICE_FRAME_BYTES: usize = 1275;
/// Voice targets in one VoiceData packet.
pub const VOICE_TARGETS: usize = 64;
/// Earlier frames that one packet can carry again.
pub const VOICE_COPIES: usize = 4;
/// Destinations one relay packet can list.
pub const RELAY_DESTINATIONS: usize = 255;
/// Listeners of one group that a HandshakeResponse can list; the rest follow as ClientState.
pub const LISTENERS_PER_LIST: usize = 255;
/// A session packet that may be lost.
pub const UNRELIABLE_PACKET_BYTES: usize = 1200;
/// A session packet that must arrive.
pub const RELIABLE_PACKET_BYTES: usize = 16 * 1024;
/// A binary WebSocket message: the largest session packet inside the largest relay header.
pub const BINARY_MESSAGE_BYTES: usize = RELIABLE_PACKET_BYTES + 1024;
/// A JSON signaling message from a peer. Metadata may double in size when it is escaped.
pub const JSON_MESSAGE_BYTES: usize = 64 * 1024;
/// The longest message of a server: the state of a full room whose members all publish as much as
/// they may.
pub const SERVER_MESSAGE_BYTES: usize = 1_250_000;
/// A signaling message before its sender has joined.
pub const JOIN_BYTES: usize = 32 * 1024;
/// A session description inside a signal.
pub const SDP_BYTES: usize = 16 * 1024;
/// An ICE candidate inside a signal, with its media section's name.
pub const CANDIDATE_BYTES: usize = 1024;
/// Frame lengths that a peer's capabilities can list.
pub const FRAME_LENGTHS: usize = 8;
/// Bytes of a message in one segment of reliable data.
pub const DATA_PAYLOAD_BYTES: usize = 1000;
/// A reliable message of a game.
pub const RELIABLE_DATA_BYTES: usize = 256 * 1024;
/// A message of a game that may be lost: it travels in one packet, relayed or not.
pub const UNRELIABLE_DATA_BYTES: usize = 1100;
/// TCP segments between a peer and the server, as both ends announce them: with the headers of TCP
/// and IPv4 such a packet has at most 1,200 bytes, as those of links have. On some paths longer
/// packets vanish without a notice (RFC 2923 §2.1), and a connection hangs as soon as one end sends
/// a full segment.
pub const TCP_SEGMENT_BYTES: u32 = 1160;
