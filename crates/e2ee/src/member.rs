//! One other member.

use std::time::Duration;

use voicemesh_wire::PeerId;

use crate::authentication::Announcement;
use crate::pair::{End, Pair};
use crate::remote_keys::RemoteKeys;

/// A restart of a member is accepted at most once per interval.
pub const RESTART_INTERVAL: Duration = Duration::from_secs(1);

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
    /// It came while newer keys than those in use were given out: it is sent those in use first.
    pub(crate) is_owed_before_switch: bool,
    /// The first epoch of which it was sent keys.
    pub(crate) given: Option<u32>,
    /// It came when the epoch had no further step: it is sent keys of the next epoch.
    pub(crate) awaits_rekey: bool,
    /// When this run took the place of another.
    pub(crate) restarted_at: Option<Duration>,
}

impl Member {
    pub(crate) fn new(announcement: Announcement) -> Self {
        Self {
            announcement,
            pair: None,
            keys: RemoteKeys::default(),
            is_owed: true,
            is_owed_before_switch: false,
            given: None,
            awaits_rekey: false,
            restarted_at: None,
        }
    }

    /// Each restart costs an agreement and a step, so a member may not ask for them without end.
    pub(crate) fn may_restart(&self, now: Duration) -> bool {
        self.restarted_at.is_none_or(|at| now >= at + RESTART_INTERVAL)
    }

    pub(crate) fn end(&self, peer: PeerId) -> End<'_> {
        End { peer, identity: &self.announcement.identity, run: self.announcement.run }
    }
}
