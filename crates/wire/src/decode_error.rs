//! Why bytes are not a packet.

/// Why bytes are not a packet. The receiver drops the packet and counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The magic number is missing: not our traffic.
    #[error("not a session packet")]
    NotOurs,
    /// No such type. Ignore it: the sender may be newer.
    #[error("unknown packet type {0}")]
    UnknownKind(u8),
    /// The packet ends inside a field.
    #[error("the packet ends too early")]
    Truncated,
    /// The packet goes on after its last field.
    #[error("bytes after the end of the packet")]
    TrailingBytes,
    /// A text or list is over its limit (see [`crate::limits`]).
    #[error("a field is over its limit")]
    TooLong,
    /// Text is not UTF-8.
    #[error("text is not UTF-8")]
    NotText,
    /// A field has a value that means nothing.
    #[error("a field has a value that means nothing")]
    BadValue,
}
