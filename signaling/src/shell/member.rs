//! What is said over a WebSocket of a room's member: signaling messages and session packets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use voicemesh_cluster::{NodeLine, Progress};
use voicemesh_wire::signaling::{CLOSE_TAKEN_OVER, LeaveReason};

use super::connection::{Conversation, Unreadable};
use super::hub::{Hub, unix_time};
use super::mailbox::Mailbox;
use super::socket::Socket;
use voicemesh_rooms::{
    Address, AddressKey, CloseReason, ConnectionId, Input, Line as _, Malformed, Next,
    OutgoingMessage, Purpose, Refusal, Taken, Text, Visit,
};

/// One connection of a member, or of a peer that would join.
pub(super) struct Member {
    id: ConnectionId,
    hub: Arc<Hub>,
    mailbox: Mailbox,
    seat: Seat,
    key: Option<AddressKey>,
    /// Its messages may be as large as those of members.
    is_joined: bool,
}

/// Where its visit is.
enum Seat {
    Here(Visit<NodeLine<Mailbox>>),
    /// The node has it, or another node.
    InCluster,
}

impl Member {
    pub(super) fn new(
        hub: Arc<Hub>,
        address: Option<Arc<Address>>,
        key: Option<AddressKey>,
        refusal: Option<Refusal>,
    ) -> Self {
        let now = hub.now();
        let (id, mailbox) = hub.enter(now);
        if let Some(refusal) = refusal {
            hub.metrics.refused(&refusal.code);
            mailbox.text(now, &Text::from(&refusal.farewell()), Purpose::Answer);
            mailbox.end(now, CloseReason::Refused);
        }
        let address = key.map(|key| (key, address));
        let seat = match &hub.cluster {
            Some(cluster) => {
                cluster.with(|node| node.open(now, id, mailbox.clone(), address));
                Seat::InCluster
            }
            None => {
                let line = NodeLine::Local(mailbox.clone());
                Seat::Here(Visit::new(now, id, line, address, &hub.signaling))
            }
        };
        Self { id, hub, mailbox, seat, key, is_joined: false }
    }

    fn handle(&mut self, now: Duration, socket: &mut Socket, input: Input<'_>) {
        if !self.is_joined {
            self.hub.signaling.set_unix_time(unix_time());
        }
        match (&mut self.seat, &self.hub.cluster) {
            (Seat::Here(visit), _) => {
                if self.hub.signaling.handle(now, visit, input) {
                    self.hub.hash_wanted.notify_one();
                }
            }
            (Seat::InCluster, Some(cluster)) => {
                cluster.with(|node| node.handle(now, self.id, input));
            }
            (Seat::InCluster, None) => {}
        }
        self.note_progress(socket);
    }

    /// What a peer may send depends on how far it is with joining.
    fn note_progress(&mut self, socket: &mut Socket) {
        if self.is_joined {
            return;
        }
        match self.progress() {
            Progress::Joined => {
                self.is_joined = true;
                socket.joined();
            }
            Progress::Waits => socket.set_join_waits(true),
            Progress::Outside => socket.set_join_waits(false),
        }
    }

    fn progress(&self) -> Progress {
        match (&self.seat, &self.hub.cluster) {
            (Seat::Here(visit), _) if visit.is_inside() => Progress::Joined,
            (Seat::Here(visit), _) if visit.is_hashing() => Progress::Waits,
            (Seat::InCluster, Some(cluster)) => cluster.with(|node| node.progress(self.id)),
            (Seat::Here(_), _) | (Seat::InCluster, None) => Progress::Outside,
        }
    }
}

impl Conversation for Member {
    fn now(&self) -> Duration {
        self.hub.now()
    }

    fn waker(&self) -> &AtomicWaker {
        self.mailbox.waker()
    }

    fn catch_up(&mut self, now: Duration, socket: &mut Socket) {
        if let Some(answer) = self.mailbox.take_hashed() {
            self.handle(now, socket, Input::Hashed(answer));
        }
        // Another node may have let it in since.
        if matches!(self.seat, Seat::InCluster) {
            self.note_progress(socket);
        }
    }

    fn is_full(&self) -> bool {
        match (&self.seat, &self.hub.cluster) {
            (Seat::Here(visit), _) => visit.is_full(),
            (Seat::InCluster, Some(cluster)) => cluster.with(|node| node.is_full(self.id)),
            (Seat::InCluster, None) => false,
        }
    }

    fn heard(&mut self, now: Duration) {
        self.mailbox.heard(now);
    }

