//! Decisions about other members: sent once, answered once.

use std::collections::BTreeMap;
use std::time::Duration;

use voicemesh_wire::signaling::{ClientMessage, Moderation};

use super::lobby::{ANSWER_LIMIT, TransactionError, TransactionId};
use super::{Mesh, MeshEvent};

/// Decisions that are not answered yet. One more is refused at once.
const WAITING: usize = 64;

/// Decisions on their way, by the number of the request.
#[derive(Debug, Default)]
pub(super) struct Decisions(BTreeMap<u32, (TransactionId, Duration)>);

impl Mesh {
    /// Decides about a member or the room. [`MeshEvent::TransactionDone`] follows; what the connection's end left without an
    /// answer has failed, and is not sent again.
    pub fn moderate(&mut self, now: Duration, id: TransactionId, action: Moderation) {
        if !self.socket.is_joined() || self.decisions.0.len() >= WAITING {
            let error = TransactionError::ours("busy", "the server is away, or too many decisions wait");
            self.tell(MeshEvent::TransactionDone { transaction: id, result: Err(error) });
            return;
        }
        let request = self.next_request();
        self.decisions.0.insert(request, (id, now));
        self.say(&ClientMessage::Moderate { request: Some(request), action });
    }

    /// False if no decision has this number.
    pub(super) fn decided(&mut self, request: u32, result: Result<(), TransactionError>) -> bool {
        let Some((transaction, _)) = self.decisions.0.remove(&request) else { return false };
        self.tell(MeshEvent::TransactionDone { transaction, result });
        true
    }

    /// Gives up decisions that were not answered in time; all of them if the connection has ended.
    pub(super) fn tick_decisions(&mut self, now: Duration) {
        let is_joined = self.socket.is_joined();
        let late = self.decisions.0.iter().filter(|(_, (_, at))| !is_joined || now >= *at + ANSWER_LIMIT);
        for request in late.map(|(request, _)| *request).collect::<Vec<u32>>() {
            self.decided(request, Err(TransactionError::ours("no-answer", "the server did not answer in time")));
        }
    }
}
