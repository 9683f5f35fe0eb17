//! One WebSocket: a hand-written future, so that reading never waits for writing, everything that waits goes out in one
//! flush, and an idle connection costs little memory.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use uuid::Uuid;
use voicemesh_wire::signaling::{
    CLOSE_TAKEN_OVER, ClientMessage, ErrorCode, Join, LeaveReason, Moderation, Password, ServerMessage,
};
use voicemesh_wire::{PeerId, RoomName};

use super::address::{Address, AddressKey};
use super::hub::{self, Admission, Hub, RoomCell};
use super::mailbox::{Mailbox, Next, Put};
use super::passwords::{Answer, Guesser};
use super::socket::{Failure, Socket};
use super::stream::Stream;
use crate::gate::{Gate, Passed};
use crate::outbox::{CloseReason, ConnectionId, Malformed, Purpose, Text};
use crate::refusal::Refusal;
use crate::room::{Digest, Part};

/// Messages read in one go before others get their turn.
const MESSAGES_PER_TURN: usize = 32;

/// What a peer sends while its password is looked at is kept, up to so many messages …
const HELD_MESSAGES: usize = 8;
/// … or until there are so many bytes; then its socket is read no further. A client sends one, its handshake.
const HELD_BYTES: usize = 4096;
/// Hashes for one join: a room whose password changes after each hash is given up after this many.
const HASHES_PER_JOIN: u32 = 3;

/// A part of a message that is smaller is not counted among the unfinished ones: it fits the read buffer.
const UNFINISHED_BYTES: usize = 2 * 1024;

/// A message of which less waits for the socket is not counted among the large ones: any reliable packet is shorter.
const UNWRITTEN_BYTES: usize = 64 * 1024;

/// One WebSocket, from its upgrade to its end.
pub(super) struct Connection {
    id: ConnectionId,
    hub: Arc<Hub>,
    mailbox: Arc<Mailbox>,
    gate: Gate,
    address: Option<Arc<Address>>,
    room: Option<Arc<RoomCell>>,
    guesser_address: Option<AddressKey>,
    hashing: Option<Hashing>,
    changing: Option<PasswordChange>,
    /// A roster was asked for, and is sent later as a snapshot: that one is charged.
    owes_roster: bool,
    /// The snapshot that is being sent was asked for.
    pays_snapshot: bool,
    socket: Socket,
    /// What was last said of an unfinished message.
    unfinished: usize,
    /// What was last said of a large message that is being written.
    unwritten: usize,
    stage: Stage,
    opened_at: Duration,
}

/// A join that waits for its password's hash.
struct Hashing {
    join: Box<Join>,
    answer: Answer,
    hashes: u32,
    /// What came after the join.
    held: Vec<Message>,
}

/// A moderator's new password that waits for its hash.
struct PasswordChange {
    request: Option<u32>,
    answer: Answer,
}

impl Hashing {
    fn is_full(&self) -> bool {
        self.held.len() >= HELD_MESSAGES || self.held.iter().map(Message::len).sum::<usize>() >= HELD_BYTES
    }
}

/// How far a connection is with ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The last words and the close frame are on their way.
    Closing,
    /// Everything is written; what still arrives is read and forgotten until the peer closes, because closing over
    /// unread bytes would destroy what the peer has not read yet.
    Draining,
    /// The same, below the WebSocket: after a frame over the limit, nothing that follows can be understood.
    DrainingRaw,
}

impl Connection {
    pub(super) fn new(
        hub: Arc<Hub>,
        upgraded: hyper::upgrade::Upgraded,
        address: Option<Arc<Address>>,
        guesser_address: Option<AddressKey>,
        refusal: Option<Refusal>,
    ) -> Option<Self> {
        let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
        let mut stream = parts.io.into_inner();
        stream.end_heads();
        let socket = Socket::new(stream, parts.read_buf.to_vec());
        let now = hub.now();
        let (id, mailbox) = hub.enter(now);
        if let Some(refusal) = refusal {
            hub.metrics.refused(&refusal.code);
            mailbox.text(now, &Text::from(&refusal.farewell()), Purpose::Answer);
            mailbox.end(now, CloseReason::Refused);
        }
        let shared = address.as_ref().map(|address| Arc::clone(&address.budget));
        let gate = Gate::new(now, &hub.config.budgets, shared);
        let (room, hashing, changing, owes_roster) = (None, None, None, false);
        let (unfinished, unwritten, stage, opened_at) = (0, 0, Stage::Open, now);
        Some(Self {
            id,
            hub,
            mailbox,
            gate,
            address,
            room,
            guesser_address,
            hashing,
            changing,
            owes_roster,
            pays_snapshot: false,
            socket,
            unfinished,
            unwritten,
            stage,
            opened_at,
        })
    }

