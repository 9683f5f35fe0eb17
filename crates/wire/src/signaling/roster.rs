//! How a client notices that it missed something: a hash over who is in the room.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The roster at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterMark {
    /// Steps by one with each `peer-joined`, `peer-left`, `metadata`, `permissions` and `status` of
    /// the room; below 2^53.
    pub version: u64,
    /// See [`roster_hash`](super::roster_hash).
    pub hash: RosterHash,
}

/// 64 bits, on the wire as 16 lower-case hexadecimal digits because JSON numbers end at 2^53.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RosterHash(pub u64);

impl fmt::Debug for RosterHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for RosterHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for RosterHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let hash = u64::from_str_radix(&text, 16).ok().filter(|_| digits);
        hash.map(Self).ok_or_else(|| D::Error::custom("a roster hash is 16 hexadecimal digits"))
    }
}
