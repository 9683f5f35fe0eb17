//! What a path to a peer does to packets: how long they queue, and which are lost. Congestion
//! control reads it.
//!
//! The queueing delay is the difference between the delay of the last moments and the least delay
//! of the last half minute (the base), as in LEDBAT (RFC 6817 §3.4.2). The delay is one way where
//! the receiver says when a packet arrived, so that a busy way back is not mistaken for a busy way
//! there; otherwise it is the round trip.

use std::collections::VecDeque;
use std::time::Duration;

/// Packets remembered until they are acknowledged or lost: 2.5 s of 20 ms frames. The oldest counts
/// as lost first.
const OUTSTANDING: usize = 128;
/// A packet that an acknowledgement of a packet sent this much later does not cover is lost.
const REORDERING: Duration = Duration::from_millis(30);
/// The base delay is the least of this and the previous period.
const BASE_PERIOD: Duration = Duration::from_secs(30);
/// The current delay is the least of this long: jitter is not a queue.
const CURRENT_WINDOW: Duration = Duration::from_millis(300);
/// A delay measured longer ago says nothing about now.
const STALE: Duration = Duration::from_millis(900);
/// A queue that was measured, and whose packets have not been acknowledged since, is believed to
/// grow for this long.
const GROWING: Duration = Duration::from_secs(4);
/// A path to which packets went within this time is in use.
const IN_USE: Duration = Duration::from_millis(400);
/// A packet is acknowledged within a round trip and this: acknowledgements wait for further
/// packets, and timers are coarse.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(180);
/// From this on a measured queue is one.
const MEASURED_QUEUE: Duration = Duration::from_millis(25);
/// … unless delays differ by more than this part of it from one measurement to the next.
const JITTER_IS_LESS: u32 = 3;
/// What is longer than this is a queue, however much delays differ: they do when a queue grows
/// quickly.
const MOST_JITTER: Duration = Duration::from_millis(60);
/// What a probe measured says something for this long.
const PROBED: Duration = Duration::from_secs(3);
/// Further headers never count for more than this.
const FURTHER_HEADER_BYTES: u32 = 128;
/// Samples kept of the last moments.
const SAMPLES: usize = 32;

/// What happened to the packets on one path since it came up. All values only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathCounts {
    /// Packets handed to the network.
    pub sent_packets: u64,
    /// Their bytes, without headers below the session.
    pub sent_bytes: u64,
    /// Packets known to have arrived.
    pub delivered_packets: u64,
    /// Their bytes, as above.
    pub delivered_bytes: u64,
    /// Packets known to be lost.
    pub lost_packets: u64,
}

/// What is known of a path to a peer, or to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathState {
    /// Another number means another path.
    pub generation: u32,
    /// What happened to its packets.
    pub counts: PathCounts,
    /// How long packets queue on the way; `None` if it was not measured within the last second.
    pub queueing: Option<Duration>,
    /// The same of the latest probe of the link, there and back, if it was answered lately.
    pub probed_queueing: Option<Duration>,
    /// For how long delays have been measured. The least of a short time may itself be that of a
    /// queue.
    pub measured_for: Duration,
    /// For how long an acknowledgement has been missing; zero while they come.
    pub overdue: Duration,
    /// The shortest round trip of the last 30 to 60 s in which one was measured.
    pub least_round_trip: Option<Duration>,
    /// What the headers of a packet take beyond `LINK_HEADER_BYTES` or
    /// `RELAY_HEADER_BYTES`, in bytes: IPv6, TURN, TLS.
    pub further_header_bytes: u32,
}

/// One path's delays and losses, measured at its sending end.
#[derive(Clone, Debug)]
pub struct PathMonitor {
    outstanding: VecDeque<Outstanding>,
    sent_at: Option<Duration>,
    counts: PathCounts,
    delay: QueueingDelay,
    /// What was added to the receiver's clock to make its modular times a growing one.
    clock: ReceiverClock,
    round_trip: Least<Duration>,
    probes: Probes,
    further_header_bytes: u32,
}

/// Round trips of probes, which nothing holds back at the other end.
#[derive(Clone, Copy, Debug, Default)]
struct Probes {
    round_trip: Least<Duration>,
    latest: Option<(Duration, Duration)>,
}

