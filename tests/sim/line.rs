//! The server's end of a simulated socket: the queue of the real server, and a socket that the peer's
//! system reads at once, or as slowly as a test says. Behind a narrow downlink the queue gives as
//! much as the stream there takes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use voicemesh_mesh::SocketEvent;
use voicemesh_rooms::{
    CloseReason, Digest, Enqueue, Line, Next, OutgoingMessage, Part, Publisher, Purpose, Refusal,
    SendQueue, Taken, Text,
};
use voicemesh_session::Delivery;
use voicemesh_wire::PeerId;

use crate::carrier::Wires;

/// What the systems of both ends hold of what has not been read.
const SOCKET_BYTES: usize = 4 * 1024;
/// The server's defaults.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// One end. Clones are the same end.
#[derive(Clone)]
pub struct SimLine(Rc<Shared>);

struct Shared {
    wires: Rc<RefCell<Wires>>,
    peer: usize,
    generation: u32,
    queue: RefCell<SendQueue>,
    socket: RefCell<Socket>,
    /// What is sent to it is lost.
    is_deaf: Cell<bool>,
    /// When something left on it last.
    sent_at: Cell<Duration>,
    is_closed: Cell<bool>,
    hashed: RefCell<Option<Result<Digest, Refusal>>>,
    /// What the room is to be asked for, found while it could not be.
    asked: RefCell<Option<Part>>,
    /// The most that has waited in the queue.
    most_waiting: Cell<usize>,
    voice_dropped: Cell<usize>,
}

/// What the server has written and the peer has not read.
#[derive(Default)]
struct Socket {
    /// Bytes a second; none if all is read at once.
    reads: Option<usize>,
    /// In thousandths of a byte.
    credit: usize,
    /// With what is left of each.
    unread: VecDeque<(usize, Unread)>,
    unread_bytes: usize,
    /// Of these, what the systems had not taken after the last turn, and what was put in since.
    untaken_bytes: usize,
}

enum Unread {
    Message(OutgoingMessage),
    /// What the socket itself answers a ping with.
    Pong(u16),
}

impl Socket {
    fn has_room(&self) -> bool {
        self.unread_bytes <= SOCKET_BYTES
    }

    fn put(&mut self, unread: Unread) {
        // With the header of its frame.
        let bytes = 4 + match &unread {
            Unread::Message(OutgoingMessage::Text(text)) => text.bytes().len(),
            Unread::Message(OutgoingMessage::Packet(packet)) => packet.len(),
            Unread::Message(OutgoingMessage::Ping) | Unread::Pong(_) => 0,
        };
        self.unread_bytes += bytes;
        self.untaken_bytes += bytes;
        self.unread.push_back((bytes, unread));
    }

    /// Lets the peer read for so long. Gives the messages of which it has read the last byte.
    fn read(&mut self, time: Duration) -> Vec<Unread> {
        let Some(rate) = self.reads else {
            self.unread_bytes = 0;
            return self.unread.drain(..).map(|(_, message)| message).collect();
        };
        self.credit += rate * time.as_millis() as usize;
        let mut bytes = (self.credit / 1_000).min(self.unread_bytes);
        // A reader that has nothing to read saves nothing up.
        self.credit = if bytes == self.unread_bytes { 0 } else { self.credit - bytes * 1_000 };
        self.unread_bytes -= bytes;
        let mut read = Vec::new();
        while let Some((left, _)) = self.unread.front_mut() {
            if *left > bytes {
                *left -= bytes;
                break;
            }
            bytes -= *left;
            read.extend(self.unread.pop_front().map(|(_, message)| message));
        }
        read
    }

    /// Whether the systems have taken a byte since the last time, and whether they have not taken
    /// all.
    fn progress(&mut self) -> (bool, bool) {
        let before = self.untaken_bytes;
        self.untaken_bytes = self.unread_bytes.saturating_sub(SOCKET_BYTES);
        (self.untaken_bytes < before, self.untaken_bytes > 0)
    }
}

impl SimLine {
    pub fn new(
        now: Duration,
        wires: Rc<RefCell<Wires>>,
        (peer, generation): (usize, u32),
        reads: Option<usize>,
    ) -> Self {
        Self(Rc::new(Shared {
            wires,
            peer,
            generation,
            queue: RefCell::new(SendQueue::new(now)),
            socket: RefCell::new(Socket { reads, ..Socket::default() }),
            is_deaf: Cell::default(),
            sent_at: Cell::default(),
            is_closed: Cell::default(),
            hashed: RefCell::default(),
            asked: RefCell::default(),
            most_waiting: Cell::default(),
            voice_dropped: Cell::default(),
        }))
    }

    pub fn is_slow(&self) -> bool {
        self.0.socket.borrow().reads.is_some()
    }

    /// What is put in may wait.
    pub fn is_held_up(&self) -> bool {
        self.is_slow() || self.0.wires.borrow().has_narrow_downlink(self.0.peer)
    }

    fn has_room(&self) -> bool {
        self.0.socket.borrow().has_room() && self.0.wires.borrow().has_room_to(self.0.peer)
    }

    /// From now on the peer reads so many bytes a second, or all at once.
    pub fn set_reads(&self, reads: Option<usize>) {
        self.0.socket.borrow_mut().reads = reads;
    }

    pub fn set_deaf(&self, is_deaf: bool) {
        self.0.is_deaf.set(is_deaf);
    }

    pub fn sent_at(&self) -> Duration {
        self.0.sent_at.get()
    }

