//! One other member.

use voicemesh_wire::PeerId;

use crate::authentication::Announcement;
use crate::pair::{End, Pair};
use crate::remote_keys::RemoteKeys;

/// What an announcement changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// A member that was not here.
    Joined,
    /// A member that was here in another run: its program was started again.
    Restarted,
    /// The member as it is known.
    Unchanged,
}

/// What a package changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageEffect {
    /// Keys of a new epoch.
    NewKeys,
    /// The keys that are known.
    Unchanged,
}

pub(crate) struct Member {
    pub(crate) announcement: Announcement,
    pub(crate) pair: Option<Box<Pair>>,
    pub(crate) keys: RemoteKeys,
    /// It has not been sent the newest keys of this member.
    pub(crate) is_owed: bool,
}

impl Member {
    pub(crate) fn new(announcement: Announcement) -> Self {
        Self { announcement, pair: None, keys: RemoteKeys::default(), is_owed: true }
    }

    pub(crate) fn end(&self, peer: PeerId) -> End<'_> {
        End { peer, identity: &self.announcement.identity, run: self.announcement.run }
    }
}
