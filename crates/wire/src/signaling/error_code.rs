//! The codes that distinguish a server's refusals.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal,)*) => {
        /// Why the server refused something. On the wire it is the text in parentheses.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[doc = $doc])* #[doc = concat!("(`", $text, "`)")] $variant,)*
            /// A code that this version does not know.
            Other(String),
        }

        impl ErrorCode {
            /// The code as it is on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl From<String> for ErrorCode {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)*
                    _ => Self::Other(text),
                }
            }
        }
    };
}

error_codes! {
    /// The text is not JSON.
    BadJson = "bad-json",
    /// The message's type is not known.
    UnknownType = "unknown-type",
    /// A field is missing, of the wrong kind, or out of bounds.
    BadField = "bad-field",
    /// A frame is larger than the limits say.
    TooLarge = "too-large",
    /// The first message has to be a join.
    NotJoined = "not-joined",
    /// No join came in time.
    JoinTimeout = "join-timeout",
    /// This connection has joined already.
    AlreadyJoined = "already-joined",
    /// The room holds no more peers; try again later.
    RoomFull = "room-full",
    /// The server holds no more connections or rooms; try again later.
    ServerFull = "server-full",
    /// No other peer is in the room, and the join asked for one.
    RoomMissing = "room-missing",
    /// Another peer is in the room, and the join asked for none.
    RoomExists = "room-exists",
    /// The display name is too long, blank, or has control characters.
    BadName = "bad-name",
    /// The room's name is too long or blank.
    BadRoom = "bad-room",
    /// The metadata has too many keys or too many bytes; nothing was changed.
    BadMetadata = "bad-metadata",
    /// The room has a password, and the join named none.
    PasswordRequired = "password-required",
    /// It is another password, or the room has none.
    PasswordWrong = "password-wrong",
    /// The password is not looked at until the time given is over: this peer named a wrong one, or
    /// too many wait.
    PasswordWait = "password-wait",
    /// The server asks for an access token, and the join has none.
    TokenRequired = "token-required",
    /// The access token is not for this room and server, or not signed by an issuer that the server
    /// trusts.
    TokenInvalid = "token-invalid",
    /// The access token was valid once; join with a new one.
    TokenExpired = "token-expired",
    /// Only the room's owner may.
    NotOwner = "not-owner",
    /// Only members with the permission to moderate may.
    NotModerator = "not-moderator",
    /// The sender may not write that: it lacks the permission, or a moderator holds it in other
    /// talk groups.
    NotPermitted = "not-permitted",
    /// A moderator has put this member out of the room.
    Kicked = "kicked",
    /// A moderator has put this member, or its address, out of the room for a while.
    Banned = "banned",
    /// A moderator has closed the room to newcomers.
    RoomLocked = "room-locked",
    /// More than the budget allows; what was sent is dropped, and going on ends the connection.
    TooManyMessages = "too-many-messages",
    /// Too much of the sender waits for this receiver already; what was sent to it is dropped, the
    /// connection stays.
    ReceiverBusy = "receiver-busy",
    /// More joins from this address than the budget allows; try again later.
    TooManyJoins = "too-many-joins",
    /// No peer with that id is in the room.
    UnknownPeer = "unknown-peer",
    /// One of the two peers, or the server, takes no direct links.
    RelayOnly = "relay-only",
    /// The join names another protocol version.
    UnsupportedProtocol = "unsupported-protocol",
    /// The peer does not take what is sent to it fast enough.
    SlowConsumer = "slow-consumer",
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
