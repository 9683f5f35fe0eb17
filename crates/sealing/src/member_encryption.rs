//! Encryption state of one member.

use voicemesh_e2ee::AnnouncementError;

/// Whether what passes between this peer and a member is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberEncryption {
    /// It can encrypt, and its keys have not come yet.
    Waiting,
    /// What it says is opened with its keys, and what is sent to it is sealed. Whether the keys of
    /// this peer have reached it is not known.
    Encrypted {
        /// The member has the room's key, so that no server can be in between. Otherwise only
        /// comparing the safety code tells.
        verified: bool,
    },
    /// Its program cannot, and never did: it is sent nothing that is said here.
    Unable,
    /// Its program cannot, and this peer lets the server hear what is said to it: it is sent speech
    /// as it is, and nothing else. Never in a room with a key.
    Unencrypted,
    /// It did in this stay, and does not now, as the server says: it is sent nothing, and what comes
    /// from it unsealed is not taken.
    Stopped,
    /// It encrypts, and this peer does not: it is heard here only if it allows that.
    OnlyTheirs {
        /// With a room's key, and then it takes nothing that comes from here either. Otherwise it
        /// hears this peer.
        has_room_key: bool,
    },
    /// What it announces was refused: it is sent nothing, unless an earlier announcement was
    /// accepted. What was accepted then goes on, sealed with those keys.
    Refused(AnnouncementError),
}

impl MemberEncryption {
    /// Whether the member does not receive what is said here: it has no keys, and none are on their
    /// way. One that shows another identity than before may still have that one's.
    pub fn is_left_out(self) -> bool {
        match self {
            Self::Unable | Self::Stopped | Self::OnlyTheirs { has_room_key: true } => true,
            Self::Refused(error) => error != AnnouncementError::IdentityChanged,
            Self::Waiting
            | Self::Encrypted { .. }
            | Self::Unencrypted
            | Self::OnlyTheirs { has_room_key: false } => false,
        }
    }

    /// Whether texts of this peer reach the member now or soon.
    pub fn reads(self) -> bool {
        !self.is_left_out() && self != Self::Unencrypted
    }

    /// For programs: `waiting`, `encrypted`, `verified`, `unable`, `unencrypted`, `stopped`,
    /// `only-theirs` or `refused`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Encrypted { verified: false } => "encrypted",
            Self::Encrypted { verified: true } => "verified",
            Self::Unable => "unable",
            Self::Unencrypted => "unencrypted",
            Self::Stopped => "stopped",
            Self::OnlyTheirs { .. } => "only-theirs",
            Self::Refused(_) => "refused",
        }
    }
}
