//! What a server gives a member so that it can come back as what it was.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A member's ticket: sealed by the server, opaque to everyone else. Nothing prints it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(String);

impl Ticket {
    /// As it is on the wire: base64url without padding (RFC 4648 §5).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its length in bytes; at most [`crate::limits::TICKET_BYTES`] in a message.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Ticket {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_it() {
        assert_eq!(format!("{:?}", Some(Ticket::from("AAEC".to_owned()))), "Some(hidden)");
    }
}
