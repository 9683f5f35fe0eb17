//! Why text is not a message.

use thiserror::Error;

use super::ErrorCode;

/// Why text is not a message, or not one that may be acted on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Longer than [`crate::limits::JSON_MESSAGE_BYTES`]; not looked into.
    #[error("{bytes} bytes are more than a message may have")]
    TooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// Not JSON, or not an object.
    #[error("not a JSON object: {0}")]
    BadJson(String),
    /// A message of another version, perhaps. A client ignores it.
    #[error("unknown message type {0:?}")]
    UnknownType(String),
    /// A field is missing, of the wrong kind, or out of bounds.
    #[error("bad field: {0}")]
    BadField(String),
    /// The display name is no [`DisplayName`](crate::DisplayName).
    #[error("a name has at most 64 bytes, something that can be seen, and no control characters")]
    BadName,
    /// The room's name is no [`RoomName`](crate::RoomName).
    #[error("a room's name has at most 256 bytes, and something that can be seen")]
    BadRoom,
    /// More than [`crate::limits::METADATA_KEYS`] keys or [`crate::limits::METADATA_BYTES`] bytes.
    #[error("metadata has at most 32 keys and 8192 bytes, 16384 as JSON")]
    BadMetadata,
    /// The password is longer than [`crate::limits::PASSWORD_BYTES`].
    #[error("a password has at most 128 bytes")]
    BadPassword,
}

impl MessageError {
    /// The code with which a server answers.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::BadJson(_) => ErrorCode::BadJson,
            Self::UnknownType(_) => ErrorCode::UnknownType,
            Self::BadField(_) => ErrorCode::BadField,
            Self::BadName => ErrorCode::BadName,
            Self::BadRoom => ErrorCode::BadRoom,
            Self::BadMetadata => ErrorCode::BadMetadata,
            Self::BadPassword => ErrorCode::BadField,
        }
    }
}
