//! Ids, each a type so that one cannot stand for another.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One run of a room: random and never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(NonZeroU32);

impl SessionId {
    /// `None` for zero, which no session has.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number as it stands in a packet's header.
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {:08x}", self.number())
    }
}

/// A peer as a member of one session. Meaningless outside that session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u16);

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}", self.0)
    }
}

/// A machine in a room. Lives across reconnects and server restarts; see [`crate::identity`] for
/// where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerId(pub Uuid);

/// What the ids begin with that are made of a session and a client: a UUID of version 8.
const OF_CLIENT: [u8; 10] = *b"vmesh:\x80\0\x80\0";

impl PeerId {
    /// What stands for a machine where there is no room to name it: a client of one session.
    pub const fn of_client(session: SessionId, client: ClientId) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = OF_CLIENT;
        let [k, l, m, n] = session.number().to_be_bytes();
        let [o, p] = client.0.to_be_bytes();
        Self(Uuid::from_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]))
    }

    /// The session and the client, if it stands for one.
    pub fn as_client(self) -> Option<(SessionId, ClientId)> {
        let bytes = self.0.as_bytes().strip_prefix(&OF_CLIENT)?;
        let [session @ .., high, low] = <[u8; 6]>::try_from(bytes).ok()?;
        let session = SessionId::new(u32::from_be_bytes(session))?;
        Some((session, ClientId(u16::from_be_bytes([high, low]))))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.0)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The 16-bit id of a talk group's name.
///
/// ```
/// use voicemesh_wire::GroupId;
/// assert_eq!(GroupId::of("Lobby"), GroupId(22028));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u16);

impl GroupId {
    /// FNV-1a over the name's UTF-16 code units, high byte before low, folded to 16 bits
    /// (PROTOCOL.md, section 6).
    pub fn of(name: &str) -> Self {
        GroupHash::of(name).id()
    }
}

/// A name's hash while the name is being made, for a search for a name with a certain id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHash(u32);

impl GroupHash {
    /// Of a name so far.
    pub fn of(name: &str) -> Self {
        const OFFSET_BASIS: u32 = 2_166_136_261;
        name.encode_utf16().fold(Self(OFFSET_BASIS), Self::then)
    }

    /// Of the same name with one more UTF-16 code unit.
    #[must_use]
    pub const fn then(self, unit: u16) -> Self {
        const PRIME: u32 = 16_777_619;
        let [high, low] = unit.to_be_bytes();
        Self(((self.0 ^ high as u32).wrapping_mul(PRIME) ^ low as u32).wrapping_mul(PRIME))
    }

    /// The id of the name so far.
    pub const fn id(self) -> GroupId {
        let folded =
            (self.0 >> 16).wrapping_mul(5791).wrapping_add((self.0 & 0xFFFF).wrapping_mul(7639));
        GroupId((folded & 0xFFFF) as u16)
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// proves: D-17
    #[test]
    fn group_ids_match_the_published_vectors() {
        for (name, id) in [("Lobby", 22028), ("Voice", 58579), ("Text", 22666), ("", 27095)] {
            assert_eq!(GroupId::of(name), GroupId(id), "{name:?}");
        }
    }

    #[test]
    fn no_session_has_number_zero() {
        assert_eq!(SessionId::new(0), None);
        assert_eq!(SessionId::new(7).map(SessionId::number), Some(7));
    }

    #[test]
    fn an_id_made_of_a_session_and_a_client_gives_both_back() {
        let session = SessionId::new(0x0102_0304).unwrap();
        let peer = PeerId::of_client(session, ClientId(0x0506));
        assert_eq!(peer.to_string(), "766d6573-683a-8000-8000-010203040506");
        assert_eq!(peer.as_client(), Some((session, ClientId(0x0506))));
        for other in [Uuid::nil(), Uuid::from_u128(peer.0.as_u128() ^ 1 << 127)] {
            assert_eq!(PeerId(other).as_client(), None);
        }
    }
}
