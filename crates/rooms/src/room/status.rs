//! How members take part, as they say themselves: passed on at a limited rate, the newest first and
//! alone.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{MemberStatus, ServerMessage};

use super::members::Members;
use crate::output::{ConnectionId, Purpose, RoomOutput};

/// The others are sent a member's status at most this often.
const INTERVAL: Duration = Duration::from_millis(250);

/// When each member's status was last sent to the others, and the one that waits. Holds members
/// only.
#[derive(Debug, Default)]
pub(super) struct Statuses(BTreeMap<PeerId, LastSent>);

#[derive(Clone, Copy, Debug)]
struct LastSent {
    at: Duration,
    /// Is sent when the interval is over, in place of all that came before it.
    next: Option<MemberStatus>,
}

impl Statuses {
    pub(super) fn forget(&mut self, peer: PeerId) {
        self.0.remove(&peer);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A member takes part like this from now on.
    pub(super) fn take(
        &mut self,
        now: Duration,
        members: &mut Members,
        from: ConnectionId,
        status: MemberStatus,
        out: &mut impl RoomOutput,
    ) {
        let Some(peer) = members.peer_of(from) else { return };
        if let Some(last) = self.0.get_mut(&peer) {
            let is_early = now < last.at + INTERVAL;
            // What waited is older than this one.
            last.next = is_early.then_some(status);
            if is_early {
                return;
            }
        }
        self.send(now, members, peer, status, out);
    }

    /// Sends the statuses that waited and whose time has come.
    pub(super) fn send_due(
        &mut self,
        now: Duration,
        members: &mut Members,
        out: &mut impl RoomOutput,
    ) {
        let over = self.0.iter_mut().filter(|(_, last)| now >= last.at + INTERVAL);
        let due: Vec<_> =
            over.filter_map(|(peer, last)| Some((*peer, last.next.take()?))).collect();
        for (peer, status) in due {
            self.send(now, members, peer, status, out);
        }
    }

    fn send(
        &mut self,
        now: Duration,
        members: &mut Members,
        peer: PeerId,
        status: MemberStatus,
        out: &mut impl RoomOutput,
    ) {
        let member = members.connection_of(peer).and_then(|connection| members.get_mut(connection));
        let Some(member) = member.filter(|member| member.status != status) else { return };
        member.status = status;
        self.0.insert(peer, LastSent { at: now, next: None });
        members.changed();
        members.broadcast(&ServerMessage::Status { peer, status }, Purpose::Update, out);
    }
}
