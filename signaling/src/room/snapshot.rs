//! The whole state for one member, part by part, so that no more of it than one part waits for a slow receiver.
//!
//! Each part is made from the state at its own time. Changes in between are sent to the member behind the last part; each
//! of them says what holds from then on, so that those which a part contains already change nothing.

use voicemesh_wire::ClientId;
use voicemesh_wire::signaling::{PeerInfo, ServerMessage};

use super::Room;
use super::packets::Packets;
use crate::outbox::{ConnectionId, Outbox, Purpose, Text};

/// What is next of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// The roster.
    #[default]
    Roster,
    /// The room's metadata, and whether it is locked.
    Room,
    /// The response to a handshake.
    Session,
    /// The session state of these members, the last one first.
    Members(Vec<ClientId>),
}

impl Room {
    /// Sends a member one part of everything as it is now: the roster, the room's metadata, and who listens to what. Gives
    /// the part that follows. A mailbox asks for it in place of updates that waited too long.
    pub fn refresh(&mut self, to: ConnectionId, part: Part, out: &mut impl Outbox) -> Option<Part> {
        if !self.members.contains_key(&to) {
            return None;
        }
        match part {
            Part::Roster => {
                self.send_roster(to, out);
                Some(Part::Room)
            }
            Part::Room => {
                out.text(to, &Text::from(&self.room_metadata()), Purpose::Snapshot);
                let locked = self.moderation.is_locked();
                out.text(to, &Text::from(&ServerMessage::Locked { locked }), Purpose::Snapshot);
                Some(Part::Session)
            }
            Part::Session => {
                let mut members = self.session.refresh(to, &mut Packets::of_server(out));
                members.reverse();
                (!members.is_empty()).then_some(Part::Members(members))
            }
            Part::Members(mut members) => {
                let next = members.pop()?;
                self.session.refresh_member(to, next, &mut Packets::of_server(out));
                (!members.is_empty()).then_some(Part::Members(members))
            }
        }
    }

    pub(super) fn send_roster(&self, to: ConnectionId, out: &mut impl Outbox) {
        let mut peers: Vec<PeerInfo> = self.members.values().cloned().collect();
        peers.sort_unstable_by_key(|member| member.order);
        out.text(to, &Text::from(&ServerMessage::Roster { mark: self.mark(), peers }), Purpose::Snapshot);
    }
}
