//! Where a moderator has put this peer, and holds it.

use std::time::Duration;

use voicemesh_wire::PeerId;

use super::Engine;
use crate::event::Event;

impl Engine {
    /// Listens and speaks to these groups only.
    pub(super) fn move_to(&mut self, now: Duration, groups: &[String]) {
        let left: Vec<String> = self
            .comms
            .groups()
            .filter(|group| !groups.iter().any(|wanted| wanted == group))
            .map(str::to_owned)
            .collect();
        let steps = left.into_iter().map(|group| self.leave_group(now, group)).collect::<Vec<_>>();
        let joined = groups.iter().map(|group| self.join_group(now, group.clone())).collect::<Vec<_>>();
        for error in steps.into_iter().chain(joined).filter_map(Result::err) {
            tracing::debug!(%error, "a move to other groups was not made whole");
        }
    }

    /// A member, or this peer itself, is held in these groups. A program that was started anew begins elsewhere.
    pub(super) fn held_in(&mut self, now: Duration, peer: PeerId, groups: Vec<String>) -> Event {
        if peer == self.comms.network().you() && !groups.is_empty() {
            self.move_to(now, &groups);
        }
        Event::HeldIn { peer, groups }
    }
}
