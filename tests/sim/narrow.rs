//! A socket's stream over a narrow way: what does not fit waits, and voice that has waited too long is dropped, as in
//! the peer's socket and in the server's mailbox. TCP is taken as ideal: it fills the queue and loses nothing.

use std::collections::VecDeque;
use std::time::Duration;

use voicemesh_netsim::Bottleneck;

/// As `crates/peer/src/socket.rs` and `signaling/src/shell/mailbox.rs`.
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

/// Longer messages pass in parts.
const SEGMENT_BYTES: usize = 536;

#[derive(Debug)]
pub struct Stream<T> {
    waiting: VecDeque<Waiting<T>>,
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
        Self { waiting: VecDeque::new() }
    }
}

impl<T> Stream<T> {
    pub fn put(&mut self, now: Duration, bytes: usize, is_voice: bool, what: T) {
        if is_voice && self.waiting.iter().filter(|waiting| waiting.is_voice).count() == VOICE_PACKETS {
            let oldest = self.waiting.iter().position(|waiting| waiting.is_voice);
            self.waiting.remove(oldest.unwrap());
        }
        self.waiting.push_back(Waiting { since: now, bytes: bytes + STREAM_OVERHEAD_BYTES, is_voice, what });
    }

    /// What leaves now, and when it has passed the narrow way.
    pub fn pump(&mut self, now: Duration, way: &mut Bottleneck) -> Vec<(Duration, T)> {
        let mut leaving = Vec::new();
        while let Some(first) = self.waiting.front_mut() {
            if first.is_voice && now > first.since + VOICE_AGE {
                self.waiting.pop_front();
                continue;
            }
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
}
