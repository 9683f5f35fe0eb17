//! The outgoing end of a simulated socket: the queue of the real server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_cluster::SocketLine;
use voicemesh_rooms::{
    CloseReason, Digest, Enqueue, Line, Liveness, Part, Publisher, Purpose, Refusal, SendQueue,
    Taken, Text, lock,
};
use voicemesh_session::Delivery;
use voicemesh_wire::PeerId;

const PING_INTERVAL: Duration = Duration::from_secs(15);
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// One end. Clones are the same end.
#[derive(Clone)]
pub struct SimLine(Arc<State>);

struct State {
    queue: Mutex<SendQueue>,
    hashed: Mutex<Option<Result<Digest, Refusal>>>,
}

impl SimLine {
    pub fn new(now: Duration) -> Self {
        let queue = Mutex::new(SendQueue::new(now));
        Self(Arc::new(State { queue, hashed: Mutex::default() }))
    }

    pub fn take(&self, now: Duration) -> Taken {
        lock(&self.0.queue).take(now)
    }

    pub fn heard(&self, now: Duration) {
        lock(&self.0.queue).heard(now);
    }

    pub fn check(&self, now: Duration) -> Liveness {
        lock(&self.0.queue).check(now, PING_INTERVAL, JOIN_TIMEOUT).liveness
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.0.queue).is_empty()
    }

    pub fn is_abandoned(&self) -> bool {
        lock(&self.0.queue).is_abandoned()
    }

    pub fn take_hashed(&self) -> Option<Result<Digest, Refusal>> {
        lock(&self.0.hashed).take()
    }
}

impl SocketLine for SimLine {
    fn waiting_bytes(&self) -> usize {
        let queue = lock(&self.0.queue);
        if queue.is_empty() { 0 } else { queue.waiting_bytes().max(1) }
    }
}

impl Line for SimLine {
    fn text(&self, now: Duration, message: &Text, purpose: Purpose) -> Enqueue {
        lock(&self.0.queue).text(now, message, purpose)
    }

    fn published(&self, now: Duration, by: Publisher, message: &Text) -> Enqueue {
        lock(&self.0.queue).published(now, by, message)
    }

    fn arrives(&self, peer: PeerId) {
        lock(&self.0.queue).arrives(peer);
    }

    fn packet(
        &self,
        now: Duration,
        packet: Bytes,
        delivery: Delivery,
        purpose: Purpose,
    ) -> Enqueue {
        lock(&self.0.queue).packet(now, packet, delivery, purpose)
    }

    fn pong(&self, now: Duration, message: &Text) -> Enqueue {
        lock(&self.0.queue).pong(now, message)
    }

    fn defer_snapshot(&self) -> bool {
        lock(&self.0.queue).defer_snapshot()
    }

    fn begin_part(&self) {
        lock(&self.0.queue).begin_part();
    }

    fn end_part(&self, next: Option<Part>) {
        lock(&self.0.queue).end_part(next);
    }

    fn take_texts(&self) -> Vec<(Bytes, Purpose)> {
        lock(&self.0.queue).take_texts()
    }

    fn joined(&self) {
        lock(&self.0.queue).joined();
    }

    fn hashed(&self, answer: Result<Digest, Refusal>) {
        *lock(&self.0.hashed) = Some(answer);
    }

    fn end(&self, now: Duration, reason: CloseReason) {
        lock(&self.0.queue).end(now, reason);
    }

    fn ending(&self) -> Option<CloseReason> {
        lock(&self.0.queue).ending()
    }
}
