//! The outgoing ends of connections, as an owner's rooms see them: that of a socket of this node, or
//! that of a connection whose socket another node holds.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use voicemesh_common::lock;
use voicemesh_rooms::{
    CloseReason, ConnectionId, Digest, Enqueue, Line, Next, OutgoingMessage, Part, Publisher,
    Purpose, Refusal, SendQueue, Text,
};
use voicemesh_session::Delivery;
use voicemesh_wire::PeerId;

/// What may be under way to a socket behind another node, and wait there. The queue's bounds are for
/// more, so that none of it is dropped at the edge.
const WINDOW: u64 = 8 * 1024;
/// A larger message waits until everything before it is written.
pub(crate) const LARGE: usize = 8 * 1024;
/// What each message counts besides its bytes, as in the queue at the edge.
const OVERHEAD: u64 = 64;

/// The outgoing end of a socket.
pub trait SocketLine: Line {
    /// Bytes that wait for the socket: 0 only if nothing waits at all.
    fn waiting_bytes(&self) -> usize;
}

/// What a message counts in the window.
pub(crate) fn cost(bytes: usize) -> u64 {
    bytes as u64 + OVERHEAD
}

/// Connections whose queues have something to be looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready(Arc<Mutex<BTreeSet<ConnectionId>>>);

impl Ready {
    fn mark(&self, id: ConnectionId) {
        lock(&self.0).insert(id);
    }

    pub(crate) fn take(&self) -> Option<ConnectionId> {
        lock(&self.0).pop_first()
    }
}

/// The outgoing end of a connection behind another node. What waits for it waits here, under the
/// bounds of any other connection, until its edge has written what went before.
#[derive(Clone, Debug)]
pub struct RemoteLine(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    id: ConnectionId,
    ready: Ready,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: SendQueue,
    /// A large message that waits until everything before it is written.
    held: Option<OutgoingMessage>,
    sent: u64,
    written: u64,
    has_joined: bool,
    hashed: Option<Result<Digest, Refusal>>,
}

impl RemoteLine {
    pub(crate) fn new(now: Duration, id: ConnectionId, ready: Ready) -> Self {
        let state = State {
            queue: SendQueue::new(now),
            held: None,
            sent: 0,
            written: 0,
            has_joined: false,
            hashed: None,
        };
        Self(Arc::new(Shared { id, ready, state: Mutex::new(state) }))
    }

    /// What is to be sent to the edge next.
    pub(crate) fn next(&self, now: Duration) -> Next {
        let state = &mut *lock(&self.0.state);
        let under_way = state.sent - state.written;
        if under_way >= WINDOW {
            return Next::Nothing;
        }
        let next = match state.held.take() {
            Some(held) => Next::Message(held),
            None => loop {
                match state.queue.take(now).next {
                    // The edge asks by itself whether the socket lives.
                    Next::Message(OutgoingMessage::Ping) => {}
                    next => break next,
                }
            },
        };
        if let Next::Message(message) = &next {
            let bytes = size(message);
            if bytes > LARGE && under_way > 0 {
                state.held = Some(message.clone());
                return Next::Nothing;
            }
            state.sent += cost(bytes);
        }
        next
    }

    /// The edge has written so much in all.
    pub(crate) fn written(&self, total: u64) {
        let mut state = lock(&self.0.state);
        state.written = total.clamp(state.written, state.sent);
        drop(state);
        self.0.ready.mark(self.0.id);
    }

    /// Whether all that was put in is under way.
    pub(crate) fn is_empty(&self) -> bool {
        let state = lock(&self.0.state);
        state.held.is_none() && state.queue.is_empty()
    }

    /// Whether it has entered a room, or its password is looked at; true once.
    pub(crate) fn take_joined(&self) -> bool {
        std::mem::take(&mut lock(&self.0.state).has_joined)
    }

    pub(crate) fn take_hashed(&self) -> Option<Result<Digest, Refusal>> {
        lock(&self.0.state).hashed.take()
    }

    /// What happens in its queue with time. The edge judges whether the connection lives.
    pub(crate) fn check(&self, now: Duration) {
        const NEVER: Duration = Duration::from_secs(1 << 32);
        let mut state = lock(&self.0.state);
        if state.queue.check(now, NEVER, NEVER).is_due {
            drop(state);
            self.0.ready.mark(self.0.id);
        } else {
            state.queue.heard(now);
        }
    }