impl Probes {
    fn queueing(&self, now: Duration) -> Option<Duration> {
        let (_, round_trip) = self.latest.filter(|(at, _)| now <= *at + PROBED)?;
        Some(round_trip.saturating_sub(self.round_trip.get().unwrap_or(round_trip)))
    }
}

/// The least of the current period of [`BASE_PERIOD`] and the one before: paths change.
#[derive(Clone, Copy, Debug, Default)]
struct Least<T> {
    periods: [Option<T>; 2],
    began: Duration,
}

impl<T: Copy + Ord> Least<T> {
    fn take(&mut self, now: Duration, value: T) {
        if now >= self.began + BASE_PERIOD {
            self.periods = [None, self.periods[0]];
            self.began = now;
        }
        self.periods[0] = Some(self.periods[0].map_or(value, |least| least.min(value)));
    }

    fn get(&self) -> Option<T> {
        self.periods.iter().flatten().min().copied()
    }
}

#[derive(Clone, Copy, Debug)]
struct Outstanding {
    number: u16,
    at: Duration,
    packets: u32,
    bytes: usize,
}

impl Default for PathMonitor {
    fn default() -> Self {
        Self::new()
    }
}

impl PathMonitor {
    /// A path on which nothing was sent yet.
    pub fn new() -> Self {
        Self {
            outstanding: VecDeque::with_capacity(16),
            sent_at: None,
            counts: PathCounts::default(),
            delay: QueueingDelay::default(),
            clock: ReceiverClock::default(),
            round_trip: Least::default(),
            probes: Probes::default(),
            further_header_bytes: 0,
        }
    }

    /// What the headers of a packet take on this path beyond those of IPv4 without TURN or TLS.
    pub fn set_further_header_bytes(&mut self, bytes: u32) {
        self.further_header_bytes = bytes.min(FURTHER_HEADER_BYTES);
    }

    /// What became of the last packets says nothing about the path; its shortest round trip is
    /// still known.
    pub fn restart(&mut self) {
        let Self { probes, further_header_bytes, .. } = *self;
        *self = Self { probes, further_header_bytes, ..Self::new() };
    }

    /// A probe of the link was answered.
    pub fn probed(&mut self, now: Duration, round_trip: Duration) {
        self.probes.round_trip.take(now, round_trip);
        self.probes.latest = Some((now, round_trip));
    }

    /// What is known of the path now; `generation` is passed on.
    pub fn state(&self, now: Duration, generation: u32) -> PathState {
        let (counts, least_round_trip) = (self.counts, self.round_trip.get());
        PathState {
            generation,
            counts,
            queueing: self.queueing(now),
            probed_queueing: self.probes.queueing(now),
            measured_for: self
                .delay
                .began
                .map_or(Duration::ZERO, |began| now.saturating_sub(began)),
            overdue: self.overdue(now),
            least_round_trip,
            further_header_bytes: self.further_header_bytes,
        }
    }

    /// How long packets queue on the way, if it was measured within the last second. Where a queue
    /// was measured, an acknowledgement that stays away shows that it grows, for a while; elsewhere
    /// it may be the path that is dead.
    fn queueing(&self, now: Duration) -> Option<Duration> {
        let (measured_at, measured) = self.delay.latest()?;
        let overdue = self.overdue(now);
        let is_in_use = self.sent_at.is_some_and(|at| now <= at + IN_USE);
        let is_queue =
            measured >= MEASURED_QUEUE.max(JITTER_IS_LESS * self.delay.jitter()).min(MOST_JITTER);
        let grows = is_in_use && is_queue && !overdue.is_zero();
        let believed_for = if grows { GROWING } else { STALE };
        (now <= measured_at + believed_for)
            .then(|| if grows { measured.max(overdue) } else { measured })
    }

    /// For how long an acknowledgement has been missing.
    fn overdue(&self, now: Duration) -> Duration {
        let expected = self.round_trip.get().map(|round_trip| round_trip + ACKNOWLEDGED_WITHIN);
        let overdue = self.outstanding.front().zip(expected);
        overdue.map_or(Duration::ZERO, |(oldest, expected)| {
            now.saturating_sub(oldest.at).saturating_sub(expected)
        })
    }

    /// A packet left. Numbers wrap.
    pub fn sent(&mut self, now: Duration, number: u16, bytes: usize) {
        self.sent_together(now, number, 1, bytes);
    }

