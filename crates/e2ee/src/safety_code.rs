//! What people compare to know that no other is in between.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::derive::{SAFETY_CODE, length};
use crate::identity::IdentityKey;
use crate::room_key::RoomKey;

/// Times that the hash is computed. A server in the middle looks for two sets of keys with one
/// code, of 10³⁰: this makes each try some thousand times dearer.
const ROUNDS: usize = 4096;

/// 30 digits that are the same for all members if they hold the same identity keys and the same
/// room key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SafetyCode([u32; 6]);

impl SafetyCode {
    /// Of the identity keys of everyone in the room, oneself included, in any order.
    pub(crate) fn of(
        room: &str,
        room_key: Option<&RoomKey>,
        mut identities: Vec<IdentityKey>,
    ) -> Self {
        identities.sort_unstable();
        let mut hash = Sha256::new();
        hash.update(SAFETY_CODE);
        hash.update(length(room));
        hash.update(room);
        match room_key {
            Some(key) => {
                hash.update([1]);
                hash.update(key.bytes());
            }
            None => hash.update([0]),
        }
        identities.iter().for_each(|identity| hash.update(identity.0));
        let mut digest = hash.finalize();
        for _ in 1..ROUNDS {
            digest = Sha256::digest(digest);
        }
        let mut groups = [0; 6];
        for (group, bytes) in groups.iter_mut().zip(digest.chunks_exact(5)) {
            let number = bytes.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
            *group = (number % 100_000) as u32;
        }
        Self(groups)
    }
}

/// Six groups of five digits.
impl fmt::Display for SafetyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:05}")?;
        rest.iter().try_for_each(|group| write!(f, " {group:05}"))
    }
}

impl fmt::Debug for SafetyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "safety code {self}")
    }
}
