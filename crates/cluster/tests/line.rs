//! The outgoing end of a simulated socket: the queue of the real server.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_cluster::SocketLine;
use voicemesh_rooms::{
    CloseReason, Digest, Enqueue, Line, Liveness, Part, Publisher, Purpose, Refusal, SendQueue,
    Taken, Text,
};
use voicemesh_session::Delivery;
use voicemesh_wire::PeerId;

const PING_INTERVAL: Duration = Duration::from_secs(15);
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// One end. Clones are the same end.
#[derive(Clone)]
pub struct SimLine(Rc<State>);

struct State {
    queue: RefCell<SendQueue>,
    hashed: RefCell<Option<Result<Digest, Refusal>>>,
}

impl SimLine {
    pub fn new(now: Duration) -> Self {
        let queue = RefCell::new(SendQueue::new(now));
        Self(Rc::new(State { queue, hashed: RefCell::default() }))
    }

    pub fn take(&self, now: Duration) -> Taken {
        self.0.queue.borrow_mut().take(now)
    }

    pub fn heard(&self, now: Duration) {
        self.0.queue.borrow_mut().heard(now);
    }

    pub fn check(&self, now: Duration) -> Liveness {
        self.0.queue.borrow_mut().check(now, PING_INTERVAL, JOIN_TIMEOUT).liveness
    }

    pub fn is_empty(&self) -> bool {
        self.0.queue.borrow().is_empty()
    }

    pub fn is_abandoned(&self) -> bool {
        self.0.queue.borrow().is_abandoned()
    }

    pub fn take_hashed(&self) -> Option<Result<Digest, Refusal>> {
        self.0.hashed.borrow_mut().take()
    }
}

impl SocketLine for SimLine {
    fn waiting_bytes(&self) -> usize {
        let queue = self.0.queue.borrow();
        if queue.is_empty() { 0 } else { queue.waiting_bytes().max(1) }
    }
}

impl Line for SimLine {
    fn text(&self, now: Duration, message: &Text, purpose: Purpose) -> Enqueue {
        self.0.queue.borrow_mut().text(now, message, purpose)
    }

    fn published(&self, now: Duration, by: Publisher, message: &Text) -> Enqueue {
        self.0.queue.borrow_mut().published(now, by, message)
    }

    fn arrives(&self, peer: PeerId) {
        self.0.queue.borrow_mut().arrives(peer);
    }

    fn packet(
        &self,
        now: Duration,
        packet: Bytes,
        delivery: Delivery,
        purpose: Purpose,
    ) -> Enqueue {
        self.0.queue.borrow_mut().packet(now, packet, delivery, purpose)
    }

    fn pong(&self, now: Duration, message: &Text) -> Enqueue {
        self.0.queue.borrow_mut().pong(now, message)
    }

    fn defer_snapshot(&self) -> bool {
        self.0.queue.borrow_mut().defer_snapshot()
    }

    fn begin_part(&self) {
        self.0.queue.borrow_mut().begin_part();
    }

    fn end_part(&self, next: Option<Part>) {
        self.0.queue.borrow_mut().end_part(next);
    }

    fn take_texts(&self) -> Vec<(Bytes, Purpose)> {
        self.0.queue.borrow_mut().take_texts()
    }

    fn joined(&self) {
        self.0.queue.borrow_mut().joined();
    }

    fn hashed(&self, answer: Result<Digest, Refusal>) {
        *self.0.hashed.borrow_mut() = Some(answer);
    }

    fn end(&self, now: Duration, reason: CloseReason) {
        self.0.queue.borrow_mut().end(now, reason);
    }

    fn ending(&self) -> Option<CloseReason> {
        self.0.queue.borrow().ending()
    }
}