    /// Packets left that are acknowledged together, under one number.
    fn sent_together(&mut self, now: Duration, number: u16, packets: u32, bytes: usize) {
        self.counts.sent_packets += u64::from(packets);
        self.counts.sent_bytes += bytes as u64;
        self.sent_at = Some(now);
        if self.outstanding.len() == OUTSTANDING
            && let Some(oldest) = self.outstanding.pop_front()
        {
            self.counts.lost_packets += u64::from(oldest.packets);
        }
        self.outstanding.push_back(Outstanding { number, at: now, packets, bytes });
    }

    /// The receiver has `newest`, and of the packets before it those that `covers` says.
    /// `received_ms` is when the newest arrived by the receiver's clock, if it says so.
    pub fn acknowledged(
        &mut self,
        now: Duration,
        newest: u16,
        received_ms: Option<u32>,
        covers: impl Fn(u16) -> bool,
    ) {
        let Some(index) = self.outstanding.iter().rposition(|packet| packet.number == newest)
        else {
            return;
        };
        let newest_at = self.outstanding[index].at;
        let round_trip = now.saturating_sub(newest_at);
        self.round_trip.take(now, round_trip);
        let delay_us = match received_ms {
            Some(ms) => self.clock.extend(ms) * 1_000 - newest_at.as_micros() as i64,
            None => round_trip.as_micros() as i64,
        };
        self.delay.forget_old(now);
        // What is measured first may be the delay of a queue already, if a probe has just waited in
        // it as well.
        if self.delay.began.is_none()
            && let Some((least, waited)) =
                self.probes.round_trip.get().zip(self.probes.queueing(now))
        {
            let queued = round_trip.saturating_sub(least + ACKNOWLEDGED_WITHIN).min(waited);
            self.delay.sample(now, delay_us - queued.as_micros() as i64);
        }
        self.delay.sample(now, delay_us);
        let counts = &mut self.counts;
        self.outstanding.retain(|packet| {
            if packet.at > newest_at {
                return true;
            }
            if packet.number == newest || covers(packet.number) {
                counts.delivered_packets += u64::from(packet.packets);
                counts.delivered_bytes += packet.bytes as u64;
                return false;
            }
            let is_lost = packet.at + REORDERING <= newest_at;
            counts.lost_packets += if is_lost { u64::from(packet.packets) } else { 0 };
            !is_lost
        });
    }
}

/// The way to the server, which relays. Pings behind the voice on the same connection tell when all
/// before them has left this side's queues and the uplink.
#[derive(Clone, Debug)]
pub struct RelayPath {
    monitor: PathMonitor,
    /// Voice since the last ping.
    packets: u32,
    bytes: usize,
    next_ping: u16,
    pinged_at: Option<Duration>,
}

/// While voice is relayed, a ping follows it this often.
const PING_INTERVAL: Duration = Duration::from_millis(200);

impl Default for RelayPath {
    fn default() -> Self {
        Self::new()
    }
}

impl RelayPath {
    /// A connection on which nothing was sent yet.
    pub fn new() -> Self {
        Self { monitor: PathMonitor::new(), packets: 0, bytes: 0, next_ping: 0, pinged_at: None }
    }

    /// What the headers of a packet take beyond IPv4, TCP and WebSocket: IPv6, TLS.
    pub fn set_further_header_bytes(&mut self, bytes: u32) {
        self.monitor.set_further_header_bytes(bytes);
    }

    /// Speech was given to the connection to the server; its bytes.
    pub fn voice_sent(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes;
    }

    /// The number of a ping that is to be sent now.
    pub fn ping_due(&mut self, now: Duration) -> Option<u16> {
        if self.packets == 0 || self.pinged_at.is_some_and(|at| now < at + PING_INTERVAL) {
            return None;
        }
        self.pinged_at = Some(now);
        self.next_ping = self.next_ping.wrapping_add(1);
        self.monitor.sent_together(now, self.next_ping, self.packets, self.bytes);
        (self.packets, self.bytes) = (0, 0);
        Some(self.next_ping)
    }

    /// The server answered a handshake. Little was sent before, so its round trip is one without a
    /// queue, mostly.
    pub fn shook_hands(&mut self, now: Duration, asked_at: Duration) {
        let round_trip = now.saturating_sub(asked_at);
        self.monitor.round_trip = Least::default();
        self.monitor.round_trip.take(now, round_trip);
        self.monitor.delay.sample(now, round_trip.as_micros() as i64);
    }

