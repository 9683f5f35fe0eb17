//! What members are refused, and who is put out.

use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, LeaveReason};

use super::Room;
use crate::outbox::{CloseReason, ConnectionId, Outbox, Purpose, Text};
use crate::refusal::Refusal;

/// A sender gets `receiver-busy` about one receiver at most this often.
const BUSY_INTERVAL: Duration = Duration::from_secs(1);

/// Answers a member with an error; its connection goes on.
pub(super) fn answer(to: ConnectionId, refusal: Refusal, out: &mut impl Outbox) {
    out.count_refusal(&refusal.code);
    out.text(to, &Text::from(&refusal.answer()), Purpose::Answer);
}

impl Room {
    pub(super) fn put_out(&mut self, now: Duration, connection: ConnectionId, refusal: Refusal, out: &mut impl Outbox) {
        self.leave(now, connection, LeaveReason::Kicked, out);
        out.count_refusal(&refusal.code);
        out.text(connection, &Text::from(&refusal.farewell()), Purpose::Answer);
        out.close(connection, CloseReason::Refused);
    }

    /// The room has another password than that which those in it have shown.
    pub(super) fn put_out_others(&mut self, now: Duration, than: PeerId, out: &mut impl Outbox) {
        let others: Vec<ConnectionId> =
            self.members.iter().filter(|(_, member)| member.peer != than).map(|(connection, _)| *connection).collect();
        for connection in others {
            self.put_out(now, connection, Refusal::of(ErrorCode::PasswordRequired), out);
        }
    }

    /// Tells a sender, once in a while, that something was not passed on.
    pub(super) fn tell_busy(
        &mut self,
        now: Duration,
        from: ConnectionId,
        receiver: ConnectionId,
        out: &mut impl Outbox,
    ) {
        let Some(peer) = self.members.get(&receiver).map(|member| member.peer) else { return };
        let told = self.told_busy.get(&(from, receiver));
        if told.is_none_or(|at| now >= *at + BUSY_INTERVAL) {
            self.told_busy.insert((from, receiver), now);
            answer(from, Refusal::receiver_busy(peer), out);
        }
    }
}
