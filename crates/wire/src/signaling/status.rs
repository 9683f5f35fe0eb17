//! How a member takes part, as its own program says.

use serde::{Deserialize, Serialize};

/// How a member takes part in the room, as its program says. It is shown to the others and decides
/// nothing: whether a moderator has muted the member, its [`Permissions`](crate::Permissions) say.
/// A missing field is `false`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberStatus {
    /// Its microphone is muted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub muted: bool,
    /// It hears no one: its user chose so, or its speaker is gone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deafened: bool,
    /// It has no microphone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub listening_only: bool,
    /// It keeps a recording of the room.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recording: bool,
}

impl MemberStatus {
    /// Whether every field is `false`.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