    /// Ready when the socket is at its end.
    fn poll_incoming(&mut self, cx: &mut Context<'_>, now: Duration) -> Poll<()> {
        self.poll_hashing(cx, now);
        self.poll_changing(cx, now);
        for _ in 0..MESSAGES_PER_TURN {
            if self.hashing.as_ref().is_some_and(Hashing::is_full) {
                return Poll::Pending;
            }
            if self.stage == Stage::DrainingRaw {
                return self.poll_drain_raw(cx);
            }
            if self.cannot_read() {
                // What follows is not a message; it is drained once the answer is written.
                if self.stage == Stage::Open {
                    self.socket.stop_reading();
                    self.count_unfinished(now);
                }
                return Poll::Pending;
            }
            let Poll::Ready(next) = self.socket.poll_next(cx) else {
                self.count_unfinished(now);
                return Poll::Pending;
            };
            match next {
                Ok(message) => {
                    self.mailbox.heard(now);
                    if self.stage == Stage::Open && self.mailbox.ending().is_none() {
                        self.take_in_order(now, message);
                        // A join may have begun to wait: its waker is registered by asking.
                        self.poll_hashing(cx, now);
                        self.poll_changing(cx, now);
                    }
                }
                Err(Failure::TooLarge) => self.act(now, Gate::too_large()),
                Err(Failure::Malformed(how)) => self.mailbox.end(now, CloseReason::Malformed(how)),
                Err(Failure::Gone) => return Poll::Ready(()),
            }
        }
        self.count_unfinished(now);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// What still comes is no frame that could be understood.
    fn cannot_read(&self) -> bool {
        matches!(self.mailbox.ending(), Some(CloseReason::TooLarge | CloseReason::Malformed(_)))
    }

    fn count_unfinished(&mut self, now: Duration) {
        let bytes = if self.socket.unfinished() > UNFINISHED_BYTES { self.socket.unfinished() } else { 0 };
        if bytes != self.unfinished {
            self.unfinished = bytes;
            self.hub.count_unfinished(now, self.id, self.guesser_address, bytes);
        }
    }

    /// The buffer of a large message is kept whole until all of it is written, so its size is what counts.
    fn count_unwritten(&mut self, now: Duration) {
        let waiting = self.socket.unwritten();
        let bytes = if waiting > UNWRITTEN_BYTES { waiting.max(self.unwritten) } else { 0 };
        if bytes != self.unwritten {
            self.unwritten = bytes;
            self.hub.count_unwritten(now, self.id, self.guesser_address, bytes);
        }
    }

    /// What follows a join that waits, waits with it; a goodbye takes it back.
    fn take_in_order(&mut self, now: Duration, message: Message) {
        match (&mut self.hashing, &message) {
            (Some(_), Message::Close(_)) => self.hashing = None,
            (Some(hashing), Message::Text(_) | Message::Binary(_)) => hashing.held.push(message),
            (Some(_), Message::Frame(_)) => {}
            (Some(_), Message::Ping(_) | Message::Pong(_)) | (None, _) => self.take_in(now, message),
        }
    }

    /// Goes on with a join whose password has been hashed, and with what came after it.
    fn poll_hashing(&mut self, cx: &mut Context<'_>, now: Duration) {
        if self.mailbox.ending().is_some() {
            self.hashing = None;
        }
        let Some(hashing) = &mut self.hashing else { return };
        let Poll::Ready(answer) = Pin::new(&mut hashing.answer).poll(cx) else { return };
        let Some(Hashing { join, hashes, held, .. }) = self.hashing.take() else { return };
        // A worker that ended without a word has failed.
        match answer.unwrap_or_else(|_| Err(Refusal::of(ErrorCode::ServerFull))) {
            Ok(shown) => self.enter(now, join, Some(shown), hashes),
            Err(refusal) => self.refuse(now, refusal),
        }
        match &mut self.hashing {
            Some(hashing) => {
                hashing.held = held;
                cx.waker().wake_by_ref();
            }
            None if self.mailbox.ending().is_none() => held.into_iter().for_each(|message| self.take_in(now, message)),
            None => {}
        }
    }

    /// Sets the room's password once it has been hashed.
    fn poll_changing(&mut self, cx: &mut Context<'_>, now: Duration) {
        let Some(PasswordChange { request, answer }) = &mut self.changing else { return };
        let request = *request;
        let Poll::Ready(answer) = Pin::new(answer).poll(cx) else { return };
        self.changing = None;
        let Some(room) = &self.room else { return };
        let digest = answer.unwrap_or_else(|_| Err(Refusal::of(ErrorCode::ServerFull)));
        let changed = digest.and_then(|digest| self.hub.change_password(now, room, self.id, request, digest));
        if let Err(refusal) = changed {
            self.act(now, Passed::Answer(refusal.of_request(request).answer()));
        }
    }

    /// A moderator sets the room's password: it is hashed first.
    fn change_password(&mut self, now: Duration, request: Option<u32>, password: Password) {
        let Some(room) = &self.room else { return };
        let guesser = Guesser::of(self.guesser_address, "");
        let asked = match &self.changing {
            Some(_) => Err(Refusal::of(ErrorCode::TooManyMessages)),
            None => self.hub.question(room, self.id).and_then(|question| {
                let peer = PeerId(Uuid::nil());
                self.hub.passwords.ask(now, &guesser, peer, password, question)
            }),
        };
        match asked {
            Ok(answer) => self.changing = Some(PasswordChange { request, answer }),
            Err(refusal) => self.act(now, Passed::Answer(refusal.of_request(request).answer())),
        }
    }

    fn take_in(&mut self, now: Duration, message: Message) {
        self.hub.metrics.bytes_in.add(message.len() as u64);
        match message {
            Message::Binary(packet) => match self.gate.packet(now, &packet) {
                Passed::Packet => {
                    let answered = self.room.as_ref().map(|room| self.hub.packet(now, room, self.id, &packet));
                    if let Some(answered) = answered {
                        self.gate.charge_answer(answered.state_bytes);
                        if answered.is_violation
                            && let Some(end) = self.gate.violation(now)
                        {
                            self.act(now, end);
                        }
                    }
                }
                passed => {
                    let room = self.room.as_ref();
                    let text = room.and_then(|room| self.hub.packet_refused(room, self.id, &packet));
                    self.act(now, passed.of_text(text));
                }
            },
            Message::Text(text) => {
                let passed = self.gate.text(now, text.as_str());
                self.act(now, passed);
            }
            Message::Close(frame) => {
                let reason = leave_reason(frame.as_ref());
                self.leave_room(now, reason);
            }
            Message::Ping(_) | Message::Pong(_) => {
                let passed = self.gate.control(now);
                self.act(now, passed);
            }
            Message::Frame(_) => {}
        }
    }

    fn act(&mut self, now: Duration, passed: Passed) {
        match passed {
            Passed::Join(join) => self.join(now, join),
            Passed::Message(ClientMessage::Moderate {
                request,
                action: Moderation::SetPassword { password: Some(password) },
            }) if !password.is_empty() => self.change_password(now, request, password),
            Passed::Message(message) => {
                if let Some(room) = &self.room {
                    let is_roster = message == ClientMessage::Roster;
                    let state_bytes = self.hub.message(now, room, self.id, message);
                    self.owes_roster |= is_roster && state_bytes == 0;
                    self.gate.charge_answer(state_bytes);
                }
            }
            Passed::Packet => {}
            Passed::Answer(message) => {
                self.answer(now, &message);
            }
            Passed::End(message, reason) => {
                self.answer(now, &message);
                self.mailbox.end(now, reason);
            }
            Passed::Dropped => self.hub.metrics.over_budget.add(1),
        }
    }

    fn answer(&self, now: Duration, message: &ServerMessage) {
        if let ServerMessage::Error { code, .. } = message {
            self.hub.metrics.refused(code);
            if *code == ErrorCode::TooManyMessages {
                self.hub.metrics.over_budget.add(1);
            }
        }
        if self.mailbox.text(now, &Text::from(message), Purpose::Answer) == Put::Overflow {
            self.hub.metrics.slow_consumers.add(1);
            self.hub.metrics.refused(&ErrorCode::SlowConsumer);
        }
    }

    fn join(&mut self, now: Duration, join: Box<Join>) {
        let budgets = &self.hub.config.budgets;
        // Joins with a password are bounded by their hashes, and those with a ticket by a budget that strangers cannot use up.
        let is_named = join.password.as_ref().is_some_and(|password| !password.is_empty());
        let has_ticket = self.hub.has_ticket(&join);
        let allowed = match &self.address {
            Some(address) => (is_named && !has_ticket) || address.may_join(now, budgets, has_ticket),
            None => true,
        };
        if allowed {
            self.enter(now, join, None, 0);
        } else {
            self.refuse(now, Refusal::of(ErrorCode::TooManyJoins));
        }
    }

    fn refuse(&mut self, now: Duration, refusal: Refusal) {
        self.hub.metrics.joins_refused.add(1);
        self.act(now, Passed::End(refusal.farewell(), CloseReason::Refused));
    }

    /// Into the room, or into the queue of passwords.
    fn enter(&mut self, now: Duration, join: Box<Join>, shown: Option<Digest>, hashes: u32) {
        let address = self.guesser_address;
        let begun =
            self.hub.join(now, self.id, &self.mailbox, join, shown, address).and_then(|admission| match admission {
                Admission::In(room) => {
                    self.gate.take_allowance(|own| self.hub.allowance(&room, self.id, own));
                    self.room = Some(room);
                    self.socket.joined();
                    self.hub.metrics.join_time.observe(now.saturating_sub(self.opened_at));
                    Ok(None)
                }
                Admission::GoingAway => {
                    self.hub.metrics.joins_refused.add(1);
                    hub::turn_away(now, &self.mailbox);
                    Ok(None)
                }
                Admission::Hash(..) if hashes >= HASHES_PER_JOIN => Err(Refusal::of(ErrorCode::TooManyJoins)),
                Admission::Hash(join, question) => {
                    let guesser = Guesser::of(self.guesser_address, &RoomName::key_of(&join.room));
                    let password = join.password.clone().unwrap_or_else(|| "".into());
                    let answer = self.hub.passwords.ask(now, &guesser, join.proof.peer_id(), password, question)?;
                    Ok(Some(Hashing { join, answer, hashes: hashes + 1, held: Vec::new() }))
                }
            });
        match begun {
            Ok(None) => {}
            Ok(Some(hashing)) => {
                self.mailbox.joined();
                self.hashing = Some(hashing);
            }
            Err(refusal) => self.refuse(now, refusal),
        }
    }

    fn leave_room(&mut self, now: Duration, reason: LeaveReason) {
        if let Some(room) = self.room.take() {
            self.hub.leave(now, &room, self.id, reason);
        }
    }

    /// Writes what waits, as much as the socket takes. An error means that the socket is at its end.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>, now: Duration) -> io::Result<()> {
        loop {
            let all = self.fill_socket(now);
            if self.socket.poll_flush(cx)?.is_pending() || all {
                break;
            }
        }
        let (took, blocked) = (self.socket.take_progress(), self.socket.is_blocked());
        self.mailbox.wrote(now, took, blocked);
        self.count_unwritten(now);
        if self.stage == Stage::Closing && !blocked {
            self.stage = Stage::Draining;
            if self.cannot_read() {
                let _ = Pin::new(self.socket.stream()).poll_shutdown(cx);
                self.stage = Stage::DrainingRaw;
                cx.waker().wake_by_ref();
            }
        }
        Ok(())
    }

