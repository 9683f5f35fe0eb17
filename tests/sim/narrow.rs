//! A socket's stream over a narrow way: what does not fit waits, and voice that has waited too long
//! is dropped, as in the peer's socket and in the server's queue. TCP is either ideal, so that it
//! fills the queue and loses nothing, or one that loses what the way drops.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_netsim::Bottleneck;

use crate::tcp::Tcp;

/// As `crates/peer/src/socket.rs` and `crates/rooms/src/send_queue.rs`.
const VOICE_PACKETS: usize = 32;
const VOICE_AGE: Duration = Duration::from_millis(400);
/// IPv4, TCP with timestamps and a WebSocket header.
pub const STREAM_OVERHEAD_BYTES: usize = 58;
/// IPv4, UDP, DTLS and SCTP.
pub const LINK_OVERHEAD_BYTES: usize = 86;
/// A SACK on the wire, sent for every second packet …
pub const SACK_BYTES: usize = 85;
/// … and at most this often, as in `crates/link/src/acks.rs`.
pub const SACK_HOLD: Duration = Duration::from_millis(240);

/// What the kernel is left to hold unsent, as in `signaling/src/shell/accept.rs` and
/// `crates/peer/src/socket.rs`.
pub const UNSENT_BY_SERVER_BYTES: usize = 2_048;
pub const UNSENT_BY_PEER_BYTES: usize = 512;
/// Of the overhead, what is TCP's own.
const TCP_BYTES: usize = 52;
/// Longer messages pass in parts.
const SEGMENT_BYTES: usize = 536;

#[derive(Debug)]
pub struct Stream<T> {
    waiting: VecDeque<Waiting<T>>,
    /// Bytes of voice that may go before other messages.
    voice_turn: usize,
    /// `None` where TCP is ideal.
    tcp: Option<(Tcp<T>, usize)>,
}

#[derive(Debug)]
struct Waiting<T> {
    since: Duration,
    bytes: usize,
    is_voice: bool,
    what: T,
}

impl<T> Default for Stream<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), voice_turn: 0, tcp: None }
    }
}

impl<T> Stream<T> {
    /// Over a TCP that loses what the way drops, and is given more while it holds less than so much
    /// unsent.
    pub fn lossy(unsent_bytes: usize) -> Self {
        Self { tcp: Some((Tcp::default(), unsent_bytes)), ..Self::default() }
    }

    pub fn put(&mut self, now: Duration, bytes: usize, is_voice: bool, what: T) {
        if is_voice
            && self.waiting.iter().filter(|waiting| waiting.is_voice).count() == VOICE_PACKETS
        {
            let oldest = self.waiting.iter().position(|waiting| waiting.is_voice);
            self.waiting.remove(oldest.unwrap());
        }
        self.waiting.push_back(Waiting {
            since: now,
            bytes: bytes + STREAM_OVERHEAD_BYTES,
            is_voice,
            what,
        });
    }

    /// What leaves now, and when it has passed the narrow way.
    pub fn pump(&mut self, now: Duration, way: &mut Bottleneck) -> Vec<(Duration, T)> {
        let mut leaving = Vec::new();
        if let Some((mut tcp, unsent_bytes)) = self.tcp.take() {
            leaving.extend(tcp.poll(now, way));
            while tcp.unsent_bytes() < unsent_bytes
                && let Some(Waiting { bytes, what, .. }) = self.next(now)
            {
                tcp.write(bytes - TCP_BYTES, what);
                leaving.extend(tcp.poll(now, way));
            }
            self.tcp = Some((tcp, unsent_bytes));
            return leaving;
        }
        while let Some(first) = self.next_mut(now) {
            let segment = first.bytes.min(SEGMENT_BYTES);
            if !way.has_room(now, segment) {
                break;
            }
            let passed_at = way.pass(now, segment).expect("there is room");
            first.bytes -= segment;
            if first.bytes == 0 {
                leaving.extend(self.waiting.pop_front().map(|waiting| (passed_at, waiting.what)));
            }
        }
        leaving
    }

    /// Voice takes turns with the rest: each other message is followed by as many bytes of it.
    fn next(&mut self, now: Duration) -> Option<Waiting<T>> {
        self.waiting.retain(|waiting| !waiting.is_voice || now <= waiting.since + VOICE_AGE);
        let first = |is_voice| self.waiting.iter().position(|waiting| waiting.is_voice == is_voice);
        let at = match (first(true), first(false)) {
            (Some(voice), other) if self.voice_turn > 0 || other.is_none() => voice,
            (_, other) => other?,
        };
        let next = self.waiting.remove(at)?;
        self.voice_turn = match next.is_voice {
            true => self.voice_turn.saturating_sub(next.bytes),
            false => next.bytes,
        };
        Some(next)
    }

    /// The first that is not too old.
    fn next_mut(&mut self, now: Duration) -> Option<&mut Waiting<T>> {
        while self
            .waiting
            .front()
            .is_some_and(|first| first.is_voice && now > first.since + VOICE_AGE)
        {
            self.waiting.pop_front();
        }
        self.waiting.front_mut()
    }
}
