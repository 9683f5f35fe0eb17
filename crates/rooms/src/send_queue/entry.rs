//! What waits in order to be written.

use super::OutgoingMessage;
use crate::output::{Publisher, Purpose, Text};

#[derive(Debug)]
pub(super) enum Entry {
    Message(OutgoingMessage, Purpose),
    /// The first of the state that is sent to a connection that joins: of any size, and counted
    /// nowhere. One at a time.
    First(OutgoingMessage),
    /// The answer to a ping behind at most [`BEFORE_PONG_BYTES`](super::BEFORE_PONG_BYTES) of other
    /// messages; it counts as an answer.
    Pong(Text),
    /// What is published when it is this one's turn, in place of so many changes. It counts as one
    /// update without bytes. There is one at most of each before the roster's mark that waits, and
    /// one behind it: a mark counts what came before it.
    Published(Publisher, u32),
    /// So many changes of members who have left; counted as those.
    Missed(u32),
    /// A snapshot of the room's and the session's state, made when it is this one's turn.
    Snapshot,
}
