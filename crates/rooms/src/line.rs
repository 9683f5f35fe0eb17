//! The outgoing end of one connection: where rooms and the server put what is for it.

use std::time::Duration;

use bytes::Bytes;
use voicemesh_session::Delivery;
use voicemesh_wire::PeerId;

use crate::output::{CloseReason, Publisher, Purpose, Text};
use crate::refusal::Refusal;
use crate::room::{Digest, Part};

/// What became of something that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueue {
    /// It waits, or is on its way.
    Queued,
    /// A snapshot that is made later contains it.
    Covered,
    /// So many voice packets had to go, perhaps this one.
    VoiceDropped(usize),
    /// There is no room for it.
    Refused,
    /// Its receiver can do without it, and there is no room for it.
    Omitted,
    /// Too much of its sender waits.
    Busy,
    /// The connection ends: slow consumer.
    Overflow,
    /// The connection is ending already.
    Ended,
}

/// One connection's outgoing end: a [`SendQueue`](crate::SendQueue) that is reached from the room and
/// from what writes it. Clones are the same end. Must not call back into the room or the
/// server.
pub trait Line: Clone {
    /// A signaling message, reliably and in order.
    fn text(&self, now: Duration, message: &Text, purpose: Purpose) -> Enqueue;
    /// What is published now. A receiver that is behind may be sent it as it is when it is written,
    /// in place of all changes that waited: [`Part::Published`] is asked for.
    fn published(&self, now: Duration, _by: Publisher, message: &Text) -> Enqueue {
        self.text(now, message, Purpose::Update)
    }
    /// A member arrives that may have been here before: of its former metadata no more is sent than
    /// how often it changed. [`Part::Missed`] is asked for.
    fn arrives(&self, _peer: PeerId) {}
    /// A session packet.
    fn packet(&self, now: Duration, packet: Bytes, delivery: Delivery, purpose: Purpose)
    -> Enqueue;
    /// The answer to a ping, which need not wait until all that others send has been read.
    fn pong(&self, now: Duration, message: &Text) -> Enqueue;
    /// If something reliable waits, the updates among it are dropped, and a snapshot is asked for
    /// in their place ([`Visit::refresh`](crate::Visit::refresh)). False, and without effect, if
    /// nothing waits.
    fn defer_snapshot(&self) -> bool;
    /// What is put in as a snapshot from now on goes before everything else that waits, until
    /// [`end_part`](Self::end_part).
    fn begin_part(&self);
    /// The part of a snapshot is complete; `next` is asked for once it has been taken.
    fn end_part(&self, next: Option<Part>);
    /// Takes out the written messages of other clients that wait, with their senders: they are part
    /// of no snapshot.
    fn take_texts(&self) -> Vec<(Bytes, Purpose)>;
    /// The peer is in a room, or its password is looked at: no more join is waited for.
    fn joined(&self);
    /// A password that was asked about has been hashed: goes to the connection's owner, as
    /// [`Input::Hashed`](crate::Input::Hashed).
    fn hashed(&self, answer: Result<Digest, Refusal>);
    /// No more is taken in; what waits goes out, then the connection ends.
    fn end(&self, now: Duration, reason: CloseReason);
    /// Why the connection ends, if it does.
    fn ending(&self) -> Option<CloseReason>;
}
