//! What members and the room publish, sealed as text for everyone who has the room's key, whenever
//! they come (PROTOCOL.md, section 18, "Names and metadata").

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use voicemesh_wire::PeerId;
use voicemesh_wire::sealed_state::SEALED_VALUE_PREFIX;

use crate::error::{OpenError, SealError};
use crate::ring::KeyRing;

/// Where a value is published. It is authenticated: a value that was sealed for one key of one
/// member opens for no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published<'a> {
    /// In the room's metadata, under this key.
    Room(&'a str),
    /// In a member's metadata, under this key.
    Member(PeerId, &'a str),
}

impl Published<'_> {
    /// The associated data of [`KeyRing::seal_room_state`]: a byte for whose it is, the member's id,
    /// the key.
    pub fn associated(self) -> Vec<u8> {
        match self {
            Self::Room(key) => [&[0], key.as_bytes()].concat(),
            Self::Member(peer, key) => {
                [&[1], peer.0.as_bytes().as_slice(), key.as_bytes()].concat()
            }
        }
    }
}

impl KeyRing {
    /// Seals a value that is published there, as text.
    ///
    /// # Errors
    /// The room has no key.
    pub fn seal_published(
        &mut self,
        place: Published<'_>,
        plain: &[u8],
    ) -> Result<String, SealError> {
        let mut sealed = Vec::new();
        self.seal_room_state(&place.associated(), plain, &mut sealed)?;
        let mut text = SEALED_VALUE_PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(sealed, &mut text);
        Ok(text)
    }

    /// Opens what is published there. A server can bring back an earlier value: nothing here tells
    /// it from the present one.
    ///
    /// # Errors
    /// It was not sealed for this place with the room's key, or the room has none.
    pub fn open_published(
        &mut self,
        place: Published<'_>,
        text: &str,
    ) -> Result<Vec<u8>, OpenError> {
        let sealed = text.strip_prefix(SEALED_VALUE_PREFIX).ok_or(OpenError::Malformed)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| OpenError::Malformed)?;
        let mut plain = Vec::new();
        self.open_room_state(&place.associated(), &sealed, &mut plain)?;
        Ok(plain)
    }
}
