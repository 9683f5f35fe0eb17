//! What the operator's own requests look at and do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use voicemesh_wire::signaling::PeerInfo;
use voicemesh_wire::{PeerId, RoomName};

use super::{Hub, RoomCell, lock, send_away};
use crate::room::BanInfo;

impl Hub {
    /// Rooms with members, and how many.
    pub(in crate::shell) fn room_sizes(&self) -> Vec<(String, usize)> {
        let rooms: Vec<_> =
            lock(&self.rooms).iter().map(|(name, cell)| (name.as_str().to_owned(), Arc::downgrade(cell))).collect();
        let sizes =
            rooms.into_iter().filter_map(|(name, cell)| Some((name, lock(&cell.upgrade()?.occupied).room.len())));
        let mut sizes: Vec<_> = sizes.filter(|(_, members)| *members > 0).collect();
        sizes.sort_unstable();
        sizes
    }

    fn room(&self, name: &str) -> Option<Arc<RoomCell>> {
        lock(&self.rooms).get(&RoomName::parse(name).ok()?).map(Arc::clone)
    }

    pub(in crate::shell) fn members_of(&self, room: &str) -> Option<Vec<(PeerInfo, Option<String>)>> {
        let cell = self.room(room)?;
        let members = lock(&cell.occupied).room.members();
        Some(members)
    }

    /// `None` if there is no such room.
    pub(in crate::shell) fn kick(&self, room: &str, peer: PeerId) -> Option<bool> {
        let cell = self.room(room)?;
        let now = self.now();
        Some(lock(&cell.occupied).with(self, now, |room, out| room.kick(now, peer, out)))
    }

    /// `None` if there is no such room.
    pub(in crate::shell) fn bans_of(&self, room: &str) -> Option<Vec<BanInfo>> {
        let now = self.now();
        if let Some(cell) = self.room(room) {
            let bans = lock(&cell.occupied).room.bans(now);
            return Some(bans);
        }
        lock(&self.kept_bans).with(&RoomName::parse(room).ok()?, |bans| bans.list(now))
    }

    /// `None` if there is no such room.
    pub(in crate::shell) fn unban(&self, room: &str, peer: PeerId) -> Option<bool> {
        let now = self.now();
        if let Some(cell) = self.room(room) {
            let done = lock(&cell.occupied).room.unban(now, peer);
            return Some(done);
        }
        lock(&self.kept_bans).with(&RoomName::parse(room).ok()?, |bans| bans.end(now, peer))
    }

    /// No more joins; everyone is asked to go, and to come back at times spread evenly over `within`. Gives how many.
    pub(in crate::shell) fn drain(&self, within: Duration) -> usize {
        self.draining.store(true, Ordering::SeqCst);
        let now = self.now();
        let mailboxes = lock(&self.mailboxes);
        let count = mailboxes.len();
        for (number, mailbox) in (0_u32..).zip(mailboxes.values()) {
            let retry_after = within * number / u32::try_from(count).unwrap_or(u32::MAX);
            send_away(now, mailbox, u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX));
        }
        count
    }
}