    pub fn most_waiting(&self) -> usize {
        self.0.most_waiting.get()
    }

    pub fn voice_dropped(&self) -> usize {
        self.0.voice_dropped.get()
    }

    pub fn take_hashed(&self) -> Option<Result<Digest, Refusal>> {
        self.0.hashed.borrow_mut().take()
    }

    /// Something came from the peer.
    pub fn heard(&self, now: Duration) {
        self.0.queue.borrow_mut().heard(now);
    }

    /// Nothing more goes through it.
    pub fn is_gone(&self) -> bool {
        self.0.is_closed.get()
    }

    /// The socket's own answer to a ping: of those that wait, the newest.
    pub fn answer_ping(&self, now: Duration, number: u16) {
        {
            let mut socket = self.0.socket.borrow_mut();
            let waiting = socket.unread.iter_mut().find_map(|(_, unread)| match unread {
                Unread::Pong(waiting) => Some(waiting),
                Unread::Message(_) => None,
            });
            match waiting {
                Some(waiting) => *waiting = number,
                None => socket.put(Unread::Pong(number)),
            }
        }
        self.run_at_once(now);
    }

    /// What the server's timer does to it.
    pub fn check(&self, now: Duration) {
        self.0.queue.borrow_mut().check(now, PING_INTERVAL, JOIN_TIMEOUT);
    }

    /// The peer's system reads for so long, and the server writes what there is room for then. Gives
    /// what the room is to be asked for.
    pub fn run(&self, now: Duration, time: Duration) -> Option<Part> {
        self.read(now, time);
        let mut asked = self.0.asked.take();
        while asked.is_none() && self.has_room() {
            let Taken { next, voice_dropped, .. } = self.0.queue.borrow_mut().take(now);
            self.0.voice_dropped.set(self.0.voice_dropped.get() + voice_dropped);
            match next {
                Next::Message(message) => {
                    self.0.socket.borrow_mut().put(Unread::Message(message));
                    if !self.is_slow() {
                        self.read(now, Duration::ZERO);
                    }
                }
                Next::Snapshot(part) => asked = Some(part),
                Next::Nothing => break,
            }
        }
        let (took, blocked) = self.0.socket.borrow_mut().progress();
        self.0.queue.borrow_mut().wrote(now, took, blocked);
        self.close_once();
        asked
    }

    fn read(&self, now: Duration, time: Duration) {
        let read = self.0.socket.borrow_mut().read(time);
        for unread in read {
            match unread {
                Unread::Message(OutgoingMessage::Text(text)) => self.send(SocketEvent::Text(
                    String::from_utf8(text.bytes().to_vec()).expect("texts are UTF-8"),
                )),
                Unread::Message(OutgoingMessage::Packet(packet)) => {
                    self.send(SocketEvent::Packet(packet))
                }
                // Answered by the system that has read it.
                Unread::Message(OutgoingMessage::Ping) => self.heard(now),
                Unread::Pong(number) => self.send(SocketEvent::Pong(number)),
            }
        }
    }

    fn send(&self, event: SocketEvent) {
        if !self.0.is_deaf.get() {
            let mut wires = self.0.wires.borrow_mut();
            self.0.sent_at.set(wires.now);
            wires.tell_peer(self.0.peer, self.0.generation, event);
        }
    }

    /// The socket is closed once the last words have been read. A refused join ends with what it is
    /// refused with.
    fn close_once(&self) {
        let queue = self.0.queue.borrow();
        if let Some(reason) = queue.ending()
            && (queue.is_abandoned() || self.0.socket.borrow().unread.is_empty() && self.has_room())
            && !self.0.is_closed.replace(true)
        {
            self.send(match reason {
                CloseReason::TakenOver => SocketEvent::TakenOver,
                _ => SocketEvent::Closed("it closed the connection".to_owned()),
            });
        }
    }

    /// What is put in goes at once where nothing waits.
    fn put(&self, now: Duration, put: impl FnOnce(&mut SendQueue) -> Enqueue) -> Enqueue {
        let enqueued = put(&mut self.0.queue.borrow_mut());
        if let Enqueue::VoiceDropped(packets) = enqueued {
            self.0.voice_dropped.set(self.0.voice_dropped.get() + packets);
        }
        let waiting = self.0.queue.borrow().waiting_bytes();
        self.0.most_waiting.set(self.0.most_waiting.get().max(waiting));
        self.run_at_once(now);
        enqueued
    }

    fn run_at_once(&self, now: Duration) {
        if !self.is_slow() {
            let asked = self.run(now, Duration::ZERO);
            assert!(asked.is_none() || self.is_held_up(), "where nothing waits, nothing is asked");
            *self.0.asked.borrow_mut() = asked;
        }
    }
}

impl Line for SimLine {
    fn text(&self, now: Duration, message: &Text, purpose: Purpose) -> Enqueue {
        self.put(now, |queue| queue.text(now, message, purpose))
    }

    fn published(&self, now: Duration, by: Publisher, message: &Text) -> Enqueue {
        self.put(now, |queue| queue.published(now, by, message))
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
        self.put(now, |queue| queue.packet(now, packet, delivery, purpose))
    }

    fn pong(&self, now: Duration, message: &Text) -> Enqueue {
        self.put(now, |queue| queue.pong(now, message))
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
        self.run_at_once(now);
    }

    fn ending(&self) -> Option<CloseReason> {
        self.0.queue.borrow().ending()
    }
}
