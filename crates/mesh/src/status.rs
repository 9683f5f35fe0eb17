//! The status of this peer that the others see: at most four times a second, the newest each time.

use std::time::Duration;

use voicemesh_common::NextTimer;
use voicemesh_wire::signaling::MemberStatus;

/// The server passes no more on.
const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub(super) struct OwnStatus {
    /// As it is.
    now: MemberStatus,
    /// As the server has it, from the join or a later message.
    said: MemberStatus,
    /// As the last join says, which may still be refused.
    in_join: MemberStatus,
    said_at: Option<Duration>,
}

impl OwnStatus {
    /// As it is from now on.
    pub(super) fn set(&mut self, status: MemberStatus) {
        self.now = status;
    }

    pub(super) fn get(&self) -> MemberStatus {
        self.now
    }

    /// What a join says.
    pub(super) fn join(&mut self) -> MemberStatus {
        self.in_join = self.now;
        self.now
    }

    /// The join was accepted. What was said on a connection before it no longer counts.
    pub(super) fn joined(&mut self) {
        self.said = self.in_join;
    }

    pub(super) fn timers(&self, next: &mut NextTimer) {
        if self.now != self.said {
            next.at(self.said_at.map(|at| at + INTERVAL));
        }
    }

    /// What is to be said to the server now, which will be.
    pub(super) fn due(&mut self, now: Duration) -> Option<MemberStatus> {
        let is_due = self.now != self.said && self.said_at.is_none_or(|at| now >= at + INTERVAL);
        is_due.then(|| {
            (self.said, self.said_at) = (self.now, Some(now));
            self.now
        })
    }
}
