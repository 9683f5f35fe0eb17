//! A socket's stream over a narrow way. TCP is either ideal, so that it fills the way's queue and
//! loses nothing, or one that loses what the way drops. What it does not take yet waits at the peer
//! as in the peer's socket, and at the server in the server's queue itself (`line.rs`).

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_netsim::Bottleneck;

use crate::tcp::Tcp;

/// As `crates/peer/src/socket.rs`.
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

/// What was written to a socket and has not passed the narrow way.
#[derive(Debug)]
pub struct Stream<T> {
    /// Where TCP is ideal, which is given one message at a time.
    written: VecDeque<(usize, T)>,
    /// One that loses, and how much it is left to hold unsent.
    tcp: Option<(Tcp<T>, usize)>,
}

impl<T> Default for Stream<T> {
    fn default() -> Self {
        Self { written: VecDeque::new(), tcp: None }
    }
}

impl<T> Stream<T> {
    /// Over a TCP that loses what the way drops, and is given more while it holds less than so much
    /// unsent.
    pub fn lossy(unsent_bytes: usize) -> Self {
        Self { tcp: Some((Tcp::default(), unsent_bytes)), ..Self::default() }
    }

    /// Whether it is given more.
    pub fn has_room(&self) -> bool {
        match &self.tcp {
            Some((tcp, unsent_bytes)) => tcp.unsent_bytes() < *unsent_bytes,
            None => self.written.is_empty(),
        }
    }

    /// Whether a message would be on its way at once.
    fn begins(&self, now: Duration, way: &mut Bottleneck, bytes: usize) -> bool {
        let segment = (bytes + STREAM_OVERHEAD_BYTES).min(SEGMENT_BYTES);
        self.has_room() && (self.tcp.is_some() || way.has_room(now, segment))
    }

    pub fn write(&mut self, bytes: usize, what: T) {
        let bytes = bytes + STREAM_OVERHEAD_BYTES;
        match &mut self.tcp {
            Some((tcp, _)) => tcp.write(bytes - TCP_BYTES, what),
            None => self.written.push_back((bytes, what)),
        }
    }

    /// What leaves now, and when it has passed the narrow way.
    pub fn pump(&mut self, now: Duration, way: &mut Bottleneck) -> Vec<(Duration, T)> {
        if let Some((tcp, _)) = &mut self.tcp {
            return tcp.poll(now, way);
        }
        let mut leaving = Vec::new();
        while let Some((left, _)) = self.written.front_mut() {
            let segment = (*left).min(SEGMENT_BYTES);
            if !way.has_room(now, segment) {
                break;
            }
            let passed_at = way.pass(now, segment).expect("there is room");
            *left -= segment;
            if *left == 0 {
                leaving.extend(self.written.pop_front().map(|(_, what)| (passed_at, what)));
            }
        }
        leaving
    }
}

/// The peer's end of a socket: voice that has waited too long for the stream is dropped.
#[derive(Debug)]
pub struct PeerSocket<T> {
    waiting: VecDeque<Waiting<T>>,
    stream: Stream<T>,
}

#[derive(Debug)]
struct Waiting<T> {
    since: Duration,
    bytes: usize,
    is_voice: bool,
    what: T,
}

impl<T> PeerSocket<T> {
    pub fn new(stream: Stream<T>) -> Self {
        Self { waiting: VecDeque::new(), stream }
    }

    pub fn put(&mut self, now: Duration, bytes: usize, is_voice: bool, what: T) {
        if is_voice
            && self.waiting.iter().filter(|waiting| waiting.is_voice).count() == VOICE_PACKETS
        {
            let oldest = self.waiting.iter().position(|waiting| waiting.is_voice);
            self.waiting.remove(oldest.unwrap());
        }
        self.waiting.push_back(Waiting { since: now, bytes, is_voice, what });
    }

    /// What leaves now, and when it has passed the narrow way.
    pub fn pump(&mut self, now: Duration, way: &mut Bottleneck) -> Vec<(Duration, T)> {
        let mut leaving = self.stream.pump(now, way);
        while let Some(bytes) = self.next_bytes(now)
            && self.stream.begins(now, way, bytes)
            && let Some(Waiting { what, .. }) = self.waiting.pop_front()
        {
            self.stream.write(bytes, what);
            leaving.extend(self.stream.pump(now, way));
        }
        leaving
    }

    /// Of the first that is not too old.
    fn next_bytes(&mut self, now: Duration) -> Option<usize> {
        let is_old = |waiting: &mut Waiting<T>| waiting.is_voice && now > waiting.since + VOICE_AGE;
        while self.waiting.pop_front_if(is_old).is_some() {}
        self.waiting.front().map(|waiting| waiting.bytes)
    }
}