    /// The server answered a ping.
    pub fn answered(&mut self, now: Duration, number: u16) {
        self.monitor.acknowledged(now, number, None, |_| true);
    }

    /// What is known of the way.
    pub fn monitor(&self) -> &PathMonitor {
        &self.monitor
    }
}

/// Extends a 32-bit count of milliseconds that wraps.
#[derive(Clone, Copy, Debug, Default)]
struct ReceiverClock {
    last: Option<(u32, i64)>,
}

impl ReceiverClock {
    fn extend(&mut self, ms: u32) -> i64 {
        let extended = match self.last {
            None => i64::from(ms),
            Some((last, extended)) => extended + i64::from(ms.wrapping_sub(last) as i32),
        };
        self.last = Some((ms, extended));
        extended
    }
}

/// The delay of the last moments above the least of the last half minute.
#[derive(Clone, Debug, Default)]
struct QueueingDelay {
    samples: VecDeque<(Duration, i64)>,
    /// In microseconds.
    base: Least<i64>,
    /// When the first delay was measured.
    began: Option<Duration>,
}

impl QueueingDelay {
    /// Two clocks that drift apart by 50 millionths are 15 ms apart after this: older delays are no
    /// base.
    const CLOCKS_AGREE_FOR: Duration = Duration::from_secs(300);

    fn forget_old(&mut self, now: Duration) {
        if self.samples.back().is_some_and(|(at, _)| now >= *at + Self::CLOCKS_AGREE_FOR) {
            *self = Self::default();
        }
    }

