//! A queue as rooms reach it, for tests.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::line::Line;
use crate::room::Digest;

/// Its clones are the same queue.
#[derive(Clone, Debug)]
pub(super) struct TestLine(pub(super) Rc<RefCell<SendQueue>>);

impl TestLine {
    pub(super) fn new(now: Duration) -> Self {
        Self(Rc::new(RefCell::new(SendQueue::new(now))))
    }

    pub(super) fn take(&self, now: Duration) -> Taken {
        self.0.borrow_mut().take(now)
    }

    pub(super) fn next(&self, now: Duration) -> Next {
        self.take(now).next
    }

    pub(super) fn check(&self, now: Duration, ping: Duration, join: Duration) -> Check {
        self.0.borrow_mut().check(now, ping, join)
    }

    pub(super) fn heard(&self, now: Duration) {
        self.0.borrow_mut().heard(now);
    }

    pub(super) fn wrote(&self, now: Duration, took: bool, blocked: bool) {
        self.0.borrow_mut().wrote(now, took, blocked);
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.0.borrow().is_abandoned()
    }
}

impl Line for TestLine {
    fn joined(&self) {
        self.0.borrow_mut().joined();
    }

    fn text(&self, now: Duration, text: &Text, purpose: Purpose) -> Enqueue {
        self.0.borrow_mut().text(now, text, purpose)
    }

    fn published(&self, now: Duration, by: Publisher, text: &Text) -> Enqueue {
        self.0.borrow_mut().published(now, by, text)
    }

    fn arrives(&self, peer: PeerId) {
        self.0.borrow_mut().arrives(peer);
    }

    fn pong(&self, now: Duration, text: &Text) -> Enqueue {
        self.0.borrow_mut().pong(now, text)
    }

    fn packet(
        &self,
        now: Duration,
        packet: Bytes,
        delivery: Delivery,
        purpose: Purpose,
    ) -> Enqueue {
        self.0.borrow_mut().packet(now, packet, delivery, purpose)
    }

    fn take_texts(&self) -> Vec<(Bytes, Purpose)> {
        self.0.borrow_mut().take_texts()
    }

    fn defer_snapshot(&self) -> bool {
        self.0.borrow_mut().defer_snapshot()
    }

    fn begin_part(&self) {
        self.0.borrow_mut().begin_part();
    }

    fn end_part(&self, next: Option<Part>) {
        self.0.borrow_mut().end_part(next);
    }

    fn end(&self, now: Duration, reason: CloseReason) {
        self.0.borrow_mut().end(now, reason);
    }

    fn ending(&self) -> Option<CloseReason> {
        self.0.borrow().ending()
    }

    /// No password is asked about here.
    fn hashed(&self, _: Result<Digest, Refusal>) {}
}

/// A packet of these bytes.
pub(super) fn packet_of(bytes: impl Into<Bytes>) -> OutgoingMessage {
    OutgoingMessage::Packet(bytes.into())
}

/// The content of a message.
pub(super) fn content(message: &OutgoingMessage) -> &[u8] {
    match message {
        OutgoingMessage::Text(text) => text.bytes(),
        OutgoingMessage::Packet(packet) => packet,
        OutgoingMessage::Ping => &[],
    }
}
