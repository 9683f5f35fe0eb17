//! Changes that the server answers once: their numbers, and why one failed.

use std::time::Duration;

use voicemesh_wire::signaling::ErrorCode;

/// A server that has not answered by then does not number its answers.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// One change of metadata, by the number its asker drew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u64);

/// Whose metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataScope {
    /// One's own.
    Own,
    /// The room's; only its owner may.
    Room,
}

/// Why a transaction changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionError {
    /// For programs: what the server said, or `no-answer`, `server-away`, `busy` or `left`.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

impl TransactionError {
    pub(super) fn ours(code: &str, message: &str) -> Self {
        Self { code: ErrorCode::Other(code.to_owned()), message: message.to_owned() }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::BadMetadata, message: message.into() }
    }
}