    /// Puts what waits into the socket's buffer, as far as there is room. True if nothing waits any more.
    fn fill_socket(&mut self, now: Duration) -> bool {
        while self.socket.has_room() {
            let (next, dropped, age) = self.mailbox.take(now);
            if let Some(age) = age {
                self.hub.metrics.relay_queue_age.observe(age);
            }
            if dropped > 0 {
                self.hub.metrics.voice_dropped.add(dropped as u64);
            }
            match next {
                Next::Message(message) => {
                    self.hub.metrics.bytes_out.add(message.len() as u64);
                    self.socket.put(&message);
                }
                Next::Snapshot(part) => {
                    // What is asked for while one is being sent is the next one, and charged with that.
                    if part == Part::Roster {
                        self.pays_snapshot = std::mem::take(&mut self.owes_roster);
                    }
                    if let Some(room) = &self.room {
                        let bytes = self.hub.refresh(now, room, self.id, &self.mailbox, part);
                        // One that was not asked for replaces changes that were more.
                        if self.pays_snapshot {
                            self.gate.charge_answer(bytes);
                        }
                    }
                }
                Next::Nothing => {
                    self.close_once();
                    return true;
                }
            }
        }
        false
    }

    /// The close frame, once, when the last words have been taken.
    fn close_once(&mut self) {
        if self.stage == Stage::Open
            && let Some(reason) = self.mailbox.ending()
        {
            self.stage = Stage::Closing;
            self.socket.close(CloseFrame { code: close_code(reason), reason: "".into() });
        }
    }

    fn poll_drain_raw(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 4096];
        for _ in 0..MESSAGES_PER_TURN {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(self.socket.stream()).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.mailbox.waker.register(cx.waker());
        let now = this.hub.now();
        let at_end = this.poll_incoming(cx, now).is_ready();
        if let Some(reason) = this.mailbox.ending() {
            this.leave_room(now, reason.leave_reason());
        }
        if at_end {
            // The answer to the peer's close frame, if it goes at once.
            let _ = this.socket.poll_flush(cx);
        }
        if at_end || this.mailbox.is_abandoned() || this.poll_outgoing(cx, now).is_err() {
            this.leave_room(now, LeaveReason::Lost);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leave_room(self.hub.now(), LeaveReason::Lost);
        self.hub.count_unfinished(self.hub.now(), self.id, self.guesser_address, 0);
        self.hub.count_unwritten(self.hub.now(), self.id, self.guesser_address, 0);
        self.hub.exit(self.id);
    }
}

/// A page that is closed sends 1001, a program that is done may send 1000; a client that will come back sends neither.
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
