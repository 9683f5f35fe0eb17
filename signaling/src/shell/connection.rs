//! One WebSocket: a hand-written future, so that reading never waits for writing, everything that waits goes out in one
//! flush, and an idle connection costs little memory.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Sink, Stream as _};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use voicemesh_wire::limits::{BINARY_MESSAGE_BYTES, JSON_MESSAGE_BYTES};
use voicemesh_wire::signaling::{ErrorCode, Join, LeaveReason, ServerMessage};

use super::address::Address;
use super::hub::{Hub, RoomCell};
use super::mailbox::Mailbox;
use super::stream::Stream;
use crate::gate::{Gate, Passed};
use crate::outbox::{CloseReason, ConnectionId, Text};
use crate::refusal::Refusal;

/// What an idle connection holds for reading.
const READ_BUFFER_BYTES: usize = 1024;
/// Frames are gathered up to this size before they are written. The buffer grows only when there is something to write,
/// and never holds more than this and one message, because none is put in while a write waits for the socket.
const WRITE_BUFFER_BYTES: usize = 4096;
/// Messages read in one go before others get their turn.
const MESSAGES_PER_TURN: usize = 32;

const MAX_MESSAGE_BYTES: usize =
    if JSON_MESSAGE_BYTES > BINARY_MESSAGE_BYTES { JSON_MESSAGE_BYTES } else { BINARY_MESSAGE_BYTES };

/// One WebSocket, from its upgrade to its end.
pub(super) struct Connection {
    id: ConnectionId,
    hub: Arc<Hub>,
    mailbox: Arc<Mailbox>,
    gate: Gate,
    address: Option<Arc<Address>>,
    room: Option<Arc<RoomCell>>,
    socket: WebSocketStream<Stream>,
    unflushed: bool,
    stage: Stage,
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
    pub(super) async fn new(
        hub: Arc<Hub>,
        upgraded: hyper::upgrade::Upgraded,
        address: Option<Arc<Address>>,
        refusal: Option<Refusal>,
    ) -> Option<Self> {
        let parts = upgraded.downcast::<TokioIo<Stream>>().ok()?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let stream = parts.io.into_inner();
        let early = parts.read_buf.to_vec();
        let socket = WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;
        let now = hub.now();
        let (id, mailbox) = hub.enter(now);
        if let Some(refusal) = refusal {
            mailbox.text(now, &Text::from(&refusal.farewell()));
            mailbox.end(now, CloseReason::Refused);
        }
        let shared = address.as_ref().map(|address| Arc::clone(&address.budget));
        let gate = Gate::new(now, &hub.config.budgets, shared);
        Some(Self { id, hub, mailbox, gate, address, room: None, socket, unflushed: false, stage: Stage::Open })
    }