    fn sample(&mut self, now: Duration, delay_us: i64) {
        self.began.get_or_insert(now);
        self.base.take(now, delay_us);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now, delay_us));
    }

    /// By how much a measurement differs from the one before, at most, in three of four cases.
    fn jitter(&self) -> Duration {
        let pairs = self.samples.iter().zip(self.samples.iter().skip(1));
        let mut differences: Vec<_> =
            pairs.map(|((_, before), (_, after))| before.abs_diff(*after)).collect();
        differences.sort_unstable();
        Duration::from_micros(
            differences.get(differences.len() * 3 / 4).copied().unwrap_or_default(),
        )
    }

    /// The latest measurement and its time.
    fn latest(&self) -> Option<(Duration, Duration)> {
        let newest_at = self.samples.back().map(|(at, _)| *at)?;
        let recent = self.samples.iter().filter(|(at, _)| *at + CURRENT_WINDOW >= newest_at);
        let current = recent.map(|(_, delay_us)| *delay_us).min()?;
        let base = self.base.get()?;
        Some((newest_at, Duration::from_micros(u64::try_from(current - base).unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Packets of 100 bytes every 20 ms; every third is acknowledged when it has arrived after
    /// `delay`.
    fn run(
        path: &mut PathMonitor,
        from: u64,
        packets: u64,
        delay: impl Fn(u64) -> u64,
        timed: bool,
    ) {
        for n in from..from + packets {
            let sent = ms(n * 20);
            path.sent(sent, n as u16, 100);
            if n % 3 == 0 {
                let arrived = n * 20 + delay(n);
                // The receiver's clock started somewhere else, and wraps.
                let received = timed.then(|| (arrived as u32).wrapping_add(u32::MAX - 2_000));
                path.acknowledged(ms(arrived + 50), n as u16, received, |_| true);
            }
        }
    }

    #[test]
    fn a_queue_that_grows_is_seen_one_way_and_by_round_trip() {
        for timed in [true, false] {
            let mut path = PathMonitor::new();
            run(&mut path, 0, 300, |_| 30, timed);
            assert_eq!(path.queueing(ms(6_050)), Some(ms(0)), "{timed}");
            run(&mut path, 300, 60, |n| 30 + (n - 300) * 5, timed);
            let queueing = path.queueing(ms(360 * 20 + 300)).unwrap();
            assert!((ms(180)..=ms(300)).contains(&queueing), "{queueing:?}");
        }
    }

    #[test]
    fn a_queue_that_is_there_before_the_first_packet_is_seen_if_probes_came_before_it() {
        for (probed, seen) in [(true, 500..=800), (false, 0..=0)] {
            let mut path = PathMonitor::new();
            if probed {
                path.probed(ms(0), ms(60));
                assert_eq!(path.state(ms(50), 1).probed_queueing, Some(ms(0)));
                path.probed(ms(90), ms(760));
            }
            run(&mut path, 5, 40, |_| 730, true);
            let queueing = path.queueing(ms(45 * 20 + 700)).unwrap().as_millis();
            assert!(seen.contains(&queueing), "{queueing}");
            path.probed(ms(3_000), ms(760));
            let expected = if probed { 700 } else { 0 };
            assert_eq!(path.state(ms(3_500), 1).probed_queueing, Some(ms(expected)));
            assert_eq!(path.state(ms(9_000), 1).probed_queueing, None);
        }
    }

    #[test]
    fn jitter_is_no_queue_and_a_busy_way_back_is_none_of_this_path() {
        let mut path = PathMonitor::new();
        run(&mut path, 0, 600, |n| 30 + (n * 7919) % 60, true);
        assert!(path.queueing(ms(12_060)).unwrap() < ms(45));
        let mut path = PathMonitor::new();
        for n in 0..300u64 {
            path.sent(ms(n * 20), n as u16, 100);
            let way_back = if n > 150 { 500 } else { 10 };
            path.acknowledged(
                ms(n * 20 + 20 + way_back),
                n as u16,
                Some((n * 20 + 20) as u32),
                |_| true,
            );
        }
        assert_eq!(path.queueing(ms(6_500)), Some(ms(0)));
    }

    #[test]
    fn the_base_is_forgotten_after_a_minute() {
        let mut path = PathMonitor::new();
        run(&mut path, 0, 100, |_| 30, true);
        run(&mut path, 100, 1_000, |_| 130, true);
        assert!(path.queueing(ms(22_200)).unwrap() >= ms(99));
        run(&mut path, 1_100, 3_200, |_| 130, true);
        assert_eq!(path.queueing(ms(86_200)), Some(ms(0)));
    }

    #[test]
    fn round_trips_that_were_shorter_are_forgotten_after_a_minute() {
        let mut path = PathMonitor::new();
        path.probed(ms(0), ms(40));
        run(&mut path, 0, 50, |_| 0, false);
        for second in 1..=61 {
            path.probed(ms(second * 1_000), ms(240));
            path.sent(ms(second * 1_000), second as u16, 100);
            path.acknowledged(ms(second * 1_000 + 300), second as u16, None, |_| true);
            let state = path.state(ms(second * 1_000 + 301), 1);
            let expected = if second < 60 { (ms(200), ms(50)) } else { (ms(0), ms(300)) };
            assert_eq!(
                (state.probed_queueing, state.least_round_trip),
                (Some(expected.0), Some(expected.1)),
                "{second}"
            );
        }
    }

    #[test]
    fn clocks_that_drift_while_nothing_is_said_make_no_queue() {
        let mut path = PathMonitor::new();
        run(&mut path, 0, 100, |_| 30, true);
        // Half an hour later the receiver's clock is 90 ms ahead.
        run(&mut path, 90_000, 100, |_| 120, true);
        assert_eq!(path.queueing(ms(90_100 * 20 + 170)), Some(ms(0)));
    }

    #[test]
    fn what_an_acknowledgement_of_a_later_packet_leaves_out_is_lost_once() {
        let mut path = PathMonitor::new();
        for n in 0..10u16 {
            path.sent(ms(u64::from(n) * 20), n.wrapping_add(65_530), 100);
        }
        path.acknowledged(ms(300), 9u16.wrapping_add(65_530), None, |number| {
            number.is_multiple_of(2)
        });
        let counts = path.counts;
        assert_eq!(
            (counts.sent_packets, counts.delivered_packets, counts.lost_packets),
            (10, 6, 4)
        );
        assert_eq!(counts.delivered_bytes, 600);
        path.acknowledged(ms(310), 9u16.wrapping_add(65_530), None, |_| false);
        assert_eq!(path.counts, counts);
        for n in 0..1_000u16 {
            path.sent(ms(400), n, 100);
        }
        assert!(path.outstanding.len() <= OUTSTANDING);
        assert_eq!(path.queueing(ms(5_000)), None, "too long ago");
        assert!(path.overdue(ms(5_000)) > ms(4_000), "nothing is acknowledged");
    }
}
