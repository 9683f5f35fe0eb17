//! The WebSocket of one connection (RFC 6455): tungstenite reads frames, and this module writes
//! them, so that what waits for the socket is known and bounded: less than [`WRITE_BUFFER_BYTES`]
//! and one message, and one pong.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};
use voicemesh_wire::limits::{BINARY_MESSAGE_BYTES, JOIN_BYTES, JSON_MESSAGE_BYTES};

use super::boundaries::Boundaries;
use super::counted_io::CountedIo;
use voicemesh_rooms::{HELD_BYTES, Malformed};

/// What an idle connection holds for reading.
const READ_BUFFER_BYTES: usize = 1024;
/// After a larger frame the buffer for reading is given back as soon as it is empty.
const GROWN_BYTES: usize = 4 * 1024;
/// Frames are gathered up to this size before they are written.
const WRITE_BUFFER_BYTES: usize = 4096;
/// An idle connection keeps this much for writing.
const KEPT_BYTES: usize = 512;
/// Bytes read in one go before others get their turn.
const BYTES_PER_TURN: usize = 64 * 1024;
/// The headers and masks of a fragmented message, and its content, may be so many times its largest
/// size.
const FRAGMENTED: usize = 2;

const MAX_MESSAGE_BYTES: usize = if JSON_MESSAGE_BYTES > BINARY_MESSAGE_BYTES {
    JSON_MESSAGE_BYTES
} else {
    BINARY_MESSAGE_BYTES
};

const FINAL: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const OPCODE: u8 = 0x0F;

/// One WebSocket.
pub(super) struct Socket {
    context: WebSocketContext,
    stream: CountedIo,
    outgoing: Outgoing,
    /// Bytes read since the last whole message.
    unfinished: usize,
    /// Of the frames that the present context has read.
    boundaries: Boundaries,
    /// Something has been read since the last whole message, and since [`Socket::take_arrived`].
    arrived: bool,
    largest_message: usize,
}

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A message over the limit.
    TooLarge,
    Malformed(Malformed),
    /// The connection is at its end.
    Gone,
}

/// Encoded frames on their way to the system.
#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    /// The answer to the newest ping, if it is not among the bytes yet.
    pong: Option<Vec<u8>>,
    is_closed: bool,
    /// The stream has taken bytes that it may hold itself (TLS).
    unflushed: bool,
    /// The system has taken something since [`Socket::take_progress`].
    progress: bool,
}

