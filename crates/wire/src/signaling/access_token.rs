//! An access token on its way to the server.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A token by which an issuer whom the server trusts lets a member in (PROTOCOL.md, "Access
/// tokens"). Opaque to peers. Nothing prints it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccessToken(String);

impl AccessToken {
    /// The token itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its length in bytes; at most [`crate::limits::TOKEN_BYTES`] in a message.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is empty, which is no token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for AccessToken {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for AccessToken {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for AccessToken {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.trim().into())
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_it() {
        assert_eq!(format!("{:?}", Some(AccessToken::from("e30.e30.x"))), "Some(hidden)");
    }
}