    /// Ready when the socket is at its end.
    fn poll_incoming(&mut self, cx: &mut Context<'_>, now: Duration) -> Poll<()> {
        for _ in 0..MESSAGES_PER_TURN {
            if self.stage == Stage::DrainingRaw {
                return self.poll_drain_raw(cx);
            }
            match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(message)) => {
                    self.mailbox.heard(now);
                    if self.stage == Stage::Open && self.mailbox.ending().is_none() {
                        self.take_in(now, message);
                    }
                }
                Some(Err(tungstenite::Error::Capacity(_))) => self.act(now, Gate::too_large()),
                Some(Err(_)) | None => return Poll::Ready(()),
            }
            if self.mailbox.ending() == Some(CloseReason::TooLarge) {
                // The rest of that frame is not a message; it is drained once the answer is written.
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take_in(&mut self, now: Duration, message: Message) {
        match message {
            Message::Binary(packet) => match self.gate.packet(now, &packet) {
                Passed::Packet => {
                    if let Some(room) = &self.room {
                        self.hub.packet(now, room, self.id, &packet);
                    }
                }
                passed => self.act(now, passed),
            },
            Message::Text(text) => {
                let passed = self.gate.text(now, text.as_str());
                self.act(now, passed);
            }
            Message::Close(frame) => {
                let reason = leave_reason(frame.as_ref());
                self.leave_room(now, reason);
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }

    fn act(&mut self, now: Duration, passed: Passed) {
        match passed {
            Passed::Join(join) => self.join(now, *join),
            Passed::Message(message) => {
                if let Some(room) = &self.room {
                    self.hub.message(now, room, self.id, message);
                }
            }
            Passed::Packet => {}
            Passed::Answer(message) => {
                self.hub.metrics.refusals.add(1);
                self.count_if_over_budget(&message);
                self.mailbox.text(now, &Text::from(&message));
            }
            Passed::End(message, reason) => {
                self.hub.metrics.refusals.add(1);
                self.count_if_over_budget(&message);
                self.mailbox.text(now, &Text::from(&message));
                self.mailbox.end(now, reason);
            }
            Passed::Dropped => self.hub.metrics.over_budget.add(1),
        }
    }

    fn count_if_over_budget(&self, message: &ServerMessage) {
        if let ServerMessage::Error { code: ErrorCode::TooManyMessages, .. } = message {
            self.hub.metrics.over_budget.add(1);
        }
    }

    fn join(&mut self, now: Duration, join: Join) {
        let budgets = &self.hub.config.budgets;
        let allowed = self.address.as_ref().is_none_or(|address| address.may_join(now, budgets));
        let joined = match allowed {
            true => self.hub.join(now, self.id, &self.mailbox, join),
            false => Err(Refusal::of(ErrorCode::TooManyJoins)),
        };
        match joined {
            Ok(room) => self.room = Some(room),
            Err(refusal) => self.act(now, Passed::End(refusal.farewell(), CloseReason::Refused)),
        }
    }

    fn leave_room(&mut self, now: Duration, reason: LeaveReason) {
        if let Some(room) = self.room.take() {
            self.hub.leave(now, &room, self.id, reason);
        }
    }

    /// Writes what waits, as much as the socket takes. An error means that the socket is at its end.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>, now: Duration) -> Result<(), tungstenite::Error> {
        loop {
            while Pin::new(&mut self.socket).poll_ready(cx)?.is_ready() {
                let (message, dropped) = self.mailbox.take(now);
                if dropped > 0 {
                    self.hub.metrics.voice_dropped.add(dropped as u64);
                }
                let Some(message) = message.or_else(|| self.close_frame()) else { break };
                Pin::new(&mut self.socket).start_send(message)?;
                self.unflushed = true;
            }
            if !self.unflushed || Pin::new(&mut self.socket).poll_flush(cx)?.is_pending() {
                break;
            }
            self.unflushed = false;
        }
        if self.stage == Stage::Closing && !self.unflushed {
            self.stage = Stage::Draining;
            if self.mailbox.ending() == Some(CloseReason::TooLarge) {
                let _ = Pin::new(self.socket.get_mut()).poll_shutdown(cx);
                self.stage = Stage::DrainingRaw;
                cx.waker().wake_by_ref();
            }
        }
        Ok(())
    }

    /// The close frame, once, when the last words have been taken.
    fn close_frame(&mut self) -> Option<Message> {
        if self.stage != Stage::Open {
            return None;
        }
        let reason = self.mailbox.ending()?;
        self.stage = Stage::Closing;
        Some(Message::Close(Some(CloseFrame { code: close_code(reason), reason: "".into() })))
    }

    fn poll_drain_raw(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 4096];
        for _ in 0..MESSAGES_PER_TURN {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(self.socket.get_mut()).poll_read(cx, &mut buffer));
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
        self.hub.exit(self.id);
    }
}

/// A page that is closed says 1001, a program that is done may say 1000; whoever means to come back says neither.
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
        CloseReason::GoingAway => CloseCode::Restart,
        CloseReason::Refused
        | CloseReason::Flooding
        | CloseReason::SlowConsumer
        | CloseReason::Replaced
        | CloseReason::Silent => CloseCode::Policy,
    }
}