impl Socket {
    /// An upgraded stream; `early` was read behind the upgrade.
    pub(super) fn new(stream: CountedIo, early: Vec<u8>) -> Self {
        // What tungstenite writes are control frames, one at a time.
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(JOIN_BYTES))
            .max_frame_size(Some(JOIN_BYTES));
        let unfinished = early.len();
        let mut boundaries = Boundaries::default();
        boundaries.pass(&early);
        let context = WebSocketContext::from_partially_read(early, Role::Server, Some(config));
        Self {
            context,
            stream,
            outgoing: Outgoing::default(),
            unfinished,
            boundaries,
            arrived: false,
            largest_message: JOIN_BYTES,
        }
    }

    /// The peer has joined: its messages may be larger from now on.
    pub(super) fn joined(&mut self) {
        self.set_largest(MAX_MESSAGE_BYTES);
    }

    /// It has not joined. While its join waits for an answer, what follows is kept, so it has to be
    /// small.
    pub(super) fn set_join_waits(&mut self, waits: bool) {
        self.set_largest(if waits { HELD_BYTES } else { JOIN_BYTES });
    }

    /// Of messages, from now on.
    pub(super) fn set_largest(&mut self, bytes: usize) {
        self.largest_message = bytes;
        self.context.set_config(|config| {
            config.max_message_size = Some(bytes);
            config.max_frame_size = Some(bytes);
        });
    }

    /// How much of a message, or of a record of TLS, has arrived that is not whole; or, if that is
    /// more, what a frame before it has made of the buffer.
    pub(super) fn unfinished(&self) -> usize {
        let grown = if self.has_grown() { self.boundaries.largest() } else { 0 };
        self.unfinished.max(grown) + self.stream.undecrypted()
    }

    /// Whether a part of a message has arrived since the last time.
    pub(super) fn take_arrived(&mut self) -> bool {
        std::mem::take(&mut self.arrived)
    }

    fn has_grown(&self) -> bool {
        self.boundaries.largest() > GROWN_BYTES
    }

    /// The buffer of a large frame, which tungstenite would keep for the next one. All whole frames
    /// have been taken from it.
    fn give_back(&mut self) {
        if self.has_grown() && self.boundaries.is_between_messages() && self.context.can_write() {
            self.renew(*self.context.get_config());
        }
    }

    fn renew(&mut self, config: WebSocketConfig) {
        self.context = WebSocketContext::new(Role::Server, Some(config));
        self.boundaries = Boundaries::default();
        self.unfinished = 0;
    }

    /// The next message, pings and pongs included.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, Failure>> {
        let most = self.largest_message * FRAGMENTED;
        let mut io = Io {
            stream: &mut self.stream,
            outgoing: &mut self.outgoing,
            unfinished: &mut self.unfinished,
            boundaries: &mut self.boundaries,
            arrived: &mut self.arrived,
            turn: BYTES_PER_TURN,
            cx,
        };
        let read = self.context.read(&mut io);
        match read {
            Ok(message) => {
                self.arrived = false;
                self.unfinished = match &message {
                    Message::Ping(payload) | Message::Pong(payload) => {
                        self.unfinished.saturating_sub(payload.len() + CONTROL_HEADER_BYTES)
                    }
                    _ => 0,
                };
                Poll::Ready(Ok(message))
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.unfinished > most {
                    Poll::Ready(Err(Failure::TooLarge))
                } else {
                    self.give_back();
                    Poll::Pending
                }
            }
            Err(error) => Poll::Ready(Err(failure(&error))),
        }
    }

    /// Whether one more message may be put in. A pong waits for what is being written, and for
    /// nothing more.
    pub(super) fn has_room(&self) -> bool {
        self.outgoing.has_room()
    }

    /// Whether something waits for the system.
    pub(super) fn is_blocked(&self) -> bool {
        self.outgoing.waiting() > 0 || self.outgoing.pong.is_some() || self.outgoing.unflushed
    }

    /// Encoded bytes that the system has not taken yet.
    pub(super) fn unwritten(&self) -> usize {
        self.outgoing.waiting()
    }

    /// Whether the system has taken anything since the last time.
    pub(super) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.outgoing.progress)
    }

    /// Appends a message to what is written.
    pub(super) fn put(&mut self, message: &Message) {
        match message {
            Message::Text(text) => self.outgoing.frame(TEXT, text.as_bytes()),
            Message::Binary(packet) => self.outgoing.frame(BINARY, packet),
            Message::Ping(payload) => self.outgoing.frame(PING, payload),
            Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }

    /// Appends a close frame; nothing follows it.
    pub(super) fn close(&mut self, frame: CloseFrame) {
        // A peer that has closed already needs none, and this writes to memory only.
        let _ = self.context.close(&mut Frames(&mut self.outgoing), Some(frame));
    }

    /// Nothing more is read as frames: what has arrived of one is forgotten. A close frame can
    /// still be sent.
    pub(super) fn stop_reading(&mut self) {
        self.renew(WebSocketConfig::default().read_buffer_size(0).write_buffer_size(0));
    }

    /// Gives the system what waits. Ready when it has taken everything.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, outgoing, .. } = self;
        loop {
            if outgoing.unflushed {
                ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                outgoing.unflushed = false;
                outgoing.progress = true;
            }
            let Some(chunk) = outgoing.chunk() else {
                outgoing.clear();
                return Poll::Ready(Ok(()));
            };
            let taken = ready!(Pin::new(&mut *stream).poll_write(cx, chunk))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            outgoing.written += taken;
            outgoing.unflushed = true;
            outgoing.progress = true;
        }
    }

    /// The stream below, once nothing more is read as frames.
    pub(super) fn stream(&mut self) -> &mut CountedIo {
        &mut self.stream
    }
}

/// Opcode, length and mask of a control frame.
const CONTROL_HEADER_BYTES: usize = 6;

fn failure(error: &Error) -> Failure {
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match error {
        Error::Capacity(_) => Failure::TooLarge,
        Error::Utf8(_) => Failure::Malformed(Malformed::Text),
        Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::ReceivedAfterClosing,
        ) => Failure::Gone,
        Error::Protocol(_) => Failure::Malformed(Malformed::Frame),
        _ => Failure::Gone,
    }
}

impl Outgoing {
    fn waiting(&self) -> usize {
        self.bytes.len() - self.written
    }

    fn has_room(&self) -> bool {
        self.waiting() < WRITE_BUFFER_BYTES && self.pong.is_none()
    }

    /// What to write next. A pong goes before the next message, and not into the middle of one.
    fn chunk(&mut self) -> Option<&[u8]> {
        if self.waiting() == 0 {
            self.clear();
            self.bytes = self.pong.take()?;
        }
        let end = self.bytes.len().min(self.written + WRITE_BUFFER_BYTES);
        Some(&self.bytes[self.written..end])
    }

    fn clear(&mut self) {
        self.written = 0;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }

