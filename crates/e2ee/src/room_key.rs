//! The key of a room, as links carry it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::RoomKeyError;

/// 128 random bits that the members of a room share by its link and no server ever sees.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RoomKey([u8; 16]);

impl RoomKey {
    /// A new key from randomness of the system.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// Reads what `k=` has in the fragment of a link: 22 characters of base64url without padding
    /// (RFC 4648 §5).
    ///
    /// # Errors
    /// Anything else, also a last character that has bits beyond the 128. The error does not
    /// contain the text.
    pub fn from_text(text: &str) -> Result<Self, RoomKeyError> {
        let mut key = Self([0; 16]);
        match URL_SAFE_NO_PAD.decode_slice(text, &mut key.0) {
            Ok(16) => Ok(key),
            Ok(_) | Err(_) => Err(RoomKeyError),
        }
    }

    /// The form in links. A secret: it belongs into no log, title or error.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoomKey(hidden)")
    }
}
