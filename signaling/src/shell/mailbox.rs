//! The queue of one connection, filled under the room's lock, emptied by the connection's own task.
//! What is queued and dropped, and when the connection ends, [`SendQueue`] says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use voicemesh_cluster::SocketLine;
use voicemesh_session::Delivery;
use voicemesh_wire::PeerId;

use voicemesh_rooms::{
    CloseReason, Digest, Enqueue, Line, Liveness, Part, Publisher, Purpose, Refusal, SendQueue,
    Taken, Text, lock,
};

/// One connection's mailbox. Clones are the same mailbox.
#[derive(Clone, Debug)]
pub(super) struct Mailbox(Arc<Shared>);

/// What the clones of a mailbox share.
#[derive(Debug)]
struct Shared {
    queue: Mutex<SendQueue>,
    /// The connection's task.
    waker: AtomicWaker,
    /// The answer to a password that the connection has asked about.
    hashed: Mutex<Option<Result<Digest, Refusal>>>,
}

impl Mailbox {
    pub(super) fn new(now: Duration) -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::new(SendQueue::new(now)),
            waker: AtomicWaker::new(),
            hashed: Mutex::default(),
        }))
    }

    /// Wakes the connection's task.
    pub(super) fn waker(&self) -> &AtomicWaker {
        &self.0.waker
    }

    /// The answer to a password that the connection has asked about, once.
    pub(super) fn take_hashed(&self) -> Option<Result<Digest, Refusal>> {
        lock(&self.0.hashed).take()
    }

    /// Something arrived from the peer, a pong included.
    pub(super) fn heard(&self, now: Duration) {
        lock(&self.0.queue).heard(now);
    }

    /// The socket was given what waits: `took` if it took a byte, `blocked` if it did not take all.
    pub(super) fn wrote(&self, now: Duration, took: bool, blocked: bool) {
        lock(&self.0.queue).wrote(now, took, blocked);
    }

    /// The connection goes at once, without a last word.
    pub(super) fn abandon(&self, reason: CloseReason) {
        lock(&self.0.queue).abandon(reason);
        self.0.waker.wake();
    }

    /// The next thing to write.
    pub(super) fn take(&self, now: Duration) -> Taken {
        lock(&self.0.queue).take(now)
    }

    /// The connection has to go without another word.
    pub(super) fn is_abandoned(&self) -> bool {
        lock(&self.0.queue).is_abandoned()
    }

    /// What happens by itself.
    pub(super) fn check(
        &self,
        now: Duration,
        ping_interval: Duration,
        join_timeout: Duration,
    ) -> Liveness {
        let check = lock(&self.0.queue).check(now, ping_interval, join_timeout);
        if check.is_due {
            self.0.waker.wake();
        }
        check.liveness
    }

    fn put(&self, put: impl FnOnce(&mut SendQueue) -> Enqueue) -> Enqueue {
        let enqueued = put(&mut lock(&self.0.queue));
        if enqueued != Enqueue::Ended {
            self.0.waker.wake();
        }
        enqueued
    }
}

impl SocketLine for Mailbox {
    fn waiting_bytes(&self) -> usize {
        let queue = lock(&self.0.queue);
        if queue.is_empty() { 0 } else { queue.waiting_bytes().max(1) }
    }
}

impl Line for Mailbox {
    fn joined(&self) {
        lock(&self.0.queue).joined();
    }

    fn text(&self, now: Duration, text: &Text, purpose: Purpose) -> Enqueue {
        self.put(|queue| queue.text(now, text, purpose))
    }

    fn published(&self, now: Duration, by: Publisher, text: &Text) -> Enqueue {
        self.put(|queue| queue.published(now, by, text))
    }

    fn arrives(&self, peer: PeerId) {
        lock(&self.0.queue).arrives(peer);
    }

    fn pong(&self, now: Duration, text: &Text) -> Enqueue {
        self.put(|queue| queue.pong(now, text))
    }

    fn packet(
        &self,
        now: Duration,
        packet: Bytes,
        delivery: Delivery,
        purpose: Purpose,
    ) -> Enqueue {
        self.put(|queue| queue.packet(now, packet, delivery, purpose))
    }

    fn take_texts(&self) -> Vec<(Bytes, Purpose)> {
        lock(&self.0.queue).take_texts()
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

    fn end(&self, now: Duration, reason: CloseReason) {
        lock(&self.0.queue).end(now, reason);
        self.0.waker.wake();
    }

    fn ending(&self) -> Option<CloseReason> {
        lock(&self.0.queue).ending()
    }

    fn hashed(&self, answer: Result<Digest, Refusal>) {
        *lock(&self.0.hashed) = Some(answer);
        self.0.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Wake, Waker};

    use voicemesh_wire::signaling::ServerMessage;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_connections_task_is_woken_by_what_is_put_in_and_by_what_is_due() {
        let second = Duration::from_secs(1);
        let mailbox = Mailbox::new(Duration::ZERO);
        let woken = Arc::new(Woken::default());
        let wakes = |act: &dyn Fn()| {
            mailbox.waker().register(&Waker::from(Arc::clone(&woken)));
            let before = woken.0.load(Ordering::Relaxed);
            act();
            woken.0.load(Ordering::Relaxed) > before
        };
        let text = Text::from(&ServerMessage::Pong { token: 1 });
        let put = || _ = mailbox.text(Duration::ZERO, &text, Purpose::Answer);
        let check = |at| _ = mailbox.check(at, 2 * second, 60 * second);
        assert!(wakes(&put));
        assert!(!wakes(&|| check(second)));
        assert!(wakes(&|| check(2 * second)), "a ping is due");
        assert!(wakes(&|| mailbox.end(3 * second, CloseReason::GoingAway)));
        assert!(!wakes(&put), "nothing is taken in any more");
        assert!(wakes(&|| check(6 * second)), "it has to go");
    }
}
