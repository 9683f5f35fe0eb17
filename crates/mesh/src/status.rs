//! The status of this peer that the others see: at most four times a second, the newest each time.

use std::time::Duration;

use voicemesh_wire::signaling::{ClientMessage, MemberStatus};

use super::Mesh;

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

impl Mesh {
    /// How this peer takes part from now on. Call it as often as you like.
    pub fn set_status(&mut self, now: Duration, status: MemberStatus) {
        self.status.now = status;
        self.tick_status(now);
    }

    /// How this peer takes part.
    pub fn status(&self) -> MemberStatus {
        self.status.now
    }

    /// What a join says.
    pub(super) fn status_to_join(&mut self) -> MemberStatus {
        self.status.in_join = self.status.now;
        self.status.now
    }

    /// The join was accepted. What was said on a connection before it no longer counts.
    pub(super) fn status_joined(&mut self, now: Duration) {
        self.status.said = self.status.in_join;
        self.tick_status(now);
    }

    pub(super) fn tick_status(&mut self, now: Duration) {
        let OwnStatus { now: status, said, said_at, .. } = self.status;
        if status != said && said_at.is_none_or(|at| now >= at + INTERVAL) {
            self.say_status(now);
        }
    }

    fn say_status(&mut self, now: Duration) {
        if self.socket.is_joined() && self.server_takes_status {
            let status = self.status.now;
            (self.status.said, self.status.said_at) = (status, Some(now));
            self.say(&ClientMessage::Status(status));
        }
    }
}