    fn take_in(&mut self, now: Duration, socket: &mut Socket, message: Message) {
        self.hub.metrics.bytes_in.add(message.len() as u64);
        match message {
            Message::Binary(packet) => self.handle(now, socket, Input::Packet(packet)),
            Message::Text(text) => self.handle(now, socket, Input::Text(text.as_str())),
            Message::Close(frame) => {
                self.handle(now, socket, Input::Left(leave_reason(frame.as_ref())));
            }
            Message::Ping(_) | Message::Pong(_) => self.handle(now, socket, Input::Control),
            Message::Frame(_) => {}
        }
    }

    fn unreadable(&mut self, now: Duration, socket: &mut Socket, why: Unreadable) {
        let input = match why {
            Unreadable::TooLarge => Input::TooLarge,
            Unreadable::Malformed(how) => Input::Malformed(how),
        };
        self.handle(now, socket, input);
    }

    fn next(&mut self, now: Duration) -> Option<Message> {
        loop {
            let Taken { next, voice_dropped, voice_age } = self.mailbox.take(now);
            if let Some(age) = voice_age {
                self.hub.metrics.relay_queue_age.observe(age);
            }
            if voice_dropped > 0 {
                self.hub.metrics.voice_dropped.add(voice_dropped as u64);
            }
            match next {
                Next::Message(outgoing) => {
                    let Some(message) = encode(outgoing) else { continue };
                    self.hub.metrics.bytes_out.add(message.len() as u64);
                    return Some(message);
                }
                Next::Snapshot(part) => match (&mut self.seat, &self.hub.cluster) {
                    (Seat::Here(visit), _) => visit.refresh(now, part),
                    (Seat::InCluster, Some(cluster)) => {
                        cluster.with(|node| node.refresh(now, self.id, part));
                    }
                    (Seat::InCluster, None) => {}
                },
                Next::Nothing => return None,
            }
        }
    }

    fn wrote(&mut self, now: Duration, took: bool, blocked: bool) {
        self.mailbox.wrote(now, took, blocked);
        if took
            && matches!(self.seat, Seat::InCluster)
            && let Some(cluster) = &self.hub.cluster
        {
            cluster.with(|node| node.wrote(now, self.id));
        }
    }

    fn ending(&self) -> Option<CloseCode> {
        self.mailbox.ending().map(close_code)
    }

    fn note_end(&mut self, now: Duration, socket: &mut Socket) {
        if let Some(reason) = self.mailbox.ending() {
            self.handle(now, socket, Input::Left(reason.leave_reason()));
        }
    }

    fn is_abandoned(&self) -> bool {
        self.mailbox.is_abandoned()
    }

    fn lost(&mut self, now: Duration, socket: &mut Socket) {
        self.handle(now, socket, Input::Left(LeaveReason::Lost));
    }

    fn count_unfinished(&mut self, now: Duration, bytes: usize) {
        self.hub.count_unfinished(now, self.id, self.key, bytes);
    }

    fn count_unwritten(&mut self, now: Duration, bytes: usize) {
        self.hub.count_unwritten(now, self.id, self.key, bytes);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.hub.exit(self.id);
    }
}

/// As a WebSocket carries it. Texts are always UTF-8.
fn encode(outgoing: OutgoingMessage) -> Option<Message> {
    Some(match outgoing {
        OutgoingMessage::Text(text) => {
            Message::Text(Utf8Bytes::try_from(text.bytes().clone()).ok()?)
        }
        OutgoingMessage::Packet(packet) => Message::Binary(packet),
        OutgoingMessage::Ping => Message::Ping(Bytes::new()),
    })
}

/// A page that is closed sends 1001, a program that is done may send 1000; a client that will come
/// back sends neither.
fn leave_reason(frame: Option<&CloseFrame>) -> LeaveReason {
    match frame.map(|frame| frame.code) {
        Some(CloseCode::Normal | CloseCode::Away) => LeaveReason::Left,
        _ => LeaveReason::Lost,
    }
}

fn close_code(reason: CloseReason) -> CloseCode {
    match reason {
        CloseReason::Left => CloseCode::Normal,
        CloseReason::TooLarge => CloseCode::Size,
        CloseReason::Malformed(Malformed::Frame) => CloseCode::Protocol,
        CloseReason::Malformed(Malformed::Text) => CloseCode::Invalid,
        CloseReason::GoingAway => CloseCode::Restart,
        CloseReason::TakenOver => CloseCode::from(CLOSE_TAKEN_OVER),
        CloseReason::Refused
        | CloseReason::Flooding
        | CloseReason::SlowConsumer
        | CloseReason::Replaced
        | CloseReason::Silent => CloseCode::Policy,
    }
}
