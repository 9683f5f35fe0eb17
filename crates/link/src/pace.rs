//! How much voice may be in flight: (a round trip + 500 ms) × the rate it is spoken at, more on a
//! long way, and beyond it now and then a packet.
//!
//! SCTP holds what its congestion window does not let out, and its retransmission timer has a floor
//! of a second. Left alone it would collect seconds of stale voice on a path that stalls; here what
//! does not fit waits in a queue of a few packets that drops its oldest. Nothing in flight is
//! acknowledged but by what comes after it, so a stream that waited for acknowledgements alone
//! would stand still for seconds when a few of them are lost: every 60 ms one packet goes in any
//! case, and what it brings back tells whether the path lives. Told the time.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::LOSSY_IN_FLIGHT_PACKETS;

/// Beyond a round trip: the receiver may hold an acknowledgement back for 240 ms (`acks.rs`;
/// another stack for 200, RFC 9260 §6.2), and speech must not stand still when one of them is lost.
const SLACK: Duration = Duration::from_millis(500);
/// A lost packet stays in flight until the stack gives it up, which takes so many more round trips:
/// one to learn of it, and one for each loss before it. On a short way that is within [`SLACK`].
const GIVING_UP: u32 = 3;
const SHORT_ROUND_TRIP: Duration = Duration::from_millis(60);
/// An acknowledgement may be late for another reason.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(600);
/// After so long without a packet one goes, whatever is in flight …
const PROBE_INTERVAL: Duration = Duration::from_millis(60);
/// … up to so many times what may be: a path that is really gone is not fed for ever.
const MOST_PROBED: u64 = 3;
/// Before anything is known of a stream's rate or a path's round trip.
const FIRST_RATE_BYTES_PER_S: f64 = 8_000.0;
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(150);
/// A stream of a few small packets must not be held to nothing.
const LOWEST_RATE_BYTES_PER_S: f64 = 4_000.0;
/// The rate is measured over so long, and only while packets keep coming: silence keeps the rate of
/// speech.
const RATE_WINDOW: Duration = Duration::from_millis(200);

/// What is in flight of one lossy stream, and whether more may be.
pub(crate) struct Pacer {
    rate: Rate,
    sent_bytes: u64,
    /// When each packet was sent, and how many bytes had been sent with it.
    in_flight: VecDeque<(Instant, u64)>,
    outstanding_bytes: u64,
    /// The fastest acknowledgement since the last reading.
    fastest: Option<Duration>,
    /// How long the latest acknowledgement took, for a way that has just become longer.
    latest: Duration,
}

impl Pacer {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            rate: Rate::new(now),
            sent_bytes: 0,
            in_flight: VecDeque::new(),
            outstanding_bytes: 0,
            fastest: None,
            latest: Duration::ZERO,
        }
    }

    /// All bytes that were ever asked to be sent, those dropped before they were sent included.
    pub(crate) fn offered(&mut self, now: Instant, offered_bytes: u64) {
        self.rate.observe(now, offered_bytes);
    }

    /// What SCTP says is neither acknowledged nor given up.
    pub(crate) fn outstanding(&mut self, now: Instant, outstanding_bytes: usize) {
        self.outstanding_bytes = outstanding_bytes as u64;
        let settled = self.sent_bytes.saturating_sub(self.outstanding_bytes);
        while let Some(&(sent_at, end)) = self.in_flight.front()
            && end <= settled
        {
            self.in_flight.pop_front();
            let took = now.saturating_duration_since(sent_at);
            self.fastest = Some(self.fastest.map_or(took, |fastest| fastest.min(took)));
            self.latest = took.min(LONGEST_ROUND_TRIP);
        }
    }

    /// What SCTP last said is neither acknowledged nor given up.
    pub(crate) fn outstanding_bytes(&self) -> usize {
        self.outstanding_bytes as usize
    }

    /// The shortest time from sending a packet to seeing its acknowledgement since the last call: a
    /// round trip, and up to an interval between two looks.
    pub(crate) fn take_fastest_acknowledgement(&mut self) -> Option<Duration> {
        self.fastest.take()
    }

    /// Whether a packet of this size may be handed to SCTP now.
    pub(crate) fn admits(&self, now: Instant, bytes: usize, round_trip: Option<Duration>) -> bool {
        let round_trip = round_trip.unwrap_or(FIRST_ROUND_TRIP).max(self.latest);
        let span = round_trip + SLACK + GIVING_UP * round_trip.saturating_sub(SHORT_ROUND_TRIP);
        let allowed_bytes = (span.as_secs_f64() * self.rate.bytes_per_s) as u64;
        let quiet =
            self.in_flight.back().map(|&(sent_at, _)| now.saturating_duration_since(sent_at));
        let limit =
            if quiet >= Some(PROBE_INTERVAL) { allowed_bytes * MOST_PROBED } else { allowed_bytes };
        self.outstanding_bytes == 0
            || (self.outstanding_bytes + bytes as u64 <= limit
                && self.in_flight.len() < LOSSY_IN_FLIGHT_PACKETS)
    }

    /// A packet was handed to SCTP.
    pub(crate) fn sent(&mut self, now: Instant, bytes: usize) {
        self.sent_bytes += bytes as u64;
        self.outstanding_bytes += bytes as u64;
        self.in_flight.push_back((now, self.sent_bytes));
    }

    /// When the oldest packet that is still in flight was sent.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.in_flight.front().map(|&(sent_at, _)| sent_at)
    }
}

