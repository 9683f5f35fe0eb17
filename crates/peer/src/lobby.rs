//! The room as a lobby: metadata as transactions, and connections to peers by their tokens.

use voicemesh_mesh::TokenError;
use voicemesh_wire::signaling::MetadataChanges;

/// Changes of metadata that are made together or not at all.
///
/// ```
/// let seat = voicemesh::MetadataTransaction::new().set("seat", "3").remove("ready");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataTransaction(pub(crate) MetadataChanges);

/// Why a call about the lobby did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The token does not lead to that peer.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The engine has more to do than it manages; try again in the next frame.
    #[error("too many commands wait")]
    Busy,
    /// This peer has left.
    #[error("this peer has left the room")]
    Left,
}

impl MetadataTransaction {
    /// One that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), Some(value.into()));
        self
    }

    /// Removes a key.
    #[must_use]
    pub fn remove(mut self, key: impl Into<String>) -> Self {
        self.0.insert(key.into(), None);
        self
    }
}