    fn put(&self, put: impl FnOnce(&mut SendQueue) -> Enqueue) -> Enqueue {
        let enqueued = put(&mut lock(&self.0.state).queue);
        if enqueued != Enqueue::Ended {
            self.0.ready.mark(self.0.id);
        }
        enqueued
    }
}

fn size(message: &OutgoingMessage) -> usize {
    match message {
        OutgoingMessage::Text(text) => text.bytes().len(),
        OutgoingMessage::Packet(packet) => packet.len(),
        OutgoingMessage::Ping => 0,
    }
}

impl Line for RemoteLine {
    fn text(&self, now: Duration, message: &Text, purpose: Purpose) -> Enqueue {
        self.put(|queue| queue.text(now, message, purpose))
    }

    fn published(&self, now: Duration, by: Publisher, message: &Text) -> Enqueue {
        self.put(|queue| queue.published(now, by, message))
    }

    fn arrives(&self, peer: PeerId) {
        lock(&self.0.state).queue.arrives(peer);
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

    fn pong(&self, now: Duration, message: &Text) -> Enqueue {
        self.put(|queue| queue.pong(now, message))
    }

    fn defer_snapshot(&self) -> bool {
        lock(&self.0.state).queue.defer_snapshot()
    }

    fn begin_part(&self) {
        lock(&self.0.state).queue.begin_part();
    }

    fn end_part(&self, next: Option<Part>) {
        lock(&self.0.state).queue.end_part(next);
    }

    fn take_texts(&self) -> Vec<(Bytes, Purpose)> {
        lock(&self.0.state).queue.take_texts()
    }

    fn joined(&self) {
        let mut state = lock(&self.0.state);
        state.queue.joined();
        state.has_joined = true;
        drop(state);
        self.0.ready.mark(self.0.id);
    }

    fn hashed(&self, answer: Result<Digest, Refusal>) {
        lock(&self.0.state).hashed = Some(answer);
        self.0.ready.mark(self.0.id);
    }

    fn end(&self, now: Duration, reason: CloseReason) {
        lock(&self.0.state).queue.end(now, reason);
        self.0.ready.mark(self.0.id);
    }

    fn ending(&self) -> Option<CloseReason> {
        lock(&self.0.state).queue.ending()
    }
}

/// The outgoing end of any connection.
#[derive(Clone, Debug)]
pub enum NodeLine<S> {
    /// Its socket is this node's.
    Local(S),
    /// Another node holds its socket.
    Remote(RemoteLine),
}

/// Calls the same method of either.
macro_rules! either {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self {
            Self::Local(line) => line.$method($($argument),*),
            Self::Remote(line) => line.$method($($argument),*),
        }
    };
}

impl<S: Line> Line for NodeLine<S> {
    fn text(&self, now: Duration, message: &Text, purpose: Purpose) -> Enqueue {
        either!(self.text(now, message, purpose))
    }

    fn published(&self, now: Duration, by: Publisher, message: &Text) -> Enqueue {
        either!(self.published(now, by, message))
    }

    fn arrives(&self, peer: PeerId) {
        either!(self.arrives(peer));
    }

    fn packet(
        &self,
        now: Duration,
        packet: Bytes,
        delivery: Delivery,
        purpose: Purpose,
    ) -> Enqueue {
        either!(self.packet(now, packet, delivery, purpose))
    }

    fn pong(&self, now: Duration, message: &Text) -> Enqueue {
        either!(self.pong(now, message))
    }

    fn defer_snapshot(&self) -> bool {
        either!(self.defer_snapshot())
    }

    fn begin_part(&self) {
        either!(self.begin_part());
    }

    fn end_part(&self, next: Option<Part>) {
        either!(self.end_part(next));
    }

    fn take_texts(&self) -> Vec<(Bytes, Purpose)> {
        either!(self.take_texts())
    }

    fn joined(&self) {
        either!(self.joined());
    }

    fn hashed(&self, answer: Result<Digest, Refusal>) {
        either!(self.hashed(answer));
    }

    fn end(&self, now: Duration, reason: CloseReason) {
        either!(self.end(now, reason));
    }

    fn ending(&self) -> Option<CloseReason> {
        either!(self.ending())
    }
}