    /// RFC 6455 §5.2; a server does not mask.
    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        if self.is_closed {
            return;
        }
        if self.waiting() == 0 {
            self.clear();
        } else if self.written > WRITE_BUFFER_BYTES {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        self.bytes.push(FINAL | opcode);
        match payload.len() {
            short @ 0..=125 => self.bytes.push(short as u8),
            medium @ 126..=0xFFFF => {
                self.bytes.push(126);
                self.bytes.extend_from_slice(&(medium as u16).to_be_bytes());
            }
            long => {
                self.bytes.push(127);
                self.bytes.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        self.bytes.extend_from_slice(payload);
    }

    /// A control frame of tungstenite's.
    fn control(&mut self, frame: &[u8]) {
        match frame.first().map(|first| first & OPCODE) {
            _ if self.is_closed => {}
            Some(PONG) => self.pong = Some(frame.to_vec()),
            Some(CLOSE) => {
                self.bytes.extend_from_slice(frame);
                self.pong = None;
                self.is_closed = true;
            }
            _ => self.bytes.extend_from_slice(frame),
        }
    }
}

/// What tungstenite reads from and writes to.
struct Io<'a, 'b> {
    stream: &'a mut CountedIo,
    outgoing: &'a mut Outgoing,
    unfinished: &'a mut usize,
    boundaries: &'a mut Boundaries,
    arrived: &'a mut bool,
    turn: usize,
    cx: &'a mut Context<'b>,
}

impl Read for Io<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.turn == 0 {
            self.cx.waker().wake_by_ref();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut buffer = ReadBuf::new(bytes);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                let read = buffer.filled().len();
                self.boundaries.pass(buffer.filled());
                *self.arrived |= read > 0;
                *self.unfinished += read;
                self.turn = self.turn.saturating_sub(read);
                Ok(read)
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Io<'_, '_> {
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        Frames(self.outgoing).write(frame)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes control frames.
struct Frames<'a>(&'a mut Outgoing);

impl Read for Frames<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Write for Frames<'_> {
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        self.0.control(frame);
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut outgoing = Outgoing::default();
        outgoing.frame(opcode, payload);
        outgoing.bytes
    }

    #[test]
    fn frames_are_encoded_as_rfc_6455_has_them() {
        assert_eq!(encoded(TEXT, b"Hello"), [0x81, 0x05, b'H', b'e', b'l', b'l', b'o']);
        assert_eq!(encoded(BINARY, &[7; 256])[..4], [0x82, 0x7E, 0x01, 0x00]);
        assert_eq!(encoded(BINARY, &[7; 65_536])[..10], [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn one_pong_waits_whatever_is_asked() {
        let mut outgoing = Outgoing::default();
        for number in 0..1_000_u16 {
            let [high, low] = number.to_be_bytes();
            outgoing.control(&[FINAL | PONG, 2, high, low]);
        }
        assert_eq!(outgoing.waiting(), 0);
        assert_eq!(outgoing.chunk(), Some(&[FINAL | PONG, 2, 3, 0xE7][..]));
        outgoing.written = 2;
        outgoing.control(&[FINAL | PONG, 1, 9]);
        assert_eq!(outgoing.chunk(), Some(&[3, 0xE7][..]), "not into the middle of a frame");
        outgoing.written = 4;
        assert_eq!(outgoing.chunk(), Some(&[FINAL | PONG, 1, 9][..]));
        outgoing.written = 3;
        assert_eq!(outgoing.chunk(), None);
    }

    #[test]
    fn while_a_pong_waits_no_message_goes_in_before_it() {
        let mut outgoing = Outgoing::default();
        outgoing.frame(BINARY, &[7; 100]);
        assert!(outgoing.has_room());
        outgoing.control(&[FINAL | PONG, 0]);
        outgoing.written = 50;
        assert!(!outgoing.has_room(), "the pong's turn comes when this is written");
        outgoing.written = 102;
        assert_eq!(outgoing.chunk(), Some(&[FINAL | PONG, 0][..]));
        assert!(outgoing.has_room());
    }

    #[test]
    fn what_the_socket_has_taken_is_not_kept() {
        let mut outgoing = Outgoing::default();
        for _ in 0..10_000 {
            outgoing.frame(BINARY, &[0; 1_000]);
            outgoing.written += 1_000.min(outgoing.waiting());
            assert!(outgoing.bytes.len() < 3 * WRITE_BUFFER_BYTES + outgoing.waiting());
        }
        outgoing.written = outgoing.bytes.len();
        outgoing.frame(TEXT, b"x");
        assert_eq!(outgoing.bytes, [FINAL | TEXT, 1, b'x']);
        outgoing.clear();
        assert!(outgoing.bytes.capacity() <= KEPT_BYTES);
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        let mut outgoing = Outgoing::default();
        outgoing.control(&[FINAL | CLOSE, 0]);
        outgoing.control(&[FINAL | PONG, 0]);
        outgoing.frame(TEXT, b"late");
        assert_eq!((outgoing.bytes.as_slice(), &outgoing.pong), (&[FINAL | CLOSE, 0][..], &None));
    }
}
