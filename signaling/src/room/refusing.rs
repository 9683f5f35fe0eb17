//! What members are refused, and who is put out.

use std::time::Duration;

use voicemesh_wire::PeerId;
use voicemesh_wire::signaling::{ErrorCode, LeaveReason};

use super::Room;
use super::lock::Shown;
use crate::outbox::{CloseReason, ConnectionId, Outbox, Purpose, Text};
use crate::refusal::Refusal;

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

    /// The password that a joiner's ticket brings. Those who are in have not shown it, or were there before the owner came back.
    pub(super) fn take_password(&mut self, now: Duration, joiner: PeerId, shown: Shown, out: &mut impl Outbox) {
        let (code, lock) = match shown {
            Shown::Restores(lock) => (ErrorCode::PasswordRequired, Some(lock)),
            Shown::Ends => (ErrorCode::Kicked, None),
            Shown::Nothing | Shown::Current => return,
        };
        self.put_out_others(now, joiner, &code, out);
        self.lock = lock;
    }

    fn put_out_others(&mut self, now: Duration, than: PeerId, code: &ErrorCode, out: &mut impl Outbox) {
        let others: Vec<ConnectionId> =
            self.members.iter().filter(|(_, member)| member.peer != than).map(|(connection, _)| *connection).collect();
        for connection in others {
            self.put_out(now, connection, Refusal::of(code.clone()), out);
        }
    }
}
