//! One WebSocket: a hand-written future, so that reading never waits for writing, everything that
//! waits goes out in one flush, and an idle connection costs little memory.
//!
//! What is said over it is a [`Conversation`]: that of a member of a room, or of a client of
//! UnityP2P.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use voicemesh_rooms::Malformed;

use super::counted_io::CountedIo;
use super::socket::{Failure, Socket};

/// Messages read in one go before others get their turn.
const MESSAGES_PER_TURN: usize = 32;

/// A part of a message that is smaller is not counted among the unfinished ones: it fits the read
/// buffer.
const UNFINISHED_BYTES: usize = 2 * 1024;

/// A message of which less waits for the socket is not counted among the large ones: any reliable
/// packet is shorter.
const UNWRITTEN_BYTES: usize = 64 * 1024;

/// What is said over one WebSocket. What waits to be said wakes [`waker`](Self::waker).
pub(super) trait Conversation: Unpin {
    fn now(&self) -> Duration;
    fn waker(&self) -> &AtomicWaker;
    /// What came for it by another way than the socket. Called before messages are read, and after
    /// each.
    fn catch_up(&mut self, now: Duration, socket: &mut Socket);
    /// Nothing more is read for now.
    fn is_full(&self) -> bool;
    /// A message came, pings and pongs included, or a part of one.
    fn heard(&mut self, now: Duration);
    /// A whole message came, and no end has begun.
    fn take_in(&mut self, now: Duration, socket: &mut Socket, message: Message);
    /// What came cannot be read: an end begins.
    fn unreadable(&mut self, now: Duration, socket: &mut Socket, why: Unreadable);
    /// What is to be written next.
    fn next(&mut self, now: Duration) -> Option<Message>;
    /// The socket was given what waits: `took` if it took a byte, `blocked` if it did not take all.
    fn wrote(&mut self, now: Duration, took: bool, blocked: bool);
    /// The code to close with, if an end has begun.
    fn ending(&self) -> Option<CloseCode>;
    /// An end has begun; called again and again.
    fn note_end(&mut self, now: Duration, socket: &mut Socket);
    /// The connection has to go without another word.
    fn is_abandoned(&self) -> bool;
    /// The socket is not there any more.
    fn lost(&mut self, now: Duration, socket: &mut Socket);
    /// The bytes that have arrived of an unfinished message, or that its buffer takes.
    fn count_unfinished(&mut self, now: Duration, bytes: usize);
    /// The bytes of a large message that wait for the socket.
    fn count_unwritten(&mut self, now: Duration, bytes: usize);
}

/// Why nothing that follows can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A message over the limit.
    TooLarge,
    Malformed(Malformed),
}

/// One WebSocket, from its upgrade to its end.
pub(super) struct Connection<C: Conversation> {
    conversation: C,
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

/// The socket below HTTP.
pub(super) fn socket_of(upgraded: hyper::upgrade::Upgraded) -> Option<Socket> {
    let parts = upgraded.downcast::<TokioIo<CountedIo>>().ok()?;
    let mut stream = parts.io.into_inner();
    stream.end_heads();
    Some(Socket::new(stream, parts.read_buf.to_vec()))
}

impl<C: Conversation> Connection<C> {
    pub(super) fn new(socket: Socket, conversation: C) -> Self {
        Self {
            conversation,
            is_unreadable: false,
            socket,
            unfinished: 0,
            unwritten: 0,
            stage: Stage::Open,
        }
    }

    /// Ready when the socket is at its end.
    fn poll_incoming(&mut self, cx: &mut Context<'_>, now: Duration) -> Poll<()> {
        self.conversation.catch_up(now, &mut self.socket);
        for _ in 0..MESSAGES_PER_TURN {
            if self.conversation.is_full() {
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
                if self.socket.take_arrived() {
                    self.conversation.heard(now);
                }
                self.count_unfinished(now);
                return Poll::Pending;
            };
            match next {
                Ok(message) => {
                    self.conversation.heard(now);
                    if self.stage == Stage::Open && self.conversation.ending().is_none() {
                        self.conversation.take_in(now, &mut self.socket, message);
                        self.conversation.catch_up(now, &mut self.socket);
                    }
                }
                Err(Failure::TooLarge) => self.give_up_reading(now, Unreadable::TooLarge),
                Err(Failure::Malformed(how)) => {
                    self.give_up_reading(now, Unreadable::Malformed(how));
                }
                Err(Failure::Gone) => return Poll::Ready(()),
            }
        }
        self.count_unfinished(now);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn give_up_reading(&mut self, now: Duration, why: Unreadable) {
        self.is_unreadable = true;
        self.conversation.unreadable(now, &mut self.socket, why);
    }

    /// What still comes is no frame that could be understood.
    fn cannot_read(&self) -> bool {
        self.is_unreadable
            || matches!(
                self.conversation.ending(),
                Some(CloseCode::Size | CloseCode::Protocol | CloseCode::Invalid)
            )
    }

    fn count_unfinished(&mut self, now: Duration) {
        let bytes =
            if self.socket.unfinished() > UNFINISHED_BYTES { self.socket.unfinished() } else { 0 };
        if bytes != self.unfinished {
            self.unfinished = bytes;
            self.conversation.count_unfinished(now, bytes);
        }
    }

    /// The buffer of a large message is kept whole until all of it is written, so its size is what
    /// counts.
    fn count_unwritten(&mut self, now: Duration) {
        let waiting = self.socket.unwritten();
        let bytes = if waiting > UNWRITTEN_BYTES { waiting.max(self.unwritten) } else { 0 };
        if bytes != self.unwritten {
            self.unwritten = bytes;
            self.conversation.count_unwritten(now, bytes);
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
        self.conversation.wrote(now, took, blocked);
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
            let Some(message) = self.conversation.next(now) else {
                self.close_once();
                return true;
            };
            self.socket.put(&message);
        }
        false
    }

    /// The close frame, once, when the last words have been taken.
    fn close_once(&mut self) {
        if self.stage == Stage::Open
            && let Some(code) = self.conversation.ending()
        {
            self.stage = Stage::Closing;
            self.socket.close(CloseFrame { code, reason: "".into() });
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

impl<C: Conversation> Future for Connection<C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.conversation.waker().register(cx.waker());
        let now = this.conversation.now();
        let at_end = this.poll_incoming(cx, now).is_ready();
        if this.conversation.ending().is_some() {
            this.conversation.note_end(now, &mut this.socket);
        }
        if at_end {
            // The answer to the peer's close frame, if it goes at once.
            let _ = this.socket.poll_flush(cx);
        }
        if at_end || this.conversation.is_abandoned() || this.poll_outgoing(cx, now).is_err() {
            this.conversation.lost(now, &mut this.socket);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<C: Conversation> Drop for Connection<C> {
    fn drop(&mut self) {
        let now = self.conversation.now();
        self.conversation.lost(now, &mut self.socket);
        self.conversation.count_unfinished(now, 0);
        self.conversation.count_unwritten(now, 0);
    }
}
