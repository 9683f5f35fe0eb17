//! The ids of DESIGN §1, each its own type so that one cannot stand for another.

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

/// A machine in a room. Lives across reconnects and server restarts; see [`crate::identity`] for where it comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerId(pub Uuid);

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
    /// FNV-1a over the name's UTF-16 code units, high byte before low, folded to 16 bits (DESIGN §5; seed 001, "Room").
    pub fn of(name: &str) -> Self {
        const OFFSET_BASIS: u32 = 2_166_136_261;
        const PRIME: u32 = 16_777_619;
        let mut hash = OFFSET_BASIS;
        for unit in name.encode_utf16() {
            for byte in unit.to_be_bytes() {
                hash = (hash ^ u32::from(byte)).wrapping_mul(PRIME);
            }
        }
        let folded = (hash >> 16).wrapping_mul(5791).wrapping_add((hash & 0xFFFF).wrapping_mul(7639));
        Self((folded & 0xFFFF) as u16)
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
}
