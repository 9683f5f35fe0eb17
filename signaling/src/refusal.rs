//! The words with which things are refused.

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
}

impl Refusal {
    /// The usual words for a code.
    pub fn of(code: ErrorCode) -> Self {
        let (message, retry_after_ms) = match &code {
            ErrorCode::NotJoined => ("Join a room first.", None),
            ErrorCode::JoinTimeout => ("No join came in time.", None),
            ErrorCode::AlreadyJoined => ("This connection has joined already; open another one.", None),
            ErrorCode::RoomFull => ("The room is full.", Some(5_000)),
            ErrorCode::ServerFull => ("The server is full.", Some(10_000)),
            ErrorCode::RoomMissing => ("Nobody is in that room.", Some(2_000)),
            ErrorCode::RoomExists => ("Somebody is in that room already.", None),
            ErrorCode::TooManyMessages => ("Too much is sent; what is over the budget is dropped.", Some(1_000)),
            ErrorCode::TooManyJoins => ("Too many joins from this address.", Some(10_000)),
            ErrorCode::UnknownPeer => ("Nobody of that id is in the room.", None),
            ErrorCode::RelayOnly => ("Direct links are not allowed between these peers.", None),
            ErrorCode::TooLarge => ("The message is too large.", None),
            ErrorCode::SlowConsumer => ("The connection takes less than it is sent.", Some(1_000)),
            ErrorCode::UnsupportedProtocol => {
                return Self {
                    message: format!("This server speaks protocol {PROTOCOL_VERSION}."),
                    code,
                    retry_after_ms: None,
                };
            }
            _ => ("Refused.", None),
        };
        Self { code, message: message.to_owned(), retry_after_ms }
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
        let Self { code, message, retry_after_ms } = self;
        ServerMessage::Error { code, message, fatal, retry_after_ms }
    }
}

impl From<MessageError> for Refusal {
    fn from(error: MessageError) -> Self {
        Self { code: error.code(), message: error.to_string(), retry_after_ms: None }
    }
}
