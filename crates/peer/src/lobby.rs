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
    #[error("{0}; take the newest one of the peer that it leads to")]
    Token(#[from] TokenError),
    /// The engine has more to do than it manages; try again in the next frame.
    #[error("too many commands wait; try again in the next frame")]
    Busy,
    /// This peer has left.
    #[error("this peer has left the room; join it again")]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::assert_says_what_next;

    #[test]
    fn each_cause_has_a_sentence_with_the_next_step() {
        let after = |error: Option<ConnectError>| {
            Some(match error {
                None => ConnectError::Token(TokenError::Malformed),
                Some(ConnectError::Token(TokenError::Malformed)) => TokenError::Foreign.into(),
                Some(ConnectError::Token(TokenError::Foreign)) => ConnectError::Busy,
                Some(ConnectError::Token(_)) => ConnectError::Busy,
                Some(ConnectError::Busy) => ConnectError::Left,
                Some(ConnectError::Left) => return None,
            })
        };
        for error in std::iter::successors(after(None), |error| after(Some(*error))) {
            let step = match error {
                ConnectError::Token(_) => "; take the newest one",
                ConnectError::Busy => "; try again in the next frame",
                ConnectError::Left => "; join it again",
            };
            assert_says_what_next(&error, step);
        }
    }
}
