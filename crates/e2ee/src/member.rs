//! One other member.

use std::time::Duration;

use voicemesh_wire::PeerId;

use crate::authentication::Announcement;
use crate::pair::{End, Pair};
use crate::remote_keys::RemoteKeys;

/// A restart of a member is accepted at most once per interval …
pub const RESTART_INTERVAL: Duration = Duration::from_secs(1);
/// … and this many of them at once: a server lets a peer join as often (PROTOCOL.md, section 11), so
/// that programs that join for a moment are read.
pub const RESTARTS_AT_ONCE: u32 = 20;

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
    /// When its restarts will have had an interval each.
    pub(crate) restarts_until: Duration,
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
            restarts_until: Duration::ZERO,
        }
    }

    /// Each restart costs an agreement and a step, so a member may not ask for them without end.
    pub(crate) fn may_restart(&self, now: Duration) -> bool {
        self.restarts_until + RESTART_INTERVAL <= now + RESTART_INTERVAL * RESTARTS_AT_ONCE
    }

    /// What [`Member::restarts_until`] is for the run that takes the place of this one.
    pub(crate) fn restarted(&self, now: Duration) -> Duration {
        self.restarts_until.max(now) + RESTART_INTERVAL
    }

    pub(crate) fn end(&self, peer: PeerId) -> End<'_> {
        End { peer, identity: &self.announcement.identity, run: self.announcement.run }
    }
}