/// The rate of a stream while it speaks.
struct Rate {
    bytes_per_s: f64,
    window_began: Instant,
    window_bytes: u64,
    last: Instant,
    last_bytes: u64,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            bytes_per_s: FIRST_RATE_BYTES_PER_S,
            window_began: now,
            window_bytes: 0,
            last: now,
            last_bytes: 0,
        }
    }

    fn observe(&mut self, now: Instant, bytes: u64) {
        if bytes == self.last_bytes {
            return;
        }
        if now.saturating_duration_since(self.last) >= RATE_WINDOW {
            self.window_began = now;
            self.window_bytes = bytes;
        }
        self.last = now;
        self.last_bytes = bytes;
        let span = now.saturating_duration_since(self.window_began);
        if span >= RATE_WINDOW {
            let measured = (bytes - self.window_bytes) as f64 / span.as_secs_f64();
            self.bytes_per_s = ((self.bytes_per_s + measured) / 2.0).max(LOWEST_RATE_BYTES_PER_S);
            self.window_began = now;
            self.window_bytes = bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    /// Speaks packets of `bytes` every 20 ms; the path acknowledges all but the last `held` of
    /// them.
    fn speak(
        pacer: &mut Pacer,
        now: &mut Instant,
        packets: usize,
        bytes: usize,
        held: usize,
    ) -> usize {
        let mut admitted = 0;
        let mut offered = pacer.rate.last_bytes;
        for _ in 0..packets {
            *now += FRAME;
            offered += bytes as u64;
            pacer.offered(*now, offered);
            let outstanding = (pacer.outstanding_bytes as usize).min(held * bytes);
            pacer.outstanding(*now, outstanding);
            if pacer.admits(*now, bytes, Some(Duration::from_millis(50))) {
                pacer.sent(*now, bytes);
                admitted += 1;
            }
        }
        admitted
    }

    #[test]
    fn speech_on_a_working_path_is_never_held_back() {
        for bytes in [40, 100, 400] {
            let mut now = Instant::now();
            let mut pacer = Pacer::new(now);
            // Three frames are in flight on a path of 50 ms.
            assert_eq!(speak(&mut pacer, &mut now, 500, bytes, 3), 500, "{bytes} bytes");
        }
    }

    #[test]
    fn a_path_that_stalls_gets_half_a_second_of_speech_and_then_a_packet_now_and_then() {
        let mut now = Instant::now();
        let mut pacer = Pacer::new(now);
        speak(&mut pacer, &mut now, 500, 100, 2);
        let stalled = usize::MAX / 100;
        // 550 ms at 20 ms a packet, two of them already in flight.
        let at_once = speak(&mut pacer, &mut now, 28, 100, stalled);
        assert!((23..=26).contains(&at_once), "admitted {at_once}");
        let probes = speak(&mut pacer, &mut now, 30, 100, stalled);
        assert_eq!(probes, 10, "one in 60 ms");
        speak(&mut pacer, &mut now, 500, 100, stalled);
        assert_eq!(speak(&mut pacer, &mut now, 500, 100, stalled), 0, "not for ever");
        assert_eq!(speak(&mut pacer, &mut now, 50, 100, 3), 50, "and as before when the path is");
    }

    #[test]
    fn on_a_long_way_a_second_of_lost_packets_in_flight_does_not_hold_speech_back() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now);
        let packets = 40;
        for packet in 0..packets {
            pacer.offered(now + packet * FRAME, u64::from(packet + 1) * 200);
            pacer.sent(now + packet * FRAME, 200);
        }
        let later = now + packets * FRAME;
        // A round trip's worth and every tenth packet of the last second and a half are not
        // acknowledged.
        pacer.outstanding(later, (15 + 25) * 200);
        assert!(pacer.admits(later, 200, Some(Duration::from_millis(300))));
        assert!(!pacer.admits(later, 200, Some(Duration::from_millis(50))));
    }

    #[test]
    fn a_way_that_becomes_longer_is_known_by_its_first_acknowledgement() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now);
        let known = Some(Duration::from_millis(10));
        for packet in 0..20 {
            pacer.sent(now + packet * FRAME, 200);
        }
        let later = now + 20 * FRAME;
        assert!(!pacer.admits(later, 200, known));
        // The first five are acknowledged, the latest of them after 320 ms.
        pacer.outstanding(later, 15 * 200);
        assert!(pacer.admits(later, 200, known));
    }

    #[test]
    fn the_age_of_the_oldest_packet_is_told_until_it_is_acknowledged() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        assert_eq!(pacer.oldest(), None);
        pacer.sent(start, 100);
        pacer.sent(start + FRAME, 60);
        pacer.outstanding(start, 160);
        assert_eq!(pacer.oldest(), Some(start));
        pacer.outstanding(start, 60);
        assert_eq!(pacer.oldest(), Some(start + FRAME));
        pacer.outstanding(start, 0);
        assert_eq!(pacer.oldest(), None);
    }

    #[test]
    fn silence_does_not_shrink_what_the_next_burst_may_have_in_flight() {
        let mut now = Instant::now();
        let mut pacer = Pacer::new(now);
        speak(&mut pacer, &mut now, 200, 400, 2);
        let spoken = pacer.rate.bytes_per_s;
        now += Duration::from_secs(60);
        speak(&mut pacer, &mut now, 3, 400, 2);
        assert_eq!(pacer.rate.bytes_per_s, spoken);
    }
}
