//! What members and the room publish.

use voicemesh_wire::signaling::{ErrorCode, MetadataChanges, ServerMessage, apply_metadata};

use super::Room;
use crate::outbox::{ConnectionId, Outbox, Purpose, Text};
use crate::refusal::Refusal;

impl Room {
    pub(super) fn set_metadata(
        &mut self,
        from: ConnectionId,
        request: Option<u32>,
        set: MetadataChanges,
        out: &mut impl Outbox,
    ) -> Result<(), Refusal> {
        let Some(member) = self.members.get_mut(&from) else { return Ok(()) };
        member.metadata = apply_metadata(&member.metadata, set)?;
        let message = ServerMessage::Metadata { peer: member.peer, metadata: member.metadata.clone() };
        self.version += 1;
        self.broadcast(&message, Purpose::Update, out);
        confirm(from, request, out);
        Ok(())
    }

    pub(super) fn set_room_metadata(
        &mut self,
        from: ConnectionId,
        request: Option<u32>,
        set: MetadataChanges,
        out: &mut impl Outbox,
    ) -> Result<(), Refusal> {
        let Some(member) = self.members.get(&from) else { return Ok(()) };
        if self.owner() != Some(member.peer) {
            return Err(Refusal::of(ErrorCode::NotOwner));
        }
        self.metadata = apply_metadata(&self.metadata, set)?;
        self.broadcast(&self.room_metadata(), Purpose::Update, out);
        confirm(from, request, out);
        Ok(())
    }
}

fn confirm(to: ConnectionId, request: Option<u32>, out: &mut impl Outbox) {
    if let Some(request) = request {
        out.text(to, &Text::from(&ServerMessage::MetadataSet { request }), Purpose::Answer);
    }
}
