//! The words with which things are refused.

use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, MessageError, PROTOCOL_VERSION, ServerMessage};

/// Why something was not done: becomes an `error` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// When trying again may work.
    pub retry_after_ms: Option<u64>,
    /// Which change of metadata was refused.
    pub request: Option<u32>,
    /// Which receiver it is about.
    pub peer: Option<PeerId>,
    /// Which written message was refused, by its number on its connection.
    pub text: Option<u32>,
}

impl Refusal {
    /// The usual words for a code.
    pub fn of(code: ErrorCode) -> Self {
        let (message, retry_after_ms) = match &code {
            ErrorCode::NotJoined => ("Join a room first.", None),
            ErrorCode::JoinTimeout => ("No join came in time.", None),
            ErrorCode::AlreadyJoined => {
                ("This connection has joined already; open another one.", None)
            }
            ErrorCode::RoomFull => ("The room is full.", Some(5_000)),
            ErrorCode::ServerFull => ("The server is full.", Some(10_000)),
            ErrorCode::RoomMissing => ("No member is in that room.", Some(2_000)),
            ErrorCode::RoomExists => ("That room has members already.", None),
            ErrorCode::PasswordRequired => ("The room has a password.", None),
            ErrorCode::PasswordWrong => ("That is not the room's password.", None),
            ErrorCode::PasswordWait => {
                ("The password is not looked at yet; try again after a while.", Some(300))
            }
            ErrorCode::NotModerator => {
                ("Only a member who may moderate this room can do that: ask one.", None)
            }
            ErrorCode::NotPermitted => ("You may not write in this room.", None),
            ErrorCode::Kicked => ("A moderator has put you out of the room.", None),
            ErrorCode::Banned => {
                ("A moderator has put you, or your address, out of the room for a while.", None)
            }
            ErrorCode::RoomLocked => ("The room is closed to newcomers.", Some(10_000)),
            ErrorCode::TokenRequired => {
                ("This server asks for an access token for the room.", None)
            }
            ErrorCode::NotOwner => ("Only the room's owner may.", None),
            ErrorCode::TooManyMessages => {
                ("Too much is sent; what is over the budget is dropped.", Some(1_000))
            }
            ErrorCode::ReceiverBusy => (
                "Too much of yours waits for this receiver; what comes now is not passed on.",
                Some(1_000),
            ),
            ErrorCode::TooManyJoins => ("Too many joins from this address.", Some(10_000)),
            ErrorCode::UnknownPeer => ("No member of that id is in the room.", None),
            ErrorCode::RelayOnly => ("Direct links are not allowed between these peers.", None),
            ErrorCode::TooLarge => ("The message is too large.", None),
            ErrorCode::SlowConsumer => ("The connection takes less than it is sent.", Some(1_000)),
            ErrorCode::UnsupportedProtocol => {
                return Self {
                    message: format!("This server speaks protocol {PROTOCOL_VERSION}."),
                    code,
                    retry_after_ms: None,
                    request: None,
                    peer: None,
                    text: None,
                };
            }
            _ => ("Refused.", None),
        };
        Self {
            code,
            message: message.to_owned(),
            retry_after_ms,
            request: None,
            peer: None,
            text: None,
        }
    }

    /// The join names a password, but the room has none: who expects a private room is not let into
    /// an open one.
    pub fn no_password() -> Self {
        Self {
            message: "The room has no password.".to_owned(),
            ..Self::of(ErrorCode::PasswordWrong)
        }
    }

    /// After a wrong password, or because of one before.
    pub fn retry_after(code: ErrorCode, wait: Duration) -> Self {
        Self {
            retry_after_ms: Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            ..Self::of(code)
        }
    }

    /// The address has as many connections open as one may have.
    pub fn too_many_connections() -> Self {
        let message = "Too many connections from this address.".to_owned();
        Self { message, ..Self::of(ErrorCode::TooManyJoins) }
    }

    /// Too much of one sender waits for `peer`.
    pub fn receiver_busy(peer: PeerId) -> Self {
        Self { peer: Some(peer), ..Self::of(ErrorCode::ReceiverBusy) }
    }

    /// Too much of unfinished messages waits, and the connection's has waited longest.
    pub fn unfinished() -> Self {
        let message =
            "Too many unfinished messages wait, and this one has waited longest.".to_owned();
        Self { message, retry_after_ms: Some(10_000), ..Self::of(ErrorCode::TooLarge) }
    }

    /// A ClientState lists too many groups: `unanswered` refused ones are not answered singly.
    pub fn too_many_groups(unanswered: usize) -> Self {
        let message = format!("Too many talk groups: {unanswered} more of these were refused.");
        Self { message, ..Self::of(ErrorCode::BadField) }
    }

    /// Of one change of metadata.
    #[must_use]
    pub fn of_request(self, request: Option<u32>) -> Self {
        Self { request, ..self }
    }

    /// The sender is held in talk groups, and the text is for others.
    pub fn held() -> Self {
        let message =
            "A moderator holds you in other talk groups: this was not passed on.".to_owned();
        Self { message, ..Self::of(ErrorCode::NotPermitted) }
    }

    /// Of one written message, by its number on its connection.
    #[must_use]
    pub fn of_text(self, text: Option<u32>) -> Self {
        Self { text, ..self }
    }

    /// As a message after which the connection goes on.
    pub fn answer(self) -> ServerMessage {
        self.message_with(false)
    }

    /// As the last message of a connection.
    pub fn farewell(self) -> ServerMessage {
        self.message_with(true)
    }

    fn message_with(self, fatal: bool) -> ServerMessage {
        let Self { code, message, retry_after_ms, request, peer, text } = self;
        ServerMessage::Error { code, message, fatal, retry_after_ms, request, peer, text }
    }
}

impl From<MessageError> for Refusal {
    fn from(error: MessageError) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
            retry_after_ms: None,
            request: None,
            peer: None,
            text: None,
        }
    }
}
