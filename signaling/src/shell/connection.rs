//! One WebSocket: a hand-written future, so that reading never waits for writing, everything that
//! waits goes out in one flush, and an idle connection costs little memory.

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
use voicemesh_wire::signaling::{CLOSE_TAKEN_OVER, LeaveReason};

use super::counted_io::CountedIo;
use super::hub::{Hub, unix_time};
use super::mailbox::{Mailbox, Next};
use super::socket::{Failure, Socket};
use voicemesh_rooms::{
    Address, AddressKey, CloseReason, ConnectionId, Input, Line as _, Malformed, Purpose, Refusal,
    Text, Visit,
};

/// Messages read in one go before others get their turn.
const MESSAGES_PER_TURN: usize = 32;

/// A part of a message that is smaller is not counted among the unfinished ones: it fits the read
/// buffer.
const UNFINISHED_BYTES: usize = 2 * 1024;

/// A message of which less waits for the socket is not counted among the large ones: any reliable
/// packet is shorter.
const UNWRITTEN_BYTES: usize = 64 * 1024;

/// One WebSocket, from its upgrade to its end.
pub(super) struct Connection {
    id: ConnectionId,
    hub: Arc<Hub>,
    mailbox: Mailbox,
    visit: Visit<Mailbox>,
    key: Option<AddressKey>,
    /// Its messages may be as large as those of members.
    is_joined: bool,
    /// What came is no frame that could be understood, or a frame over the limit: also after the
    /// connection's end has begun for another reason.
    is_unreadable: bool,
    socket: Socket,
    /// What was last said of an unfinished message.
    unfinished: usize,
    /// What was last said of a large message that is being written.
    unwritten: usize,
    stage: Stage,
}

/// How far a connection is with ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The last words and the close frame are on their way.
    Closing,
    /// Everything is written; what still arrives is read and forgotten until the peer closes,
    /// because closing over unread bytes would destroy what the peer has not read yet.
    Draining,
    /// The same, below the WebSocket: after a frame over the limit, nothing that follows can be
    /// understood.
    DrainingRaw,
}

impl Connection {
    pub(super) fn new(
        hub: Arc<Hub>,
        upgraded: hyper::upgrade::Upgraded,
        address: Option<Arc<Address>>,
        key: Option<AddressKey>,
        refusal: Option<Refusal>,
    ) -> Option<Self> {
        let parts = upgraded.downcast::<TokioIo<CountedIo>>().ok()?;
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
        let address = key.map(|key| (key, address));
        let visit = Visit::new(now, id, mailbox.clone(), address, &hub.signaling);
        Some(Self {
            id,
            hub,
            mailbox,
            visit,
            key,
            is_joined: false,
            is_unreadable: false,
            socket,
            unfinished: 0,
            unwritten: 0,
            stage: Stage::Open,
        })
    }

    /// Ready when the socket is at its end.
    fn poll_incoming(&mut self, cx: &mut Context<'_>, now: Duration) -> Poll<()> {
        self.take_hashed(now);
        for _ in 0..MESSAGES_PER_TURN {
            if self.visit.is_full() {
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
                        self.take_in(now, message);
                        self.take_hashed(now);
                    }
                }
                Err(Failure::TooLarge) => {
                    self.is_unreadable = true;
                    self.handle(now, Input::TooLarge);
                }
                Err(Failure::Malformed(how)) => {
                    self.is_unreadable = true;
                    self.handle(now, Input::Malformed(how));
                }
                Err(Failure::Gone) => return Poll::Ready(()),
            }
        }
        self.count_unfinished(now);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// What still comes is no frame that could be understood.
    fn cannot_read(&self) -> bool {
        self.is_unreadable
            || matches!(
                self.mailbox.ending(),
                Some(CloseReason::TooLarge | CloseReason::Malformed(_))
            )
    }

    fn count_unfinished(&mut self, now: Duration) {
        let bytes =
            if self.socket.unfinished() > UNFINISHED_BYTES { self.socket.unfinished() } else { 0 };
        if bytes != self.unfinished {
            self.unfinished = bytes;
            self.hub.count_unfinished(now, self.id, self.key, bytes);
        }
    }

    /// The buffer of a large message is kept whole until all of it is written, so its size is what
    /// counts.
    fn count_unwritten(&mut self, now: Duration) {
        let waiting = self.socket.unwritten();
        let bytes = if waiting > UNWRITTEN_BYTES { waiting.max(self.unwritten) } else { 0 };
        if bytes != self.unwritten {
            self.unwritten = bytes;
            self.hub.count_unwritten(now, self.id, self.key, bytes);
        }
    }

    fn take_hashed(&mut self, now: Duration) {
        if let Some(answer) = self.mailbox.take_hashed() {
            self.handle(now, Input::Hashed(answer));
        }
    }

    fn take_in(&mut self, now: Duration, message: Message) {
        self.hub.metrics.bytes_in.add(message.len() as u64);
        match message {
            Message::Binary(packet) => self.handle(now, Input::Packet(packet)),
            Message::Text(text) => self.handle(now, Input::Text(text.as_str())),
            Message::Close(frame) => self.handle(now, Input::Left(leave_reason(frame.as_ref()))),
            Message::Ping(_) | Message::Pong(_) => self.handle(now, Input::Control),
            Message::Frame(_) => {}
        }
    }

    fn handle(&mut self, now: Duration, input: Input<'_>) {
        if !self.is_joined {
            self.hub.signaling.set_unix_time(unix_time());
        }
        if self.hub.signaling.handle(now, &mut self.visit, input) {
            self.hub.hash_wanted.notify_one();
        }
        if !self.is_joined && self.visit.is_inside() {
            self.is_joined = true;
            self.socket.joined();
        } else if !self.is_joined {
            self.socket.set_join_waits(self.visit.is_hashing());
        }
    }

    /// Writes what waits, as much as the socket takes. An error means that the socket is at its
    /// end.
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

    /// Puts what waits into the socket's buffer, as far as there is room. True if nothing waits any
    /// more.
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
                Next::Snapshot(part) => self.visit.refresh(now, part),
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
            this.handle(now, Input::Left(reason.leave_reason()));
        }
        if at_end {
            // The answer to the peer's close frame, if it goes at once.
            let _ = this.socket.poll_flush(cx);
        }
        if at_end || this.mailbox.is_abandoned() || this.poll_outgoing(cx, now).is_err() {
            this.handle(now, Input::Left(LeaveReason::Lost));
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let now = self.hub.now();
        self.handle(now, Input::Left(LeaveReason::Lost));
        self.hub.count_unfinished(now, self.id, self.key, 0);
        self.hub.count_unwritten(now, self.id, self.key, 0);
        self.hub.exit(self.id);
    }
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
