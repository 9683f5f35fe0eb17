//! What the server's operator sees of a room, and does in it.

use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, PeerInfo};

use super::Room;
use super::bans::BanInfo;
use crate::outbox::Outbox;
use crate::refusal::Refusal;

impl Room {
    /// Everyone in the room, in order of arrival, with the subject of its access token.
    pub fn members(&self) -> Vec<(PeerInfo, Option<String>)> {
        let subject = |connection| self.grants.get(connection).and_then(|grant| grant.subject.clone());
        let mut members: Vec<_> =
            self.members.iter().map(|(connection, member)| (member.clone(), subject(connection))).collect();
        members.sort_unstable_by_key(|(member, _)| member.order);
        members
    }

    /// The bans that hold now; the one that ends first comes first.
    pub fn bans(&self, now: Duration) -> Vec<BanInfo> {
        self.moderation.bans.list(now)
    }

    /// Ends a ban. False if there is none.
    pub fn unban(&mut self, now: Duration, peer: PeerId) -> bool {
        self.moderation.bans.end(now, peer)
    }

    /// Puts a member out. False if it is not here.
    pub fn kick(&mut self, now: Duration, peer: PeerId, out: &mut impl Outbox) -> bool {
        let Some(connection) = self.connections.get(&peer).copied() else { return false };
        self.put_out(now, connection, Refusal::of(ErrorCode::Kicked), out);
        true
    }
}
